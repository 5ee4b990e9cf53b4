"""Tails with one shape for all prompts: threshold, mean excess and its L-scale carry them.

The k = ⌈αm⌉ best rewards of a prompt exceed the next one, u, by excesses whose L-moments l₁ (mean)
and l₂ (half the mean distance of two) are unbiased however small k is. Where a tail is a location
plus a scale times a standard law of one shape s, E u, E l₁, E l₂ and V_N are linear in location and
scale, and

    V̂_N = u + A_N(s) l₁,   A_N(s) = (V_N(s) − E u(s))/E l₁(s) on the standard law,

is exactly unbiased at every m once s is known. Prompts share the shape, estimated from the ratio
Σ l₂/Σ l₁ (pooled as in the regional analysis of Hosking and Wallis 1997), and keep their own
location and scale.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction import fit
from tea_stats.prediction.fit import GroupFit, within_tail
from tea_stats.tails.constants import tail_count

#: simulated groups behind a covariance, good to a few percent
COVARIANCE_GROUPS = 1000
#: a mean drawn e^40 times too large is as good as unknown
LARGEST_LOG = 40.0


class PooledTail(GroupFit):
    """V̂_N = u + A l₁; the excesses are those over the (k + 1)-th largest reward."""

    least = 4  # two excesses over a third reward, and one below

    @abstractmethod
    def shapes(self, ratios: Array) -> Array:
        """Return the shapes at which E l₂/E l₁ are these ratios; NaN where there is no excess."""

    @abstractmethod
    def factors(self, m: int, k: int, shapes: Array) -> Array:
        """Return A_N for each shape and N, shapes (..., 1) to (..., K)."""

    def chosen(self, estimated: float) -> float:
        """Return the shape that values rest on, given its estimate."""
        return estimated

    def drawn(self, shapes: Array, rng: np.random.Generator) -> Array:
        """Return shapes that intervals rest on, given draws of the estimate."""
        return shapes

    def fit_shared(self) -> dict[str, Any]:
        """Fit the shape."""
        moments = np.full((len(self.log), 3), np.nan)
        for places, ascending in fit.blocks(self.log, 1):
            moments[places] = self._moments(ascending)
        self.moments = moments[np.isfinite(moments[:, 0])]
        # each size's part of the excess: groups of different sizes share one shape
        self.parts = [
            (ascending.shape[1], float(self._moments(ascending)[:, 1].sum()))
            for ascending in self._sizes()
        ]
        _, first, second = self.moments.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.shape = float(self.shapes(second / first)) if len(self.moments) else np.nan
        self.shape = self.chosen(self.shape)
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
        return np.multiply.outer(self._moments(ascending)[:, 1] ** 2, self.unit_covariance(m))

    def unit_covariance(self, m: int) -> Array:
        """Return the covariance of u, l₁, l₂ in units of E l₁², on the fitted law, shape (3, 3)."""
        groups, _ = self.reference_groups(m, COVARIANCE_GROUPS, np.random.default_rng(m))
        standard = self._moments(groups)
        return np.cov(standard, rowvar=False) / np.mean(standard[:, 1] ** 2)

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average: means of u, log l₁ and log l₂ vary, and the shape with them.

        The logarithms make the interval asymmetric where the shape is uncertain.
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
        shapes = self.drawn(self.shapes(second / first), rng)
        factor, whole = np.zeros((count, len(self.grid))), sum(part for _, part in self.parts)
        for m, excess in self.parts:
            if excess > 0.0:
                factor += excess / whole * self._factors(m, shapes[:, None])
        return drawn[:, :1] + first[:, None] * factor

    def count(self, m: int) -> int:
        """Return k, the number of excesses of a group."""
        return min(tail_count(m, self.alpha), m - 1)

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
        moments = (ascending - lowest) @ moment_weights(m, self.count(m))
        moments[:, :1] += lowest
        return moments

    def _factors(self, m: int, shapes: Array) -> Array:
        """Return A for each N, NaN where the best of N may lie below the tail."""
        if m < self.least:
            return np.full(np.broadcast_shapes(shapes.shape, self.grid.shape), np.nan)
        factors = self.factors(m, self.count(m), shapes)
        return np.where(within_tail(self.grid, self.alpha), factors, np.nan)


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
