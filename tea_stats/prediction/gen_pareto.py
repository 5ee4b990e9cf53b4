"""Generalised Pareto: peaks over a high threshold, with one shape for all prompts.

The k = ⌈αm⌉ best rewards of a prompt exceed the next one, u, by generalised Pareto excesses if the
tail is of that kind; their L-moments l₁ (mean) and l₂ are unbiased however small k is. Prompts
share the shape, ξ = 2 − Σ l₁/Σ l₂ (Hosking 1990, table 1; pooled as in the regional analysis of
Hosking and Wallis 1997), and keep their own threshold and scale. Such a tail is the image
a + b p^{−ξ} of a uniform p, its upper tail probability, so V_N, E u and E l₁ are ratios of gamma
functions, and

    V̂_N = u + A l₁,   A = (1 − ξ)(M_N/M_u − 1)/ξ,
    M_N = Γ(1−ξ) Γ(N+1)/Γ(N+1−ξ),   M_u = [Γ(k+1−ξ)/Γ(k+1)] Γ(m+1)/Γ(m+1−ξ),

is exactly unbiased at every m once ξ is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special

from tea_stats.families.law import Array
from tea_stats.prediction import fit
from tea_stats.prediction.fit import GroupFit, within_tail
from tea_stats.tails.constants import tail_count

#: shapes below end at a point just above the best reward
SMALLEST_SHAPE = -5.0
#: beyond, the variance of simulated groups means nothing; it is infinite from ½ on
LARGEST_SIMULATED = 0.95
#: simulated groups behind a covariance, good to a few percent
COVARIANCE_GROUPS = 1000
#: a mean drawn e^40 times too large is as good as unknown
LARGEST_LOG = 40.0


class GenPareto(GroupFit):
    """V̂_N = u + A l₁; the excesses are those over the (k + 1)-th largest reward."""

    title = "generalised Pareto"
    colour = "#E69F00"
    unbiased_on = "generalised Pareto, as the number of prompts grows"
    formula = "V̂_N = u + A(ξ̂) l₁ over the best αm rollouts, ξ̂ = 2 − Σ l₁/Σ l₂ over prompts"
    reference = "Pickands (1975); L-moments: Hosking (1990), Hosking and Wallis (1997)"
    least = 4  # two excesses over a third reward, and one below

    def fit_shared(self) -> dict[str, Any]:
        """Fit the shape."""
        moments = np.full((len(self.log), 3), np.nan)
        for places, ascending in fit.blocks(self.log, 1):
            moments[places] = self._moments(ascending)
        self.moments = moments[np.isfinite(moments[:, 0])]
        self.shape = float(shape(*self.moments[:, 1:].sum(axis=0))) if len(self.moments) else np.nan
        return {"alpha": self.alpha, "shape": self.shape}

    def group_values(self, ascending: Array) -> Array:
        """Return V̂_N of each group, shape (G, K); NaN for N < 2/α and m < 4."""
        moments = self._moments(ascending)
        factor = self._factors(ascending.shape[1], np.array(self.shape))
        # no excess at all: nothing to extrapolate, whatever the shape
        factor = np.where(
            (moments[:, 1:2] > 0.0) | ~within_tail(self.grid, self.alpha), factor, 0.0
        )
        return moments[:, :1] + moments[:, 1:2] * factor

    def rollout_covariance(self, ascending: Array) -> Array:
        """Return covariances of u, l₁ and l₂ on the fitted law, shape (G, 3, 3).

        Those of simulated groups of scale 1, times the squared scale estimated by l₁. A
        jackknife would not do: for a single order statistic such as u it is inconsistent.
        """
        m = ascending.shape[1]
        if m < self.least:
            return np.zeros((len(ascending), 3, 3))
        groups, _ = self.reference_groups(m, COVARIANCE_GROUPS, np.random.default_rng(m))
        standard = self._moments(groups)
        unit = np.cov(standard, rowvar=False) / np.mean(standard[:, 1] ** 2)
        return np.multiply.outer(self._moments(ascending)[:, 1] ** 2, unit)

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average: means of u, log l₁ and log l₂ vary, and the shape with them.

        The logarithms make the interval asymmetric where the shape is uncertain; a drawn shape of 1
        or more has no mean, V_N = ∞.
        """
        prompts = len(self.moments)
        if target == "population":
            if prompts < 2:
                return np.full((count, len(self.grid)), np.nan)
            # three means are estimated; with P − 1 the interval of 8 prompts covers 84 % for 90 %
            covariance, freedom = fit.mean_covariance(self.moments), float(max(prompts - 3, 1))
        else:
            if prompts == 1:
                return self._one_prompt(count, rng)
            covariance, freedom = self.rollout_covariance_of_mean(np.full(3, prompts))
        mean = self.moments.mean(axis=0)
        if not (mean[1] > 0.0 and mean[2] > 0.0):
            return np.full((count, len(self.grid)), np.nan)
        relative = np.array([1.0, 1.0 / mean[1], 1.0 / mean[2]])
        drawn = fit.t_draws(
            np.array([mean[0], 0.0, 0.0]),
            covariance * np.multiply.outer(relative, relative),
            freedom,
            count,
            rng,
        )
        ratios = np.exp(np.clip(drawn[:, 1:], -LARGEST_LOG, LARGEST_LOG))
        first, second = mean[1] * ratios[:, 0], mean[2] * ratios[:, 1]
        shapes, factor = shape(first, second), np.zeros((count, len(self.grid)))
        # sizes of groups share one factor, in proportion to their part of the excess
        parts = [
            (ascending.shape[1], self._moments(ascending)[:, 1].sum())
            for ascending in self._sizes()
        ]
        for m, excess in parts:
            if excess > 0.0:
                share = excess / sum(other for _, other in parts)
                factor += share * self._factors(m, shapes[:, None])
        return drawn[:, :1] + first[:, None] * factor

    def reference_groups(self, m: int, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return sorted groups of generalised Pareto laws, and their true V_N."""
        # without any excess there is no shape, and a scale of 0
        xi = float(_safe(np.minimum(np.nan_to_num(self.shape), LARGEST_SIMULATED)))
        e = rng.standard_exponential((count, m))
        groups = np.sort(e * special.exprel(xi * e), axis=1)
        return groups, np.expm1(log_best(self.grid, xi)) / xi

    def _sizes(self) -> Iterator[Array]:
        for _, rewards in self.log.by_size():
            if rewards.shape[1] >= self.least:
                yield np.sort(rewards, axis=1)

    def _moments(self, ascending: Array) -> Array:
        """Return u, l₁ and l₂ of each group, shape (G, 3)."""
        m = ascending.shape[1]
        if m < self.least:
            return np.full((len(ascending), 3), np.nan)
        lowest = ascending[:, :1]
        k = tail_count(m, self.alpha)
        moments = (ascending - lowest) @ moment_weights(m, k)
        moments[:, :1] += lowest
        return moments

    def _factors(self, m: int, xi: Array) -> Array:
        """Return A for each N, NaN where the best of N may lie below the tail."""
        if m < self.least:
            return np.full(np.broadcast_shapes(xi.shape, self.grid.shape), np.nan)
        factors = excess_factors(m, tail_count(m, self.alpha), self.grid, xi)
        return np.where(within_tail(self.grid, self.alpha), factors, np.nan)


def shape(first: Any, second: Any) -> Array:
    """Return ξ = 2 − l₁/l₂ of generalised Pareto excesses, NaN where there are none."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.maximum(2.0 - np.asarray(first) / np.asarray(second), SMALLEST_SHAPE)


def moment_weights(m: int, k: int) -> Array:
    """Return the weights of u, l₁ and l₂ on m sorted rewards, shape (m, 3)."""
    j = np.arange(1, k + 1)
    weights = np.zeros((m, 3))
    weights[m - k - 1, 0] = 1.0
    weights[m - k :, 1] = 1.0 / k
    weights[m - k - 1, 1] = -1.0
    # half the mean distance of two excesses
    weights[m - k :, 2] = (2 * j - k - 1) / (k * (k - 1))
    return weights


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
