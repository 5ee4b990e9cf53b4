"""Dr.GRPO: the reward less the mean of its group."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function
from tea_stats.linear.tableau import Tableau, centred


@dataclass(frozen=True, kw_only=True)
class DrGRPO(Estimator):
    r"""Dr.GRPO: the reward less the mean of its group; a group of one gets 0.

    .. math:: A_i = r_i − \frac{1}{m} Σ_j r_j

    Notes
    -----
    Unbiased for (1 − 1/m) ∇V_1: the mean contains the rollout itself, which shrinks the gradient
    of the mean reward. Liu et al. (2025), arXiv:2503.20783.

    Examples
    --------
    >>> dr_grpo([1, 2, 6], N=16)
    array([-2., -1.,  3.])
    """

    name = "dr_grpo"
    title = "Dr.GRPO"
    unbiased_for = "(1 - 1/m) V_1, the mean reward shrunk"
    objective = "$(1-1/m)\\,V_1$, the mean reward shrunk"
    reference = "Liu et al. (2025), arXiv:2503.20783"
    citations = ("liu2025",)
    marks = (({}, Mark("#777777", "H")),)
    min_m = 1
    kernel = staticmethod(_kernels.gap_linear)

    def prepare(self, m: int, N: int) -> Tableau:
        """Return the tableau of r − mean."""
        return tableau(m)


@lru_cache(maxsize=256)
def tableau(m: int) -> Tableau:
    """Return slope 1 in every gap, centred."""
    return centred(np.ones(m - 1))


dr_grpo = as_function(DrGRPO)
