"""Which columns of numbers make up the reward: their sum ranks rollouts as advantages do.

A trainer logs the scores of its reward functions, and beside them what a user adds: lengths, the
right answer. The advantages in the same table are computed from the rewards of a prompt, and
whatever the baseline and the scale, the larger of two rewards has the larger advantage.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tea_stats.reward_log import values as cells_to
from tea_stats.reward_log.chunks import Chunk

Array = NDArray[np.float64]
#: rows looked at, sums tried, and the differences that are rounding
ROWS, SUMS, ROUNDING = 1000, 500, 1e-5


def agrees(chunk: Chunk, names: tuple[str, ...], prompt: str, advantage: str) -> bool:
    """Return whether the sum of these columns ranks each prompt's rollouts as advantages do."""
    return _agrees(_columns(chunk, names), list(_groups(chunk, prompt, advantage)))


def largest(
    chunk: Chunk, names: tuple[str, ...], prompt: str, advantage: str
) -> tuple[str, ...] | None:
    """Return as many of these columns as have such a sum; None where no choice has."""
    groups, columns = list(_groups(chunk, prompt, advantage)), _columns(chunk, names)
    tried = (kept for size in range(len(names), 0, -1) for kept in combinations(names, size))
    for kept, _ in zip(tried, range(SUMS), strict=False):
        places = [names.index(name) for name in kept]
        if _agrees(columns[places], groups):
            return kept
    return None


def _columns(chunk: Chunk, names: tuple[str, ...]) -> Array:
    """Return the first numbers of the columns, a missing one as 0, shape (columns, rows)."""
    rows = [
        [cells_to.number(cell, chunk.decimal_comma) for cell in chunk.column(name)[:ROWS]]
        for name in names
    ]
    return np.nan_to_num(np.array(rows, dtype=np.float64).reshape(len(names), -1))


def _groups(chunk: Chunk, prompt: str, advantage: str) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """Yield the rows of each prompt and step, and their advantages."""
    (advantages,) = _columns(chunk, (advantage,))
    steps = [name for name in ("step", "gen_step") if name in chunk.names]
    keys: dict[tuple[str, ...], list[int]] = {}
    columns = [chunk.column(name)[:ROWS] for name in (prompt, *steps)]
    for row, key in enumerate(zip(*columns, strict=True)):
        keys.setdefault(tuple(map(str, key)), []).append(row)
    for rows in keys.values():
        yield np.array(rows), advantages[rows]


def _agrees(columns: Array, groups: list[tuple[NDArray[np.intp], Array]]) -> bool:
    total = columns.sum(axis=0)
    least = ROUNDING * np.ptp(total) if total.size else 0.0
    smallest = ROUNDING * max((np.ptp(own) for _, own in groups), default=0.0)
    return all(
        np.array_equal(_signs(total[rows], least), _signs(own, smallest)) for rows, own in groups
    )


def _signs(values: Array, rounding: float) -> Array:
    """Return which of two values is larger, differences by rounding being none."""
    differences = np.subtract.outer(values, values)
    return np.asarray(np.sign(np.where(np.abs(differences) > rounding, differences, 0.0)))
