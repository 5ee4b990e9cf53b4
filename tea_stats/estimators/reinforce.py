"""REINFORCE and its mean baselines: the policy gradient of the mean reward."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats.estimators.record import Array, Estimator, group_advantages
from tea_stats.linear.tableau import Tableau, centred


def prepare_raw(m: int, N: int) -> tuple[Any, ...]:
    """Return no constants: the advantage is the reward."""
    return ()


@lru_cache(maxsize=256)
def prepare_rloo(m: int, N: int) -> Tableau:
    """Return the tableau of m/(m − 1) (r − mean)."""
    return centred(np.full(m - 1, m / (m - 1)))


@lru_cache(maxsize=256)
def prepare_dr_grpo(m: int, N: int) -> Tableau:
    """Return the tableau of r − mean."""
    return centred(np.ones(m - 1))


def reinforce(rewards: ArrayLike, N: int) -> Array:
    """REINFORCE without a baseline: the advantage is the reward.

    .. math:: A_i = r_i

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 1 rollouts per group, any real dtype.
    N : int
        Deployment budget; checked, not used.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Unbiased for ∇V_1, the gradient of the mean reward; depends on the location of the rewards.
    Williams (1992), Machine Learning 8, 229–256.

    Examples
    --------
    >>> reinforce([1, 2, 6], N=16)
    array([1., 2., 6.])
    """
    return group_advantages(rewards, N, prepare_raw, _kernels.raw, min_m=1)


def rloo(rewards: ArrayLike, N: int) -> Array:
    r"""REINFORCE with the leave-one-out mean as baseline.

    .. math:: A_i = r_i − \frac{1}{m − 1} Σ_{j ≠ i} r_j

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget; checked, not used.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64; they sum to zero.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

    Notes
    -----
    Unbiased for ∇V_1, the gradient of the mean reward; it is max@1 in canonical form.
    Kool, van Hoof and Welling (2019); Ahmadian et al. (2024), arXiv:2402.14740.

    Examples
    --------
    >>> rloo([1, 2, 6], N=16)
    array([-3. , -1.5,  4.5])
    """
    return group_advantages(rewards, N, prepare_rloo, _kernels.gap_linear)


def dr_grpo(rewards: ArrayLike, N: int) -> Array:
    r"""Dr.GRPO: the reward less the mean of its group.

    .. math:: A_i = r_i − \frac{1}{m} Σ_j r_j

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 1 rollouts per group, any real dtype; m = 1 gives 0.
    N : int
        Deployment budget; checked, not used.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64; they sum to zero.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Unbiased for (1 − 1/m) ∇V_1: the mean contains the rollout itself, which shrinks the gradient
    of the mean reward. Liu et al. (2025), arXiv:2503.20783.

    Examples
    --------
    >>> dr_grpo([1, 2, 6], N=16)
    array([-2., -1.,  3.])
    """
    return group_advantages(rewards, N, prepare_dr_grpo, _kernels.gap_linear, min_m=1)


REINFORCE = Estimator(
    name="reinforce",
    function=reinforce,
    prepare=prepare_raw,
    kernel=_kernels.raw,
    unbiased_for="V_1, the mean reward",
    reference="Williams (1992), Machine Learning 8, 229-256",
    shift_invariant=False,
    min_m=1,
)

RLOO = Estimator(
    name="rloo",
    function=rloo,
    prepare=prepare_rloo,
    kernel=_kernels.gap_linear,
    unbiased_for="V_1, the mean reward",
    reference="Kool, van Hoof and Welling (2019); Ahmadian et al. (2024), arXiv:2402.14740",
)

DR_GRPO = Estimator(
    name="dr_grpo",
    function=dr_grpo,
    prepare=prepare_dr_grpo,
    kernel=_kernels.gap_linear,
    unbiased_for="(1 - 1/m) V_1, the mean reward shrunk",
    reference="Liu et al. (2025), arXiv:2503.20783",
    min_m=1,
)
