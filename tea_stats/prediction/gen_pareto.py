"""Generalised Pareto: peaks over a high threshold, with one shape for all prompts.

The image a + b p^{−ξ} of a uniform p, its upper tail probability: V_N, E u and E l₁ are ratios of
gamma functions, and with ξ̂ = 2 − Σ l₁/Σ l₂ (Hosking 1990, table 1)

    V̂_N = u + A l₁,   A = (1 − ξ)(M_N/M_u − 1)/ξ,
    M_N = Γ(1−ξ) Γ(N+1)/Γ(N+1−ξ),   M_u = [Γ(k+1−ξ)/Γ(k+1)] Γ(m+1)/Γ(m+1−ξ).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from tea_stats.families.law import Array
from tea_stats.prediction.pooled_tail import PooledTail, moment_weights

__all__ = ["GenPareto", "excess_factors", "log_best", "moment_weights", "shape"]

#: shapes below end at a point just above the best reward
SMALLEST_SHAPE = -5.0
#: beyond, the variance of simulated groups means nothing; it is infinite from ½ on
LARGEST_SIMULATED = 0.95


class GenPareto(PooledTail):
    """V̂_N = u + A l₁; a shape of 1 or more has no mean, V_N = ∞."""

    title = "generalised Pareto"
    colour = "#E69F00"
    unbiased_on = "generalised Pareto, as the number of prompts grows"
    formula = "V̂_N = u + A(ξ̂) l₁ over the best αm rollouts, ξ̂ = 2 − Σ l₁/Σ l₂ over prompts"
    reference = "Pickands (1975); L-moments: Hosking (1990), Hosking and Wallis (1997)"

    def shapes(self, ratios: Array) -> Array:
        """Return ξ = 2 − l₁/l₂."""
        return shape(1.0, ratios)

    def factors(self, m: int, k: int, shapes: Array) -> Array:
        """Return A."""
        return excess_factors(m, k, self.grid, shapes)

    def reference_groups(self, m: int, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return sorted groups of generalised Pareto laws, and their true V_N."""
        # without any excess there is no shape, and a scale of 0
        xi = float(_safe(np.minimum(np.nan_to_num(self.shape), LARGEST_SIMULATED)))
        e = rng.standard_exponential((count, m))
        groups = np.sort(e * special.exprel(xi * e), axis=1)
        return groups, np.expm1(log_best(self.grid, xi)) / xi


def shape(first: Any, second: Any) -> Array:
    """Return ξ = 2 − l₁/l₂ of generalised Pareto excesses, NaN where there are none."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.maximum(2.0 - np.asarray(first) / np.asarray(second), SMALLEST_SHAPE)


def log_best(N: Any, xi: Any) -> Array:
    """Return log M_N = log E p^{−ξ}, p the least of N uniform draws."""
    return _log_rise(np.asarray(N, dtype=float) + 1.0, xi) - _log_rise(1.0, xi)


def excess_factors(m: int, k: int, N: Any, xi: Any) -> Array:
    """Return A with E[u + A l₁] = V_N on generalised Pareto laws of shape ξ; ∞ for ξ ≥ 1.

    Examples
    --------
    >>> excess_factors(16, 4, np.array([16, 1024]), np.array(0.0)).round(4).tolist()
    [2.0833, 6.2118]
    """
    xi = np.asarray(xi, dtype=float)
    safe = _safe(xi)
    log_u = _log_rise(m + 1.0, safe) - _log_rise(k + 1.0, safe)
    factors = (1.0 - safe) * np.expm1(log_best(N, safe) - log_u) / safe
    return np.where(xi < 1.0, factors, np.inf)


def _safe(xi: Array) -> Array:
    """Return shapes that can be divided by, and that have a mean."""
    return np.where(np.abs(xi) < 1e-9, 1e-9, np.minimum(xi, 1.0 - 1e-12))


def _log_rise(z: Any, xi: Any) -> Array:
    """Return log Γ(z)/Γ(z − ξ), without the cancellation of two huge numbers."""
    small = np.abs(xi) < 1e-4
    # scipy's Pochhammer symbol (z)_{−ξ} is Γ(z − ξ)/Γ(z)
    ratio = -np.log(special.poch(z, -np.where(small, 0.5, xi)))
    series = xi * special.digamma(z) - 0.5 * xi * xi * special.polygamma(1, z)
    return np.where(small, series, ratio)
