"""How well each method would have predicted this log: from m of its M rollouts to the best of M."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction import evidence
from tea_stats.prediction.few_valued import thresholds
from tea_stats.prediction.fit import Counts, Method, column_means, within_tail
from tea_stats.prediction.methods import METHODS
from tea_stats.reward_log.log import RewardLog

#: disjoint sets of rollouts that are predicted from, at most; fewer where a fit is expensive
SPLITS, CHANCE_SPLITS = 8, 2


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
    scales : mapping
        For one or two numbers of rollouts predicted from, the last being m, each method's error at
        k = M for every prompt, shape (P,).
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
    scales: Mapping[int, Mapping[str, Array]]

    def allowance(self, name: str, grid: Counts, alpha: float) -> Array:
        """Return the extrapolation error to allow for at each N, shape (K,), in reward units.

        The error at k = M beyond its noise, (bias² − s.e.²)₊^½, taken to grow like log²(N α): on
        most laws two curves that agree over the tail share α diverge like that.
        """
        # the error of a single prompt cannot be separated from its noise
        bias, noise = self.biases.get(name, 0.0), self.standard_errors.get(name, np.nan)
        error = 0.0 if np.isnan(noise) else np.sqrt(max(bias**2 - noise**2, 0.0))
        # M rollouts may be fewer than the tail share has one of
        span = max(np.log(max(self.M * alpha, 1.0)), np.log(2.0))
        growth = np.log(np.maximum(grid * alpha, 1.0)) / span
        return np.asarray(error * growth**2 if np.isfinite(error) else np.zeros(len(grid)))


def run(
    log: RewardLog, N: int, names: Sequence[str], alpha: float, rng: np.random.Generator
) -> Backtest | None:
    """Return the backtest of these methods; None where prompts have too few rollouts.

    m is to M what M is to N, as far as the rollouts allow (16 of them, or half if that is less):
    the backtest then extrapolates as far as the prediction does. A second one from half as many
    rollouts is made for the weights of the stack.
    """
    few = thresholds(log) is not None
    fewest = evidence.FEWEST_CHANCE if few else evidence.FEWEST_TAIL
    M = evidence.depth(log)
    if M < (evidence.LEAST_CHANCE if few else evidence.LEAST_TAIL):
        return None
    m = max(int(np.clip(round(M * M / N), min(16, M // 2), M // 2)), fewest)
    groups = evidence.groups_of(log, M, rng)
    grid = np.unique(np.rint(m * (M / m) ** np.linspace(0.0, 1.0, 9)[1:])).astype(np.int64)
    grid = grid if few else grid[within_tail(grid, alpha)]
    if not grid.size:
        return None
    unbiased = METHODS["max_at_k"](evidence.log_of(groups), grid, alpha).values
    truth = column_means(unbiased)
    splits = min(CHANCE_SPLITS if few else SPLITS, M // m)
    predicted, errors, biases, standard_errors, last = {}, {}, {}, {}, {}
    for name in _suited(names, m):
        at, curves = np.zeros(len(groups)), np.zeros(len(grid))
        for fit in _fits(name, groups, m, splits, grid, alpha):
            at += (fit.values[:, -1] - unbiased[:, -1]) / splits
            curves += fit.average("these_prompts") / splits
        predicted[name], last[name] = curves, at
        errors[name] = float(np.sqrt(np.mean((curves - truth) ** 2)))
        biases[name] = float(curves[-1] - truth[-1])
        lonely = len(groups) < 2
        standard_errors[name] = np.nan if lonely else float(at.std(ddof=1) / np.sqrt(len(groups)))
    scales = {m: last}
    half = max(m // 2, fewest)
    if half < m and not few:
        earlier = {
            name: np.mean(
                [
                    fit.values[:, -1] - unbiased[:, -1]
                    for fit in _fits(name, groups, half, min(SPLITS, M // half), grid[-1:], alpha)
                ],
                axis=0,
            )
            for name in _suited(names, half)
        }
        scales = {half: earlier, m: last}
    return Backtest(
        m, M, splits, len(groups), grid, truth, predicted, errors, biases, standard_errors, scales
    )


def _suited(names: Sequence[str], m: int) -> list[str]:
    """Return the methods that can predict from m rollouts; the stack is made of them afterwards."""
    return [name for name in names if name != "stack" and METHODS[name].least <= m]


def _fits(
    name: str, groups: Array, m: int, splits: int, grid: Counts, alpha: float
) -> Iterator[Method]:
    """Yield the method's fit to each set of m rollouts."""
    method = METHODS[name]
    for split in range(splits):
        own = evidence.log_of(groups[:, split * m : (split + 1) * m])
        # without extrapolation: the best of m for every k
        yield method(own, grid if method.extrapolates else np.minimum(grid, m), alpha)
