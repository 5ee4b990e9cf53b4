"""Pooled shape: the rewards of all prompts, each in units of its own spread, taken for one sample.

Where prompts differ in location and scale only, P · m rewards show the law of all of them far
beyond one prompt's m: a rare good mode, a bend of the tail, an end. With z = (r − median)/(range of
the middle half), prompt by prompt,

    V̂_N = median + c · range · max@N of all z,

c such that on the Normal law the bias that comes with estimating median and range is nil.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tea_stats.best_of_n import exact
from tea_stats.families.law import Array
from tea_stats.families.location_scale import Normal
from tea_stats.prediction import evidence
from tea_stats.prediction.fit import Counts, GroupFit, column_means, t_draws, within_tail
from tea_stats.prediction.u_statistic import log_choose
from tea_stats.reward_log.log import RewardLog

#: groups that a jackknife leaves out one after the other, and the most rewards that are pooled
GROUPS, MOST_POOLED = 10, 65_536
#: groups of standard normals behind c
NORMAL_GROUPS = 2000
#: pooled rewards for each of N, at least
DEPTH = 2


class PooledShape(GroupFit):
    """V̂_N = median + c · range · max@N of all prompts' standardised rewards; NaN for 2N > P · m."""

    title = "pooled shape"
    colour = "#56B4E9"
    unbiased_on = "Normal; laws that prompts share but for location and scale, nearly"
    formula = "V̂_N = median + c · IQR · max@N of (r − median)/IQR over all prompts"
    reference = "this project; pooling as in regional frequency analysis (Hosking and Wallis 1997)"
    least = 4

    def __init__(self, log: RewardLog, grid: Counts, alpha: float) -> None:
        most = max(1, int(MOST_POOLED // log.sizes.mean()))
        places = np.linspace(0, len(log) - 1, min(most, len(log))).astype(np.intp)
        self.pool = evidence.part(log, places)
        super().__init__(log, grid, alpha)

    def fit_shared(self) -> dict[str, Any]:
        """Pool; return how many rewards there are."""
        known = (self.grid * DEPTH <= len(self.pool.rewards)) & within_tail(self.grid, self.alpha)
        self.known = np.asarray(known)
        self.best = self._best(list(self.pool))
        return {"pooled": len(self.pool.rewards)}

    def group_values(self, ascending: Array) -> Array:
        """Return V̂_N of each group, shape (G, K)."""
        middle, spread = standardisers(ascending)
        with np.errstate(invalid="ignore"):
            values = middle[:, None] + spread[:, None] * self.best * self._factors(
                ascending.shape[1]
            )
        return np.where(spread[:, None] > 0.0, values, np.nan)

    def rollout_covariance(self, ascending: Array) -> Array:
        """Return nothing of use: prompts share a sample, and `draws` leaves parts of it out."""
        return np.full((len(ascending), len(self.grid), len(self.grid)), np.nan)

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average, by a jackknife that leaves out prompts or rollouts.

        Parts of the prompts for the population. For these prompts, parts of the prompts leave the
        pool alone, and medians and ranges have the noise that they have on the Normal law: a
        jackknife of quantiles is too wide. Few prompts have parts of their rollouts left out.
        """
        centre = self.average(target)
        groups = [group for group in self.pool if len(group) >= self.least]
        many = len(groups) >= 2 * GROUPS
        by_prompt, pool_alone = target == "population" or many, target != "population" and many
        parts = len(groups) if by_prompt else min(map(len, groups), default=0) // 2
        parts = min(GROUPS, parts)
        if parts < 2 or np.isnan(centre).all():
            return np.full((count, len(self.grid)), np.nan)
        left = []
        for part in range(parts):
            if by_prompt:
                kept = [group for place, group in enumerate(groups) if place % parts != part]
            else:
                kept = [group[np.arange(len(group)) % parts != part] for group in groups]
            left.append(self._average(groups if pool_alone else kept, self._best(kept)))
        off = np.nan_to_num(np.array(left) - np.mean(left, axis=0))
        covariance = (parts - 1) / parts * off.T @ off
        if pool_alone:
            covariance += self._standardisers_covariance(groups)
        if by_prompt:  # of the prompts that were pooled; all of them know more
            covariance *= len(groups) / len(self.log)
        return t_draws(centre, covariance, float(parts - 1), count, rng)

    def _average(self, groups: list[Array], best: Array) -> Array:
        values = []
        for ascending in stacked(groups):
            middle, spread = standardisers(ascending)
            factors = self._factors(ascending.shape[1])
            values.append(middle[:, None] + spread[:, None] * best * factors)
        return column_means(np.concatenate(values))

    def _standardisers_covariance(self, groups: list[Array]) -> Array:
        """Return the covariance of the average from the noise of medians and ranges, (K, K)."""
        total = np.zeros((len(self.grid),) * 2)
        for ascending in stacked(groups):
            m = ascending.shape[1]
            of_middle, of_spread = normal_noise(m)
            rise = np.nan_to_num(self.best * self._factors(m))
            own = of_middle + of_spread * np.multiply.outer(rise, rise)
            total += (standardisers(ascending)[1] ** 2).sum() * own
        return total / len(groups) ** 2

    def _best(self, groups: list[Array]) -> Array:
        """Return max@N of all standardised rewards, shape (K,)."""
        parts, used = [], 0
        for ascending in stacked(groups):
            if ascending.shape[1] >= self.least:
                middle, spread = standardisers(ascending)
                live = spread > 0.0
                used += int(live.sum())
                parts.append((ascending[live] - middle[live, None]) / spread[live, None])
        if 4 * used < 3 * len(groups):  # rewards of few values, or tied
            return np.full(len(self.grid), np.nan)
        pooled = np.sort(np.concatenate([part.ravel() for part in parts]))
        best, known = np.full(len(self.grid), np.nan), self.known & (self.grid <= len(pooled))
        if known.any():
            best[known] = pooled @ max_weights(len(pooled), tuple(self.grid[known].tolist()))
        return best

    def _factors(self, m: int) -> Array:
        known = within_tail(self.grid, self.alpha)
        factors = np.full(len(self.grid), np.nan)
        if known.any() and m >= self.least:
            factors[known] = normal_factors(m, tuple(self.grid[known].tolist()))
        return factors


def stacked(groups: list[Array]) -> list[Array]:
    """Return the groups of each size, sorted, as one array (G, m): few calls of NumPy."""
    sizes = np.array([len(group) for group in groups])
    return [
        np.sort([groups[place] for place in np.flatnonzero(sizes == m)], axis=1)
        for m in np.unique(sizes)
    ]


def standardisers(ascending: Array) -> tuple[Array, Array]:
    """Return median and range of the middle half of each group, shape (G,) each."""
    low, middle, high = np.quantile(ascending, [0.25, 0.5, 0.75], axis=1)
    return middle, high - low


@lru_cache(maxsize=16)
def max_weights(count: int, grid: tuple[int, ...]) -> Array:
    """Return what max@N weighs on sorted rewards, shape (count, K)."""
    below = np.exp(
        log_choose(np.arange(count + 1)[:, None], np.array(grid))
        - log_choose(count, np.array(grid))
    )
    return np.diff(below, axis=0)


@lru_cache(maxsize=64)
def normal_noise(m: int) -> tuple[float, float]:
    """Return the variances of median and range in groups of m normals, over the squared range."""
    middle, spread = standardisers(_normal_groups(m))
    unit = float(spread.mean()) ** 2
    return float(middle.var()) / unit, float(spread.var()) / unit


def _normal_groups(m: int) -> Array:
    return np.sort(np.random.default_rng(m).standard_normal((NORMAL_GROUPS, m)), axis=1)


@lru_cache(maxsize=64)
def normal_factors(m: int, grid: tuple[int, ...]) -> Array:
    """Return c for groups of m, from simulated groups: good to half a percent."""
    groups = _normal_groups(m)
    middle, spread = standardisers(groups)
    pooled = np.sort(((groups - middle[:, None]) / spread[:, None]).ravel())[-MOST_POOLED:]
    # the largest are enough: max@N for N ≥ 8 hardly looks below
    share = len(pooled) / groups.size
    factors = []
    for N in grid:
        place = (np.arange(len(pooled) + 1) / len(pooled) * share + 1.0 - share) ** N
        best = pooled @ np.diff(place) / (1.0 - (1.0 - share) ** N)
        factors.append(exact.value(Normal(), N) / (spread.mean() * best))
    return np.array(factors)
