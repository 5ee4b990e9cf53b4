"""Calibrated TEA: its two expectations on the normal law, and what they make of the bias."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import legendre
from scipy import integrate, special

import tea_stats
from tea_stats import Gumbel, GumbelMin, Normal, monte_carlo, tails
from tea_stats.tails import calibration
from tea_stats.tails.calibration import influence_means

SIZES = [(3, 3), (4, 3), (16, 4), (16, 8), (16, 16), (64, 3), (64, 16), (256, 13), (256, 256)]


def three_in_the_tail(m):
    """E[(1/m) Σ A_i S_i] for k = 3, with 1/σ̂ as it stands.

    The two excesses are y and xy with 0 < x < 1: σ̂ is then y times a function of x that is never
    zero, and a product of Gauss–Legendre rules in (t, y, x) sees only smooth functions.
    """
    nodes, weights = legendre.leggauss(90)

    def rule(low, high):
        half = (high - low) / 2
        return low + half * (1 + nodes), half * weights

    t, dt = rule(-9.0, 9.0)
    y, dy = rule(0.0, 1.0)
    x, dx = rule(0.0, 1.0)
    t, x = t[:, None, None], x[None, None, :]
    reach = 9.5 - np.minimum(t, 0.0)
    y = reach * y[None, :, None]
    weight = dt[:, None, None] * reach * dy[None, :, None] * dx[None, None, :]
    phi = lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    below = special.ndtr(t) ** (m - 3)
    # r_(m−2) = t, then t + xy and t + y: m (m − 1) (m − 2)/(m − 3)! of the orders have them there
    count = m * (m - 1) * (m - 2)
    density = count * below * phi(t) * phi(t + x * y) * phi(t + y) * y
    tail = np.broadcast_arrays(np.zeros_like(y * x), x * y, y * np.ones_like(x))
    mean, sd = np.mean(tail, axis=0), np.std(tail, axis=0)
    computed = np.empty((2, 2))
    for row, score in enumerate((lambda r: r, lambda r: r * r - 1)):
        hinge = sum(e * score(t + e) for e in tail) / 3
        spread = sum(e * (e - 2 * mean) / (2 * sd) * score(t + e) for e in tail) / 3
        computed[row] = (weight * density * hinge).sum(), (weight * density * spread).sum()
    return computed


@pytest.mark.parametrize("m", [3, 4, 8, 12])
def test_they_are_the_integrals_that_they_stand_for(m):
    assert influence_means(m, 3) == pytest.approx(three_in_the_tail(m), rel=1e-9, abs=1e-10)


@pytest.mark.parametrize(("m", "k"), [(3, 3), (4, 3), (16, 8), (64, 3), (256, 13), (256, 256)])
def test_more_points_change_nothing(m, k, monkeypatch):
    computed = np.array(influence_means(m, k))
    monkeypatch.setattr(calibration, "POINTS", (110, 160, 110))
    monkeypatch.setattr(calibration, "WIDTHS", (-12.0, 20.0))
    finer = np.array(influence_means.__wrapped__(m, k))
    assert finer != pytest.approx(computed, rel=1e-16, abs=0)  # they were used
    assert computed == pytest.approx(finer, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize(("m", "k"), SIZES)
def test_closed_forms(m, k):
    (hinge, spread), _ = influence_means(m, k)
    # E Σ e_i r_i = Σ E[1{i in the tail} ∂e_i/∂r_i] (Stein); the threshold itself has no excess
    assert hinge == pytest.approx((k - 1) / k, rel=1e-10)
    if k == m:  # r → −r turns the spread's influence on the location around
        assert spread == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("m", [3, 4, 16, 64, 256, 1024])
def test_closed_form_with_the_whole_group_in_the_tail(m):
    """r̄, σ̂ and d_i = (r_i − r̄)/σ̂ are independent, and E σ̂³ = E σ̂.

    For the log scale the hinge has −E[min]/m, the spread (E σ̂/2)(E d⁴ + 1/m − 1 − E[d_min²]/m).
    """

    def moment(p):
        density = lambda x: np.exp(-x * x / 2) / np.sqrt(2 * np.pi)  # noqa: E731
        of_least = lambda x: x**p * m * density(x) * special.ndtr(-x) ** (m - 1)  # noqa: E731
        return integrate.quad(of_least, -12, 9, points=[-3, -1], epsabs=1e-14, limit=200)[0]

    sd = np.sqrt(2 / m) * np.exp(special.gammaln(m / 2) - special.gammaln((m - 1) / 2))
    fourth, least = 3 * (m - 1) / (m + 1), (moment(2) - 1 / m) * m / (m - 1)
    spread = sd / 2 * (fourth + 1 / m - 1 - least / m)
    assert influence_means(m, m)[1] == pytest.approx((-moment(1) / m, spread), rel=1e-11)


@pytest.mark.parametrize(
    ("m", "N", "options"),
    [
        (8, 32, {"alpha": 0.5}),
        (16, 128, {}),
        (16, 512, {"alpha": 1.0}),
        (32, 512, {"alpha": 0.5}),
        (64, 1024, {}),
        (256, 1024, {"alpha": 0.05}),
    ],
)
def test_it_is_unbiased_on_the_normal_law(m, N, options):
    """40,000 groups: the bias is known to 0.7 to 3 % of the gradient, plain TEA's is 20 to 60 %."""
    law = Normal(3.0, 2.0)
    arms = {
        "calibrated": ("tea", {**options, "calibrated": True}),
        "plain": ("tea", options),
    }
    table = monte_carlo.measure(law, arms, m, N, reps=40_000, seed=5)
    rows = table[table["parameter"] != "all"].set_index(["estimator", "parameter"])
    z = rows["bias"] / rows["bias_mcse"]
    exact = rows["exact"].abs()
    assert (z.loc["calibrated"].abs() < 5).all()
    assert (rows.loc["calibrated", "bias_mcse"] < 0.05 * exact.loc["calibrated"].max()).all()
    if options.get("alpha", 0.25) < 1.0:
        assert z.loc["plain"].abs().max() > 15


@pytest.mark.parametrize("law", [Gumbel(), GumbelMin()])
def test_off_the_normal_law_it_stays_biased(law):
    arms = {"calibrated": ("tea", {"alpha": 0.5, "calibrated": True})}
    table = monte_carlo.measure(law, arms, 16, 128, reps=40_000)
    z = table["bias"] / table["bias_mcse"]
    assert z.abs().max() > 15


def test_it_becomes_plain_tea_as_m_grows():
    for alpha in (0.25, 0.5):
        gaps = [
            np.abs(
                np.subtract(
                    tails.calibrated_coefficients(m, int(alpha * m)),
                    tails.influence_coefficients(alpha),
                )
            ).max()
            for m in (64, 256, 1024)
        ]
        # an O(1/m) correction falls by four
        assert gaps[1] < gaps[0] / 3 and gaps[2] < gaps[1] / 3
        assert gaps[2] < 0.1


def test_the_advantage_is_hinge_and_spread_with_these_coefficients():
    rng = np.random.default_rng(0)
    m, k, N = 12, 5, 64
    kappa, hinge, bend, hinge_slope, bend_slope = tails.calibrated_coefficients(m, k)
    c = tails.normal_max_mean(N)
    hinge, bend = hinge + c * hinge_slope, (bend + c * bend_slope) / kappa
    for _ in range(20):
        r = rng.gumbel(size=m)
        top = np.sort(r)[-k:]
        e = np.maximum(r - top[0], 0.0)
        spread = e * (e - 2 * (top.mean() - top[0])) / (2 * top.std())
        expected = m / k * (hinge * e + bend * spread)
        computed = tea_stats.tea(r, N, alpha=k / m, calibrated=True)
        np.testing.assert_allclose(computed, expected, rtol=1e-12, atol=1e-13)
