"""How well each method would have predicted this log: from m of its M rollouts to the best of M."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction.fit import Counts, column_means, within_tail
from tea_stats.prediction.methods import METHODS
from tea_stats.reward_log.log import RewardLog

#: fewest rollouts of a prompt that can be split, and that are predicted from
LEAST, FEWEST = 8, 4
#: disjoint sets of rollouts that are predicted from, at most
SPLITS = 8
#: share of the prompts that must have M rollouts
TAKING_PART = 0.75


@dataclass(frozen=True, eq=False)
class Backtest:
    """Predictions from m rollouts against the unbiased best-of-k of M rollouts, m < k ≤ M.

    Attributes
    ----------
    m, M : int
        Rollouts predicted from, and all of them.
    splits, prompts : int
        Disjoint sets of m rollouts, and prompts that have M of them.
    grid : ndarray of int, shape (K,)
        The k compared, M the last.
    truth : ndarray, shape (K,)
        Unbiased V̂_k, averaged over prompts.
    predicted : mapping
        For each method, the mean prediction over the splits, shape (K,).
    errors : mapping
        For each method, the root mean square over k of `predicted` − `truth`. The splits together
        are as many rollouts as the prediction itself has, so that their mean has its noise.
    biases, standard_errors : mapping
        For each method, the mean error at k = M and its standard error over prompts.
    """

    m: int
    M: int
    splits: int
    prompts: int
    grid: Counts
    truth: Array
    predicted: Mapping[str, Array]
    errors: Mapping[str, float]
    biases: Mapping[str, float]
    standard_errors: Mapping[str, float]

    def allowance(self, name: str, grid: Counts, alpha: float) -> Array:
        """Return the extrapolation error to allow for at each N, shape (K,), in reward units.

        The error at k = M beyond its noise, (bias² − s.e.²)₊^½, taken to grow like log²(N α): on
        most laws two curves that agree over the tail share α diverge like that.
        """
        # the error of a single prompt cannot be separated from its noise
        bias, noise = self.biases.get(name, 0.0), self.standard_errors.get(name, np.nan)
        error = 0.0 if np.isnan(noise) else np.sqrt(max(bias**2 - noise**2, 0.0))
        growth = np.log(np.maximum(grid * alpha, 1.0)) / np.log(self.M * alpha)
        return np.asarray(error * growth**2 if np.isfinite(error) else np.zeros(len(grid)))


def run(
    log: RewardLog, N: int, names: Sequence[str], alpha: float, rng: np.random.Generator
) -> Backtest | None:
    """Return the backtest of these methods; None where prompts have too few rollouts.

    m is to M what M is to N, as far as the rollouts allow (16 of them, or half if that is less):
    the backtest then extrapolates as far as the prediction does.
    """
    M = int(np.quantile(log.sizes, 1.0 - TAKING_PART, method="lower"))
    if M < LEAST:
        return None
    m = int(np.clip(round(M * M / N), min(16, M // 2), M // 2))
    m = max(m, FEWEST)
    groups = np.concatenate(
        [
            rng.permuted(rewards, axis=1)[:, :M]
            for _, rewards in log.by_size()
            if rewards.shape[1] >= M
        ]
    )
    grid = np.unique(np.rint(m * (M / m) ** np.linspace(0.0, 1.0, 9)[1:])).astype(np.int64)
    grid = grid[within_tail(grid, alpha)]
    if not grid.size:
        return None
    unbiased = METHODS["max_at_k"](_log(groups), grid, alpha).values
    truth = column_means(unbiased)
    splits = min(SPLITS, M // m)
    predicted, errors, biases, standard_errors = {}, {}, {}, {}
    for name in names:
        method = METHODS[name]
        if method.least > m:
            continue
        last, curves = np.zeros(len(groups)), np.zeros(len(grid))
        for split in range(splits):
            own = _log(groups[:, split * m : (split + 1) * m])
            # without extrapolation: the best of m for every k
            fit = method(own, grid if method.extrapolates else np.minimum(grid, m), alpha)
            last += (fit.values[:, -1] - unbiased[:, -1]) / splits
            curves += fit.average("these_prompts") / splits
        predicted[name] = curves
        errors[name] = float(np.sqrt(np.mean((curves - truth) ** 2)))
        biases[name] = float(curves[-1] - truth[-1])
        few = len(groups) < 2
        standard_errors[name] = np.nan if few else float(last.std(ddof=1) / np.sqrt(len(groups)))
    return Backtest(
        m, M, splits, len(groups), grid, truth, predicted, errors, biases, standard_errors
    )


def _log(groups: Array) -> RewardLog:
    count, m = groups.shape
    offsets = np.arange(count + 1) * m
    return RewardLog(tuple(range(count)), np.ascontiguousarray(groups).ravel(), offsets)
