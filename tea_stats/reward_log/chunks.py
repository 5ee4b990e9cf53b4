"""Rows of one file, column by column, whatever kind of file they come from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, NoReturn

from tea_stats.reward_log.errors import LogError

#: rows parsed at a time; a log with its completions need not fit into memory
CHUNK = 8192


class Chunk:
    """Consecutive rows of a file.

    Attributes
    ----------
    file : str
        Name of the file in messages.
    is_text : bool
        Whether every value is text, as in a CSV file.
    decimal_comma : bool
        Whether numbers may be written 0,5 (where fields are separated by semicolons).
    """

    def __init__(
        self,
        file: str,
        names: Callable[[], Iterable[str]],
        get: Callable[[str], Sequence[Any]],
        places: Sequence[int],
        unit: str,
        *,
        is_text: bool = False,
        decimal_comma: bool = False,
    ) -> None:
        self.file, self._names = file, names
        self._get = functools.cache(get)  # columns are looked at more than once
        self.places, self.unit = places, unit
        self.is_text, self.decimal_comma = is_text, decimal_comma

    def __len__(self) -> int:
        return len(self.places)

    @functools.cached_property
    def names(self) -> list[str]:
        """The columns, in the order of the file."""
        return list(self._names())

    def root(self, path: str) -> str | None:
        """Return the column of a path such as rewards.total: the longest part that is one."""
        while path not in self.names:
            path, dot, _ = path.rpartition(".")
            if not dot:
                return None
        return path

    def column(self, path: str) -> Sequence[Any]:
        """Return a column, or what is nested in one: rewards.total."""
        name = self.root(path)
        if name is None:
            return [None] * len(self)
        if name == path:
            return self._get(name)
        keys = path[len(name) + 1 :].split(".")
        return [nested(entry, keys) for entry in self._get(name)]

    def where(self, row: int) -> str:
        """Return the place of a row, counted from 0 in this chunk: "line 7"."""
        return f"{self.unit} {self.places[row]}"

    def fail(self, row: int, reason: str) -> NoReturn:
        """Raise LogError for a row, counted from 0 in this chunk."""
        raise LogError(f"{self.file}, {self.where(row)}: {reason}")


def nested(entry: Any, keys: Sequence[str]) -> Any:
    """Return entry[keys[0]][keys[1]] …; None where there is no such thing."""
    for key in keys:
        if isinstance(entry, dict):
            entry = entry.get(key)
        elif isinstance(entry, list | tuple) and key.isdigit() and int(key) < len(entry):
            entry = entry[int(key)]
        else:
            return None
    return entry


def of_records(file: str, records: list[dict[str, Any]], places: Sequence[int], unit: str) -> Chunk:
    """Return a chunk of JSON objects."""
    return Chunk(
        file,
        lambda: dict.fromkeys(chain.from_iterable(records)),
        lambda name: [record.get(name) for record in records],
        places,
        unit,
    )


def of_fields(
    file: str,
    header: list[str],
    rows: list[list[str]],
    places: Sequence[int],
    decimal_comma: bool,
) -> Chunk:
    """Return a chunk of the rows of a text file, each as wide as the header."""
    number = {name: place for place, name in enumerate(header)}
    columns: list[tuple[str, ...]] = []

    def get(name: str) -> tuple[str, ...]:
        if not columns:
            columns.extend(zip(*rows, strict=True))
        if header.count(name) > 1:
            raise LogError(f"{file} has two columns {name!r}; rename one")
        return columns[number[name]]

    return Chunk(
        file, lambda: header, get, places, "line", is_text=True, decimal_comma=decimal_comma
    )
