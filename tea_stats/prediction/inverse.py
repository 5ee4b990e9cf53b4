"""The inverse question: which N reaches a target reward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tea_stats._validation import as_real
from tea_stats.families.law import Array
from tea_stats.prediction.forecast import Curve


@dataclass(frozen=True)
class Reach:
    """The budget that reaches a reward, and the ends of its interval; None is "not within N".

    Attributes
    ----------
    N : int or None
        Least N whose predicted V_N is the target or more.
    low, high : int or None
        Least N whose interval's upper, and lower, end is the target or more: N lies in
        [low, high] with the interval's coverage, as V_N rises with N.
    within : int
        Largest N looked at.
    """

    N: int | None
    low: int | None
    high: int | None
    within: int


def budget_for(curve: Curve, target_reward: float) -> Reach:
    """Return the budget whose best-of-N reaches a reward, by one method's curve.

    Parameters
    ----------
    curve : Curve
        As `predict` returns it.
    target_reward : float
        Reward that the average over prompts is to reach.

    Returns
    -------
    Reach
        N and its interval; between points of the grid V_N is interpolated linearly in log N.

    Examples
    --------
    >>> from tea_stats.prediction import predict
    >>> rewards = np.random.default_rng(0).normal(size=(64, 32))
    >>> budget_for(predict(rewards, 1024).curves["gaussian_tail"], 2.6)
    Reach(N=159, low=113, high=239, within=1024)
    """
    reward = as_real("target_reward", target_reward)
    value, high, low = (
        _first(curve, line, reward) for line in (curve.value, curve.low, curve.high)
    )
    return Reach(value, low, high, int(curve.grid[-1]))


def _first(curve: Curve, line: Array, reward: float) -> int | None:
    """Return the least N at which the line is at the reward or above it."""
    known = ~np.isnan(line)
    N, line = curve.grid[known], line[known]
    reached = np.flatnonzero(line >= reward)
    if not reached.size:
        return None
    place = int(reached[0])
    if place == 0 or not np.isfinite(line[place]):
        return int(N[place])
    share = (reward - line[place - 1]) / (line[place] - line[place - 1])
    log_N = np.log(N[place - 1]) + share * np.log(N[place] / N[place - 1])
    return int(np.ceil(np.exp(log_N) * (1.0 - 1e-12)))
