"""What a log can and cannot tell: ceilings, repeated rollouts, how far it can be extrapolated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction.fit import Counts
from tea_stats.reward_log.log import RewardLog

#: fewest rollouts of a prompt that a tail, and a chance of success, are predicted from
FEWEST_TAIL, FEWEST_CHANCE = 4, 1
#: fewest rollouts of a prompt that a backtest splits, by the same
LEAST_TAIL, LEAST_CHANCE = 8, 2
#: share of the prompts that must have as many rollouts as the backtest uses
TAKING_PART = 0.75
#: prompts that take part in a backtest, at most: a thousand decide between methods
PROMPTS = 1000
#: share of rewards that repeat another of their prompt, from which on repeats are a matter of doubt
REPEATED = 0.1
#: rewards at the largest value, and their share, that make it a ceiling
AT_CEILING, CEILING_SHARE = 3, 0.01


def depth(log: RewardLog) -> int:
    """Return M: three quarters of the prompts have as many rollouts or more."""
    return int(np.quantile(log.sizes, 1.0 - TAKING_PART, method="lower"))


def reach(M: int, few_valued: bool) -> int:
    """Return the largest N that a log of M rollouts a prompt can tell something about.

    A backtest extrapolates from m ≥ 4 rollouts (0/1 rewards: from 1) to M, by a factor M/m; from M
    to N it is N/M. Half way, on the logarithmic scale on which curves bend, is N/M = (M/m)².

    Examples
    --------
    >>> [reach(M, few_valued=False) for M in (7, 8, 16, 32, 64)]
    [7, 32, 256, 2048, 16384]
    """
    least, fewest = (LEAST_CHANCE, FEWEST_CHANCE) if few_valued else (LEAST_TAIL, FEWEST_TAIL)
    return M if M < least else M * (M // fewest) ** 2


def ceiling(log: RewardLog) -> float | None:
    """Return the largest reward if it is a bound that rewards pile up at, else None."""
    top = log.rewards.max()
    at = int((log.rewards == top).sum())
    piled = at >= max(AT_CEILING, CEILING_SHARE * len(log.rewards))
    return float(top) if piled and top > log.rewards.min() else None


@dataclass(frozen=True, eq=False)
class Repeats:
    """Rollouts that repeat another one of their prompt.

    Attributes
    ----------
    share : float
        Their share of all rollouts, the first of each kind not counted.
    by_text : bool
        Whether completions were compared, or only rewards.
    copies : int
        How often every rollout is there, if all are there equally often; 1 if not.
    distinct : RewardLog
        The log with every rollout of a prompt once.
    """

    share: float
    by_text: bool
    copies: int
    distinct: RewardLog


def repeats(log: RewardLog) -> Repeats | None:
    """Return the repeated rollouts of a log, or None where they are too few to matter.

    Equal completions repeat each other; without the text, equal rewards of one prompt do, unless
    other prompts have that reward too: it is then a value that rewards like to take.
    """
    text = getattr(log, "completions", None)
    codes = log.rewards if text is None else text
    prompt = np.repeat(np.arange(len(log)), log.sizes)
    if text is None:
        values, code = np.unique(log.rewards, return_inverse=True)
        if len(values) >= (1.0 - REPEATED) * len(code):
            return None
        pairs = np.unique(code.ravel() * len(log) + prompt) // len(log)
        shared = np.bincount(pairs, minlength=len(values))[code.ravel()] > 1
    else:
        shared = np.zeros(len(codes), dtype=bool)
    order = np.lexsort((codes, prompt))
    same = np.zeros(len(codes), dtype=bool)
    same[1:] = (codes[order][1:] == codes[order][:-1]) & (prompt[order][1:] == prompt[order][:-1])
    again = np.zeros(len(codes), dtype=bool)
    again[order] = same
    again &= ~shared
    if again.mean() <= REPEATED:
        return None
    starts = np.flatnonzero(~same)
    often = np.diff(np.append(starts, len(codes)))
    kept = ~again
    sizes = np.add.reduceat(kept, log.offsets[:-1], dtype=np.int64)
    distinct = RewardLog(log.prompts, log.rewards[kept], np.concatenate([[0], np.cumsum(sizes)]))
    copies = int(often[0]) if np.ptp(often) == 0 else 1
    return Repeats(float(again.mean()), text is not None, copies, distinct)


def part(log: RewardLog, places: Counts) -> RewardLog:
    """Return the log of some of the prompts."""
    if len(places) == len(log):
        return log
    rows = np.concatenate([np.arange(log.offsets[p], log.offsets[p + 1]) for p in places])
    offsets = np.concatenate([[0], np.cumsum(log.sizes[places])])
    return RewardLog(tuple(log.prompts[p] for p in places), log.rewards[rows], offsets)


def groups_of(log: RewardLog, M: int, rng: np.random.Generator) -> Array:
    """Return M rollouts, in random order, of every prompt that has as many, shape (P, M)."""
    return np.concatenate(
        [
            rng.permuted(rewards, axis=1)[:, :M]
            for _, rewards in spread(log).by_size()
            if rewards.shape[1] >= M
        ]
    )


def spread(log: RewardLog) -> RewardLog:
    """Return the log, or of many prompts as many as a backtest takes, spread evenly."""
    if len(log) <= PROMPTS:
        return log
    return part(log, np.linspace(0, len(log) - 1, PROMPTS).astype(np.intp))


def log_of(groups: Array) -> RewardLog:
    """Return the log of groups of one size, shape (P, m)."""
    count, m = groups.shape
    offsets = np.arange(count + 1) * m
    return RewardLog(tuple(range(count)), np.ascontiguousarray(groups).ravel(), offsets)


def at_ceiling(log: RewardLog, top: float) -> int:
    """Return the number of prompts that have reached the ceiling."""
    return int((np.maximum.reduceat(log.rewards, log.offsets[:-1]) == top).sum())


def monotone(value: Array) -> Array:
    """Return a curve that never falls, NaN staying: V_N rises with N under every law."""
    filled = np.where(np.isnan(value), -np.inf, value)
    return np.where(np.isnan(value), np.nan, np.maximum.accumulate(filled))


def known(grid: Counts, N: int) -> Array:
    """Return 1 at budgets within reach, NaN beyond."""
    return np.where(grid <= N, 1.0, np.nan)
