"""The note `paper/linear_tea.tex`: each numbered equation by a test named after its label, II.

From exactness on: conditions, variance, bound, value, and the error that remains.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb, factorial

import numpy as np
import pytest
from scipy import integrate, special

from tea_stats import linear_tea_design, prediction
from tea_stats.best_of_n import efficiency
from tea_stats.best_of_n.order_statistics import gap_second_moments
from tea_stats.families import Beta, Gumbel, Logistic, Normal
from tea_stats.linear.design import advantage_square
from tests.linear_definitions import (
    SLOPES,
    WEIGHTS,
    bernstein,
    best_of_k,
    equal,
    every_law,
    gap_moments,
    gap_slopes,
    influence,
    mean_gradient,
    named,
    powers,
    primitive,
    response,
    slopes_of,
    uniform_programme,
    value_weights,
    weights_of,
)
from tests.rational import COIN, SPREAD, TIED, fractions, solve

# --- location-scale families --------------------------------------------------------------------


@every_law
def test_exact(law):
    """Two conditions on W make V^w = V_N for µ + σW, whatever µ and σ."""
    N, m = 9, 4
    c = [law.best_of(k) for k in range(1, m + 1)]
    w = fractions([1, -2, 0, 0])
    w[2:] = solve(
        fractions([[1, 1], [c[2], c[3]]]),
        fractions([1 - sum(w), law.best_of(N) - w @ fractions(c)]),
    )
    slopes, ranks = slopes_of(w), law.mean(m - 1, lambda r, S: np.sort(r))
    assert sum(w) == sum(slopes) / m + w[-1] == 1
    assert w @ c == slopes @ ranks / m + w[-1] * c[-1] == law.best_of(N)
    for mu, sigma in ((0, 1), (-3, 2), (7, 5)):
        moved = type(law)("moved", tuple(mu + sigma * r for r in law.rewards), law.probabilities)
        assert sum(x * moved.best_of(k) for k, x in enumerate(w, start=1)) == moved.best_of(N)


def test_exact_gradient():
    """On the logistic law, with c_N = γ + digamma(N), by two quadratures."""
    m, N = 4, 16
    design = linear_tea_design(m, N, tails=("logistic",), k_min=1)

    def p(u):
        return float(bernstein(design.slopes, u)) + design.top * m * u ** (m - 1)

    def hinge(t, r):
        F = special.expit(t)
        return (int(t < r) - 1 + F) * p(F)

    def advantage(r):
        parts = ((-60.0, r), (r, 60.0))
        return sum(
            integrate.quad(hinge, *ends, args=(r,), epsabs=1e-11, epsrel=1e-11, limit=200)[0]
            for ends in parts
        )

    x, weights = np.polynomial.legendre.leggauss(60)
    r = np.linspace(-40, 40, 5)
    points = np.concatenate([(a + b) / 2 + (b - a) / 2 * x for a, b in itertools.pairwise(r)])
    weights = np.tile(weights * 10.0, 4)
    density = special.expit(points) * special.expit(-points)
    score = np.tanh(points / 2)
    a = np.array([advantage(point) for point in points])
    signal = [weights @ (density * a * S) for S in (score, points * score - 1)]
    np.testing.assert_allclose(signal, [1.0, np.euler_gamma + special.digamma(N)], atol=1e-8)


# --- variance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 5])
def test_bridge(m):
    for b, c in itertools.product(range(1, m), repeat=2):
        products = (
            (int(i > b) - Fraction(m - b, m)) * (int(i > c) - Fraction(m - c, m))
            for i in range(1, m + 1)
        )
        assert sum(products) / m == Fraction(min(b, c) * (m - max(b, c)), m * m)


@every_law
def test_square(law):
    m, top = 4, Fraction(2, 3)
    moments = gap_moments(law, m)
    b = fractions(range(1, m))
    bridge = np.minimum.outer(b, b) * (m - np.maximum.outer(b, b)) / m**2
    stated = SLOPES @ (bridge * moments) @ SLOPES
    stated += 2 * top * (SLOPES @ (b / m * moments[:, -1])) + m * top**2 * moments[-1, -1]
    listed = law.mean(m, lambda r, S: gap_slopes(r, SLOPES, top) @ gap_slopes(r, SLOPES, top)) / m
    assert listed == stated


@every_law
def test_gap_moments(law):
    m = 4
    listed = gap_moments(law, m)
    for b in range(1, m):
        for c in range(b, m):
            ways = Fraction(factorial(m), factorial(b) * factorial(c - b) * factorial(m - c))
            total = Fraction(0)
            for (x, x_end, F), (y, y_end, G) in itertools.product(law.cells, repeat=2):
                if x <= y:
                    # of a cell with itself, x < y is one half
                    area = (x_end - x) * (y_end - y) * (Fraction(1, 2) if x == y else 1)
                    total += area * ways * F**b * (G - F) ** (c - b) * (1 - G) ** (m - c)
            assert listed[b - 1, c - 1] == (1 + int(b == c)) * total
    # uniform rewards: the gaps are Dirichlet
    for n in (m, 20):
        exact = (np.ones((n - 1, n - 1)) + np.eye(n - 1)) / ((n + 1) * (n + 2))
        np.testing.assert_allclose(gap_second_moments(Beta(1.0, 1.0), n), exact, rtol=1e-11)


@pytest.mark.parametrize("k_min", [1, 2])
@pytest.mark.parametrize("N", [2, 50])
def test_programme(k_min, N):
    m = 5
    H, C = uniform_programme(m, k_min)
    d = fractions([1, Fraction(N, N + 1)])
    inverse = solve(H, C.T)
    x = inverse @ solve(C @ inverse, d)
    least = d @ solve(C @ inverse, d)
    assert equal(C @ x, d)
    assert x @ H @ x == least
    for j in range(len(x) - 2):
        # a step along which the design stays exact
        step = fractions(np.zeros(len(x), dtype=int))
        step[j] = Fraction(1)
        step[-2:] = solve(C[:, -2:], -C[:, j])
        assert x @ H @ step == 0
        assert step @ H @ step > 0
    design = linear_tea_design(m, N, tails=(Beta(1.0, 1.0),), k_min=k_min)
    computed = np.append(design.slopes, design.top)
    np.testing.assert_allclose(computed[k_min - 1 :], x.astype(float), rtol=0, atol=1e-10)
    assert design.variance == pytest.approx(float(least), rel=1e-10)
    whole = advantage_square(Beta(1.0, 1.0), m)[k_min - 1 :, k_min - 1 :]
    np.testing.assert_allclose(whole, H.astype(float), rtol=1e-11)


# --- the bound ----------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [TIED, SPREAD], ids=str)
def test_bound(law):
    """Of the parameter that tilts p_y by exp(θ y), with score r − E R."""
    m, k = 4, 3
    mean = law.mean(1, lambda r, S: r[0])
    information = law.mean(1, lambda r, S: (r[0] - mean) ** 2)
    truth = law.mean(k, lambda r, S: max(r) * sum(r - mean))
    bound = truth**2 / information
    for baseline in (k - 1, k):

        def advantages(rewards, baseline=baseline):
            return best_of_k(rewards, k, baseline)

        a = response(law, m, advantages)
        square = law.mean(m, lambda r, S, A=advantages: A(r)[0] ** 2)
        middle = law.mean(1, lambda r, S, a=a: a[r[0]] ** 2)
        assert law.mean(1, lambda r, S, a=a: a[r[0]] * (r[0] - mean)) == truth
        assert square > middle > bound
    ideal = {v: truth / information * (v - mean) for v in law.levels}
    assert law.mean(1, lambda r, S: ideal[r[0]] * (r[0] - mean)) == truth
    assert law.mean(1, lambda r, S: ideal[r[0]] ** 2) == bound


@pytest.mark.parametrize("N", [4, 1000])
def test_bound_family(N):
    sigma = 3.0
    c = np.euler_gamma + special.digamma(N)
    exact = sigma**2 * (3 + 9 * c**2 / (3 + np.pi**2))
    assert efficiency.least_square(Logistic(2.0, sigma), N) == pytest.approx(exact, rel=1e-10)
    c, off = np.euler_gamma + np.log(N), np.euler_gamma - 1
    information = np.array([[1.0, off], [off, np.pi**2 / 6 + off**2]])
    exact = sigma**2 * np.array([1, c]) @ np.linalg.inv(information) @ np.array([1, c])
    assert efficiency.least_square(Gumbel(2.0, sigma), N) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("N", [2, 128])
def test_bound_normal(N):
    mu, sigma = -1.0, 0.5
    c = 1 / np.sqrt(np.pi) if N == 2 else 2.594597
    exact = (1 + c**2 / 2) * sigma**2
    assert efficiency.least_square(Normal(mu, sigma), N) == pytest.approx(exact, rel=1e-6)
    # moments up to the fourth, exact by Gauss and Hermite
    z, weights = np.polynomial.hermite_e.hermegauss(6)
    weights /= weights.sum()
    ideal = sigma * (z + c / 2 * (z**2 - 1))
    assert weights @ ideal**2 == pytest.approx(exact, rel=1e-13)
    scores = np.array([z / sigma, (z**2 - 1) / sigma])
    np.testing.assert_allclose(scores @ (weights * ideal), [1.0, c], rtol=1e-13)


@pytest.mark.parametrize("law", [TIED, SPREAD], ids=str)
def test_efficiency(law):
    N = 6
    I = law.mean(1, lambda r, S: np.multiply.outer(S[0], S[0])).astype(float)  # noqa: E741
    inverse = np.linalg.pinv(I, hermitian=True)
    t = law.best_of_gradient(N).astype(float)
    for advantages in (lambda r: best_of_k(r, 2), lambda r: 5 * gap_slopes(r, SLOPES[:2])):
        v = mean_gradient(law, 3, advantages).astype(float)
        square = float(law.mean(3, lambda r, S, A=advantages: A(r) @ A(r))) / 3
        stated = (v @ inverse @ t) ** 2 / (t @ inverse @ t * square)
        assert 0.01 < stated < 1
        assert efficiency.efficiency(named(law), N, v, square) == pytest.approx(stated, rel=1e-10)
    # the exact advantage has 1
    psi = fractions([influence(law, lambda u: N * u ** (N - 1), r) for r in law.rewards])
    square = float(fractions(law.probabilities) @ psi**2)
    assert efficiency.efficiency(named(law), N, t, square) == pytest.approx(1.0, rel=1e-10)


# --- the value ----------------------------------------------------------------------------------


@every_law
def test_value_weights(law):
    m, top = 4, Fraction(2, 3)
    a = value_weights(SLOPES, top)

    def estimate(rewards, _):
        left_out = (np.sort(np.delete(rewards, i)) for i in range(m))
        listed = sum(SLOPES @ rest for rest in left_out) / Fraction(m * m) + top * max(rewards)
        assert listed == a @ np.sort(rewards)
        return listed

    weights = [*weights_of(SLOPES), top]
    exact = sum(w * law.best_of(k) for k, w in enumerate(weights, start=1))
    assert law.mean(m, estimate) == exact
    design = linear_tea_design(m, 9, k_min=1)
    code = value_weights(fractions(design.slopes), Fraction(design.top))
    np.testing.assert_allclose(design.value_weights, code.astype(float), rtol=0, atol=1e-13)


def test_value_bernstein():
    m, top = 4, Fraction(2, 3)
    a = value_weights(SLOPES, top)
    for u in (Fraction(j, 7) for j in range(8)):
        raised = sum(
            x * m * comb(m - 1, i) * u**i * (1 - u) ** (m - 1 - i) for i, x in enumerate(a)
        )
        assert raised == bernstein(SLOPES, u) + top * m * u ** (m - 1)


@every_law
def test_standard_error(law):
    m, d, N = 4, 2, 16
    a = fractions(linear_tea_design(d, N).value_weights)

    def estimates(rewards, _):
        h = {K: a @ np.sort(rewards[list(K)]) for K in itertools.combinations(range(m), d)}
        value = sum(h.values()) / len(h)
        pairs = [h[K] * h[L] for K in h for L in h if not set(K) & set(L)]
        square = value**2 - sum(pairs) / len(pairs)
        predicted = prediction.linear_value(rewards.astype(float), N, degree=d)
        assert predicted.value == pytest.approx(float(value), abs=1e-12)
        assert predicted.variance == pytest.approx(float(square), abs=1e-10)
        return fractions([value, value**2, square])

    mean, second, variance = law.mean(m, estimates)
    assert variance == second - mean**2 > 0


# --- what it does not do ------------------------------------------------------------------------


@every_law
def test_error(law):
    N = 9
    by_weights = sum(w * law.best_of(k) for k, w in enumerate(WEIGHTS, start=1)) - law.best_of(N)
    integral = law.value(lambda u: primitive(WEIGHTS, u) - u**N)
    assert by_weights == integral != 0


@every_law
def test_error_gradient(law):
    N = 9

    def advantages(rewards):
        return gap_slopes(rewards, slopes_of(WEIGHTS), WEIGHTS[-1])

    def excess(u):
        return powers(WEIGHTS, u) - N * u ** (N - 1)

    listed = mean_gradient(law, 4, advantages) - law.best_of_gradient(N)
    assert equal(law.mean(1, lambda r, S: influence(law, excess, r[0]) * S[0]), listed)
    a = response(law, 4, advantages)
    psi = {r: influence(law, lambda u: N * u ** (N - 1), r) for r in law.levels}
    # max@m is not centred, so that there is a constant
    shifts = {a[r] - psi[r] - influence(law, excess, r) for r in law.levels}
    assert len(shifts) == 1
    assert not equal(listed, 0)


def test_error_verifier():
    N, theta = 9, COIN.probabilities[1]
    stated = sum(w * (1 - (1 - theta) ** k) for k, w in enumerate(WEIGHTS, start=1))
    stated -= 1 - (1 - theta) ** N
    listed = COIN.mean(4, lambda r, S: value_weights(slopes_of(WEIGHTS), WEIGHTS[-1]) @ np.sort(r))
    assert stated == listed - COIN.best_of(N)
