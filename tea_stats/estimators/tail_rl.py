"""TailRL: each gap between rewards shared among the rollouts above it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats.estimators.record import Array, Estimator, group_advantages
from tea_stats.linear.tableau import Tableau, from_slopes


@lru_cache(maxsize=256)
def prepare(m: int, N: int) -> Tableau:
    """Return the tableau with slope 1/(number of rollouts above the gap)."""
    return from_slopes(1.0 / np.arange(m - 1, 0, -1))


def tail_rl(rewards: ArrayLike, N: int) -> Array:
    r"""TailRL: gaps between rewards, added up from the lowest.

    .. math:: A_{(i)} = A_{(i−1)} + \frac{r_{(i)} − r_{(i−1)}}{m − i + 1}, \quad A_{(1)} = 0

    Every gap between neighbouring order statistics is shared equally by the rollouts above it.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget; checked, not used.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64; zero on the smallest reward.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

    Notes
    -----
    Not unbiased for best-of-N. It is exactly unbiased for
    (1/m) [Σ_{k≤m} V_k/k − E[min of m]/m], a log-likelihood of exceeding each level, cut off at m
    terms: `max_rl` for rewards of any value. For the recursion we have no public source to cite;
    the objective is our derivation.

    Examples
    --------
    >>> tail_rl([1, 2, 6], N=16)
    array([0. , 0.5, 4.5])
    """
    return group_advantages(rewards, N, prepare, _kernels.gap_linear)


TAIL_RL = Estimator(
    name="tail_rl",
    function=tail_rl,
    prepare=prepare,
    kernel=_kernels.gap_linear,
    unbiased_for="(1/m) (sum over k <= m of V_k / k - E[min of m] / m)",
    reference="TailRL; objective derived here",
)
