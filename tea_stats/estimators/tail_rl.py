"""TailRL: each gap between rewards shared among the rollouts above it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function
from tea_stats.linear.tableau import Tableau, from_slopes


@dataclass(frozen=True, kw_only=True)
class TailRL(Estimator):
    r"""TailRL: gaps between rewards, added up from the lowest.

    .. math:: A_{(i)} = A_{(i−1)} + \frac{r_{(i)} − r_{(i−1)}}{m − i + 1}, \quad A_{(1)} = 0

    Every gap between neighbouring order statistics is shared equally by the rollouts above it.

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

    name = "tail_rl"
    title = "TailRL"
    unbiased_for = "(1/m) (sum over k <= m of V_k / k - E[min of m] / m)"
    objective = r"$\frac1m\bigl(\sum_{k\le m}V_k/k-\mathrm{E}[\min\text{ of }m]/m\bigr)$"
    reference = "TailRL; objective derived here"
    marks = (({}, Mark("#661100", "D")),)
    kernel = staticmethod(_kernels.gap_linear)

    def prepare(self, m: int, N: int) -> Tableau:
        """Return the tableau with slope 1/(number of rollouts above the gap)."""
        return tableau(m)


@lru_cache(maxsize=256)
def tableau(m: int) -> Tableau:
    """Return the m − 1 slopes 1/(m − 1), …, 1/1."""
    return from_slopes(1.0 / np.arange(m - 1, 0, -1))


tail_rl = as_function(TailRL)
