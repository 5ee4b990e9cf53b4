"""Prompts by themselves and all together: what many prompts show that none of them does.

Methods that extrapolate each prompt's tail never see what m rollouts hold once or not at all: a
good mode of 2 % is at its start in 64 rollouts, and their curves go on rising where V_N is about to
bend. The rewards of all prompts show it, if prompts share a shape (`pooled_shape`), which nobody
knows. So where prompts are many, an interval holds both; and where each value lies outside of the
other's interval, there is nothing to say from that N on.
"""

from __future__ import annotations

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction.fit import Counts

#: prompts from which on the pool has a say: two in each part that its jackknife leaves out
PROMPTS = 20
#: draws behind the check, and the level of its intervals
DRAWS, LEVEL = 1000, 0.9
#: a value and draws of it: shapes (K,) and (count, K)
Drawn = tuple[Array, Array]


def around(draws: Array, pooled: Array) -> Array:
    """Return draws whose quantiles are the outer ones of two sets, in the order of the first.

    The lower half of each column is moved down to the pool's quantiles, the upper half up to them,
    where those lie farther out; NaN of the pool moves nothing. Shapes (count, K).

    Examples
    --------
    >>> around(np.array([[1.0], [3.0], [2.0], [4.0]]), np.array([[0.0], [2.5], [3.5], [5.0]])).T
    array([[0. , 3.5, 2. , 5. ]])
    """
    rank = draws.argsort(axis=0).argsort(axis=0)
    twin = np.take_along_axis(np.sort(pooled, axis=0), rank, axis=0)
    lower = rank < len(draws) / 2
    return np.where(lower, np.fmin(draws, twin), np.fmax(draws, twin))


def agreed(grid: Counts, own: Drawn, pooled: Drawn, counted: Array) -> int | None:
    """Return the largest budget before the first at which both values lie outside, None if none.

    Budgets with `counted` true need no extrapolation; where the pool has no value, none disagrees.
    """
    low, high = _interval(own[1])
    pool_low, pool_high = _interval(pooled[1])
    apart = _outside(pooled[0], low, high) & _outside(own[0], pool_low, pool_high) & ~counted
    first = np.flatnonzero(apart)
    return int(grid[max(first[0] - 1, 0)]) if first.size else None


def _interval(draws: Array) -> tuple[Array, Array]:
    low, high = np.quantile(draws, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0], axis=0)
    return low, high


def _outside(value: Array, low: Array, high: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.asarray((value < low) | (value > high))
