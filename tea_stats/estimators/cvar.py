"""CVaR: the mean of the upper tail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tea_stats import _kernels, tails
from tea_stats.estimators.record import Estimator, Mark, as_function
from tea_stats.linear.tableau import Tableau, from_slopes


@dataclass(frozen=True, kw_only=True)
class CVaR(Estimator):
    r"""Risk-seeking tail mean (CVaR): a hinge at the tail's threshold.

    .. math:: A_i = \frac{1}{α'} \max(r_i − \hat r, 0)

    k = ⌈αm⌉ (at least 2) rollouts are the tail, α' = k/m, and r̂ is the k-th largest reward.

    Parameters
    ----------
    alpha : float
        Tail fraction in (0, 1].

    Notes
    -----
    Not unbiased for the tail mean E[R | R in the top α], whose gradient it approaches as m grows.
    At finite m it is exactly unbiased for ((k − 1)/k) E[mean of the best k − 1 of m rollouts],
    because the hinge at the k-th largest reward gives that one itself nothing.
    Tamar, Glassner and Mannor (2015), arXiv:1404.3862, with the sample quantile plugged in.

    Examples
    --------
    >>> cvar([0, 1, 2, 6], N=16, alpha=0.5)
    array([0., 0., 0., 8.])
    """

    alpha: float = 0.25

    name = "cvar"
    title = "CVaR"
    unbiased_for = "((k - 1)/k) E[mean of the best k - 1 of m], k the tail count; CVaR as m grows"
    objective = (
        r"$\frac{k-1}k\mathrm{E}$[mean of the best $k-1$ of $m$], $k$ the tail count; "
        "CVaR as $m$ grows"
    )
    reference = "Tamar, Glassner and Mannor (2015), arXiv:1404.3862"
    citations = ("tamar2015",)
    marks = (({}, Mark("#CC6677", "s")),)
    kernel = staticmethod(_kernels.gap_linear)

    def prepare(self, m: int, N: int) -> Tableau:
        """Return the tableau that rises with slope 1/α' above the k-th largest reward."""
        return tableau(m, tails.tail_count(m, self.alpha))


@lru_cache(maxsize=256)
def tableau(m: int, tail_count: int) -> Tableau:
    """Return the hinge at the `tail_count`-th largest of m rewards."""
    below = np.arange(1, m)
    return from_slopes(np.where(below > m - tail_count, m / tail_count, 0.0))


cvar = as_function(CVaR)
