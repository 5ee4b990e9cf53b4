r"""Rewards that are equal up to rounding are equal.

A reward is often a sum, and .1 + .2 + .3 differs from .3 + .2 + .1 in the last digit. What compares
rewards of a group, divides by their spread, or asks which of them is the largest, would make
advantages of order one from that digit. Two rewards of a group are therefore tied if

.. math::

    |r − r'| ≤ τ \max_j |r_j|, \quad τ = \min(8ε, \max(ε, .002)),

with ε the spacing of the rewards' floating-point type at 1: τ is 1.8e-15 in float64, 9.5e-7 in
float32, .002 in float16, .0078 in bfloat16, and 0 for integers. Sums of 30 terms in any order
differ by less than 4ε, sums of 5 by less than 2ε; in half precision, where real differences are as
small as that, τ is less. The tolerance is relative, so that the unit of the rewards does not
matter; and it is counted from the smallest reward of those tied, so that ties do not chain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tea_stats import _kernels
from tea_stats.families.law import Array

#: τ in units of ε, and what it may be anyway in types whose ε is larger than an eighth of it
UNITS, COARSE = 8.0, 0.002
#: τ of float64, which everything without a type of its own is taken for
DOUBLE = UNITS * float(np.finfo(np.float64).eps)


def tolerance(epsilon: float) -> float:
    """Return τ of a type whose numbers are ε apart at 1; 0 for integers, whose ε is 0.

    Examples
    --------
    >>> [float(f"{tolerance(2.0**-digits):.2g}") for digits in (52, 23, 10, 7)]
    [1.8e-15, 9.5e-07, 0.002, 0.0078]
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


def merged(ascending: Array, tie: float) -> Array:
    """Return sorted groups, shape (G, m), in which tied rewards are the smallest of theirs."""
    result = np.array(ascending, dtype=np.float64, order="C", ndmin=2)
    _kernels.merge_ties(result, tie)
    return result.reshape(np.shape(ascending))
