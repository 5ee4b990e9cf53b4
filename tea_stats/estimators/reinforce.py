"""REINFORCE without a baseline: the policy gradient of the mean reward."""

from __future__ import annotations

from dataclasses import dataclass

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function


@dataclass(frozen=True, kw_only=True)
class Reinforce(Estimator):
    """REINFORCE without a baseline: the advantage is the reward.

    .. math:: A_i = r_i

    Notes
    -----
    Unbiased for ∇V_1, the gradient of the mean reward; depends on the location of the rewards.
    Williams (1992), Machine Learning 8, 229–256.

    Examples
    --------
    >>> reinforce([1, 2, 6], N=16)
    array([1., 2., 6.])
    """

    name = "reinforce"
    title = "REINFORCE"
    unbiased_for = "V_1, the mean reward"
    objective = "$V_1$, the mean reward"
    reference = "Williams (1992), Machine Learning 8, 229-256"
    citations = ("williams1992",)
    marks = (({}, Mark("#B0B0B0", "8")),)
    shift_invariant = False
    min_m = 1
    kernel = staticmethod(_kernels.raw)


reinforce = as_function(Reinforce)
