"""Predict the best of N from m rewards: V̂_N = Σ w_k V̂_k, and how uncertain that is.

V̂_N is a U-statistic: the mean, over all subsets of d rollouts, of h = Σ_b α_b r_(b : d). Its square
has the expectation V² + Var V̂_N, and with 2d ≤ m the mean of h(S) h(T) over all disjoint pairs of
subsets has the expectation V². So the difference, a quadratic form in the gaps between the sorted
rewards, is unbiased for the variance under every law of rewards.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from tea_stats._validation import as_count, as_rewards
from tea_stats.families.law import Array
from tea_stats.linear.design import Tails, linear_tea_design


class Prediction(NamedTuple):
    """A predicted value for each group, with the estimated variance of that prediction."""

    value: Array
    variance: Array

    @property
    def standard_error(self) -> Array:
        """Root of the variance, or 0 where the unbiased estimate of it is negative."""
        return np.sqrt(np.maximum(self.variance, 0.0))


def linear_value(
    rewards: ArrayLike,
    N: int,
    *,
    tails: Tails = ("normal",),
    k_min: int | None = None,
    degree: int | None = None,
) -> Prediction:
    """Predict V_N = E[max of N draws] by linear extrapolation, with its variance.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 4 rollouts per group, any real dtype.
    N : int
        Deployment budget of best-of-N.
    tails, k_min
        As in `linear_tea_design`, for groups of `degree`.
    degree : int, optional
        Largest max@k used, 2 ≤ degree ≤ m // 2; default m // 2. On the Normal law no precision is
        lost by stopping there.

    Returns
    -------
    Prediction
        `value`, shape (...), in reward units, unbiased for Σ_{k ≤ degree} w_k V_k, which is V_N on
        the laws of `tails`; `variance`, unbiased for the variance of `value` under every law; and
        `standard_error`. The extrapolation's own error is not in it.

    Notes
    -----
    The variance of one group is itself uncertain, and can be negative in small groups; the mean
    over many groups is exact.

    Examples
    --------
    >>> rewards = [0.3, 1.2, -0.4, 0.8, 2.1, 0.1, -1.0, 0.5]
    >>> predicted = linear_value(rewards, N=16, k_min=1)
    >>> float(predicted.value.round(3)), float(predicted.standard_error.round(3))
    (2.255, 0.678)
    """
    array = as_rewards(rewards, at_least=4)
    m = array.shape[-1]
    size = m // 2 if degree is None else as_count("degree", degree, at_least=2)
    if 2 * size > m:
        raise ValueError(
            f"degree is {size}: two disjoint subsets of {size} do not fit into m = {m}; "
            f"give degree ≤ {m // 2}"
        )
    weights = tuple(linear_tea_design(size, N, tails=tails, k_min=k_min).value_weights.tolist())
    slopes, quadratic = _in_gaps(weights, m)
    ascending = np.sort(array, axis=-1)
    gaps = np.diff(ascending, axis=-1)
    value = ascending[..., 0] + gaps @ slopes
    return Prediction(value, np.einsum("...j,jl,...l->...", gaps, quadratic, gaps))


@lru_cache(maxsize=64)
def _in_gaps(weights: tuple[float, ...], m: int) -> tuple[Array, Array]:
    """Return value and variance of the U-statistic as linear and quadratic form in m − 1 gaps."""
    alpha = np.array(weights)
    on_ranks = spread(alpha, m)
    square = np.outer(on_ranks, on_ranks) - product_of_disjoint(alpha, m)
    # r_(i) = r_(1) + the gaps below it; the quadratic form ignores a common constant
    below = np.tri(m, m - 1, -1)
    return on_ranks @ below, below.T @ square @ below


def spread(alpha: Array, m: int) -> Array:
    """Return a: Σ_i a_i r_(i:m) is the mean of Σ_b alpha_b r_(b:d) over the subsets of d of m.

    Examples
    --------
    >>> spread(np.array([0.0, 1.0]), 3)  # max@2: of three pairs, two have the largest as best
    array([0.        , 0.33333333, 0.66666667])
    """
    d = len(alpha)
    b, i = np.arange(1, d + 1)[:, None], np.arange(1, m + 1)
    chance = log_choose(i - 1, b - 1) + log_choose(m - i, d - b) - log_choose(m, d)
    return np.asarray(alpha @ np.exp(chance))


def product_of_disjoint(alpha: Array, m: int) -> Array:
    """Return K with rᵀKr the mean of h(S) h(T) over disjoint S and T of d, r ascending.

    The mean of h(T) over the subsets T of what S leaves is linear in the m − d rewards left. For
    i < j, let S have rank i as its b-th smallest and l rollouts below rank j, but not j: that has
    the chance C(i−1, b−1) C(j−i−1, l−b) C(m−j, d−l) / C(m, d), and j is then the (j−l)-th left.
    """
    d = len(alpha)
    b, j = np.arange(1, d + 1), np.arange(1, m + 1)[:, None]
    left = j - b
    # ranks beyond the m − d left have no chance below
    rest = spread(alpha, m - d)[np.clip(left - 1, 0, m - d - 1)]
    # powers of 2 keep the numbers of a row near 1
    inner = np.exp(log_choose(m - j, d - b) - log_choose(m, d) + j * np.log(2)) * rest
    product = np.zeros((m, m))
    for between in range(m - 1):
        # inner[j, b] = Σ_l C(between, l−b) (…): Pascal's rule goes from one i to the next
        i, low = np.arange(m - 1 - between), np.arange(1, m - between)[:, None]
        high = i + between + 1
        chosen = alpha * np.exp(log_choose(low - 1, b - 1) - (low + 1) * np.log(2))
        product[i, high] = product[high, i] = (chosen * inner[high]).sum(axis=1)
        inner = 0.5 * (inner + np.pad(inner[:, 1:], ((0, 0), (0, 1))))
    return product


def log_choose(n: ArrayLike, k: ArrayLike) -> Array:
    """Return log C(n, k), −inf where it is zero."""
    n, k = np.broadcast_arrays(np.asarray(n, dtype=np.float64), np.asarray(k, dtype=np.float64))
    inside = (k >= 0) & (k <= n)
    k = np.where(inside, k, 0.0)
    n = np.where(inside, n, 0.0)
    logarithm = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.where(inside, logarithm, -np.inf)
