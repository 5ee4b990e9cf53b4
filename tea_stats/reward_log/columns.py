"""From the rows of a log to the labels of its prompts and their rewards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tea_stats.reward_log.files import MISSING, LogError, LogFile, listing

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


def parse(
    path: str, prompt: str, reward: str | None, wide: bool, drop_missing: bool
) -> tuple[list[Hashable], NDArray[np.intp], Array]:
    """Return the labels of prompts, then, for each reward, the place of its label and itself."""
    file = LogFile(path)
    places: dict[Hashable, int] = {}
    codes, rewards = [], []
    start = 0
    for frame in file.frames(prompt, reward, wide):
        if wide:
            labels, rows, values = _wide(file, frame, start, prompt, reward)
        else:
            labels, rows, values = _long(file, frame, start, prompt, reward or "reward")
        usable = np.isfinite(values)
        if not (drop_missing or usable.all()):
            place = int(np.argmin(usable))
            file.fail(
                int(rows[place]),
                f"the reward is {values[place]}, missing or not finite; repair it, or leave such "
                "rewards out (--drop-missing)",
            )
        own = np.array([places.setdefault(label, len(places)) for label in labels], dtype=np.intp)
        codes.append(own[rows - start][usable])
        rewards.append(values[usable])
        start += len(frame)
    if not start:
        raise LogError(f"{file.name} is empty; give a file with a row for each rollout")
    if not any(map(len, rewards)):
        raise LogError(f"{file.name} has no reward that is a finite number; repair the file")
    return list(places), np.concatenate(codes), np.concatenate(rewards)


def _long(
    file: LogFile, frame: pd.DataFrame, start: int, prompt: str, reward: str
) -> tuple[list[Hashable], NDArray[np.intp], Array]:
    """Return a label for each row, then, for each reward, the number of its row and itself."""
    column = frame[reward].to_numpy()
    rows = np.arange(start, start + len(frame))
    lists = _listed(column)
    if lists is None:
        values = _numbers(file, column, rows, reward)
    else:
        lengths = [len(entry) for entry in lists]
        rows = np.repeat(rows, lengths)
        values = _numbers(file, np.array([*itertools.chain(*lists)], dtype=object), rows, reward)
    if prompt not in frame:  # lists of rewards without labels: each row is a prompt
        return list(range(start + 1, start + len(frame) + 1)), rows, values
    return _labels(file, frame[prompt].tolist(), start, prompt), rows, values


def _wide(
    file: LogFile, frame: pd.DataFrame, start: int, prompt: str, pattern: str | None
) -> tuple[list[Hashable], NDArray[np.intp], Array]:
    """Return a label for each row, then, for each cell, the number of its row and its reward."""
    others = [name for name in frame.columns if name != prompt]
    if pattern is None:
        chosen = [name for name in others if frame[name].dtype.kind in "fiub"]
    else:
        chosen = [name for name in others if fnmatchcase(str(name), pattern)]
    if not chosen:
        what = "no column of numbers" if pattern is None else f"no column like {pattern!r}"
        raise LogError(
            f"{file.name} has {what} beside {prompt!r}; it has: {listing(frame.columns)}. Give "
            "the pattern of the columns of rewards (--reward 'r_*')"
        )
    rows = np.repeat(np.arange(start, start + len(frame)), len(chosen))
    columns = [
        _numbers(file, frame[name].to_numpy(), rows[:: len(chosen)], name) for name in chosen
    ]
    labels: list[Hashable] = list(range(start + 1, start + len(frame) + 1))
    if prompt in frame:
        labels = _labels(file, frame[prompt].tolist(), start, prompt)
    return labels, rows, np.column_stack(columns).ravel()


def _listed(column: NDArray[Any]) -> list[Any] | None:
    """Return the rewards of each row as a list, or None if no row has a list of them."""
    if column.dtype != object or not any(isinstance(v, list | np.ndarray) for v in column):
        return None
    return [v if isinstance(v, list | np.ndarray) else [v] for v in column]


def _numbers(file: LogFile, column: NDArray[Any], rows: NDArray[np.intp], name: str) -> Array:
    """Return a column as float64, what is missing as NaN; ValueError for anything else."""
    if column.dtype.kind in "fiub":
        return column.astype(np.float64)
    values = np.full(len(column), np.nan)
    for place, entry in enumerate(column.tolist()):
        if isinstance(entry, bool | int | float | np.number):
            values[place] = float(entry)
        elif not (entry is None or str(entry) in (*MISSING, "<NA>")):
            try:  # a text file's number, beside text elsewhere in its column
                values[place] = float(entry if file.is_text else "")
            except ValueError:
                file.fail(
                    int(rows[place]),
                    f"{name} is {_short(entry)}, not a number; write a number there, or name "
                    "another column of rewards (--reward)",
                )
    return values


def _labels(file: LogFile, entries: list[Any], start: int, prompt: str) -> list[Hashable]:
    """Return the label of each row's prompt; messages and other lists as their JSON."""
    labels: list[Hashable] = []
    for place, entry in enumerate(entries):
        if isinstance(entry, list | dict | np.ndarray):
            labels.append(json.dumps(entry, sort_keys=True, ensure_ascii=False, default=_plain))
        elif entry is None or entry == "" or entry != entry or str(entry) == "<NA>":
            file.fail(
                start + place,
                f"{prompt} is missing; give every row one, or name another column (--prompt)",
            )
        else:
            labels.append(entry)
    return labels


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else str(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
