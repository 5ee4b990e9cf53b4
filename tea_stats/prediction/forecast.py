"""What a prediction returns: curves of one log by each method, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction.backtest import Backtest
from tea_stats.prediction.fit import Counts
from tea_stats.reward_log.log import RewardLog


@dataclass(frozen=True, eq=False)
class Curve:
    """The predicted best-of-N of one method.

    Attributes
    ----------
    method : str
        A key of `METHODS`.
    grid : ndarray of int, shape (K,)
        Budgets N.
    value : ndarray, shape (K,)
        Predicted V_N, averaged over prompts; reward units. NaN where the method has none.
    low, high : ndarray, shape (K,)
        Ends of the interval at each N.
    band_low, band_high : ndarray, shape (K,)
        Ends of the simultaneous band, which covers the whole curve.
    allowance : ndarray, shape (K,)
        Standard deviation that intervals and bands include for the error of extrapolation, as
        estimated by the backtest; 0 where it shows none, or with `extrapolation_error=False`.
    prompts : ndarray of int, shape (K,)
        Prompts with a value.
    prompt_values : ndarray, shape (P, K)
        Predicted V_N of each prompt.
    prompt_low, prompt_high : ndarray, shape (P, K), or None
        Ends of each prompt's own interval, with `prompt_intervals=True`.
    details : mapping
        What was fitted: the tail fraction alpha, the shape, a and b.
    """

    method: str
    grid: Counts
    value: Array
    low: Array
    high: Array
    band_low: Array
    band_high: Array
    allowance: Array
    prompts: Counts
    prompt_values: Array
    prompt_low: Array | None
    prompt_high: Array | None
    details: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Forecast:
    """Curves of one log.

    Attributes
    ----------
    log : RewardLog
        What was predicted from.
    N : int
        Largest budget.
    target : {"population", "these_prompts"}
        What the intervals are for.
    level : float
        Their nominal coverage.
    curves : mapping
        A `Curve` for each method.
    backtest : Backtest or None
        How well each method predicted the log's own best-of-k from fewer rollouts; None where a
        prompt has fewer than 8.
    recommended : str
        max@k if every prompt has N rollouts; else the stack. Where `methods` leaves it out, the
        method of least backtest error.
    reach : int
        Largest budget that the log can tell something about; the stack has no value beyond.
    reason : str
        Why this curve is recommended, or why it has no value at N.
    notes : tuple of str
        What the log's rewards are like, where that matters: few values, a ceiling, repeats.
    """

    log: RewardLog
    N: int
    target: str
    level: float
    curves: Mapping[str, Curve]
    backtest: Backtest | None
    recommended: str
    reach: int
    reason: str
    notes: tuple[str, ...]


def budgets(N: int) -> Counts:
    """Return the grid of budgets up to N: about two for each doubling.

    Examples
    --------
    >>> budgets(100).tolist()
    [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 100]
    """
    steps = np.arange(0, int(2 * np.log2(N)) + 1)
    return np.unique(np.append(np.rint(2.0 ** (steps / 2)), N)).astype(np.int64)
