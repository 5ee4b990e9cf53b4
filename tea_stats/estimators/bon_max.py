"""Credit to the best rollout of the group only."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats.estimators.record import Array, Estimator, group_advantages
from tea_stats.linear.tableau import Tableau, from_slopes


@lru_cache(maxsize=256)
def prepare_leave_one_out(m: int, N: int) -> Tableau:
    """Return the tableau that rises over the topmost gap only."""
    return from_slopes(np.arange(1, m) == m - 1)


def prepare_max_mean(m: int, N: int) -> tuple[Any, ...]:
    """Return no constants."""
    return ()


def leave_one_out_max(rewards: ArrayLike, N: int) -> Array:
    r"""Leave-one-out maximum (GRPO_PASSK): max − second largest on the best rollout, else 0.

    .. math:: A_i = \max_j r_j − \max_{j ≠ i} r_j,

    what the group's maximum owes to rollout i.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget; checked, not used.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64; all zero where two rollouts share the maximum.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

    Notes
    -----
    Unbiased for ∇V_m / m, best-of-m in units m times smaller: `max_at_k` with k = m is m times it.
    Tang et al. (2025), arXiv:2503.19595. It is GRPO_PASSK of the verl library without that one's
    division by the group's standard deviation.

    Examples
    --------
    >>> leave_one_out_max([1, 2, 6], N=16)
    array([0., 0., 4.])
    """
    return group_advantages(rewards, N, prepare_leave_one_out, _kernels.gap_linear)


def bon_max_mean(rewards: ArrayLike, N: int) -> Array:
    r"""BoN-max mean: the best rollout against the group's mean.

    .. math:: A_i = \frac{1}{T} 1\{r_i = \max_j r_j\} (r_i − \bar r)

    T rollouts that tie for the maximum get 1/T of it each: the average over which of them a
    coin would have called the best, so that no rollout is preferred for its place in the batch.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget; checked, not used.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

    Notes
    -----
    Not unbiased for any best-of-N: the mean is not what the group would have reached without its
    best rollout. The formula as in common use; the treatment of ties is ours.

    Examples
    --------
    >>> bon_max_mean([1, 2, 6], N=16)
    array([0., 0., 3.])
    """
    return group_advantages(rewards, N, prepare_max_mean, _kernels.bon_max_mean)


LEAVE_ONE_OUT_MAX = Estimator(
    name="leave_one_out_max",
    function=leave_one_out_max,
    prepare=prepare_leave_one_out,
    kernel=_kernels.gap_linear,
    unbiased_for="V_m / m, best-of-m in units m times smaller",
    reference="Tang et al. (2025), arXiv:2503.19595",
)

BON_MAX_MEAN = Estimator(
    name="bon_max_mean",
    function=bon_max_mean,
    prepare=prepare_max_mean,
    kernel=_kernels.bon_max_mean,
    unbiased_for="nothing: the mean is no baseline for a maximum",
    reference="best-of-n policy gradient with a mean baseline, in common use",
)
