"""Gaussian tail: the functional behind TEA, mean and spread of the top rollouts, extrapolated."""

from __future__ import annotations

from typing import Any

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction.fit import GroupFit, within_tail
from tea_stats.tails import calibration
from tea_stats.tails.constants import normal_max_mean, tail_count


class GaussianTail(GroupFit):
    """V̂_N = μ̂ + c σ̂, mean and standard deviation (ddof 0) of the k = ⌈αm⌉ best of m rollouts.

    c = (c_N − E μ̂)/E σ̂ with the expectations of m standard normals: V̂_N is unbiased on the Normal
    law at every m. As m grows c tends to TEA's c̃_N = (c_N − λ)/κ.
    """

    title = "Gaussian tail"
    colour = "#0072B2"
    unbiased_on = "Normal; a Gaussian upper tail, nearly"
    formula = "V̂_N = μ̂_α + (c_N − E μ̂_α)/E σ̂_α · σ̂_α over the best αm rollouts"
    reference = (
        "Li, Qian and Mou (2026), arXiv:2605.10716, the functional of TEA; finite-m constants ours"
    )
    least = 4  # two in the tail, and one below it

    def fit_shared(self) -> dict[str, Any]:
        """Return the tail fraction; nothing is shared."""
        return {"alpha": self.alpha}

    def group_values(self, ascending: Array) -> Array:
        """Return V̂_N of each group, shape (G, K); NaN for N < 2/α and m < 4."""
        m = ascending.shape[1]
        top = ascending[:, m - tail_count(max(m, 2), self.alpha) :]
        return top.mean(axis=1)[:, None] + top.std(axis=1)[:, None] * self._factors(m)

    def rollout_covariance(self, ascending: Array) -> Array:
        """Return jackknife covariances, shape (G, K, K).

        Without one of the best k the next one below moves up; without another, nothing changes.
        """
        m = ascending.shape[1]
        if m < self.least:
            return np.zeros((len(ascending), len(self.grid), len(self.grid)))
        k = min(tail_count(m, self.alpha), m - 1)
        top = ascending[:, m - k - 1 :] - ascending[:, -1:]
        # mean and spread of the top k + 1 without each one of them
        mean = (top.sum(axis=1, keepdims=True) - top) / k
        square = ((top**2).sum(axis=1, keepdims=True) - top**2) / k
        spread = np.sqrt(np.maximum(square - mean**2, 0.0))
        # the one just below the tail stands for all m − k below it
        weight = np.append(float(m - k), np.ones(k))
        left = np.stack([mean, spread], axis=-1)
        left -= (weight[:, None] * left).sum(axis=1, keepdims=True) / m
        covariance = (m - 1) / m * np.einsum("j,gja,gjb->gab", weight, left, left)
        slope = np.stack([np.ones(len(self.grid)), np.nan_to_num(self._factors(m))])
        return slope.T @ covariance @ slope

    def _factors(self, m: int) -> Array:
        """Return c for each N, NaN where the best of N may lie below the tail."""
        factors = np.full(len(self.grid), np.nan)
        if m < self.least:
            return factors
        mean, spread = calibration.tail_means(m, tail_count(m, self.alpha))
        for place in np.flatnonzero(within_tail(self.grid, self.alpha)):
            factors[place] = (normal_max_mean(int(self.grid[place])) - mean) / spread
        return factors
