"""max@k: the unbiased value of best-of-k for every k ≤ m."""

from __future__ import annotations

from copy import copy

import numpy as np
from scipy import special

from tea_stats.families.law import Array
from tea_stats.prediction import evidence
from tea_stats.prediction.fit import Counts, GroupFit, column_means, left_out_covariance
from tea_stats.prediction.u_statistic import log_choose
from tea_stats.reward_log.log import RewardLog


class MaxAtK(GroupFit):
    """V̂_k = Σ_j [C(j−1, k−1)/C(m, k)] r_(j), the mean maximum over all subsets of k of m rollouts.

    Unbiased for V_k under every law; NaN for k > m. Where prompts have different numbers of
    rollouts, the average is over the same prompts at every k: those with M rollouts or more, three
    quarters of them at least, and k up to M. Each prompt's own values go as far as its rollouts.
    """

    title = "unbiased max@k"
    colour = "#000000"
    unbiased_on = "every law, N ≤ m only"
    formula = "V̂_k = Σ_j C(j−1, k−1)/C(m, k) r_(j)"
    reference = (
        "Chen et al. (2021), arXiv:2107.03374, for 0/1; Walder and Karkhanis (2025), "
        "arXiv:2505.15201"
    )
    extrapolates = False

    def __init__(self, log: RewardLog, grid: Counts, alpha: float) -> None:
        super().__init__(log, grid, alpha)
        M = evidence.depth(log)
        taking = log.sizes >= M
        self.averaged = copy(self)
        self.averaged.values = np.where(grid <= M, self.values[taking], np.nan)
        self.averaged.log = evidence.part(log, np.flatnonzero(taking))
        self.details = {"prompts": int(taking.sum()), "rollouts": M}

    def group_values(self, ascending: Array) -> Array:
        """Return V̂_k of each group, shape (G, K)."""
        m = ascending.shape[1]
        inside = self.grid <= m
        values = np.full((len(ascending), len(self.grid)), np.nan)
        # weights sum to 1: a large location would cost digits
        lowest = ascending[:, :1]
        values[:, inside] = lowest + (ascending - lowest) @ weights(m, self.grid[inside])
        return values

    def average(self, target: str) -> Array:
        """Return the average over the prompts with M rollouts, shape (K,)."""
        return column_means(self.averaged.values)

    def averaged_prompts(self) -> Counts:
        """Return the number of prompts with M rollouts up to k = M, shape (K,)."""
        return np.asarray((~np.isnan(self.averaged.values)).sum(axis=0))

    def rollout_covariance(self, ascending: Array) -> Array:
        """Return jackknife covariances, shape (G, K, K); at k = m those of the best of m − 1."""
        m = ascending.shape[1]
        inside = self.grid <= m
        fewer = np.zeros((m - 1, len(self.grid)))
        if m > 1:
            fewer[:, inside] = weights(m - 1, np.minimum(self.grid[inside], m - 1))
        return left_out_covariance(ascending, fewer)

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average; a share of successes stays between 0 and 1."""
        draws = GroupFit.draws(self.averaged, target, count, rng)
        return np.clip(draws, 0.0, 1.0) if self.log.is_binary else draws

    def prompt_bounds(self, level: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the ends of each prompt's interval; for 0/1 rewards by Jeffreys's for p."""
        if not self.log.is_binary:
            return super().prompt_bounds(level, rng)
        successes = np.add.reduceat(self.log.rewards, self.log.offsets[:-1])
        failures = self.log.sizes - successes
        ends = []
        for chance in ((1.0 - level) / 2.0, (1.0 + level) / 2.0):
            p = special.betaincinv(successes + 0.5, failures + 0.5, chance)[:, None]
            ends.append(np.where(np.isnan(self.values), np.nan, 1.0 - (1.0 - p) ** self.grid))
        # all succeed or none: the interval includes 1 or 0 itself
        low = np.where((successes == 0.0)[:, None] & ~np.isnan(ends[0]), 0.0, ends[0])
        return low, np.where((failures == 0.0)[:, None] & ~np.isnan(ends[1]), 1.0, ends[1])


def weights(m: int, k: Counts) -> Array:
    """Return what max@k weighs on the sorted rewards of m, shape (m, len(k)).

    Examples
    --------
    >>> weights(3, np.array([1, 2, 3])).round(3).T.tolist()
    [[0.333, 0.333, 0.333], [0.0, 0.333, 0.667], [0.0, 0.0, 1.0]]
    """
    rank = np.arange(1, m + 1)[:, None]
    return np.asarray(np.exp(log_choose(rank - 1, k - 1) - log_choose(m, k)))
