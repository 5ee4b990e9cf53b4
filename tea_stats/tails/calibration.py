"""What TEA's two influences expect of normal rewards, exactly, at a finite m.

With e_j the excesses of the top k over the threshold r̂ (its own is 0), TEA sums hinges e_i and
spreads e_i (e_i − 2ē)/(2σ̂), times a score. Given r̂ = t the other k − 1 excesses are independent,
with density φ(t + e)/Φ(−t). The spread divides by σ̂, which takes this apart again: as
Σ_j (e_j − c)² = k σ̂² + k (ē − c)²,

    1/σ̂ = (1/π) ∫_0^∞ ds ∫_{−∞}^∞ dc Π_j exp(−(s/k)(e_j − c)²),

and under the product the excesses are independent again, of truncated normal laws whose moments
are known. What remains is an integral over (t, s, c) of a smooth function: with s = v² and c in
units of its own width around its peak, trapezoidal sums in t and c and a Gauss–Legendre rule in v
give 12 digits up to m = 4096.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre
from scipy import special

from tea_stats.families.law import Array

#: points in t, v and c; where k = m, the threshold's left tail is long and needs most points in t
POINTS = (96, 64, 40)
#: thresholds beyond these quantiles count for nothing
RARE = 1e-22
#: range of c in units of its width; the side of large excesses is the longer one
WIDTHS = (-9.5, 13.0)
#: Newton steps to the peak in c; three to eight are enough
MOST_STEPS = 60


@lru_cache(maxsize=1024)
def influence_means(m: int, k: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return E[(1/m) Σ A_i S_i] of hinge and spread, for standard normal rewards.

    Parameters
    ----------
    m : int
        Rollouts per group.
    k : int
        Tail count, 2 ≤ k ≤ m.

    Returns
    -------
    (hinge, spread), (hinge, spread)
        For the score of the location, S = r, and of the log scale, S = r² − 1; the influences
        include TEA's factor 1/α' = m/k.

    Examples
    --------
    >>> (hinge, spread), _ = influence_means(16, 4)
    >>> round(hinge, 6), round(spread, 6)  # at finite m the spread moves with the location
    (0.75, -0.035157)
    """
    t, log_weight = _thresholds(m, k)
    others = k - 1
    moments, log_mass = _above_zero(-t)
    hinge = _scores(t, np.exp(log_weight + others * log_mass) * (others / k) * moments[1:4])
    t, weight, moments = _without_root(m, k)
    bend = []
    for power in (1, 2, 3):
        # Σ_i e_i^power (e_i − 2ē), with ē's share of rollout i itself taken apart
        own = (1.0 - 2.0 / k) * moments[power + 1]
        cross = (2.0 / k) * (others - 1) * moments[1] * moments[power]
        bend.append((weight * others * (own - cross)).sum(axis=(1, 2)) / (2.0 * k))
    spread = _scores(t, np.array(bend))
    return (hinge[0], spread[0]), (hinge[1], spread[1])


@lru_cache(maxsize=4096)
def tail_means(m: int, k: int) -> tuple[float, float]:
    """Return E μ̂ and E σ̂, mean and standard deviation (ddof 0) of the top k of m normal rewards.

    Examples
    --------
    >>> mean, spread = tail_means(2, 2)
    >>> abs(mean) < 1e-12, round(spread, 9)  # σ̂: half the distance of two, 1/√π
    (True, 0.564189584)
    """
    t, log_weight = _thresholds(m, k)
    others = k - 1
    moments, log_mass = _above_zero(-t)
    mean = float(np.exp(log_weight + others * log_mass) @ (t + others / k * moments[1]))
    _, weight, moments = _without_root(m, k)
    # σ̂ = σ̂²/σ̂, and k σ̂² = Σ e_i² − k ē²
    own = (1.0 - 1.0 / k) * moments[2]
    cross = (others - 1) / k * moments[1] ** 2
    return mean, float((weight * others * (own - cross)).sum() / k)


def _without_root(m: int, k: int) -> tuple[Array, Array, Array]:
    """Return t, weights w over (t, s, c) and moments of an excess: E[f/σ̂] = Σ w E[f; t, s, c]."""
    t, log_weight = _thresholds(m, k)
    others = k - 1
    moments, log_mass = _above_zero(-t)
    weight = np.exp(log_weight + others * log_mass)
    steady = math.sqrt(weight @ (moments[2] - moments[1] ** 2) / weight.sum())
    v, dv = _half_line(1.0 / steady)
    c, dc, s = _peaks(t[:, None], v, k)
    moments, log_mass = _tilted(t[:, None, None], s, c)
    exponent = log_weight[:, None, None] + others * log_mass - s * c * c
    return t, np.exp(exponent) * (2.0 / math.pi) * (v * dv)[:, None] * dc, moments


def _scores(t: Array, sums: Array) -> tuple[float, float]:
    """Turn E[Σ f_i e_i^q | t], q = 0, 1, 2, into those with the scores of r = t + e."""
    constant, linear, square = sums
    location = t * constant + linear
    scale = (t * t - 1.0) * constant + 2.0 * t * linear + square
    return float(location.sum()), float(scale.sum())


def _thresholds(m: int, k: int) -> tuple[Array, Array]:
    """Return points t and log of dt · density of the k-th largest, without its Φ(−t)^{k−1}."""
    low = special.ndtri(special.betaincinv(m - k + 1.0, float(k), RARE))
    high = -special.ndtri(special.betaincinv(float(k), m - k + 1.0, RARE))
    t = np.linspace(low, high, POINTS[0])
    log_density = (m - k) * special.log_ndtr(t) - 0.5 * t * t - 0.5 * math.log(2.0 * math.pi)
    return t, log_density - special.betaln(k, m - k + 1.0) + math.log(t[1] - t[0])


def _above_zero(b: Array) -> tuple[Array, Array]:
    """Return E y^p, p = 0..4, of y ~ N(b, 1) given y > 0, and log of its probability Φ(b)."""
    log_mass = special.log_ndtr(b)
    at_zero = np.exp(-0.5 * b * b - log_mass) / math.sqrt(2.0 * math.pi)
    moments = [np.ones_like(b), b + at_zero]
    for p in range(1, 4):
        moments.append(b * moments[p] + p * moments[p - 1])
    return np.array(moments), log_mass


def _tilted(t: Array, s: Array, c: Array) -> tuple[Array, Array]:
    """Return moments and log mass of an excess under φ(t + e) exp(−s (e − c)²)."""
    precision = 1.0 + 2.0 * s
    root = np.sqrt(precision)
    moments, log_mass = _above_zero((2.0 * s * c - t) / root)
    powers = root ** -np.arange(5.0).reshape(5, 1, 1, 1)
    return moments * powers, log_mass - 0.5 * np.log(precision) - s * (t + c) ** 2 / precision


def _half_line(unit: float) -> tuple[Array, Array]:
    """Return points v in (0, ∞) and weights dv, half of them below `unit`."""
    x, weight = legendre.leggauss(POINTS[1])
    return unit * (1.0 + x) / (1.0 - x), unit * 2.0 * weight / (1.0 - x) ** 2


def _peaks(t: Array, v: Array, k: int) -> tuple[Array, Array, Array]:
    """Return points c around the peak, the step dc, and s/k, for each t and v.

    At the peak c is the mean of the k excesses, c = ((k − 1)/k) E[e; s, c]; there the logarithm
    has the curvature −2 s (1 − ((k − 1)/k) ∂E/∂c).
    """
    s, share = v * v / k, (k - 1.0) / k
    precision, c = 1.0 + 2.0 * s, np.zeros(np.broadcast_shapes(t.shape, v.shape))
    for _ in range(MOST_STEPS):
        moments, _ = _above_zero((2.0 * s * c - t) / np.sqrt(precision))
        slope = 1.0 - share * 2.0 * s / precision * (moments[2] - moments[1] ** 2)
        step = (c - share * moments[1] / np.sqrt(precision)) / slope
        c = c - step
        if (np.abs(step) * v < 1e-3).all():
            break
    width = 1.0 / (v * np.sqrt(2.0 * slope))
    y = np.linspace(*WIDTHS, POINTS[2])
    points = c[..., None] + width[..., None] * y
    return points, width[..., None] * (y[1] - y[0]), np.broadcast_to(s, c.shape)[..., None]
