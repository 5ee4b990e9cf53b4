"""The upper tail of a group: how many rollouts are in it, and the constants that extrapolate it."""

from __future__ import annotations

import math
from functools import lru_cache

from scipy import special

from tea_stats._validation import as_count, as_real
from tea_stats.best_of_n import exact
from tea_stats.families.location_scale import Normal
from tea_stats.tails import calibration

#: κ, then the weights of the influences on μ_α and σ_α/κ in the base, and in the slope
Coefficients = tuple[float, float, float, float, float]


def tail_count(m: int, alpha: float) -> int:
    """Return k = ⌈αm⌉, at least 2: the number of rollouts that count as the tail.

    Parameters
    ----------
    m : int
        Rollouts in a group, at least 2.
    alpha : float
        Tail fraction in (0, 1].

    Returns
    -------
    int
        k, between 2 and m.

    Examples
    --------
    >>> tail_count(16, 0.25), tail_count(30, 0.1), tail_count(4, 0.25)
    (4, 3, 2)
    """
    m = as_count("m", m, at_least=2)
    alpha = as_real("alpha", alpha, above=0.0, at_most=1.0)
    # 0.55 · 100 is 55.00000000000001 in floating point; it means 55
    return min(m, max(2, math.ceil(alpha * m * (1.0 - 1e-12))))


@lru_cache(maxsize=4096)
def normal_max_mean(N: int) -> float:
    """Return c_N, the expected maximum of N standard normals.

    Examples
    --------
    >>> round(normal_max_mean(16), 6), round(normal_max_mean(1024), 6)
    (1.765991, 3.24824)
    """
    return exact.value(Normal(), N)


def gaussian_tail_moments(alpha: float) -> tuple[float, float, float]:
    """Return z, λ, κ: threshold, mean and standard deviation of a standard normal's top α.

    z = Φ⁻¹(1 − α), λ = φ(z)/α, κ² = 1 + zλ − λ²; at α = 1, z = −∞, λ = 0 and κ = 1.

    Examples
    --------
    >>> [round(x, 4) for x in gaussian_tail_moments(0.25)]
    [0.6745, 1.2711, 0.4916]
    """
    alpha = as_real("alpha", alpha, above=0.0, at_most=1.0)
    if alpha == 1.0:
        return -math.inf, 0.0, 1.0
    z = -float(special.ndtri(alpha))
    mean = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) / alpha
    return z, mean, math.sqrt(1.0 + z * mean - mean * mean)


def influence_coefficients(alpha: float) -> Coefficients:
    """Return κ, then what μ_α and σ_α/κ weigh in μ_α + c̃_N σ_α = base + c_N · slope.

    As c̃_N = (c_N − λ)/κ, they weigh 1 and −λ in the base, 0 and 1 in the slope.

    Parameters
    ----------
    alpha : float
        Tail fraction in (0, 1].

    Raises
    ------
    TypeError, ValueError
        If alpha is not a number in (0, 1].

    Examples
    --------
    >>> [round(x, 4) for x in influence_coefficients(0.25)]
    [0.4916, 1.0, -1.2711, 0.0, 1.0]
    """
    _, mean, sd = gaussian_tail_moments(alpha)
    return sd, 1.0, -mean, 0.0, 1.0


def calibrated_coefficients(m: int, k: int) -> Coefficients:
    """Return `influence_coefficients` that make TEA unbiased for normal rewards at this m.

    The multiples a of the influence on μ_α and b of that on σ_α/κ for which E ĝ = (1, c_N) in
    location and log scale. They solve two linear equations, and are linear in c_N too.

    Parameters
    ----------
    m : int
        Rollouts per group.
    k : int
        Tail count, at least 3.

    Raises
    ------
    ValueError
        For k = 2, where the spread is zero.

    Examples
    --------
    >>> [round(x, 3) for x in calibrated_coefficients(16, 4)]
    [0.492, 0.907, -4.467, 0.316, 3.316]
    """
    if k < 3:
        raise ValueError(
            f"calibrated is True and alpha leaves k = {k} rollouts of m = {m} in the tail, whose "
            "spread has no influence; give a larger alpha or m, for k ≥ 3"
        )
    (a, b), (c, d) = calibration.influence_means(m, k)
    _, _, kappa = gaussian_tail_moments(k / m)
    # the second column is of the influence on σ_α itself
    b, d = b / kappa, d / kappa
    determinant = a * d - b * c
    return kappa, d / determinant, -c / determinant, -b / determinant, a / determinant


@lru_cache(maxsize=4096)
def tail_coefficient(alpha: float, N: int) -> float:
    """Return c̃_N = (c_N − λ)/κ, so that μ_α + c̃_N σ_α = μ + c_N σ for a Gaussian.

    Parameters
    ----------
    alpha : float
        Tail fraction in (0, 1].
    N : int
        Deployment budget of best-of-N.

    Returns
    -------
    float
        c̃_N, in standard deviations of the tail.

    Examples
    --------
    >>> [round(tail_coefficient(0.25, N), 3) for N in (16, 64, 128, 256, 512)]
    [1.007, 2.182, 2.692, 3.165, 3.606]
    """
    _, mean, sd = gaussian_tail_moments(alpha)
    return (normal_max_mean(N) - mean) / sd
