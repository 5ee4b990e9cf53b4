"""The files behind `reward_log.read`: rows in chunks, and the line of a row.

The parsers of pandas, pyarrow and json see a chunk of rows at a time, so that a log with its
completions need not fit into memory; a file is read again, for the number of a line, only once
something is wrong with it.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import pandas as pd

#: rows parsed at a time
CHUNK = 100_000
#: texts that stand for a missing reward in a CSV file
MISSING = ("", "NaN", "nan", "NA", "N/A", "n/a", "null", "NULL", "None", "none")
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
ONE_EACH = 'write one {"prompt": ..., "reward": ...} in each line'


class LogError(ValueError):
    """What is wrong with a log, in one line that names file, row and cure."""


def listing(columns: Iterable[object], most: int = 12) -> str:
    """Return the names of columns, the first of many."""
    names = [str(name) for name in columns]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "none"


class LogFile:
    """One log on disk or standard input: its frames, and the line of a row."""

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == "-" else path
        self.path = path
        suffixes = [suffix.lower() for suffix in Path(path).suffixes]
        self.zipped = suffixes[-1:] == [".gz"]
        self.kind = (
            ".jsonl" if path == "-" else "".join(suffixes[: -1 if self.zipped else None][-1:])
        )
        if self.kind not in SUFFIXES or (self.zipped and self.kind == ".parquet"):
            raise LogError(
                f"{path} ends in {''.join(suffixes[-2:]) or 'no suffix'}; give a file whose name "
                f"ends in {', '.join(SUFFIXES)}, or .gz after the first three"
            )
        self.is_text = self.kind == ".csv"
        self._input = sys.stdin.buffer.read() if path == "-" else b""

    def fail(self, row: int, reason: str) -> NoReturn:
        """Raise LogError for a row, counted from 0."""
        raise LogError(f"{self.name}, {self._where(row)}: {reason}") from None

    def frames(self, prompt: str, reward: str | None, wide: bool) -> Iterator[pd.DataFrame]:
        """Yield the rows in chunks, in long files with no more than the two columns."""
        needed = None if wide else [prompt, reward or "reward"]
        with self._readable():
            if self.kind == ".csv":
                frames = self._csv(needed)
            elif self.kind == ".parquet":
                frames = self._parquet(needed)
            else:
                frames = self._json_lines(needed)
            yield from frames

    def _csv(self, needed: list[str] | None) -> Iterator[pd.DataFrame]:
        import pandas as pd

        with self._open() as stream:
            header = next(csv.reader(stream), None)
        if header is None:
            return
        self._require(header, needed)
        missing = {name: list(MISSING) for name in header if not needed or name != needed[0]}
        yield from pd.read_csv(
            self.path,
            usecols=needed,
            chunksize=CHUNK,
            keep_default_na=False,  # a prompt may be the word "null"
            na_values=missing,
            low_memory=False,
            encoding="utf-8-sig",
        )

    def _json_lines(self, needed: list[str] | None) -> Iterator[pd.DataFrame]:
        import pandas as pd

        with self._open() as stream:
            rows = enumerate(line for line in stream if line.strip())
            while chunk := list(itertools.islice(rows, CHUNK)):
                records = [self._record(row, line) for row, line in chunk]
                columns = list(dict.fromkeys(itertools.chain(*records)))
                own = needed or columns
                # lists of rewards may do without labels
                if needed and needed[0] not in columns and _holds_list(records, needed[1]):
                    own = needed[1:]
                elif needed:
                    self._require(columns, needed)
                yield pd.DataFrame({name: [record.get(name) for record in records] for name in own})

    def _record(self, row: int, line: str) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            self.fail(row, f"{line.strip()[:40]!r} is not a JSON object; {ONE_EACH}")
        return record

    def _parquet(self, needed: list[str] | None) -> Iterator[pd.DataFrame]:
        try:
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"{self.name} needs pyarrow; pip install 'tea-stats[cli]'"
            ) from None

        with parquet.ParquetFile(self.path) as file:
            self._require(file.schema_arrow.names, needed)
            for batch in file.iter_batches(CHUNK, columns=needed):
                yield batch.to_pandas()

    def _require(self, columns: list[str], needed: list[str] | None) -> None:
        for option, name in zip(("--prompt", "--reward"), needed or (), strict=False):
            if name not in columns:
                raise LogError(
                    f"{self.name} has no column {name!r}; it has: {listing(columns)}. Name the "
                    f"right one ({option}), or give --wide if each row is a prompt and each column "
                    "a rollout"
                )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn what pandas and pyarrow raise into one line that names the cure."""
        try:
            yield
        except LogError:
            raise
        except FileNotFoundError:
            raise LogError(f"{self.name} does not exist; give the path of a file") from None
        except (OSError, EOFError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise LogError(
                f"{self.name} cannot be read as {self.kind}: {reason}; repair or rename the file"
            ) from None

    def _open(self) -> IO[str]:
        if self.path == "-":
            return io.TextIOWrapper(io.BytesIO(self._input), encoding="utf-8")
        if self.zipped:
            return gzip.open(self.path, "rt", encoding="utf-8-sig", newline="")
        return open(self.path, encoding="utf-8-sig", newline="")

    def _where(self, row: int) -> str:
        """Return "line 7" of a text file, "row 6" of another, for a row counted from 0."""
        if self.kind == ".parquet":
            return f"row {row + 1}"
        with self._open() as stream:
            if self.kind == ".csv":
                return f"line {_first_line(csv.reader(stream), row + 1)}"
            lines = (number for number, line in enumerate(stream, 1) if line.strip())
            return f"line {next(itertools.islice(lines, row, None))}"


def _holds_list(records: list[dict[str, Any]], name: str) -> bool:
    return any(isinstance(record.get(name), list) for record in records)


def _first_line(records: Any, number: int) -> int:
    """Return the line on which a record begins; quoted fields may hold line breaks."""
    begins = 1
    for record in records:
        if record and number == 0:
            break
        number -= bool(record)  # as pandas does, skip empty lines
        begins = records.line_num + 1
    return begins
