"""From a path to files, and from a file to bytes: folders, globs, compression, standard input.

What a file is, and how it is compressed, is read from its first bytes, never from its name.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import json
import lzma
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tea_stats.reward_log.errors import LogError

#: names of files that a folder is searched for, without the suffix of a compression
SUFFIXES = (
    ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".eval",
)  # fmt: skip
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
#: first bytes of a compressed stream
MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
#: first bytes of what is no log, and what to do
FOREIGN = {
    b"\x89HDF": "an HDF5 file; save the table as CSV or Parquet",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"%PDF": "a PDF; give the table as CSV",
    b"\x80\x04": "a pickle, which is not read because it may run code; save JSON lines",
    b"\x80\x02": "a pickle, which is not read because it may run code; save JSON lines",
    b"ORC": "an ORC file; save it as Parquet",
    b"Obj\x01": "an Avro file; save it as Parquet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet; save it as CSV",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
}


@dataclass(frozen=True)
class Source:
    """One file, or standard input: its name in messages and how to open it."""

    name: str
    path: str
    content: bytes | None = None

    def stream(self) -> IO[bytes]:
        """Open the bytes, decompressed."""
        with self._raw() as raw:
            compression = compression_of(raw)
        if compression is None:
            return self._raw()
        if compression == "zstd":
            return zstd(self._raw())
        opener: Any = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}[compression]
        target = self.path if self.content is None else io.BytesIO(self.content)
        return cast(IO[bytes], opener(target, "rb"))

    def _raw(self) -> IO[bytes]:
        return open(self.path, "rb") if self.content is None else io.BytesIO(self.content)

    @property
    def compressed(self) -> bool:
        """Whether the bytes on disk are those of a compression."""
        with self._raw() as raw:
            return compression_of(raw) is not None

    def start(self, size: int = 65536) -> bytes:
        """Return the first bytes, decompressed."""
        with self.stream() as stream:
            return stream.read(size)


def compression_of(raw: IO[bytes]) -> str | None:
    """Return the name of the compression that a stream begins with."""
    head = raw.read(6)
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def zstd(raw: IO[bytes]) -> IO[bytes]:
    """Decompress zstd with Python's own module, or pyarrow before Python 3.14."""
    try:
        from compression import zstd as own  # type: ignore[import-not-found,unused-ignore]

        return cast(IO[bytes], own.ZstdFile(raw))
    except ModuleNotFoundError:
        pass
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a zstd file needs pyarrow; pip install 'tea-stats[cli]'"
        ) from None
    stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd")
    return cast(IO[bytes], io.BufferedReader(_Decompressed(stream, raw)))


class _Decompressed(io.RawIOBase):
    """A pyarrow stream with the methods that `io.BufferedReader` calls."""

    def __init__(self, stream: Any, raw: IO[bytes]) -> None:
        self.stream, self.raw = stream, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.raw.close()
        super().close()


# --- paths ---------------------------------------------------------------------------------------


def resolve(path: str | Path | Sequence[str | Path]) -> list[Source]:
    """Return the files behind a path, a glob, a folder, "-", or several of these."""
    given = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not given:
        raise LogError("no file is given; give the path of a file or a folder")
    sources = [source for one in given for source in _one(one)]
    if given.count("-") > 1:
        raise LogError("standard input is given twice; give - once")
    seen: dict[str, Source] = {}
    for source in sources:  # the same file by two names is read once
        seen.setdefault("-" if source.path == "-" else os.path.realpath(source.path), source)
    return list(seen.values())


def _one(given: str | Path) -> list[Source]:
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"path is {given!r}; give the path of a file, or a list of paths")
    path = str(given)
    if path == "-":
        return [Source("standard input", "-", sys.stdin.buffer.read())]
    if path.startswith("~"):
        path = os.path.expanduser(path)
    if os.path.isdir(path):
        return [Source(found, found) for found in _folder(Path(path))]
    if os.path.exists(path):
        return [Source(path, path)]
    if any(character in path for character in "*?["):
        found = sorted(glob.glob(path, recursive=True), key=natural)
        if not found:
            raise LogError(f"{path} matches no file; give the path of a file, a folder or a glob")
        return [source for one in found for source in _one(one)]
    raise LogError(f"{path} does not exist; give the path of a file, a folder or a glob")


def natural(path: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts step_2 before step_10."""
    parts = re.split(r"(\d+)", path)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _folder(folder: Path) -> list[str]:
    """Return the files of a folder: a saved dataset's shards, or every file of a known name."""
    saved = _saved_dataset(folder)
    if saved is not None:
        return saved
    named = [
        str(file)
        for file in folder.rglob("*")
        if _suffix(file) in SUFFIXES and file.is_file() and not _hidden(file, folder)
    ]
    # beside other data .json is metadata: results of lm-eval, states of a saved dataset
    data = [name for name in named if _suffix(Path(name)) != ".json"] or named
    samples = [name for name in data if Path(name).name.startswith("samples_")]
    if not data:
        raise LogError(
            f"{folder} is a folder without a file whose name ends in {', '.join(SUFFIXES)}, or "
            f"one of these and {', '.join(COMPRESSIONS)}; name the files (a glob will do)"
        )
    _no_copies(folder, samples or data)
    return sorted(samples or data, key=natural)


def _no_copies(folder: Path, files: list[str]) -> None:
    """Refuse files of one name but for the suffix: a log beside its copy would count twice."""
    stems: dict[str, str] = {}
    for file in sorted(files):
        stem = file
        while Path(stem).suffix.lower() in (*SUFFIXES, *COMPRESSIONS):
            stem = str(Path(stem).with_suffix(""))
        if (other := stems.setdefault(stem, file)) != file:
            raise LogError(
                f"{folder} holds {Path(other).name} and {Path(file).name}, which may be one log "
                "twice; name the files to read (a glob will do)"
            )


def _suffix(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _hidden(file: Path, folder: Path) -> bool:
    """Whether a part of the path below the folder marks what is not data, as _SUCCESS does."""
    return any(part[0] in "._" for part in file.relative_to(folder).parts)


def _saved_dataset(folder: Path) -> list[str] | None:
    """Return the shards of what `datasets` saved to disk, of all splits; None for another."""
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = json.loads((folder / "dataset_dict.json").read_text("utf-8"))["splits"]
            # a name leads out of the folder no more than a label does
            shards = [_saved_dataset(folder / Path(split).name) or [] for split in splits]
            return [shard for split in shards for shard in split]
        if (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file():
            files = json.loads((folder / "state.json").read_text("utf-8"))["_data_files"]
            return [str(folder / Path(file["filename"]).name) for file in files]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LogError(
            f"{folder} looks like a saved dataset, but its state cannot be read: {error}; save "
            "it again, or give its .arrow files"
        ) from None
    return None
