"""From chunks of rows to rewards with the numbers of their prompts, steps, rollouts and texts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tea_stats.reward_log import values as cells_to
from tea_stats.reward_log.choice import Choice
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.errors import LogError, short
from tea_stats.reward_log.values import Array, Success

Codes = NDArray[np.int64]
#: more rollouts than this are not made from counts
MOST_COUNTED = 100_000_000


@dataclass
class Gathered:
    """Everything read so far; an entry of `rewards` is a rollout.

    Attributes
    ----------
    prompts, steps : dict
        The number of each prompt's key, and of each step.
    codes, rewards, step_codes, rollouts, texts : lists of ndarray
        By chunk: the number of the prompt, the reward, the number of the step, what tells a
        rollout apart, and what tells its text apart.
    dropped, filled : int
        Rewards left out, and missing parts of sums that count as 0.
    """

    choice: Choice
    success: Success | None = None
    drop_missing: bool = False
    prompts: dict[Hashable, int] = field(default_factory=dict)
    steps: dict[Hashable, int] = field(default_factory=dict)
    codes: list[Codes] = field(default_factory=list)
    rewards: list[Array] = field(default_factory=list)
    step_codes: list[Codes] = field(default_factory=list)
    rollouts: list[Codes] = field(default_factory=list)
    texts: list[Codes] = field(default_factory=list)
    #: (prompt, step) → the first place whose list of rewards was read
    listed: dict[tuple[int, int], str] = field(default_factory=dict)
    rows: int = 0
    dropped: int = 0
    filled: int = 0
    fresh: int = 0

    def add(self, chunk: Chunk, file_step: Hashable | None) -> None:
        """Add the rows of a chunk; `file_step` is the step that the name of the file gives."""
        choice = self.choice
        kept = np.ones(len(chunk), dtype=bool)
        for column, wanted in choice.where:
            kept &= cells_to.selected(chunk.column(column), wanted)
        own = np.flatnonzero(kept)
        first = self.rows
        self.rows += len(own)
        if not len(own):
            return
        labels = self._labels(chunk, own, first)
        steps = self._steps(chunk, own, file_step)
        every, values = self._values(chunk, own, labels, steps)
        if self.success is not None:
            values = self.success.numbers(values)
        usable = np.isfinite(values)
        if not (self.drop_missing or usable.all()):
            place = int(np.argmin(usable))
            chunk.fail(
                int(own[every[place]]),
                f"the reward is {values[place]}, missing or not finite; repair it, or leave such "
                "rewards out (--drop-missing)",
            )
        self.dropped += int((~usable).sum())
        rows = every[usable]
        self.rewards.append(values[usable])
        self.codes.append(labels[rows])
        if choice.step is not None or file_step is not None:
            self.step_codes.append(steps[rows])
        if choice.rollout is not None:
            self.rollouts.append(self._identities(chunk, choice.rollout, own, every, usable))
        if choice.completion is not None:
            self.texts.append(self._identities(chunk, choice.completion, own, every, usable))

    # --- labels and steps ------------------------------------------------------------------------

    def _labels(self, chunk: Chunk, own: Codes, first: int) -> Codes:
        """Return the number of each row's prompt."""
        places = self.prompts
        if not self.choice.prompt:
            keys: Sequence[Hashable] = range(first + 1, first + len(own) + 1)
            return np.array([places.setdefault(key, len(places)) for key in keys])
        columns = []
        for name in self.choice.prompt:
            column = _chosen(chunk.column(name), own, len(chunk))
            # text, as in most files, is its own key
            keys = column if set(map(type, column)) == {str} else list(map(cells_to.label, column))
            absent = [one for one in ("", None) if one in keys]
            if absent:
                chunk.fail(
                    int(own[min(keys.index(one) for one in absent)]),
                    f"{name} is missing; give every row one, or name another column (--prompt)",
                )
            columns.append(keys)
        if len(columns) > 1:
            keys = [("several", " / ".join(str(cells_to.shown(part)) for part in key), key)
                    for key in zip(*columns, strict=True)]  # fmt: skip
        try:
            return np.array([places.setdefault(key, len(places)) for key in keys])
        except TypeError:
            raise LogError(
                f"{chunk.file}: {' and '.join(self.choice.prompt)} holds values that are no "
                "labels; name another column (--prompt)"
            ) from None

    def _steps(self, chunk: Chunk, own: Codes, file_step: Hashable | None) -> Codes:
        """Return the number of each row's step; 0 where there are none."""
        name, places = self.choice.step, self.steps
        if name is None:
            if file_step is None:
                return np.zeros(len(own), dtype=np.int64)
            return np.full(len(own), places.setdefault(file_step, len(places)))
        keys = [step_of(cell) for cell in _chosen(chunk.column(name), own, len(chunk))]
        if None in keys:
            row = keys.index(None)
            chunk.fail(
                int(own[row]),
                f"{name} is {short(chunk.column(name)[int(own[row])])}; give every row a step, or "
                "leave steps out of account (--step all)",
            )
        return np.array([places.setdefault(key, len(places)) for key in keys])

    # --- rewards ---------------------------------------------------------------------------------

    def _values(self, chunk: Chunk, own: Codes, labels: Codes, steps: Codes) -> tuple[Codes, Array]:
        """Return, for each reward, its row among those kept, and itself."""
        rewards = self.choice.rewards
        if self.choice.wide:
            columns = [self._column(chunk, name, own)[1] for name, _ in rewards]
            rows = np.repeat(np.arange(len(own)), len(columns))
            return rows, np.column_stack(columns).ravel()
        if self.choice.counts:
            return self._counted(chunk, own)
        if len(rewards) == 1:
            rows, values = self._column(chunk, rewards[0][0], own, labels, steps)
            return rows, values if rewards[0][1] == 1.0 else rewards[0][1] * values
        total, present = np.zeros(len(own)), np.zeros(len(own), dtype=bool)
        for name, weight in rewards:
            rows, values = self._column(chunk, name, own, labels, steps)
            if len(rows) != len(own) or (rows != np.arange(len(own))).any():
                chunk.fail(
                    int(own[0]),
                    f"{name} is a list in some row; a sum needs one number in each row: name one "
                    "column (--reward)",
                )
            missing = np.isnan(values)
            self.filled += int(missing.sum())
            total += np.where(missing, 0.0, weight * values)
            present |= ~missing
        total[~present] = math.nan
        return np.arange(len(own)), total

    def _column(
        self,
        chunk: Chunk,
        name: str,
        own: Codes,
        labels: Codes | None = None,
        steps: Codes | None = None,
    ) -> tuple[Codes, Array]:
        """Return the rows and rewards of a column, whose cells may be lists of rewards."""
        cells = _chosen(chunk.column(name), own, len(chunk))
        rows = np.arange(len(own))
        if not isinstance(cells, np.ndarray) and {list, tuple} & set(map(type, cells)):
            lists = [cell if isinstance(cell, list | tuple) else [cell] for cell in cells]
            if labels is not None and steps is not None:
                self._one_list_each(chunk, name, own, lists, labels, steps)
            rows = np.repeat(rows, [len(entry) for entry in lists])
            cells = [*itertools.chain(*lists)]
        if self.success is not None:
            cells = self.success.text(cells)
        return rows, cells_to.numbers(chunk, cells, own[rows], name)

    def _one_list_each(
        self,
        chunk: Chunk,
        name: str,
        own: Codes,
        lists: list[Any],
        labels: Codes,
        steps: Codes,
    ) -> None:
        """Refuse lists of rewards in several rows of a prompt: they are per token, or per turn."""
        for row, entry in enumerate(lists):
            if len(entry) == 1:
                continue
            where = chunk.where(int(own[row]))
            before = self.listed.setdefault((int(labels[row]), int(steps[row])), where)
            if before != where:
                chunk.fail(
                    int(own[row]),
                    f"{name} is a list of {len(entry)}, and so it is on {before} for the same "
                    "prompt: a list holds the rewards of all rollouts of a prompt; rewards for "
                    "each token have to be summed first",
                )

    def _counted(self, chunk: Chunk, own: Codes) -> tuple[Codes, Array]:
        """Return ones and zeros for counts of trials and of successes."""
        (trials, _), (successes, _) = self.choice.rewards
        n, c = (self._column(chunk, name, own)[1] for name in (trials, successes))
        bad = ~((n >= 0) & (c >= 0) & (c <= n) & (n == np.floor(n)) & (c == np.floor(c)))
        if bad.any() and not (self.drop_missing and np.isnan(n + c)[bad].all()):
            row = int(np.argmax(bad))
            chunk.fail(
                int(own[row]),
                f"{trials} = {n[row]:g} and {successes} = {c[row]:g}; counts are whole numbers, "
                f"and no more than {trials} can succeed",
            )
        if n[~bad].sum() > MOST_COUNTED:
            raise LogError(
                f"{chunk.file}: {trials} counts {n[~bad].sum():g} rollouts, more than "
                f"{MOST_COUNTED:,}; name a column of rewards (--reward)"
            )
        tried, passed = (np.where(bad, 0, count).astype(np.int64) for count in (n, c))
        self.dropped += int(bad.sum())
        rows = np.repeat(np.arange(len(own)), tried)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(tried) - tried, tried)
        return rows, (place < np.repeat(passed, tried)).astype(np.float64)

    # --- what tells rollouts and texts apart -----------------------------------------------------

    def _identities(
        self, chunk: Chunk, name: str, own: Codes, every: Codes, usable: NDArray[np.bool_]
    ) -> Codes:
        """Return a number for the id or the text of each usable reward; a missing one has its own.

        `every` has the row of each reward, usable or not.
        """
        cells = _chosen(chunk.column(name), own, len(chunk))
        if len(every) == len(own):
            found = [cells_to.identity(cells[row]) for row in every[usable]]
        else:  # lists of rewards, and a list of texts beside each
            counts = np.bincount(every, minlength=len(own))
            place = np.arange(len(every)) - (np.cumsum(counts) - counts)[every]
            found = [
                cells_to.identity(cells[row][i])
                if isinstance(cells[row], list | tuple) and len(cells[row]) == counts[row]
                else None
                for row, i in zip(every[usable], place[usable], strict=True)
            ]
        result = np.empty(len(found), dtype=np.int64)
        for place_of, one in enumerate(found):
            if one is None:
                self.fresh += 1
            result[place_of] = -(2**62) - self.fresh if one is None else one
        return result


def _chosen(column: Sequence[Any], own: Codes, rows: int) -> Sequence[Any]:
    """Return the cells of the rows that are kept."""
    if len(own) == rows:
        return column
    if isinstance(column, np.ndarray):
        return column[own]
    return [column[row] for row in own]


def step_of(cell: Any) -> Hashable | None:
    """Return a step: a whole number as int, also where it is written as text; None if missing."""
    if cell is None or cell == "" or cell != cell:
        return None
    if isinstance(cell, list | dict | np.ndarray):
        return cells_to.as_json(cell)
    # a name such as "pass" or "C" is no step 1, though as a reward it is
    named = isinstance(cell, str) and not any(character.isdigit() for character in cell)
    number = None if named or isinstance(cell, bool) else cells_to.number(cell)
    if number is None or not math.isfinite(number) or (isinstance(cell, str) and "/" in cell):
        return str(cell)
    return int(number) if number == int(number) else number
