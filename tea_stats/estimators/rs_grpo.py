"""RS-GRPO: exponential utility, between the mean and the maximum."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats._validation import as_real
from tea_stats.estimators.record import Array, Estimator, group_advantages


def prepare(m: int, N: int, *, beta: float) -> tuple[Any, ...]:
    """Return the risk parameter."""
    return (as_real("beta", beta),)


def rs_grpo(rewards: ArrayLike, N: int, *, beta: float = 2.0) -> Array:
    r"""RS-GRPO: exponential utility, relative to its mean over the group.

    .. math:: A_i = \frac{1}{β} \Bigl(\frac{e^{β r_i}}{\frac{1}{m} Σ_j e^{β r_j}} − 1\Bigr)

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget; checked, not used.
    beta : float
        Risk parameter, per reward unit: β > 0 seeks risk, β < 0 avoids it, β = 0 is the limit
        r_i − mean. The paper's code has 2 as default, for rewards between 0 and 1.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64; they sum to zero and lie within [−1, m − 1]/β.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

    Notes
    -----
    Not unbiased at finite m: the mean in the denominator contains the rollout itself. As m grows
    it tends to the gradient of (1/β) log E e^{βR}, which is not best-of-N for any β. Jiang et al.
    (2025), arXiv:2509.24261.

    Examples
    --------
    >>> rs_grpo([0, 1, 1], N=16, beta=2.0).round(4)
    array([-0.4049,  0.2025,  0.2025])
    """
    return group_advantages(rewards, N, prepare, _kernels.rs_grpo, beta=beta)


RS_GRPO = Estimator(
    name="rs_grpo",
    function=rs_grpo,
    prepare=prepare,
    kernel=_kernels.rs_grpo,
    unbiased_for="nothing at finite m; (1/beta) log E exp(beta R) as m grows",
    reference="Jiang et al. (2025), arXiv:2509.24261",
    scale_degree=None,
)
