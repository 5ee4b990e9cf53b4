"""Recorded laws: against finite laws, closed forms, an independent integrator and differences."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from tea_stats import best_of_n
from tea_stats.families import (
    Discrete,
    Gamma,
    Gumbel,
    Normal,
    NormalMixture,
    Recorded,
    StudentT,
)

SENTINEL = NormalMixture(0.9, -1.0, 0.01, 0.6, 0.15)
LAWS = {
    "as it is": Recorded(Normal(0.3, 2.0)),
    "grades": Recorded(Normal(5.0, 2.0), step=1.0, low=0.0, high=10.0),
    "rounded": Recorded(Normal(0.5, 0.1), step=0.01),
    "rounded, right-skewed": Recorded(Gumbel(0.0, 0.3), step=0.1),
    "clipped": Recorded(Normal(0.5, 0.2), low=0.0, high=1.0),
    "ceiling": Recorded(Gamma(2.0), high=4.0),
    "sentinel": Recorded(SENTINEL, threshold=-0.5, value=-100.0),
    "all at once": Recorded(Normal(), step=0.1, high=1.23, threshold=-0.5, value=-2.0),
    "heavy": Recorded(StudentT(3.0), step=0.1, low=-5.0, high=5.0),
}
each = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


@each
@pytest.mark.parametrize("N", [1, 2, 16, 1024])
def test_value_against_an_independent_integral(law, N):
    """V_N = h(a) + ∫_a (1 − F_X(t)^N) dh(t), from SciPy's law of X and quad, piece by piece."""
    base = scipy_law(law.base)
    # where a floor and a ceiling are, nothing happens beyond them
    low, high = max(base.ppf(1e-18), -40.0), min(base.isf(1e-18), 40.0)
    grid = np.linspace(low, high, 200_001)
    h = law.record(grid)
    if law.sloped[0] < law.sloped[1]:
        start, end = max(law.sloped[0], low), min(law.sloped[1], high)
        points = np.linspace(start, end, 60)
        smooth = sum(
            integrate.quad(lambda t: 1.0 - base.cdf(t) ** N, a, b, epsabs=1e-13, epsrel=1e-12)[0]
            for a, b in zip(points[:-1], points[1:], strict=True)
        )
        jumps = 0.0 if law.threshold is None else law.record(law.threshold) - law.value
        at = law.threshold or 0.0
        expected = float(h[0]) + smooth + jumps * (1.0 - base.cdf(at) ** N)
    else:
        values = np.unique(np.round(h, 9))
        # the largest score that is recorded below each value, by bisection on h itself
        ends = [
            bisect(law, (a + b) / 2, low, high) for a, b in zip(values, values[1:], strict=False)
        ]
        expected = values[0] + np.diff(values) @ (1.0 - base.cdf(np.array(ends)) ** N)
    assert best_of_n.value(law, N) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def scipy_law(base):
    if isinstance(base, NormalMixture):
        return Mixture(base)
    family = {Normal: stats.norm, Gumbel: stats.gumbel_r}
    if type(base) in family:
        return family[type(base)](base.loc, base.scale)
    return stats.gamma(2.0) if isinstance(base, Gamma) else stats.t(3.0)


class Mixture:
    def __init__(self, law):
        self.parts = [(1.0 - law.weight, stats.norm(law.loc1, law.scale1))]
        self.parts += [(law.weight, stats.norm(law.loc2, law.scale2))]

    def cdf(self, t):
        return sum(w * part.cdf(t) for w, part in self.parts)

    def ppf(self, p):
        return min(part.ppf(p) for _, part in self.parts)

    def isf(self, p):
        return max(part.isf(p) for _, part in self.parts)


def bisect(law, between, low, high):
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if law.record(np.asarray(middle)) < between else (low, middle)
    return low


@each
@pytest.mark.parametrize("N", [1, 4, 128])
def test_gradient_is_the_slope_of_the_value(law, N):
    exact, step = best_of_n.gradient(law, N), 1e-4
    for j, name in enumerate(law.parameters):
        size = step * (0.01 if name == "scale1" else 1.0)

        def value(by, name=name, size=size):
            moved = replace(law.base, **{name: getattr(law.base, name) + by * size})
            return best_of_n.value(replace(law, base=moved), N)

        # Richardson: the error is of the fourth order
        slope = (8.0 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12.0 * size)
        assert exact[j] == pytest.approx(slope, abs=2e-7 * max(1.0, np.linalg.norm(exact)))


@pytest.mark.parametrize("N", [1, 2, 64, 10_000])
def test_grades_are_a_finite_law(N):
    law = LAWS["grades"]
    values = np.arange(11.0)
    edges = stats.norm(5.0, 2.0).cdf(np.concatenate([[-np.inf], values[1:] - 0.5, [np.inf]]))
    finite = Discrete.from_probabilities(values, np.diff(edges))
    assert best_of_n.value(law, N) == pytest.approx(best_of_n.value(finite, N), rel=1e-12)
    np.testing.assert_allclose(
        best_of_n.advantage(law, N, values),
        best_of_n.advantage(finite, N, values),
        rtol=1e-10,
        atol=1e-12,
    )
    np.testing.assert_allclose(law.cdf(values), finite.cdf(values), rtol=1e-12)
    np.testing.assert_allclose(np.exp(law.logpdf(values)), finite.probabilities, rtol=1e-9)
    # ∇V_N is also that of the finite law, through the derivative of its probabilities
    by_probability = best_of_n.advantage(finite, N, values)
    z = (values[1:] - 0.5 - 5.0) / 2.0
    density = np.concatenate([[0.0], stats.norm.pdf(z) / 2.0, [0.0]])
    spread = np.concatenate([[0.0], stats.norm.pdf(z) * z / 2.0, [0.0]])
    for column, at_edges in enumerate((density, spread)):
        expected = by_probability @ -np.diff(at_edges)
        assert best_of_n.gradient(law, N)[column] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("N", [1, 7, 512, 10**6])
def test_a_law_recorded_as_it_is(N):
    law = LAWS["as it is"]
    for function in (best_of_n.value, best_of_n.gradient):
        np.testing.assert_allclose(function(law, N), function(law.base, N), rtol=1e-11, atol=1e-11)
    r = law.ppf(np.linspace(0.01, 0.999999, 9))
    expected = best_of_n.advantage(law.base, N, r)
    np.testing.assert_allclose(best_of_n.advantage(law, N, r), expected, rtol=1e-9, atol=1e-9)


def test_clipped_normal_mean_in_closed_form():
    """E min(X, c) = c Φ̄ + Φ-part: tobit's mean, for a standard normal with a ceiling."""
    c = 0.7
    expected = c * stats.norm.sf(c) - stats.norm.pdf(c)
    assert best_of_n.value(Recorded(Normal(), high=c), 1) == pytest.approx(expected, abs=1e-13)


@each
def test_draws_have_the_law(law):
    rng = np.random.default_rng(7)
    rewards, scores, order = law.draw_sorted(4000, 4, rng, ordered=True)
    assert (np.diff(rewards, axis=1) >= 0.0).all()
    assert order.shape == rewards.shape
    for u in (0.2, 0.5, 0.9):
        r = float(law.ppf(u))
        share = (rewards <= r).mean()
        chance = float(law.cdf(r))
        assert chance >= u - 1e-9
        assert abs(share - chance) < 5.0 * math.sqrt(chance * (1.0 - chance) / rewards.size) + 1e-12
        assert float(law.sf(r)) == pytest.approx(1.0 - chance, abs=1e-9)
    # E ψ_N(R) = 0 and E[ψ_N(R) S] = ∇V_N
    psi = best_of_n.advantage(law, 8, rewards)
    products = np.concatenate([psi[None], psi * scores]).reshape(1 + len(scores), -1)
    expected = np.concatenate([[0.0], best_of_n.gradient(law, 8)])
    error = products.std(axis=1) / math.sqrt(rewards.size)
    z = (products.mean(axis=1) - expected) / np.maximum(error, 1e-12)
    assert (np.abs(z) < 5.0).all()
    # the same test rejects a gradient that is a fifth off
    assert np.abs((products.mean(axis=1) - 1.2 * expected) / np.maximum(error, 1e-12)).max() > 5.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": 0.0}, "step is 0.0"),
        ({"low": 1.0, "high": 1.0}, "give low < high"),
        ({"threshold": 0.0}, "threshold and value go together"),
        ({"threshold": 0.0, "value": 1.0}, "value is 1.0 and the threshold is recorded as 0.0"),
        ({"step": 1e-9}, "give a larger step"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Recorded(Normal(), **settings)


def test_wrong_base():
    with pytest.raises(TypeError, match="give a continuous law"):
        Recorded(Discrete([0.0, 1.0], [0.0, 0.0]))
