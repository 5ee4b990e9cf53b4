"""MaxRL: the mean's gradient relative to the share of successes, for rewards of 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tea_stats import _kernels
from tea_stats.estimators.record import Array, Estimator, Mark, as_function


class BySuccesses(NamedTuple):
    """The advantage of a success and of a failure, each for 0..m successes in the group."""

    success: Array
    failure: Array


@dataclass(frozen=True, kw_only=True)
class MaxRL(Estimator):
    r"""MaxRL for 0/1 rewards: relative to the share of successes; zero where no rollout succeeds.

    .. math:: A_i = \frac{r_i − \bar r}{\bar r}

    Notes
    -----
    Not unbiased for best-of-N. It is exactly unbiased for Σ_{k<m} V_k/k, with V_k = pass@k: the
    expansion of log P(success) cut off after m − 1 terms. (Without the mean subtracted, as in the
    paper's theorem, it would be m terms.) Tajwar et al. (2026), arXiv:2602.02710.

    Examples
    --------
    >>> max_rl([0, 0, 0, 1], N=16)
    array([-1., -1., -1.,  3.])
    """

    name = "max_rl"
    title = "MaxRL"
    unbiased_for = "sum over k < m of V_k / k, log P(success) cut off"
    objective = r"$\sum_{k<m}V_k/k$, $\log\Pr(\text{success})$ cut off"
    reference = "Tajwar et al. (2026), arXiv:2602.02710"
    citations = ("tajwar2026",)
    marks = (({}, Mark("#6699CC", "^")),)
    scale_degree = None
    bounded = True
    shift_invariant = False
    binary = True
    kernel = staticmethod(_kernels.by_success_count)

    def prepare(self, m: int, N: int) -> BySuccesses:
        """Return the advantages for 0..m successes."""
        return table(m)


@lru_cache(maxsize=256)
def table(m: int) -> BySuccesses:
    """Return (m − c)/c for a success and −1 for a failure among c successes."""
    success, failure = np.zeros((2, m + 1))
    for c in range(1, m + 1):
        success[c] = (m - c) / c
        failure[c] = -1.0
    return BySuccesses(success, failure)


max_rl = as_function(MaxRL)
