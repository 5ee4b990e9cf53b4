"""Binary tables: Parquet, Arrow, arrays of NumPy; and the archives of inspect_ai."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from tea_stats.reward_log import chunks
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.documents import with_task
from tea_stats.reward_log.errors import DAMAGE, LogError, reason
from tea_stats.reward_log.sources import Source, natural, zstd

#: the member of an inspect_ai log that names its task
HEAD = "header.json"
Needed = Callable[[], Sequence[str] | None]


def _pyarrow(name: str) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{name} needs pyarrow; pip install 'tea-stats[cli]'") from None
    return pyarrow


@contextmanager
def _readable(name: str, kind: str, *more: type[Exception]) -> Iterator[None]:
    """Turn what is raised for damaged bytes into one line that names the cure."""
    try:
        yield
    except (LogError, ModuleNotFoundError):
        raise
    except DAMAGE + more as error:
        raise LogError(
            f"{name} cannot be read as {kind}: {reason(error)}; the file is damaged or incomplete, "
            "copy or write it again"
        ) from None


def _bytes(source: Source) -> Any:
    """Return what pyarrow reads: the path, or the bytes where they are compressed or piped."""
    if source.content is None and not source.compressed:
        return source.path
    with source.stream() as stream:
        return io.BytesIO(stream.read())


def parquet(source: Source, needed: Needed) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file; after the first chunk only the columns needed are read."""
    arrow = _pyarrow(source.name)
    with (
        _readable(source.name, "Parquet", arrow.lib.ArrowException),
        arrow.parquet.ParquetFile(_bytes(source)) as file,
    ):
        schema, start = file.schema_arrow, 0
        names = schema.names
        # the first rows decide which columns are needed
        first = next(file.iter_batches(chunks.CHUNK), None)
        if first is None:
            return
        yield _of_batch(source.name, first, names, start)
        own = needed()
        columns = None if own is None else [name for name in names if name in set(own)]
        for batch in file.iter_batches(chunks.CHUNK, columns=columns):
            rest = batch.slice(max(0, len(first) - start))
            if len(rest):
                yield _of_batch(source.name, rest, names, start + len(batch) - len(rest))
            start += len(batch)


def arrow_ipc(source: Source) -> Iterator[Chunk]:
    """Yield the rows of an Arrow file or stream, as datasets and Feather write them."""
    arrow = _pyarrow(source.name)
    with _readable(source.name, "Arrow", arrow.lib.ArrowException):
        data = _bytes(source)
        if isinstance(data, str):
            data = arrow.memory_map(data)
        head = source.start(6)
        if head == b"ARROW1":
            file = arrow.ipc.open_file(data)
            batches = (file.get_batch(place) for place in range(file.num_record_batches))
        else:
            file = arrow.ipc.open_stream(data)
            batches = iter(file)
        names, start = file.schema.names, 0
        for batch in batches:
            batch.validate(full=True)
            for place in range(0, len(batch), chunks.CHUNK):
                part = batch.slice(place, chunks.CHUNK)
                yield _of_batch(source.name, part, names, start + place)
            start += len(batch)


def _of_batch(file: str, batch: Any, names: list[str], start: int) -> Chunk:
    arrow = _pyarrow(file)
    own = set(batch.schema.names)

    def get(name: str) -> Sequence[Any]:
        if name not in own:
            return [None] * len(batch)
        if batch.schema.names.count(name) > 1:
            raise LogError(f"{file} has two columns {name!r}; rename one")
        with _readable(file, "a table", arrow.lib.ArrowException):
            return _values(arrow, batch.column(batch.schema.get_field_index(name)))

    places = range(start + 1, start + len(batch) + 1)
    shown = [name for name in names if not re.fullmatch(r"__index_level_\d+__", name)]
    return Chunk(file, lambda: shown, get, places, "row")


def _values(arrow: Any, column: Any) -> Sequence[Any]:
    """Return numbers as an array, missing ones as NaN; anything else as Python objects."""
    kind = column.type
    if arrow.types.is_floating(kind) and column.null_count == 0:
        return column.to_numpy(zero_copy_only=False).astype(np.float64)
    if arrow.types.is_temporal(kind):
        return column.cast(arrow.string()).to_pylist()
    if arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind):
        return [
            None if one is None else one.decode("utf-8", "surrogateescape")
            for one in column.to_pylist()
        ]
    return column.to_pylist()


def array(source: Source) -> Iterator[Chunk]:
    """Yield the rows of a matrix that NumPy saved: a prompt each, a column for each rollout."""
    with _readable(source.name, "an array"):
        with source.stream() as stream:
            values = np.load(io.BytesIO(stream.read()), allow_pickle=False)
        if values.ndim != 2 or values.dtype.kind not in "fiub":
            raise LogError(
                f"{source.name} holds an array of {values.dtype} and shape {values.shape}; give "
                "numbers of shape (prompts, rollouts)"
            )
    for start in range(0, len(values), chunks.CHUNK):
        part = [row.tolist() for row in values[start : start + chunks.CHUNK]]
        places = range(start + 1, start + len(part) + 1)
        yield chunks.of_records(source.name, [{"reward": row} for row in part], places, "row")


# --- archives ------------------------------------------------------------------------------------


def inspect_archive(source: Source) -> Iterator[Chunk]:
    """Yield the samples of an inspect_ai log (.eval), one member of the archive each."""
    with _readable(source.name, "an inspect_ai log"):
        with source.stream() as stream:
            data = io.BytesIO(stream.read()) if source.compressed or source.content else None
        with zipfile.ZipFile(data or source.path) as archive:
            members = [
                info
                for info in archive.infolist()
                if info.filename.startswith("samples/") and info.filename.endswith(".json")
            ]
            if not members:
                raise LogError(
                    f"{source.name} is a zip archive without samples of inspect_ai; unpack it and "
                    "give the files"
                )
            members.sort(key=lambda info: natural(info.filename))
            named = {info.filename: info for info in archive.infolist()}
            head = _member(source.name, archive, named[HEAD]) if HEAD in named else {}
            for start in range(0, len(members), 64):
                part = members[start : start + 64]
                records = [_member(source.name, archive, info) for info in part]
                places = [f"{info.filename}" for info in part]
                records = with_task(records, head)
                yield chunks.of_records(source.name, records, places, "sample")  # type: ignore[arg-type]


def _member(name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    raw = _zstd_member(archive, info) if info.compress_type == 93 else archive.read(info)
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise LogError(
            f"{name}, sample {info.filename}: {reason(error)}; the log is damaged, copy it again"
        ) from None
    if not isinstance(record, dict):
        raise LogError(f"{name}, sample {info.filename} is no JSON object; copy the log again")
    return record


def _zstd_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return a member compressed by zstd, which `zipfile` reads from Python 3.14 on."""
    file: IO[bytes] = archive.fp  # type: ignore[assignment]
    file.seek(info.header_offset)
    header = struct.unpack("<4s5H3L2H", file.read(30))
    file.seek(header[9] + header[10], io.SEEK_CUR)  # name and extra field
    data = zstd(io.BytesIO(file.read(info.compress_size))).read()
    if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"{info.filename} does not have the length and sum it should have")
    return data
