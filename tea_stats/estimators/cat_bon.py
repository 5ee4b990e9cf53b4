"""CAT-BoN: z-scores weighted as best-of-N weights its draws."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats.estimators.record import Array, Estimator, group_advantages


@lru_cache(maxsize=4096)
def prepare(m: int, N: int) -> tuple[Any, ...]:
    """Return N q^{N−1} for 0..m−1 rollouts strictly below, q = (below + 1)/(m + 1)."""
    # in logs, because q^{N−1} may underflow; to 0 then, as it should
    weights = [math.exp(math.log(N) + (N - 1) * math.log((b + 1) / (m + 1))) for b in range(m)]
    return (np.array(weights),)


def cat_bon(rewards: ArrayLike, N: int) -> Array:
    r"""CAT-BoN: the z-score, weighted as best-of-N weights the quantile of the reward.

    .. math:: A_i = N q_i^{N−1} z_i, \quad q_i = \frac{1 + Σ_j 1\{r_j < r_i\}}{m + 1}

    z is the z-score of `grpo` (ddof 1) and N q^{N−1} the density that best-of-N gives to the
    q-quantile.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget of best-of-N.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages without unit, float64; all zero where all rewards are equal.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

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
    return group_advantages(rewards, N, prepare, _kernels.cat_bon)


CAT_BON = Estimator(
    name="cat_bon",
    function=cat_bon,
    prepare=prepare,
    kernel=_kernels.cat_bon,
    unbiased_for="nothing: a weighted z-score, with quantiles from ranks",
    reference="Ousherovitch and Tewari (2026), arXiv:2604.24957; our reading",
    scale_degree=0,
    uses_N=True,
)
