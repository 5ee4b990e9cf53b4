"""GRPO: the group's z-score."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats.estimators.record import Array, Estimator, group_advantages


def prepare(m: int, N: int) -> tuple[Any, ...]:
    """Return no constants."""
    return ()


def grpo(rewards: ArrayLike, N: int) -> Array:
    r"""GRPO: the z-score within the group.

    .. math:: A_i = \frac{r_i − \bar r}{s}, \quad s^2 = \frac{1}{m − 1} Σ_j (r_j − \bar r)^2

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget; checked, not used.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages without unit, float64; all zero where all rewards are equal.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

    Notes
    -----
    Not unbiased for any objective: the standard deviation depends on the rollout it divides, and
    differs between prompts. No small constant is added to it, so that the unit of the rewards
    does not matter. Shao et al. (2024), arXiv:2402.03300.

    Examples
    --------
    >>> grpo([1, 2, 3], N=16)
    array([-1.,  0.,  1.])
    """
    return group_advantages(rewards, N, prepare, _kernels.grpo)


GRPO = Estimator(
    name="grpo",
    function=grpo,
    prepare=prepare,
    kernel=_kernels.grpo,
    unbiased_for="nothing: the standard deviation depends on the rollout it divides",
    reference="Shao et al. (2024), arXiv:2402.03300",
    scale_degree=0,
)
