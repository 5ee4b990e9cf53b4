"""Tableaux: the numbers that turn sorted rewards into advantages, one slope per gap.

The exact best-of-N advantage rises with slope N F(t)^{N−1} in the reward t. A group of m rollouts
cuts the reward axis at its order statistics, and between two of them F is known only through how
many rollouts lie below. So an estimator that is linear in the sorted rewards and treats ties alike
is one slope per gap, plus a constant for the whole group:

    A_(i) = level · r_(1) + Σ_j base_j gap_j + Σ_{j<i} slopes_j gap_j,   gap_j = r_(j+1) − r_(j).

max@k in all its forms, RLOO, Dr.GRPO, CVaR, TailRL and the leave-one-out maximum are such
tableaux. `level` is nonzero only for those that depend on the location of the rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tea_stats.families.law import Array


class Tableau(NamedTuple):
    """What `_kernels.gap_linear` needs: level, base[m − 1] and slopes[m − 1]."""

    level: float
    base: Array
    slopes: Array


def from_slopes(
    slopes: Sequence[float] | Array, base: ArrayLike = 0.0, level: float = 0.0
) -> Tableau:
    """Return a tableau from its m − 1 slopes, lowest gap first, each as a read-only array.

    Examples
    --------
    >>> from_slopes([0.0, 1.0])
    Tableau(level=0.0, base=array([0., 0.]), slopes=array([0., 1.]))
    """
    slope_array = np.array(slopes, dtype=np.float64)
    base_array = np.array(np.broadcast_to(base, slope_array.shape), dtype=np.float64)
    for array in (slope_array, base_array):
        # tableaux are cached and shared between calls
        array.flags.writeable = False
    return Tableau(level, base_array, slope_array)


def centred(slopes: Sequence[float] | Array) -> Tableau:
    """Return the tableau whose advantages sum to zero over the group.

    The m − j rollouts above gap j rise by its slope, so all m go down by (m − j)/m times it.

    Examples
    --------
    >>> centred([1.0, 1.0]).base
    array([-0.66666667, -0.33333333])
    """
    slope_array = np.asarray(slopes, dtype=np.float64)
    m = len(slope_array) + 1
    return from_slopes(slope_array, base=-np.arange(m - 1, 0, -1) / m * slope_array)
