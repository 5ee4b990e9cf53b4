"""CAT-BoN: z-scores weighted as best-of-N weights its draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tea_stats import _kernels
from tea_stats.estimators.record import Array, Estimator, Mark, as_function


@dataclass(frozen=True, kw_only=True)
class CatBon(Estimator):
    r"""CAT-BoN: the z-score, weighted as best-of-N weights the quantile of the reward.

    .. math:: A_i = N q_i^{N−1} z_i, \quad q_i = \frac{1 + Σ_j 1\{r_j < r_i\}}{m + 1}

    z is the z-score of `grpo` (ddof 1) and N q^{N−1} the density that best-of-N gives to the
    q-quantile. All advantages are zero where all rewards are equal.

    Notes
    -----
    Not unbiased for any best-of-N: ranks of a group of m cannot reach quantiles beyond m/(m + 1),
    so for N ≫ m every weight is close to zero. Our reading of Ousherovitch and Tewari (2026),
    arXiv:2604.24957.

    Examples
    --------
    >>> cat_bon([1, 2, 3], N=2)
    array([-0.5,  0. ,  1.5])
    """

    name = "cat_bon"
    title = "CAT-BoN"
    unbiased_for = "nothing: a weighted z-score, with quantiles from ranks"
    objective = unbiased_for
    reference = "Ousherovitch and Tewari (2026), arXiv:2604.24957; our reading"
    citations = ("ousherovitch2026",)
    marks = (({}, Mark("#8A2BE2", "*", main=True)),)
    scale_degree = 0
    bounded = True
    uses_N = True
    kernel = staticmethod(_kernels.cat_bon)

    def prepare(self, m: int, N: int) -> tuple[Array]:
        """Return the weight for 0..m−1 rollouts strictly below."""
        return (weights(m, N),)


@lru_cache(maxsize=4096)
def weights(m: int, N: int) -> Array:
    """Return N q^{N−1} for 0..m−1 rollouts strictly below, q = (below + 1)/(m + 1)."""
    # in logs, because q^{N−1} may underflow; to 0 then, as it should
    return np.array(
        [math.exp(math.log(N) + (N - 1) * math.log((b + 1) / (m + 1))) for b in range(m)]
    )


cat_bon = as_function(CatBon)
