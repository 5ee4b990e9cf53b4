"""Tail counts and the constants that extrapolate a Gaussian tail."""

from __future__ import annotations

import math

import pytest
from scipy import integrate, stats

from tea_stats import tails


@pytest.mark.parametrize(
    ("m", "alpha", "count"),
    [
        (16, 0.25, 4),
        (16, 0.26, 5),
        (30, 0.1, 3),
        (100, 0.55, 55),  # 0.55 · 100 is 55.00000000000001 in floating point
        (50, 0.14, 7),  # and 0.14 · 50 is 7.000000000000001
        (4, 0.25, 2),  # never fewer than 2
        (2, 0.01, 2),
        (7, 1.0, 7),
    ],
)
def test_tail_count(m: int, alpha: float, count: int) -> None:
    assert tails.tail_count(m, alpha) == count


@pytest.mark.parametrize("alpha", [k / 10 for k in range(1, 11)])
def test_tail_count_is_exact_where_alpha_m_is_whole(alpha: float) -> None:
    for m in range(20, 400, 10):
        assert tails.tail_count(m, alpha) == round(alpha * 10) * m // 10


@pytest.mark.parametrize(
    ("N", "constant"),
    [(16, 1.765991), (64, 2.343733), (128, 2.594597), (512, 3.043903), (1024, 3.248240)],
)
def test_expected_maximum_of_normals(N: int, constant: float) -> None:
    assert tails.normal_max_mean(N) == pytest.approx(constant, abs=5e-7)


def test_expected_maximum_of_few_normals_in_closed_form() -> None:
    assert tails.normal_max_mean(1) == pytest.approx(0.0, abs=1e-12)
    assert tails.normal_max_mean(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-12)
    assert tails.normal_max_mean(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.25, 0.5, 0.9])
def test_gaussian_tail_moments_by_quadrature(alpha: float) -> None:
    z, mean, sd = tails.gaussian_tail_moments(alpha)
    assert stats.norm.sf(z) == pytest.approx(alpha, rel=1e-12)

    def moment(power: int) -> float:
        return integrate.quad(lambda x: x**power * stats.norm.pdf(x) / alpha, z, 12)[0]

    assert mean == pytest.approx(moment(1), abs=1e-9)
    assert sd == pytest.approx(math.sqrt(moment(2) - moment(1) ** 2), abs=1e-7)


def test_the_whole_law_is_its_own_tail() -> None:
    assert tails.gaussian_tail_moments(1.0) == (-math.inf, 0.0, 1.0)
    assert tails.tail_coefficient(1.0, 64) == tails.normal_max_mean(64)


@pytest.mark.parametrize("alpha", [0.05, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("N", [2, 128, 4096])
def test_tail_coefficient_extrapolates_a_gaussian(alpha: float, N: int) -> None:
    _, mean, sd = tails.gaussian_tail_moments(alpha)
    extrapolated = mean + tails.tail_coefficient(alpha, N) * sd
    assert extrapolated == pytest.approx(tails.normal_max_mean(N), abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.0001, math.nan, math.inf])
def test_alpha_outside_its_range(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"alpha is .*; give a finite number in \(0, 1\]"):
        tails.tail_count(16, alpha)
