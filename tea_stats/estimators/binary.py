"""Estimators for verifiers: rewards are 0 or 1, and only the number of ones matters."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats.estimators.max_at_k import subset_size
from tea_stats.estimators.record import Array, Estimator, group_advantages


@lru_cache(maxsize=256)
def prepare_max_rl(m: int, N: int) -> tuple[Array, Array]:
    """Return the advantage of a success and of a failure, for 0..m successes."""
    success, failure = np.zeros((2, m + 1))
    for c in range(1, m + 1):
        success[c] = (m - c) / c
        failure[c] = -1.0
    return success, failure


def prepare_pass_at_k(m: int, N: int, *, k: int | None) -> tuple[Array, Array]:
    """Return the advantage of a success and of a failure, for 0..m successes."""
    return pass_at_k_table(m, subset_size(m, N, k))


@lru_cache(maxsize=4096)
def pass_at_k_table(m: int, k: int) -> tuple[Array, Array]:
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
    return success, failure


def max_rl(rewards: ArrayLike, N: int) -> Array:
    r"""MaxRL for 0/1 rewards: relative to the share of successes; zero where no rollout succeeds.

    .. math:: A_i = \frac{r_i − \bar r}{\bar r}

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, each 0 or 1, any real dtype.
    N : int
        Deployment budget; checked, not used.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages without unit, float64.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 and rewards other
        than 0 and 1 included.

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
    return group_advantages(rewards, N, prepare_max_rl, _kernels.by_success_count, binary=True)


def pass_at_k(rewards: ArrayLike, N: int, *, k: int | None = None) -> Array:
    r"""Pass@k training for 0/1 rewards: the z-score of a random k-subset's success, in closed form.

    With c successes, ρ = 1 − C(m−c, k)/C(m, k) the pass rate of k-subsets and σ² = ρ(1 − ρ),

    .. math::

        A_i = \begin{cases}
        \frac{1}{σ} (1 − ρ) & \text{if } r_i = 1 \\
        \frac{1}{σ} (1 − ρ − τ) & \text{if } r_i = 0,
        \end{cases}
        \quad τ = \frac{\binom{m − c − 1}{k − 1}}{\binom{m − 1}{k − 1}},

    and zero where σ = 0: no subset fails, or none passes.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, each 0 or 1, any real dtype.
    N : int
        Deployment budget of best-of-N.
    k : int, optional
        Size of the subsets, at most m; min(N, m) by default.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages without unit, float64; they sum to zero.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2, k > m and rewards
        other than 0 and 1 included.

    Notes
    -----
    Not unbiased for pass@k: σ depends on the group. With k = m it is zero for every group that
    holds a success. Chen et al. (2025), arXiv:2508.10751, without the constant the paper adds to σ.

    Examples
    --------
    >>> pass_at_k([0, 0, 0, 1], N=2)
    array([-0.33333333, -0.33333333, -0.33333333,  1.        ])
    """
    return group_advantages(
        rewards, N, prepare_pass_at_k, _kernels.by_success_count, binary=True, k=k
    )


MAX_RL = Estimator(
    name="max_rl",
    function=max_rl,
    prepare=prepare_max_rl,
    kernel=_kernels.by_success_count,
    unbiased_for="sum over k < m of V_k / k, log P(success) cut off",
    reference="Tajwar et al. (2026), arXiv:2602.02710",
    scale_degree=None,
    shift_invariant=False,
    binary=True,
)

PASS_AT_K = Estimator(
    name="pass_at_k",
    function=pass_at_k,
    prepare=prepare_pass_at_k,
    kernel=_kernels.by_success_count,
    unbiased_for="nothing: the standard deviation depends on the group",
    reference="Chen et al. (2025), arXiv:2508.10751",
    scale_degree=None,
    shift_invariant=False,
    uses_N=True,
    binary=True,
)
