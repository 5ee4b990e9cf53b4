"""From the variance of one prompt's value to a number of prompts."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import special

from tea_stats._validation import as_real

#: more prompts are "too many"
MOST = 10**9


def prompts_for_width(variance: float, half_width: float, level: float) -> int:
    """Return the least P ≥ 2 with t_{P−1} √(variance/P) ≤ half_width.

    Parameters
    ----------
    variance : float
        Of one prompt's value, squared reward units.
    half_width : float
        Of the interval, reward units, above 0.
    level : float
        Nominal coverage.

    Returns
    -------
    int
        The number of prompts P.

    Examples
    --------
    >>> prompts_for_width(1.0, 0.2, 0.95)  # z alone would say 97
    99
    """
    variance = as_real("variance", variance, at_least=0.0)
    half_width = as_real("half_width", half_width, above=0.0)
    level = as_real("level", level, above=0.0, below=1.0)

    def enough(P: int) -> bool:
        t = float(special.stdtrit(P - 1, 0.5 + 0.5 * level))
        return t * math.sqrt(variance / P) <= half_width

    return _least(enough, "half_width", half_width)


def prompts_for_power(variance: float, difference: float, level: float, power: float) -> int:
    """Return the least P ≥ 2 at which Student's paired test has the power.

    Parameters
    ----------
    variance : float
        Of one prompt's difference, squared reward units.
    difference : float
        To be detected, reward units, above 0.
    level : float
        1 − the test's two-sided level: 0.95 for the 5 % test.
    power : float
        Chance that the interval leaves out zero, by the noncentral t law.

    Returns
    -------
    int
        The number of prompts P.

    Examples
    --------
    >>> prompts_for_power(1.0, 0.5, 0.95, 0.8)  # of textbooks: 34
    34
    """
    variance = as_real("variance", variance, at_least=0.0)
    difference = as_real("difference", difference, above=0.0)
    level = as_real("level", level, above=0.0, below=1.0)
    power = as_real("power", power, above=0.0, below=1.0)
    if variance == 0.0:
        return 2

    def enough(P: int) -> bool:
        t = float(special.stdtrit(P - 1, 0.5 + 0.5 * level))
        shift = difference * math.sqrt(P / variance)
        if shift > t + 8.0:  # beyond what the noncentral law can compute, and certain
            return True
        found = 1.0 - special.nctdtr(P - 1, shift, t) + special.nctdtr(P - 1, shift, -t)
        if math.isnan(found):  # many degrees of freedom: normal
            found = special.ndtr(shift - t)
        return float(found) >= power

    return _least(enough, "difference", difference)


def _least(enough: Callable[[int], bool], name: str, value: float) -> int:
    """Return the least P ≥ 2 that is enough; what is enough stays so for larger P."""
    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            raise ValueError(
                f"{name} is {value}, which takes more than {MOST:,} prompts; give a larger one"
            )
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
