"""GRPO: the group's z-score."""

from __future__ import annotations

from dataclasses import dataclass

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function


@dataclass(frozen=True, kw_only=True)
class GRPO(Estimator):
    r"""GRPO: the z-score within the group; all zero where all rewards are equal.

    .. math:: A_i = \frac{r_i − \bar r}{s}, \quad s^2 = \frac{1}{m − 1} Σ_j (r_j − \bar r)^2

    Notes
    -----
    Not unbiased for any objective: the standard deviation depends on the rollout it divides, and
    differs between prompts. No small constant is added to it, so that the unit of the rewards
    does not matter; rewards that differ by rounding only are equal, as for every estimator
    (`tea_stats.estimators.ties`). Shao et al. (2024), arXiv:2402.03300.

    Examples
    --------
    >>> grpo([1, 2, 3], N=16)
    array([-1.,  0.,  1.])
    """

    name = "grpo"
    title = "GRPO"
    unbiased_for = "nothing: the standard deviation depends on the rollout it divides"
    objective = unbiased_for
    reference = "Shao et al. (2024), arXiv:2402.03300"
    citations = ("shao2024",)
    marks = (({}, Mark("#CC79A7", "d", main=True)),)
    scale_degree = 0
    bounded = True
    kernel = staticmethod(_kernels.grpo)


grpo = as_function(GRPO)
