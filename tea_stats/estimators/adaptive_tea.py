"""Adaptive TEA: linear TEA whose design the other prompts of the batch choose."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats._validation import as_count, as_rewards
from tea_stats.estimators.record import Array, Estimator, group_advantages
from tea_stats.linear import library
from tea_stats.linear.library import LIBRARY, Curves


def prepare(m: int, N: int, *, prompts: int) -> tuple[Array, ...]:
    """Return what each law of the library expects of a batch, and the design it asks for."""
    prompts = as_count("prompts", prompts)
    return *library.curves(m), *library.designs(m, N, prompts)


def adaptive(r: Array, *constants: Array) -> None:
    """Fill the last array, out[G, m], with the advantages of a batch of sorted groups r[G, m]."""
    *known, coefficients, risk, out = constants
    m = r.shape[1]
    # where a risk is high anyway, as under heavy tails, a wrong weight costs little
    weights = posterior(np.diff(r, axis=1), Curves(*known), leave_out=True) / risk
    mixed = weights / weights.sum(axis=1, keepdims=True) @ coefficients
    slopes, top = mixed[:, :-1].copy(), mixed[:, -1]
    base = slopes * (-np.arange(m - 1, 0, -1) / m)
    slopes[:, -1] += m * top
    _kernels.gap_linear_each(r, base, slopes, out)


def posterior(gaps: Array, known: Curves, *, leave_out: bool) -> Array:
    """Return the weights of the laws, seen from each group's others or from the whole batch.

    Parameters
    ----------
    gaps : ndarray, shape (G, m − 1)
        Gaps between the sorted rewards of each group.
    known : Curves
        What the laws expect.
    leave_out : bool
        True: from the other G − 1 groups, one row for each. False: from all of them, one row.

    Returns
    -------
    ndarray, shape (G, K) or (1, K)
        Posterior probabilities under equal prior ones.
    """
    unit = gaps.max() if gaps.max() > 0.0 else 1.0
    gaps = gaps / unit
    scale = gaps @ known.scale_weights
    columns = np.column_stack([gaps @ known.contrasts.T, scale, scale**2])
    pooled = _sums_of_others(columns) if leave_out else columns.sum(axis=0, keepdims=True)
    rises, scale, squares = pooled[:, :-2], pooled[:, -2], pooled[:, -1]
    count = len(gaps) - leave_out
    weights = np.full((len(pooled), len(known.mean)), 1.0 / len(known.mean))
    # without another group whose rewards differ, nothing is learnt
    told = scale > 0.0
    if told.any():
        number = np.full(told.sum(), float(count))
        unevenness = number * squares[told] / scale[told] ** 2
        logs = library.log_likelihood(known, rises[told], unevenness, number)
        likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights[told] = likelihood / likelihood.sum(axis=1, keepdims=True)
    return weights


def _sums_of_others(columns: Array) -> Array:
    """Return, for each row, the sum of the other rows; exactly zero where all of them are."""
    zero = np.zeros((1, columns.shape[1]))
    before = np.cumsum(np.concatenate([zero, columns[:-1]]), axis=0)
    after = np.cumsum(np.concatenate([zero, columns[:0:-1]]), axis=0)[::-1]
    return before + after


def tail_weights(rewards: ArrayLike) -> Mapping[str, float]:
    """Return how likely each law of the library is for a batch of groups.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group.

    Returns
    -------
    mapping
        Probability of each law of `library.LIBRARY`, equal before the batch is seen.

    Raises
    ------
    TypeError, ValueError
        If rewards are not finite real numbers, or m < 2.

    Examples
    --------
    >>> from tea_stats import Gumbel
    >>> rewards = Gumbel().sample((256, 32), np.random.default_rng(0))
    >>> weights = tail_weights(rewards)
    >>> max(weights, key=weights.get)
    'gumbel'
    """
    array = as_rewards(rewards, at_least=2)
    groups = np.sort(array.reshape(-1, array.shape[-1]), axis=-1)
    known = library.curves(groups.shape[1])
    (found,) = posterior(np.diff(groups, axis=1), known, leave_out=False)
    return MappingProxyType(dict(zip(LIBRARY, found.tolist(), strict=True)))


def adaptive_tea(rewards: ArrayLike, N: int, *, prompts: int = 64) -> Array:
    r"""Adaptive TEA: linear TEA with the design that the rest of the batch speaks for.

    .. math::

        A_i = Σ_L π_L A_i^L, \quad π_L ∝ \frac{P(L \mid \text{the other groups})}{ρ_L},

    with A^L the linear advantage that is best under law L of a library, ρ_L its risk there, and P
    the posterior probability of L after equal prior ones. Given the others, π is fixed, and ĝ
    unbiased for Σ_k w_k V_k, w = Σ_L π_L w^L.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype; all leading axes together are the
        batch. Groups may differ in location and scale.
    N : int
        Deployment budget of best-of-N.
    prompts : int
        Prompts over which gradients are averaged: the more, the less variance counts in a design
        against bias. Not necessarily the size of this batch.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

    Notes
    -----
    Ours. A single group gets the mean of all designs. The library's laws and their moments are
    prepared at the first call with a given m, which takes seconds.

    Examples
    --------
    >>> from tea_stats import Logistic
    >>> rewards = Logistic().sample((64, 16), np.random.default_rng(0))
    >>> adaptive_tea(rewards, N=256).shape
    (64, 16)
    """
    return group_advantages(rewards, N, prepare, adaptive, pools=True, prompts=prompts)


ADAPTIVE_TEA = Estimator(
    name="adaptive_tea",
    function=adaptive_tea,
    prepare=prepare,
    kernel=adaptive,
    unbiased_for="its surrogate sum w_k V_k, given the other groups of the batch",
    reference="this project; builds on Li, Qian and Mou (2026), arXiv:2605.10716",
    uses_N=True,
    pools=True,
)
