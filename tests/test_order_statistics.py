"""Means and gap moments of order statistics, against closed forms, sums and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from tea_stats import best_of_n
from tea_stats.best_of_n.order_statistics import gap_second_moments, means
from tea_stats.families import (
    Beta,
    Gamma,
    GaussianTail,
    GenPareto,
    Gumbel,
    Logistic,
    Normal,
    NormalMixture,
    StudentT,
    Weibull,
)

SMOOTH = [Normal(), Logistic(), Gumbel(), StudentT(5.0), Weibull(0.7), Gamma(2.0), Beta(2.0, 5.0)]
SMOOTH += [GenPareto(-0.45), NormalMixture(0.1, 0.0, 1.0, 3.0, 0.6)]
EXPONENTIAL = Weibull(1.0)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 256, 1000])
def test_means_of_the_exponential_and_of_the_logistic_are_harmonic_sums(n):
    backwards = np.cumsum(1.0 / np.arange(n, 0, -1))
    np.testing.assert_allclose(means(EXPONENTIAL, n), backwards, rtol=1e-11 if n <= 256 else 1e-9)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, n))])
    # E R_(b:n) = H_{b−1} − H_{n−b}
    np.testing.assert_allclose(
        means(Logistic(), n),
        harmonic - harmonic[::-1],
        rtol=0,
        atol=(1e-11 if n <= 256 else 1e-9) * harmonic.max(initial=1),
    )


@pytest.mark.parametrize("law", [*SMOOTH, GenPareto(0.4), GaussianTail()], ids=str)
def test_means_add_up_and_the_last_is_the_exact_value(law):
    for n in (2, 16, 256):
        computed = means(law, n)
        scale = max(1.0, abs(computed[-1]))
        assert (np.diff(computed) > 0).all()
        assert abs(computed[-1] - best_of_n.value(law, n)) < 2e-12 * scale
        assert abs(computed.mean() - best_of_n.value(law, 1)) < 2e-12 * scale


@pytest.mark.parametrize("n", [5, 40])
def test_means_of_the_normal_by_an_independent_integral(n):
    for b in (1, n // 2, n):
        kernel = n * math.comb(n - 1, b - 1)
        exact = integrate.quad(
            lambda x, b=b, kernel=kernel: (
                x * kernel * stats.norm.cdf(x) ** (b - 1) * stats.norm.sf(x) ** (n - b)
                * stats.norm.pdf(x)
            ), -12, 12, epsabs=1e-12, limit=200,
        )[0]  # fmt: skip
        assert abs(means(Normal(), n)[b - 1] - exact) < 1e-9


@pytest.mark.parametrize("m", [2, 3, 16, 64, 256])
def test_gaps_of_the_exponential_are_independent_exponentials(m):
    scale = 1.0 / np.arange(m - 1, 0, -1)
    exact = np.outer(scale, scale) + np.diag(scale**2)
    np.testing.assert_allclose(gap_second_moments(EXPONENTIAL, m), exact, rtol=1e-11)


@pytest.mark.parametrize(
    ("law", "variance"),
    [
        (Normal(1.0, 2.0), 4.0),
        (Logistic(), math.pi**2 / 3),
        (Gumbel(), math.pi**2 / 6),
        (StudentT(5.0), 5 / 3),
        (Weibull(0.7), math.gamma(1 + 2 / 0.7) - math.gamma(1 + 1 / 0.7) ** 2),
        (Gamma(2.0), 2.0),
        (Beta(2.0, 5.0), 10 / (49 * 8)),
        (GenPareto(-0.45), 1 / (1.45**2 * 1.9)),
        (NormalMixture(0.1, 0.0, 1.0, 3.0, 0.6), 0.9 + 0.1 * 0.36 + 0.09 * 9),
    ],
    ids=str,
)
def test_gaps_of_a_pair_know_the_variance(law, variance):
    # E (R_1 − R_2)² = 2 Var R
    assert gap_second_moments(law, 2)[0, 0] == pytest.approx(2 * variance, rel=1e-10)


@pytest.mark.parametrize("law", [*SMOOTH, GaussianTail()], ids=str)
def test_gap_moments_against_simulation(law):
    m, groups = 6, 40_000
    gaps = np.diff(np.sort(law.sample((groups, m), np.random.default_rng(7)), axis=1), axis=1)
    products = gaps[:, :, None] * gaps[:, None, :]
    mcse = products.std(axis=0) / math.sqrt(groups)
    exact = gap_second_moments(law, m)
    assert (mcse < 0.06 * exact).all()  # the resolution
    assert (np.abs(products.mean(axis=0) - exact) < 5 * mcse).all()
    # a forgotten factor 2 on the diagonal is seen
    assert (np.abs(products.mean(axis=0) - exact / 2) > 5 * mcse).all()


def test_a_coarser_rule_is_good_enough_for_designs():
    for law, m in ((Normal(), 256), (StudentT(4.0), 64), (GenPareto(0.3), 64), (Weibull(10.0), 8)):
        fine, coarse = gap_second_moments(law, m), gap_second_moments(law, m, 8)
        np.testing.assert_allclose(coarse, fine, rtol=2e-4)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(ValueError, match="variance is infinite"):
        gap_second_moments(StudentT(2.0), 4)
    with pytest.raises(ValueError, match="modes lie closer together"):
        gap_second_moments(NormalMixture(0.2, 0.0, 1.0, 9.0, 0.3), 4)
    with pytest.raises(ValueError, match="m is 1"):
        gap_second_moments(Normal(), 1)
    with pytest.raises(TypeError, match="n is 2.0"):
        means(Normal(), 2.0)
    assert not means(Normal(), 3).flags.writeable
    assert not gap_second_moments(Normal(), 3).flags.writeable
