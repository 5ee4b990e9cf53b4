"""Leave-one-out maximum: what the group's maximum owes to each rollout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function
from tea_stats.linear.tableau import Tableau, from_slopes


@dataclass(frozen=True, kw_only=True)
class LeaveOneOutMax(Estimator):
    r"""Leave-one-out maximum (GRPO_PASSK): max − second largest on the best rollout, else 0.

    .. math:: A_i = \max_j r_j − \max_{j ≠ i} r_j,

    what the group's maximum owes to rollout i; all zero where two rollouts share the maximum.

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

    name = "leave_one_out_max"
    title = "leave-one-out max"
    unbiased_for = "V_m / m, best-of-m in units m times smaller"
    objective = "$V_m/m$, best-of-$m$ in units $m$ times smaller"
    reference = "Tang et al. (2025), arXiv:2503.19595"
    citations = ("tang2025",)
    marks = (({}, Mark("#999933", ">")),)
    kernel = staticmethod(_kernels.gap_linear)

    def prepare(self, m: int, N: int) -> Tableau:
        """Return the tableau that rises over the topmost gap only."""
        return tableau(m)


@lru_cache(maxsize=256)
def tableau(m: int) -> Tableau:
    """Return slope 1 in the topmost gap, 0 in the others."""
    return from_slopes(np.arange(1, m) == m - 1)


leave_one_out_max = as_function(LeaveOneOutMax)
