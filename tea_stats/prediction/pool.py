"""Prompts by themselves and all together: what many prompts show that none of them does.

Methods that extrapolate each prompt's tail do not see what m rollouts hold once or not at all: a
good mode of 2 % has just begun in 64 rollouts, and their curves go on rising where V_N is about to
bend. The rewards of all prompts show it, if prompts share a shape (`pooled_shape`), which nobody
knows. So where prompts are many and one of the two values lies outside the other's interval, the
interval said holds both; and where each lies outside the other's wider one, nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tea_stats.families.law import Array

#: prompts from which on the pool has a say: two in each part that its jackknife leaves out
PROMPTS = 20
#: draws behind the check; levels of the intervals outside of which values differ, and contradict
DRAWS, DIFFER, CONTRADICT = 1000, 0.9, 0.95
#: a value and draws of it: shapes (K,) and (count, K)
Drawn = tuple[Array, Array]


@dataclass(frozen=True)
class Agreement:
    """How what prompts say by themselves agrees with what they say together.

    Attributes
    ----------
    until : int or None
        The largest budget before the first contradiction; None if there is none.
    differs : bool
        Whether the two differ at the largest budget, so that its interval holds both.
    """

    until: int | None = None
    differs: bool = False


def differ(own: Drawn, pooled: Drawn) -> NDArray[np.bool_]:
    """Return where one of two values lies outside the other's interval, shape (K,)."""
    return ~(_within(own[0], pooled[1], DIFFER) & _within(pooled[0], own[1], DIFFER))


def contradict(own: Drawn, pooled: Drawn) -> NDArray[np.bool_]:
    """Return where each of two values lies outside the other's wider interval, shape (K,)."""
    return ~(_within(own[0], pooled[1], CONTRADICT) | _within(pooled[0], own[1], CONTRADICT))


def around(own: Drawn, pooled: Drawn) -> Array:
    """Return draws whose quantiles, where the two differ, are the outer ones of both.

    There the lower half of the stack's draws is moved down to the pool's quantiles, the upper half
    up to them, if they lie farther out. The draws keep their order, so that each stays one curve.

    Examples
    --------
    >>> draws = np.array([[1.0], [3.0], [2.0], [4.0]])
    >>> pooled = np.array([[0.0], [2.5], [3.5], [5.0]])
    >>> around((np.array([2.5]), draws), (np.array([4.5]), pooled)).T
    array([[0. , 3.5, 2. , 5. ]])
    """
    draws = own[1]
    rank = draws.argsort(axis=0).argsort(axis=0)
    twin = np.take_along_axis(np.sort(pooled[1], axis=0), rank, axis=0)
    outer = np.where(rank < len(draws) / 2, np.fmin(draws, twin), np.fmax(draws, twin))
    return np.where(differ(own, pooled), outer, draws)


def _within(value: Array, draws: Array, level: float) -> NDArray[np.bool_]:
    """Return whether values lie in the interval of draws; NaN is taken to."""
    low, high = np.quantile(draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(~((value < low) | (value > high)))
