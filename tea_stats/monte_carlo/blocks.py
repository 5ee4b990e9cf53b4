"""Blocks of simulated groups: the unit of work, of seeding and of saving.

Every estimator sees the same rollouts: a block of groups is drawn and sorted once, and each
(estimator, N) is evaluated on it. What is kept are power sums (`tea_stats.monte_carlo.moments`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tea_stats._validation import as_count
from tea_stats.families import Law
from tea_stats.monte_carlo.moments import Key, Moments, PowerSums
from tea_stats.monte_carlo.passes import (
    Pass,
    Requests,
    check_law,
    check_prompts,
    check_rewards,
    passes,
)

Array = NDArray[np.float64]

#: groups per block: the unit of work, of seeding and of saving
BLOCK_SIZE = 16_384
#: rewards (times score columns) drawn at a time inside a block, so that a tile stays in cache
TILE_SIZE = 16_384


def tiles(law: Law, m: int, reps: int, prompts: int = 1) -> Iterator[int]:
    """Split `reps` groups into tiles of whole batches; a function of its arguments alone."""
    size = max(1, TILE_SIZE // (m * max(1, len(law.parameters) // 4)))
    size = max(1, size // prompts) * prompts
    for start in range(0, reps, size):
        yield min(size, reps - start)


def simulate_block(
    law: Law,
    estimators: Requests,
    m: int,
    N: Sequence[int],
    reps: int,
    seed: int,
    block: int,
    *,
    prompts: int = 1,
    reference: str | None = None,
) -> Moments:
    """Simulate one block of groups: a pure function of its arguments, to the bit.

    Parameters
    ----------
    law : Law
        Where rollouts come from.
    estimators : mapping or sequence
        `{label: (name, options)}`, or names.
    m : int
        Rollouts per group.
    N : sequence of int
        Deployment budgets.
    reps : int
        Groups in this block.
    seed, block : int
        The block's stream is `SeedSequence(seed, spawn_key=(law.stable_id, m, block))`.
    prompts : int
        Groups in a batch; `reps` is a multiple of it. The batch's mean ĝ is one observation.
    reference : str, optional
        Label of the estimator that every other is compared with, batch by batch.

    Returns
    -------
    Moments
        Power sums, to be merged with other blocks' and given to `summarize`.
    """
    check_law(law)
    listed = passes(estimators, m, N)
    check_rewards(law, listed)
    check_prompts(as_count("prompts", prompts), reps, listed)
    compared = _pairs(listed, reference)
    _keep_freed_memory()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(law.stable_id, m, block)))
    ordered = any(one.estimator.needs_order for one in listed)
    columns = len(law.parameters) + 2
    sums: dict[Key, PowerSums] = {}

    def add(key: Key, x: Array, degenerate: int) -> None:
        if key not in sums:
            sums[key] = PowerSums.zeros(columns)
        sums[key].add_groups(x, degenerate)

    for groups in tiles(law, m, reps, prompts):
        rewards, scores, order = law.draw_sorted(groups, m, rng, ordered=ordered)
        measured: dict[Key, Array] = {}
        for one in listed:
            for key, x, degenerate in one.measure(rewards, order, scores, prompts):
                observed = batch_means(x, prompts)
                add(key, observed, degenerate)
                if compared:
                    measured[key] = observed
        for key, (left, right) in compared.items():
            add(key, measured[left] - measured[right], 0)
    return Moments(law.parameters, sums)


def batch_means(x: Array, prompts: int) -> Array:
    """Return x of each batch's mean ĝ, from x[G, d + 2] of the groups.

    Examples
    --------
    >>> batch_means(np.array([[1.0, 0.5, 1.0], [3.0, 0.7, 9.0]]), 2)
    array([[2. , 0.6, 4. ]])
    """
    if prompts == 1:
        return x
    means: Array = x.reshape(-1, prompts, x.shape[1]).mean(axis=1)
    means[:, -1] = (means[:, :-2] ** 2).sum(axis=1)
    return means


def _keep_freed_memory() -> None:
    """Make the allocator keep the arrays of a tile for the next one.

    Memory handed back to the system comes back page by page, which costs as much as drawing into
    it. glibc raises the size up to which it keeps memory when a larger block is freed.
    """
    np.empty(2**19)


def _pairs(listed: Sequence[Pass], reference: str | None) -> dict[Key, tuple[Key, Key]]:
    """For each (estimator, N), which two passes a comparison with the reference subtracts."""
    if reference is None:
        return {}
    if reference not in {one.label for one in listed}:
        raise ValueError(
            f"reference is {reference!r}; give the label of one of the estimators: "
            f"{', '.join(dict.fromkeys(one.label for one in listed))}"
        )
    serving = {(one.label, budget): key for one in listed for budget, key in one.keys.items()}
    return {
        Key(label, budget, reference): (key, serving[reference, budget])
        for (label, budget), key in serving.items()
        if label != reference
    }


def block_sizes(reps: int, size: int = BLOCK_SIZE) -> list[int]:
    """Split `reps` groups into blocks.

    Examples
    --------
    >>> block_sizes(40_000)
    [16384, 16384, 7232]
    """
    full, rest = divmod(reps, size)
    return [size] * full + ([rest] if rest else [])
