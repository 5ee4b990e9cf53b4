"""Pass@k training: the z-score of a random k-subset's success, for rewards of 0 and 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tea_stats import _kernels
from tea_stats.estimators.max_at_k import subset_size
from tea_stats.estimators.max_rl import BySuccesses
from tea_stats.estimators.record import Estimator, Mark, as_function


@dataclass(frozen=True, kw_only=True)
class PassAtK(Estimator):
    r"""Pass@k training for 0/1 rewards: the z-score of a random k-subset's success, in closed form.

    With c successes, ρ = 1 − C(m−c, k)/C(m, k) the pass rate of k-subsets and σ² = ρ(1 − ρ),

    .. math::

        A_i = \begin{cases}
        \frac{1}{σ} (1 − ρ) & \text{if } r_i = 1 \\
        \frac{1}{σ} (1 − ρ − τ) & \text{if } r_i = 0,
        \end{cases}
        \quad τ = \frac{\binom{m − c − 1}{k − 1}}{\binom{m − 1}{k − 1}},

    and zero where σ = 0: no subset fails, or none passes. The advantages sum to zero.

    Parameters
    ----------
    k : int, optional
        Size of the subsets, at most m; min(N, m) by default.

    Notes
    -----
    Not unbiased for pass@k: σ depends on the group. With k = m it is zero for every group that
    holds a success. Chen et al. (2025), arXiv:2508.10751, without the constant the paper adds to σ.

    Examples
    --------
    >>> pass_at_k([0, 0, 0, 1], N=2)
    array([-0.33333333, -0.33333333, -0.33333333,  1.        ])
    """

    k: int | None = None

    name = "pass_at_k"
    title = "pass@k training"
    unbiased_for = "nothing: the standard deviation depends on the group"
    objective = unbiased_for
    reference = "Chen et al. (2025), arXiv:2508.10751"
    citations = ("chen2025",)
    marks = (({}, Mark("#AA4466", "v")),)
    scale_degree = None
    bounded = True
    shift_invariant = False
    uses_N = True
    binary = True
    kernel = staticmethod(_kernels.by_success_count)

    def prepare(self, m: int, N: int) -> BySuccesses:
        """Return the advantages for 0..m successes."""
        return table(m, subset_size(m, N, self.k))


@lru_cache(maxsize=4096)
def table(m: int, k: int) -> BySuccesses:
    """Return the analytic pass@k advantages, with exact binomials."""
    success, failure = np.zeros((2, m + 1))
    subsets = math.comb(m, k)
    for c in range(1, m):
        failing = math.comb(m - c, k)
        if failing == 0:
            continue  # every subset passes: σ = 0
        # (1 − ρ)/σ = √((1 − ρ)/ρ), and the group sums to zero
        success[c] = math.sqrt(failing / (subsets - failing))
        failure[c] = -success[c] * c / (m - c)
    return BySuccesses(success, failure)


pass_at_k = as_function(PassAtK)
