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
)

FAR = [0.3, 1e-3, 1e-12, 1e-30, 1e-100, 1e-300]


@pytest.fixture(autouse=True)
def precision():
    with mp.workdps(50):
        yield


def relative_error(x, tail, p):
    """Relative error of a quantile x: the error of tail(x) over the slope of tail in log x."""
    x = mp.mpf(float(x))
    slope = mp.diff(lambda y: mp.log(tail(y)), x) * x
    return float(abs(mp.log(tail(x) / mp.mpf(p)) / slope))


@pytest.mark.parametrize("p", FAR)
@pytest.mark.parametrize("df", [1.01, 1.5, 3.0, 5.0, 60.0, 1000.0])
def test_student_t_far_out(df, p):
    def sf(t):
        return mp.betainc(mp.mpf(df) / 2, mp.mpf(1) / 2, 0, df / (df + t * t), regularized=True) / 2

    law = StudentT(df)
    t = float(law.isf(p))
    assert relative_error(t, sf, p) < 1e-13
    assert law.ppf(p) == -t
    assert abs(float(law.sf(t)) / float(sf(mp.mpf(t))) - 1.0) < 1e-12
    assert law.cdf(-t) == law.sf(t)
    logpdf = -(df + 1) / 2 * mp.log1p(mp.mpf(t) ** 2 / df) - mp.log(
        mp.sqrt(df) * mp.beta(mp.mpf(df) / 2, mp.mpf(1) / 2)
    )
    assert abs(float(law.logpdf(t) - logpdf)) < 1e-12 * abs(float(logpdf))
    np.testing.assert_allclose(
        law.score(t), [(df + 1) * t / (df + mp.mpf(t) ** 2), df - (df + 1) / (1 + mp.mpf(t) ** 2 / df)],
        rtol=1e-12,
    )  # fmt: skip


@pytest.mark.parametrize("p", FAR)
@pytest.mark.parametrize("shape", [0.7, 2.0, 30.0])
def test_gamma_far_out(shape, p):
    law = Gamma(shape)
    lower, upper = float(law.ppf(p)), float(law.isf(p))
    if lower > 1e-290:
        cdf = lambda x: mp.gammainc(shape, 0, x, regularized=True)  # noqa: E731
        assert relative_error(lower, cdf, p) < 1e-12
    sf = lambda x: mp.gammainc(shape, x, mp.inf, regularized=True)  # noqa: E731
    assert relative_error(upper, sf, p) < 1e-13


@pytest.mark.parametrize("p", FAR)
@pytest.mark.parametrize(("a", "b"), [(2.0, 5.0), (5.0, 2.0), (1.5, 0.6), (40.0, 60.0)])
def test_beta_far_out(a, b, p):
    def cdf(x):
        return mp.betainc(a, b, 0, x, regularized=True)

    assert relative_error(Beta(a, b).ppf(p), cdf, p) < 1e-12
    # r = 1 − x keeps an absolute precision only
    x = mp.findroot(lambda x: mp.log(cdf(mp.exp(x)) / p), mp.log(mp.mpf(float(Beta(a, b).ppf(p)))))
    assert abs(float(Beta(b, a).isf(p) - (1 - mp.exp(x)))) < 3e-16


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
        return (upper((x - l2) / s2) - upper((x - l1) / s1)) / pdf(x)

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
        found = law._quantile_gradient(r)[0]
        expected = np.array([float(by_weight(mp.mpf(float(x)))) for x in r])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14 * law.scale1)


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
    found = law.score(r)
    np.testing.assert_allclose(
        found[:, 0], [near(logpdf, value) for value in x], rtol=1e-11, atol=1e-13
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
