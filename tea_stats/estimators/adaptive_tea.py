"""Adaptive TEA: linear TEA whose design follows from the other prompts of the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats._validation import as_count, as_rewards
from tea_stats.estimators.record import Array, Estimator, Mark, as_function
from tea_stats.linear import library
from tea_stats.linear.library import LIBRARY, Curves, Designs


class Constants(NamedTuple):
    """What each law of the library expects of a batch, and the design that is best under it."""

    known: Curves
    designs: Designs


def adaptive(r: Array, known: Curves, designs: Designs, out: Array) -> None:
    """Fill out[G, m] with the advantages of a batch of sorted groups r[G, m]."""
    m = r.shape[1]
    # where a risk is high anyway, as under heavy tails, a wrong weight costs little
    weights = posterior(np.diff(r, axis=1), known, leave_out=True) / designs.risk
    mixed = weights / weights.sum(axis=1, keepdims=True) @ designs.coefficients
    slopes, top = mixed[:, :-1].copy(), mixed[:, -1]
    base = slopes * (-np.arange(m - 1, 0, -1) / m)
    slopes[:, -1] += m * top
    _kernels.gap_linear_each(r, base, slopes, out)


def posterior(gaps: Array, known: Curves, *, leave_out: bool) -> Array:
    """Return the posterior of the laws given each group's others, or given the whole batch.

    Parameters
    ----------
    gaps : ndarray, shape (G, m − 1)
        Gaps between the sorted rewards of each group.
    known : Curves
        What each law of the library expects.
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
    # without another group whose rewards differ, the posterior is the prior
    informed = scale > 0.0
    if informed.any():
        number = np.full(informed.sum(), float(count))
        unevenness = number * squares[informed] / scale[informed] ** 2
        logs = library.log_likelihood(known, rises[informed], unevenness, number)
        likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights[informed] = likelihood / likelihood.sum(axis=1, keepdims=True)
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
    (weights,) = posterior(np.diff(groups, axis=1), known, leave_out=False)
    return MappingProxyType(dict(zip(LIBRARY, weights.tolist(), strict=True)))


@dataclass(frozen=True, kw_only=True)
class AdaptiveTEA(Estimator):
    r"""Adaptive TEA: a mixture of linear designs, weighted by the other groups of the batch.

    .. math::

        A_i = Σ_L π_L A_i^L, \quad π_L ∝ \frac{P(L \mid \text{the other groups})}{ρ_L},

    with A^L the linear advantage that is best under law L of a library, ρ_L its risk there, and P
    the posterior probability of L after equal prior ones. Given the others, π is fixed, and ĝ is
    unbiased for Σ_k w_k V_k, w = Σ_L π_L w^L. Groups may differ in location and scale.

    Parameters
    ----------
    prompts : int
        Prompts over which gradients are averaged: the more, the less variance counts in a design
        against bias. Not necessarily the size of this batch.

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

    prompts: int = 64

    name = "adaptive_tea"
    title = "adaptive TEA"
    unbiased_for = "its surrogate sum w_k V_k, given the other groups of the batch"
    objective = r"its surrogate $\sum_kw_kV_k$, given the other groups of the batch"
    reference = "this project; builds on Li, Qian and Mou (2026), arXiv:2605.10716"
    marks = (({}, Mark("#6E0B14", "h", main=True)),)
    uses_N = True
    pools = True
    kernel = staticmethod(adaptive)

    def prepare(self, m: int, N: int) -> Constants:
        """Return the library's expectations at this m, and its designs at this N."""
        prompts = as_count("prompts", self.prompts)
        return Constants(library.curves(m), library.designs(m, N, prompts))


adaptive_tea = as_function(AdaptiveTEA)
