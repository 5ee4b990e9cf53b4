"""Standard errors of a difference of best-of-N: paired, unpaired, and for the prompts at hand."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tea_stats.comparison.pairs import Pairs, subset
from tea_stats.comparison.values import Values
from tea_stats.families.law import Array
from tea_stats.prediction.methods import METHODS
from tea_stats.reward_log.log import RewardLog

#: methods whose average is a mean of values that each prompt has by itself
SEPARATE = ("max_at_k", "linear", "gaussian_tail")
#: groups of prompts that the jackknife leaves out
GROUPS = 20
#: draws of an average where only rollouts are random
DRAWS = 4000
#: disjoint sets of rollouts in a backtest, at most; rollouts it needs, and predicts from
SPLITS, LEAST, FEWEST = 8, 8, 4


class Difference(NamedTuple):
    """Two values, the standard error of their difference, and what it rests on."""

    value_a: float
    value_b: float
    standard_error: float
    freedom: float
    allowance: float
    backtest: float
    each: Array | None
    unpaired_error: float

    def times(self, by: float) -> Difference:
        """Return it in another unit."""
        if by == 1.0:
            return self
        return Difference(
            value_a=self.value_a * by,
            value_b=self.value_b * by,
            standard_error=self.standard_error * by,
            freedom=self.freedom,
            allowance=self.allowance * by,
            backtest=self.backtest * by,
            each=None if self.each is None else self.each * by,
            unpaired_error=self.unpaired_error * by,
        )


def paired(pairs: Pairs, N: int, method: str, alpha: float) -> Difference:
    """Return the difference over pairs of prompts; its error by their scatter, or a jackknife."""
    a, b = (Values(log, N, method, alpha) for log in (pairs.a, pairs.b))
    each = b.prompts() - a.prompts()
    value_a, value_b = a.average("population"), b.average("population")
    count = len(each)
    allowance, bias = _allowance(pairs, N, method, alpha)
    if method in SEPARATE:
        error = float(each.std(ddof=1)) / math.sqrt(count)
        apart = math.sqrt((a.prompts().var(ddof=1) + b.prompts().var(ddof=1)) / count)
        return Difference(value_a, value_b, error, count - 1, allowance, bias, each, apart)
    left = [left_out(log, N, method, alpha) for log in (pairs.a, pairs.b)]
    error, apart = jackknife(left[1] - left[0]), math.hypot(*map(jackknife, left))
    return Difference(value_a, value_b, error, len(left[0]) - 1, allowance, bias, each, apart)


def unpaired(pairs: Pairs, N: int, method: str, alpha: float) -> Difference:
    """Return the difference of two independent logs: Welch's t."""
    values, squares, freedoms = [], [], []
    for log in (pairs.a, pairs.b):
        fit = Values(log, N, method, alpha)
        values.append(fit.average("population"))
        if method in SEPARATE:
            squares.append(float(fit.prompts().var(ddof=1)) / len(log))
            freedoms.append(len(log) - 1)
        else:
            left = left_out(log, N, method, alpha)
            squares.append(jackknife(left) ** 2)
            freedoms.append(len(left) - 1)
    total = sum(squares)
    error = math.sqrt(total)
    freedom = float(min(freedoms))
    if total > 0.0:
        freedom = total**2 / sum(s**2 / f for s, f in zip(squares, freedoms, strict=True))
    allowance, bias = _allowance(pairs, N, method, alpha)
    value_a, value_b = values
    return Difference(value_a, value_b, error, freedom, allowance, bias, None, math.nan)


def same_prompts(
    pairs: Pairs, N: int, method: str, alpha: float, rng: np.random.Generator
) -> Difference:
    """Return the difference on the prompts at hand, whose rollouts alone are random."""
    target = "these_prompts"
    a, b = (Values(log, N, method, alpha) for log in (pairs.a, pairs.b))
    spread = b.draws(target, DRAWS, rng) - a.draws(target, DRAWS, rng)
    # a normal law with the same central half: draws of Student's t may have no variance
    low, high = np.quantile(spread, (0.1587, 0.8413))
    allowance, bias = _allowance(pairs, N, method, alpha)
    each = b.prompts() - a.prompts() if pairs.paired else None
    error = float(high - low) / 2.0
    freedom = float(max(1, min(a.log.sizes.sum() - len(a.log), b.log.sizes.sum() - len(b.log))))
    value_a, value_b = a.average(target), b.average(target)
    return Difference(value_a, value_b, error, freedom, allowance, bias, each, math.nan)


def left_out(log: RewardLog, N: int, method: str, alpha: float) -> Array:
    """Return the average of a log without one group of prompts, fitted again, shape (G,).

    Prompts are in at most `GROUPS` groups of nearly one size, by their place.
    """
    groups = min(GROUPS, len(log))
    owner = np.arange(len(log)) % groups
    return np.array(
        [
            Values(subset(log, np.flatnonzero(owner != group)), N, method, alpha).average(
                "population"
            )
            for group in range(groups)
        ]
    )


def jackknife(left: Array) -> float:
    """Return the standard error: [(G − 1)/G Σ (D_(g) − D̄)²]^½.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0, 9.0])
    >>> round(jackknife((x.sum() - x) / 3), 6) == round(float(x.std(ddof=1)) / 2, 6)
    True
    """
    return math.sqrt((len(left) - 1) / len(left) * float(((left - left.mean()) ** 2).sum()))


def _allowance(pairs: Pairs, N: int, method: str, alpha: float) -> tuple[float, float]:
    """Return the standard deviation to allow for the extrapolation's error, and the bias seen.

    The difference is extrapolated from m of the M rollouts that every prompt has to the best of M,
    where it is known without bias; m is to M what M is to N. nan where M is too small; nothing
    where nothing is extrapolated.
    """
    if method == "max_at_k":
        return 0.0, 0.0
    M = int(min(pairs.a.sizes.min(), pairs.b.sizes.min()))
    if M < LEAST or M * alpha < 2.0:
        return 0.0, math.nan
    m = max(int(np.clip(round(M * M / N), min(16, M // 2), M // 2)), FEWEST)
    if METHODS[method].least > m:
        return 0.0, math.nan
    off = []
    for log in (pairs.a, pairs.b):
        cut = _first(log, 0, M)
        splits = min(SPLITS, M // m)
        predicted = np.mean(
            [
                Values(_first(log, split * m, m), M, method, alpha).prompts()
                for split in range(splits)
            ],
            axis=0,
        )
        off.append(predicted - Values(cut, M, "max_at_k", alpha).prompts())
    if pairs.paired:
        own = off[1] - off[0]
        bias, square = float(own.mean()), float(own.var(ddof=1)) / len(own) if len(own) > 1 else 0.0
    else:
        bias = float(off[1].mean() - off[0].mean())
        square = sum(float(x.var(ddof=1)) / len(x) if len(x) > 1 else 0.0 for x in off)
    error = math.sqrt(max(bias**2 - square, 0.0)) if len(off[0]) > 1 else 0.0
    growth = math.log(max(N * alpha, 1.0)) / math.log(M * alpha)
    return error * growth**2, bias


def _first(log: RewardLog, start: int, m: int) -> RewardLog:
    """Return the log of m rollouts of each prompt, from one place on."""
    places = log.offsets[:-1, None] + start + np.arange(m)
    return RewardLog(log.prompts, log.rewards[places].ravel(), np.arange(len(log) + 1) * m)
