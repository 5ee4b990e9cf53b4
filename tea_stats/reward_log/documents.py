"""JSON files that are one document: lists of objects, tables by column, wrappers, evaluations.

What is inside is recognised by its shape: a list of objects is a list of rows; a table is lists
of one length by column, or columns and data; a mapping from prompts has one entry each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tea_stats.reward_log import chunks, names
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.errors import DAMAGE, LogError, listing, reason, short
from tea_stats.reward_log.sources import Source
from tea_stats.reward_log.text import opened

Record = dict[str, Any]
#: keys that hold the rows of a document
WRAPPERS = (
    "samples", "rows", "records", "data", "results", "rollouts", "generations", "eval", "items",
    "instances", "logs", "outputs",
)  # fmt: skip
#: a document with one of these keys is a table by column, not a mapping from prompts
COLUMNS = {*names.REWARD} - {"results"}
#: name of the column that the keys of a mapping make
KEY = "key"


def document(source: Source) -> Iterator[Chunk]:
    """Yield the rows of a JSON document, or of several one after the other."""
    try:
        with opened(source) as stream:
            text = stream.read()
        values = list(_values(source.name, text))
    except LogError:
        raise
    except DAMAGE as error:
        raise LogError(
            f"{source.name} cannot be read as JSON: {reason(error)}; the file is damaged or "
            "incomplete, copy or write it again"
        ) from None
    try:
        records = rows(values[0] if len(values) == 1 else values)
    except LogError as error:
        raise LogError(f"{source.name}: {error}") from None
    if records is None:
        raise LogError(
            f"{source.name} holds {short(values[0])}, in which no rows are recognised; give a list "
            'of objects such as {"prompt": ..., "reward": ...}, or one in each line (.jsonl)'
        )
    for start in range(0, len(records), chunks.CHUNK):
        part = records[start : start + chunks.CHUNK]
        places = range(start + 1, start + len(part) + 1)
        yield chunks.of_records(source.name, part, places, "entry")


def _values(name: str, text: str) -> Iterator[Any]:
    decoder, place = json.JSONDecoder(), 0
    while True:
        while place < len(text) and text[place] in " \t\r\n\ufeff":
            place += 1
        if place == len(text):
            return
        try:
            value, place = decoder.raw_decode(text, place)
        except RecursionError:
            raise LogError(f"{name}: the JSON is nested too deeply; leave that part out") from None
        except json.JSONDecodeError as error:
            raise LogError(
                f"{name}, line {error.lineno}: {error.msg} (column {error.colno}); the file is "
                "damaged or incomplete, or not JSON: write it again"
            ) from None
        yield value


def rows(value: Any, depth: int = 0) -> list[Record] | None:
    """Return the rows of a document; None where it has no shape that is known."""
    if isinstance(value, list):
        return _of_list(value)
    if not isinstance(value, dict) or depth > 3:
        return None
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return _table(value["columns"], value["data"])
    for key in WRAPPERS:
        inner = value.get(key)
        if isinstance(inner, dict | list):
            found = rows(inner, depth + 1)
            if found:
                return with_task(found, value)
    entries = list(value.values())
    if not entries:
        return []
    if all(isinstance(entry, dict) for entry in entries):
        return _of_mapping(value)
    if all(isinstance(entry, list) for entry in entries):
        return _of_lists(value)
    return [value]


def with_task(records: list[Record], log: Any) -> list[Record]:
    """Return samples of an inspect_ai log with the task and the model that its head names."""
    head = log.get("eval") if isinstance(log, dict) else None
    if not isinstance(head, dict) or not isinstance(head.get("task"), str):
        return records
    own = {name: head[name] for name in ("task", "model") if isinstance(head.get(name), str)}
    return [own | record for record in records]


def _of_list(value: list[Any]) -> list[Record] | None:
    if all(isinstance(entry, dict) for entry in value):
        return value
    if value and all(isinstance(entry, list) and _numbers(entry) for entry in value):
        return [{"reward": entry} for entry in value]  # a prompt each, without labels
    return None


def _numbers(entry: list[Any]) -> bool:
    return all(isinstance(one, int | float | None) for one in entry)


def _of_lists(value: Record) -> list[Record] | None:
    """Return the rows of a table by column, or of lists by prompt."""
    if COLUMNS & set(value):
        lengths = {len(entry) for entry in value.values()}
        if len(lengths) > 1:
            raise LogError(
                f"the columns {listing(value, 4)} have {min(lengths)} to {max(lengths)} entries; "
                "write as many in each, or a list of objects"
            )
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if all(_numbers(entry) for entry in value.values()):
        return [{KEY: key, "reward": entry} for key, entry in value.items()]
    if all(isinstance(one, dict) for entry in value.values() for one in entry):
        return [{KEY: key, **one} for key, entry in value.items() for one in entry]
    return None


def _of_mapping(value: Record) -> list[Record]:
    """Return the rows of a table by column and index, as pandas writes it, or of objects by key."""
    if COLUMNS & set(value):
        index = dict.fromkeys(key for entry in value.values() for key in entry)
        return [{name: entry.get(key) for name, entry in value.items()} for key in index]
    return [{KEY: key, **entry} for key, entry in value.items()]


def _table(columns: list[Any], data: list[Any]) -> list[Record] | None:
    """Return the rows of a table given as columns and data, as wandb and pandas write it."""
    names = [str(name) for name in columns]
    for place, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise LogError(
                f"row {place + 1} of the table is {short(row)}, not a list of {len(names)} entries "
                f"as there are columns; write the table again"
            )
    return [dict(zip(names, row, strict=True)) for row in data]
