"""Groups in which some rollouts do not exist: a group of n < m is evaluated as a group of n."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tea_stats._validation import as_count, as_rewards
from tea_stats.estimators import ties
from tea_stats.estimators.memory import Memory
from tea_stats.estimators.record import Array, Estimator


def masked_advantages(
    estimator: Estimator,
    rewards: Array,
    mask: NDArray[np.bool_] | None,
    N: int,
    tie: float = ties.DOUBLE,
    memory: Memory | None = None,
) -> Array:
    """Return the advantages of the rollouts in the mask, and 0 for the others.

    Parameters
    ----------
    estimator : Estimator
        The estimator with its options.
    rewards : ndarray, shape (..., m)
        Rewards, in the order drawn; outside the mask they may be anything.
    mask : ndarray of bool, shape (..., m), or None
        True for the rollouts that exist; None: all of them do.
    N : int
        Deployment budget of best-of-N.
    tie : float
        As in `Estimator.advantages`; float64 rewards may stand for those of another type.
    memory : Memory, optional
        Earlier groups to learn from; these are added to it afterwards.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages. Auto TEA learns from groups of all sizes; another estimator that pools takes
        groups of one size for a batch.

    Raises
    ------
    ValueError
        For rewards that the estimator refuses, or if a group is too small for it.
    """
    if mask is None and memory is None:
        return estimator.advantages(rewards, N, tie)
    if mask is None:
        mask = np.ones(rewards.shape, dtype=np.bool_)
    shape, m = rewards.shape, rewards.shape[-1]
    filled = as_rewards(np.where(mask, rewards, 0.0))
    # the whole batch: the message names the entry, and distinct values are counted over all sizes
    estimator.check(filled if estimator.binary else filled[mask], tie)
    groups, present, out = filled.reshape(-1, m), mask.reshape(-1, m), np.zeros(shape)
    sizes = present.sum(axis=-1)
    batch, chosen = [], []
    for n in np.unique(sizes):
        rows = sizes == n
        chosen.append(present & rows[:, None])
        batch.append(groups[chosen[-1]].reshape(rows.sum(), n))
        try:
            as_rewards(batch[-1], at_least=estimator.min_accepted)
            estimator.prepare(int(n), as_count("N", N))
        except ValueError as error:
            if n == m:
                raise
            where = tuple(map(int, np.unravel_index(rows.argmax(), shape[:-1])))
            raise ValueError(
                f"mask leaves {n} of m = {m} rollouts in group {where}: {error}; "
                "drop such groups, or draw their missing rollouts again"
            ) from error
    if memory is None:
        results = estimator.of_sizes(batch, N, tie)
    else:
        results = memory.of(estimator, batch, N, tie)
    for where, result in zip(chosen, results, strict=True):
        out.reshape(-1, m)[where] = result.ravel()
    return out
