"""How many replications a simulation needs for a Monte Carlo error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats._validation import as_finite, as_flag, as_real


def replications(
    value: ArrayLike,
    mcse: ArrayLike,
    reps: ArrayLike,
    *,
    error: float,
    relative: bool = True,
) -> NDArray[np.int64]:
    """Return how many replications give a Monte Carlo standard error, from a first run.

    Parameters
    ----------
    value : array_like
        Estimates of the first run; used where `relative`.
    mcse : array_like
        Their Monte Carlo standard errors.
    reps : array_like
        Replications of the first run.
    error : float
        Standard error to reach, above 0: as a share of the value, or in its units.
    relative : bool
        Whether `error` is a share of the value.

    Returns
    -------
    ndarray of int
        reps · (mcse/goal)², rounded up: variances fall as 1/reps (Morris, White and Crowther 2019,
        Statistics in Medicine 38, 2074–2102). 0 where the goal is 0, which no number reaches.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value.

    Examples
    --------
    >>> replications(0.5, 0.02, 1000, error=0.01).item()  # four times as exact: 16 times as many
    16000
    """
    value, mcse, count = np.broadcast_arrays(
        as_finite("value", value), as_finite("mcse", mcse), as_finite("reps", reps)
    )
    error = as_real("error", error, above=0.0)
    for name, array, least in (("mcse", mcse, 0.0), ("reps", count, 1.0)):
        if (array < least).any():
            raise ValueError(f"{name} is {array.min()}; give numbers ≥ {least:g}")
    goal = error * np.abs(value) if as_flag("relative", relative) else np.full(value.shape, error)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(goal > 0.0, mcse / goal, 0.0)
    # a share of a rounding error more is no replication more
    return np.ceil(count * ratio**2 * (1.0 - 1e-12)).astype(np.int64)
