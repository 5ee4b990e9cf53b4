r"""Rewards that are equal up to rounding are equal.

A reward is often a sum, and .1 + .2 + .3 differs from .3 + .2 + .1 in the last digit. What divides
by a spread of rewards, or asks which of them is larger, would make advantages of order one from
that digit. Two neighbours among the sorted rewards of a group therefore differ by rounding only if

.. math::

    |r − r'| ≤ τ \max(|r|, |r'|), \quad τ = \min(8ε, \max(ε, 10^{−6})),

with ε the spacing of the rewards' floating-point type at 1: τ is 1.8e-15 in float64, 9.5e-7 in
float32, ε in float16 (.001) and bfloat16 (.008), and 0 for integers. Sums of 30 terms in any order
differ by less than 4ε, sums of 3 mostly by ε. The tolerance is relative: the rewards' unit does not
matter.

Rounding leaves a hole: equal rewards are closer than τ, others are far apart. In a group with a gap
from τ to 128τ (no more than 1/8), or with gaps below τ that add up to more than τ, rewards vary on
the scale of their own digits (scores in bfloat16, or with a location of 2^40). They are what they
are, and none is tied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tea_stats import _kernels
from tea_stats.families.law import Array

#: τ in units of ε, and what it may be where ε is no eighth of that
UNITS, COARSE = 8.0, 1e-6
#: gaps from τ to this multiple of it, or this share, show that rewards vary on that scale
HOLE, WIDEST_HOLE = 128.0, 0.125
#: τ of float64, which everything without a type of its own is taken for
DOUBLE = UNITS * float(np.finfo(np.float64).eps)


def tolerance(epsilon: float) -> float:
    """Return τ of a type whose numbers are ε apart at 1; 0 for integers, whose ε is 0.

    Examples
    --------
    >>> [float(f"{tolerance(2.0**-digits):.2g}") for digits in (52, 23, 10, 7)]
    [1.8e-15, 9.5e-07, 0.00098, 0.0078]
    """
    return min(UNITS * epsilon, max(epsilon, COARSE))


def of_array(values: Any) -> float:
    """Return τ of an array, or of anything that NumPy makes one of; a list counts as float64."""
    given = getattr(values, "dtype", None)
    dtype = given if given is None or isinstance(given, np.dtype) else np.asarray(values).dtype
    if dtype is None:
        return DOUBLE
    if dtype.kind != "f":
        return 0.0
    # calculations are in float64
    return max(tolerance(float(np.finfo(dtype).eps)), DOUBLE)


def merge(ascending: Array, tie: float) -> None:
    """Set tied rewards of sorted groups, shape (G, m), to the smallest of theirs, in place."""
    _kernels.merge_ties(ascending, tie, min(HOLE * tie, WIDEST_HOLE))


def merged(ascending: Array, tie: float) -> Array:
    """Return sorted groups, shape (G, m) or (m,), in which tied rewards are equal."""
    result = np.array(ascending, dtype=np.float64, order="C", ndmin=2)
    merge(result, tie)
    return result.reshape(np.shape(ascending))


def rounded(rewards: Array) -> Array:
    """Return the rewards of a whole log, shape (R,), in which tied ones are equal.

    Examples
    --------
    >>> import numpy as np
    >>> len(np.unique(rounded(np.array([0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1, 0.0]))))
    2
    """
    ascending = np.sort(rewards)
    gaps = np.diff(ascending)
    near = gaps <= DOUBLE * np.maximum(np.abs(ascending[1:]), np.abs(ascending[:-1]))
    if not (near & (gaps > 0.0)).any():
        return rewards
    values = np.unique(ascending)
    return np.asarray(merged(values, DOUBLE)[np.searchsorted(values, rewards)])
