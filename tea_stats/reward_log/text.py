"""Text files: delimited tables and JSON lines, a chunk of rows at a time, with their lines."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, NoReturn

from tea_stats.reward_log import chunks
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.errors import DAMAGE, LogError, listing, reason, short
from tea_stats.reward_log.sources import Source

ONE_EACH = 'write one {"prompt": ..., "reward": ...} in each line'
#: longest field of a delimited file: completions may be long, Python's own limit is 131,072
LONGEST_FIELD = 2**31 - 1
#: fields of a delimited file, and characters of JSON lines, kept at a time
MOST_FIELDS, MOST_TEXT = 400_000, 2**24
DELIMITERS = (",", "\t", ";", "|")
NUMBER = re.compile(r"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?\s*")


def opened(source: Source) -> IO[str]:
    """Open the text: UTF-8, or UTF-16 with a byte order mark; other bytes survive as surrogates."""
    head = source.start(4)
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    # a prompt only tells groups apart: what is not UTF-8 in one need not be understood
    errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
    return io.TextIOWrapper(source.stream(), encoding=encoding, errors=errors, newline="")


def json_lines(source: Source) -> Iterator[Chunk]:
    """Yield the objects of JSON lines."""
    records: list[dict[str, Any]] = []
    places: list[int] = []
    loads = json.loads
    number = size = 0
    with opened(source) as stream:
        try:
            for number, line in enumerate(stream, 1):
                try:
                    record = loads(line)
                except (ValueError, RecursionError):
                    # a byte order mark where two files were joined, or an empty line
                    line = line.strip().strip("\ufeff")
                    if not line:
                        continue
                    record = _record(source.name, number, line)
                if record.__class__ is not dict:
                    _refuse(source.name, number, line)
                records.append(record)
                places.append(number)
                size += len(line)
                if len(records) == chunks.CHUNK or size > MOST_TEXT:
                    yield chunks.of_records(source.name, records, places, "line")
                    records, places, size = [], [], 0
        except LogError:
            raise
        except DAMAGE as error:
            raise _after(source.name, number, error) from None
    if records:
        yield chunks.of_records(source.name, records, places, "line")


def _record(name: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except RecursionError:
        raise LogError(
            f"{name}, line {number}: the JSON is nested too deeply; leave that column out"
        ) from None
    except json.JSONDecodeError as error:
        _refuse(name, number, line, f" (column {error.colno}: {error.msg})")
    except ValueError as error:
        raise LogError(
            f"{name}, line {number}: {reason(error)}; write that number as a float or as text"
        ) from None


def _refuse(name: str, number: int, line: str, why: str = "") -> NoReturn:
    text = line.strip()
    raise LogError(f"{name}, line {number}: {short(text)} is not a JSON object; {ONE_EACH}{why}")


def _after(name: str, number: int, error: BaseException) -> LogError:
    """Return the error for a stream that breaks off after a line."""
    return LogError(
        f"{name}, after line {number}: {reason(error)}; the file is damaged or incomplete, copy or "
        "write it again"
    )


# --- delimited -----------------------------------------------------------------------------------


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def delimiter_of(line: str) -> str:
    """Return what separates the names in a header: the one that makes the most of them."""
    counts = {one: len(next(csv.reader([line], delimiter=one), [])) for one in DELIMITERS}
    return max(counts, key=lambda one: counts[one])


def _first_line(stream: IO[str]) -> tuple[str, int]:
    """Return the first line that is no comment ("# run 7"), and how many lines precede it."""
    line, skipped = stream.readline(), 0
    while line.lstrip("\ufeff")[:1] == "#" and len(line.split(delimiter_of(line))) == 1:
        line, skipped = stream.readline(), skipped + 1
    return line, skipped


def delimited(source: Source) -> Iterator[Chunk]:
    """Yield the rows of CSV, TSV or a table separated by semicolons or bars."""
    line, skipped, separator = 0, 0, ","
    try:
        with opened(source) as stream:
            first, skipped = _first_line(stream)
        with opened(source) as stream, _long_fields():
            for _ in range(skipped):
                stream.readline()
            stated = re.fullmatch(r"sep=(.)\s*", first)  # Excel writes it
            if stated:
                stream.readline()
                skipped += 1
            separator = stated[1] if stated else delimiter_of(first)
            reader = csv.reader(stream, delimiter=separator, strict=True)
            header = next((row for row in reader if row), None)
            if header is None:
                return
            names = _header(source.name, header)
            most = max(1, min(chunks.CHUNK, MOST_FIELDS // len(names)))
            line = skipped + reader.line_num
            while rows := list(itertools.islice(reader, most)):
                last = skipped + reader.line_num
                places: Sequence[int] = range(line + 1, last + 1)
                if len(places) != len(rows):
                    places = list(_places(rows, line))
                if set(map(len, rows)) != {len(names)}:
                    rows, places = _whole(source.name, rows, places, names, separator)
                line = last
                if rows:
                    yield chunks.of_fields(source.name, names, rows, places, separator == ";")
    except LogError:
        raise
    except csv.Error as error:
        raise LogError(
            f"{source.name}, line {_broken(source, separator, skipped)}: {reason(error)}: a quote "
            "is not closed or stands inside a field; double the quotes inside a quoted field"
        ) from None
    except DAMAGE as error:
        raise _after(source.name, line, error) from None


def _places(rows: list[list[str]], line: int) -> Iterator[int]:
    """Yield the line on which each row begins; quoted fields may hold line breaks."""
    for row in rows:
        yield line + 1
        text = "".join(row)
        line += 1 + text.count("\n") + text.count("\r") - text.count("\r\n")


def _whole(
    file: str, rows: list[list[str]], places: Sequence[int], names: list[str], separator: str
) -> tuple[list[list[str]], list[int]]:
    """Return the rows without empty lines; LogError for one that is not as wide as the header."""
    kept = [(row, place) for row, place in zip(rows, places, strict=True) if row]
    for row, place in kept:
        if len(row) != len(names):
            _width(file, place, row, names, separator)
    return [row for row, _ in kept], [place for _, place in kept]


def _broken(source: Source, separator: str, skipped: int) -> int:
    """Return the line on which the row begins that the parser refuses."""
    with opened(source) as stream, _long_fields():
        for _ in range(skipped):
            stream.readline()
        reader = csv.reader(stream, delimiter=separator, strict=True)
        begins = 0
        with suppress(csv.Error, *DAMAGE):
            for _ in reader:
                begins = reader.line_num
    return begins + 1 + skipped


def _header(file: str, header: list[str]) -> list[str]:
    names = [name.strip().strip("\ufeff") for name in header]
    numbers = [name for name in names if NUMBER.fullmatch(name)]
    # 0, 1, 2 … are names that pandas gives; .25, .5 … are a row of values
    if len(numbers) > 1 and not all(name.isdigit() for name in numbers):
        raise LogError(
            f"{file}, line 1: {listing(numbers, 3)} are numbers where names of columns should be; "
            "put a line of names first"
        )
    return names


def _width(file: str, line: int, row: list[str], names: list[str], separator: str) -> None:
    """Refuse a row that is not as wide as the header."""
    what = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}.get(separator, separator)
    if len(row) > len(names):
        cure = (
            f"quote fields that hold a {what} "
            f'("Add 3{separator if separator != chr(9) else ","} 4"), and end no line in one'
        )
    else:
        cure = "the line is cut off or a field is missing; complete or remove it"
    raise LogError(
        f"{file}, line {line}: {short(separator.join(row))} has {len(row)} fields where the header "
        f"has {len(names)} ({listing(names, 4)}); {cure}"
    )
