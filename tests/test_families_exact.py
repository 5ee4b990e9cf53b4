"""Continuous laws against mpmath far out in the tails, and GaussianTail's construction."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from scipy import integrate, special

from tea_stats.families import (
    Beta,
    Gamma,
    GaussianTail,
    GenPareto,
    Normal,
    NormalMixture,
    StudentT,
    Weibull,
)
from tests.mpmath_truth import DIGITS, _beta

FAR = [0.3, 1e-3, 1e-12, 1e-30, 1e-100, 1e-300]


@pytest.fixture(autouse=True)
def precision():
    with mp.workdps(DIGITS):
        yield


def relative_error(x, tail, density, p):
    """Relative error of a quantile x of p, from tail(x) and the density there."""
    x = mp.mpf(float(x))
    return float(abs(mp.log(tail(x) / mp.mpf(p)) * tail(x) / (x * density(x))))


@pytest.mark.parametrize("p", FAR)
@pytest.mark.parametrize("df", [1.01, 1.5, 3.0, 5.0, 60.0, 1000.0])
def test_student_t_far_out(df, p):
    nu = mp.mpf(df)

    def sf(t):
        with mp.workdps(360):  # for p = 1e-300 computed from its complement
            return mp.betainc(nu / 2, mp.mpf("0.5"), 0, nu / (nu + t * t), regularized=True) / 2

    def logpdf(t):
        factor = mp.log(mp.sqrt(nu) * mp.beta(nu / 2, mp.mpf("0.5")))
        return -(nu + 1) / 2 * mp.log1p(t * t / nu) - factor

    law = StudentT(df)
    t = float(law.isf(p))
    exact = mp.mpf(t)
    assert relative_error(t, sf, lambda x: mp.exp(logpdf(x)), p) < 1e-13
    assert law.ppf(p) == -t
    assert float(abs(law.sf(t) / sf(exact) - 1)) < 1e-12
    assert law.cdf(-t) == law.sf(t)
    assert float(abs(law.logpdf(t) / logpdf(exact) - 1)) < 1e-12
    slope = (nu + 1) * exact / (nu + exact**2)
    np.testing.assert_allclose(law.score(t), [float(slope), float(slope * exact - 1)], rtol=1e-12)


@pytest.mark.parametrize("p", FAR)
@pytest.mark.parametrize("shape", [0.7, 2.0, 30.0])
def test_gamma_far_out(shape, p):
    law, k = Gamma(shape), mp.mpf(shape)

    def density(x):
        return x ** (k - 1) * mp.exp(-x) / mp.gamma(k)

    def cdf(x):  # a series of positive terms
        terms, n = [mp.mpf(1)], 0
        while terms[-1] > terms[0] * mp.eps:
            n += 1
            terms.append(terms[-1] * x / (k + n))
        return x * density(x) / k * sum(terms)

    def sf(x):
        return mp.gammainc(k, x, mp.inf, regularized=True)

    lower, upper = law.ppf(p), law.isf(p)
    if lower > 1e-290:
        assert relative_error(lower, cdf, density, p) < 1e-12
        assert float(abs(law.cdf(lower) / cdf(mp.mpf(float(lower))) - 1)) < 1e-11
    assert relative_error(upper, sf, density, p) < 1e-13
    assert float(abs(law.sf(upper) / sf(mp.mpf(float(upper))) - 1)) < 1e-11


@pytest.mark.parametrize("p", FAR)
@pytest.mark.parametrize(("a", "b"), [(2.0, 5.0), (5.0, 2.0), (1.5, 0.6), (40.0, 60.0)])
def test_beta_far_out(a, b, p):
    alpha, beta = mp.mpf(a), mp.mpf(b)

    def cdf(x):
        return _beta(alpha, beta, x, 1 - x)[0]

    def density(x):
        return x ** (alpha - 1) * (1 - x) ** (beta - 1) / mp.beta(alpha, beta)

    computed = float(Beta(a, b).ppf(p))
    assert relative_error(computed, cdf, density, p) < 1e-12
    # in the upper tail r = 1 − x keeps an absolute precision only
    assert abs(float(Beta(b, a).isf(p)) - float(1 - mp.mpf(computed))) < 3e-16


def in_tails(law, x):
    """Return the law's log density and score where x is the logit of u."""
    x = np.array(x)
    u, p = special.expit(x), special.expit(-x)
    with np.errstate(all="ignore"):
        r = np.where(u < 0.5, law._ppf(u), law._isf(p))
        log_density, columns = law._density_and_score(r, u, p)
    return log_density, np.stack(columns)


@pytest.mark.parametrize("k", [0.01, 0.4])
def test_small_shapes_keep_the_score_where_the_reward_underflows(k):
    """Far down F = x^k / c: the logs of x and of the density are known without x."""
    x = np.array([-680.0, -100.0, -30.0])
    for law, c, at in (
        (Gamma(k, 2.0), mp.gamma(k + 1), lambda log_x: log_x - mp.digamma(k)),
        (Weibull(k, 2.0), mp.mpf(1), lambda log_x: 1 / mp.mpf(k) + log_x),
        (Beta(k, 3.0), k * mp.beta(k, 3), lambda log_x: log_x + mp.digamma(k + 3) - mp.digamma(k)),
    ):
        scale = 1 if isinstance(law, Beta) else 2
        log_x = [(mp.log(c) - mp.log1p(mp.exp(-mp.mpf(t)))) / k for t in x.tolist()]
        log_density, score = in_tails(law, x)
        expected = [mp.log(k / c / scale) + (k - 1) * t for t in log_x]
        np.testing.assert_allclose(log_density, [float(t) for t in expected], rtol=1e-12)
        np.testing.assert_allclose(score[0], [float(at(t)) for t in log_x], rtol=1e-12)


@pytest.mark.parametrize("b", [0.01, 0.4])
def test_beta_keeps_the_score_where_the_reward_rounds_to_1(b):
    x = np.array([0.3, 5.0, 30.0, 100.0, 680.0])
    log_density, score = in_tails(Beta(3.0, b), x)
    mirrored_density, mirrored = in_tails(Beta(b, 3.0), -x)
    np.testing.assert_allclose(log_density, mirrored_density, rtol=1e-13)
    np.testing.assert_allclose(score, mirrored[::-1], rtol=1e-13, atol=1e-13)


# --- mixture ------------------------------------------------------------------------------------


def mixture(law):
    """Return sf, its mirror image and the density in mpmath."""
    w, l1, s1, l2, s2 = (mp.mpf(getattr(law, name)) for name in law.parameters)

    def upper(z):
        return mp.erfc(z / mp.sqrt(2)) / 2

    def sf(x):
        return (1 - w) * upper((x - l1) / s1) + w * upper((x - l2) / s2)

    def pdf(x):
        return (1 - w) * mp.npdf(x, l1, s1) + w * mp.npdf(x, l2, s2)

    def by_weight(x):
        # F₁ − F₂, which far down is not to be had from the complements
        z1, z2 = (x - l1) / s1, (x - l2) / s2
        difference = upper(-z1) - upper(-z2) if min(z1, z2) < 0 else upper(z2) - upper(z1)
        return difference / pdf(x)

    return sf, pdf, by_weight


MIXTURES = [
    NormalMixture(0.02, 0.0, 1.0, 4.0, 0.5),
    NormalMixture(1e-6, 0.0, 1.0, 20.0, 0.1),
    NormalMixture(0.3, 5.0, 0.5, -5.0, 2.0),
    NormalMixture(0.5, 0.0, 1.0, 0.0, 1.0),
    NormalMixture(0.999, 1.0, 1e-3, 0.0, 1e3),
]


@pytest.mark.parametrize("law", MIXTURES, ids=repr)
def test_mixture_quantiles_to_rounding(law):
    sf, pdf, _ = mixture(law)
    mirrored = NormalMixture(law.weight, -law.loc1, law.scale1, -law.loc2, law.scale2)
    tails = np.array([*FAR, 0.5, 0.9, law.weight, law.weight * (1 - 1e-9), 1 - law.weight])
    x = law.isf(tails)
    for r, p in zip(x, tails, strict=True):
        r, p = mp.mpf(float(r)), mp.mpf(float(p))
        # one rounding of r, and one of p: between far modes the latter moves r most
        allowed = 1e-15 * (abs(r) + law.scale1 + law.scale2) + 4e-16 * min(p, 1 - p) / pdf(r)
        assert abs(sf(r) - p) / pdf(r) <= allowed
    np.testing.assert_array_equal(mirrored.ppf(tails), -x)


@pytest.mark.parametrize("law", MIXTURES, ids=repr)
def test_mixture_gradient_by_weight_far_out(law):
    _, _, by_weight = mixture(law)
    for quantile in (law.isf, law.ppf):
        r = quantile(np.array(FAR))
        computed = -law._cdf_gradient(r)[0] / np.exp(law.logpdf(r))
        expected = np.array([float(by_weight(mp.mpf(float(x)))) for x in r])
        np.testing.assert_allclose(computed, expected, rtol=1e-9, atol=1e-14 * law.scale1)


# --- generalized Pareto through shape 0 -----------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [-0.4, -1e-3, -1e-8, -1e-17, 0.0, 1e-320, 1e-12, 1e-5, 0.02, 0.45]
)
def test_gen_pareto_is_smooth_through_shape_0(shape):
    law, xi = GenPareto(shape, 2.0), mp.mpf(shape)
    p = np.array([0.99, 0.5, 0.05, 1e-3, 1e-9])
    r = law.isf(p)

    def quantile(xi, q):
        return 2 * mp.expm1(-xi * mp.log(q)) / xi if xi else -2 * mp.log(q)

    def logpdf(xi, x):
        return -(1 + 1 / xi) * mp.log1p(xi * x / 2) if xi else -x / 2

    def near(function, *args):
        # 200 digits, because 1/ξ cancels down to ξ = 1e-17 and less
        with mp.workdps(750 if 0 < abs(shape) < 1e-100 else 200):
            h = mp.mpf(10) ** -40
            return float((function(xi + h, *args) - function(xi - h, *args)) / (2 * h))

    with mp.workdps(750):
        np.testing.assert_allclose(r, [float(quantile(xi, mp.mpf(q))) for q in p], rtol=1e-14)
    x = [mp.mpf(float(value)) for value in r]
    computed = law.score(r)
    np.testing.assert_allclose(
        computed[:, 0], [near(logpdf, value) for value in x], rtol=1e-11, atol=1e-13
    )
    by_shape = law._quantile_gradient(r)[0]
    np.testing.assert_allclose(by_shape, [near(quantile, mp.mpf(q)) for q in p], rtol=1e-11)


# --- GaussianTail -------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.25, 0.4, 0.49])
def test_gaussian_tail_is_exactly_gaussian_above_its_threshold(alpha):
    law, normal = GaussianTail(1.0, 2.0, alpha=alpha), Normal(1.0, 2.0)
    p = np.append(np.geomspace(1e-300, 2.0 * alpha * (1 - 1e-12), 50), alpha)
    r = normal.isf(p)
    np.testing.assert_array_equal(law.isf(p), r)
    np.testing.assert_array_equal(law.sf(r), normal.sf(r))
    np.testing.assert_allclose(law.logpdf(r), normal.logpdf(r), rtol=1e-15)
    np.testing.assert_array_equal(law.score(r), normal.score(r))


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.25, 0.4, 0.49])
def test_gaussian_tail_has_mass_1_a_continuous_density_and_a_bulk_that_is_not_gaussian(alpha):
    law = GaussianTail(alpha=alpha)
    breaks = np.array(law.breaks)
    assert breaks[0] == pytest.approx(2.0 * alpha, rel=1e-14)
    joints = law.isf(breaks)
    edges = [float(law.ppf(1e-18)), *joints[::-1], 40.0]
    mass = [
        integrate.quad(lambda r: np.exp(law.logpdf(r)), a, b, epsabs=1e-13)[0]
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    assert sum(mass) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(np.cumsum(mass)[:-1], law.cdf(joints[::-1]), atol=1e-12)
    # continuous at the joint and the two kinks, where the slope jumps
    beside = 1e-9 / law._rate
    np.testing.assert_allclose(law.logpdf(joints - beside), law.logpdf(joints + beside), atol=1e-7)
    jump = law.score(joints - beside)[:, 0] - law.score(joints + beside)[:, 0]
    assert (np.abs(jump) > 0.5 * law._rate).all()
    # between the breaks nothing jumps
    for low, high in zip(edges[:-2], edges[1:-1], strict=True):
        assert len(np.unique(law.score(np.linspace(low, high, 99)[1:-1])[:, 0].round(12))) == 1
    # within the bulk the Kolmogorov distance from the normal curve it replaces is at least 0.1
    r = np.linspace(joints[0] - 8.0 / law._rate, joints[0], 4001)
    distance = np.abs(law.cdf(r) - special.ndtr(r)).max() / (1.0 - 2.0 * alpha)
    assert distance > 0.1
