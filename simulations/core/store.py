"""Results on disk: files that exist whole or not at all, and work that is done once.

A study is a set of files, each a pure function of its configuration. `once` makes such a file, or
returns what an earlier run left; nothing else is needed for a killed run to go on where it was.
Every file carries the hash of its content, and the marks of the job that it belongs to.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from simulations.core.progress import tell

#: what to do about an error of the operating system
WRITABLE = "make it writable, or give another --out"
ROOM = "free some space there, then run the same command to go on"
FILES = "allow more open files (`ulimit -n 1024`), then run the same command to go on"
FOLDER = "give a folder, or a path where one can be made, as --out"
CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), ROOM),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), WRITABLE),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), FILES),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP), FOLDER),
    errno.ENAMETOOLONG: "give a shorter path as --out",
}


class Refused(ValueError):
    """A results folder or file cannot be used; one line that names it, the reason and the cure."""


class Damaged(Exception):
    """A file is not what was written; the message gives the reason."""


def explained(error: OSError, path: Path | None = None) -> str:
    """Return one line for an error of the operating system: where, what, cure."""
    where = path or error.filename or "this machine"
    reason = os.strerror(error.errno) if error.errno else (str(error).splitlines() or ["error"])[0]
    cure = CURES.get(error.errno or 0, "mend that, then run the same command to go on")
    return f"{where}: {reason[:1].lower()}{reason[1:]}; {cure}"


# --- files --------------------------------------------------------------------------------------


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a file name to write to; the file becomes `path` when the block ends without error.

    Raises
    ------
    Refused
        If the file cannot be written; nothing of it is left then.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Refused(explained(error, path)) from None
        raise


def write(content: pd.DataFrame | Mapping[str, Any], path: Path, **marks: str) -> None:
    """Write a table (.parquet), a mapping (.json) or arrays by name (.npz), whole or not at all.

    `marks` are stored with a hash of the content, and `read` checks both. A mapping without marks
    is written as it is: a manifest is for people to read.
    """
    data = io.BytesIO()
    if isinstance(content, pd.DataFrame):
        table = pa.Table.from_pandas(content, preserve_index=False)
        marks["sha256"] = seal(table.to_pandas())
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **marks})
        pq.write_table(table, data, compression="zstd", write_page_checksum=True)
    elif path.suffix == ".npz":
        arrays = {name: np.asarray(values) for name, values in content.items()}
        np.savez(data, **arrays, marks=np.array(json.dumps({**marks, "sha256": seal(arrays)})))
    else:
        if marks:
            content = {**content, "marks": {**marks, "sha256": seal(content)}}
        data.write((json.dumps(content, indent=2) + "\n").encode())
    # the view is closed even where writing fails: a buffer in view cannot be freed
    with data.getbuffer() as view, whole(path) as partial:
        partial.write_bytes(view)


def read(path: Path, columns: list[str] | None = None, **marks: str) -> Any:
    """Read what `write` wrote; Damaged if its content or its marks are not those.

    Files of earlier versions have no hash, and are accepted without. Of some `columns` only the
    checksums of their pages are checked.
    """
    try:
        content, known = _read(path, columns)
    except Exception as error:  # zip, zlib, json, numpy and Arrow have no common kind of error
        raise Damaged((str(error).splitlines() or ["not readable"])[0]) from None
    for name, value in marks.items():
        if known.get(name) != value:
            raise Damaged(f"its mark {name} is not {value}")
    if columns is None and "sha256" in known and known["sha256"] != seal(content):
        raise Damaged("its content is not that of its hash")
    return content


def _read(path: Path, columns: list[str] | None) -> tuple[Any, dict[str, str]]:
    """Return content and marks."""
    if path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        return content, dict(content.pop("marks", {}))
    if path.suffix == ".npz":
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        return arrays, json.loads(str(arrays.pop("marks", "{}")))
    with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
        marks = {k.decode(): v.decode() for k, v in (parquet.schema_arrow.metadata or {}).items()}
        return parquet.read(columns=columns).to_pandas(), marks


def seal(content: pd.DataFrame | Mapping[str, Any]) -> str:
    """Return the hash of a table, of arrays by name, or of anything else JSON can hold.

    Examples
    --------
    >>> seal(pd.DataFrame({"N": [1, 2]})) == seal({"N": np.array([1, 2])})
    True
    >>> seal({"N": [1, 2]}) == seal({"N": [2, 1]})
    False
    """
    parts = hashlib.sha256()
    for name, values in content.items():
        if isinstance(values, pd.Series):
            # text is an object or a string, and missing as NaN or None, as pandas' version has it
            text = values.astype(object).where(values.notna(), None)
            values = values.to_numpy() if values.dtype.kind in "biuf" else text.tolist()
        if isinstance(values, np.ndarray):
            array = np.ascontiguousarray(values)
            parts.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        else:
            parts.update(f"{name} {json.dumps(values, default=np.ndarray.tolist)}".encode())
    return parts.hexdigest()


def kept(path: Path, **marks: str) -> Any | None:
    """Return what an earlier run left at `path`; None if missing or (with a message) damaged."""
    if not path.exists():
        return None
    try:
        return read(path, **marks)
    except Damaged as problem:
        tell(f"{path} is damaged ({problem}): computing it again")
        return None


def once(
    path: Path,
    make: Callable[[], pd.DataFrame | Mapping[str, Any]],
    *,
    skipped: Callable[[], object] = lambda: None,
    **marks: str,
) -> Any:
    """Return what `path` holds, making and writing it first if it is missing or damaged.

    Parameters
    ----------
    path : Path
        A .parquet, .json or .npz file, as in `write`.
    make : callable
        () → content. It must depend on nothing but the configuration that the folder's manifest
        holds (or that `marks` name), random numbers included: then the file is the same whoever
        makes it and when.
    skipped : callable
        Called instead of `make`, such as to count the work as done.
    **marks : str
        Hashes that the file must carry to be accepted, such as `digest` of a configuration: then
        a file of another job put in its place is noticed.

    Returns
    -------
    DataFrame or dict
        As read back from the file, so that an interrupted run continues with the same bits.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "score.json"
    >>> once(path, lambda: {"value": 1.5})
    {'value': 1.5}
    >>> once(path, lambda: 1 / 0, skipped=lambda: print("is there"))
    is there
    {'value': 1.5}
    """
    content = kept(path, **marks)
    if content is None:
        write(make(), path, **marks)
        return read(path, **marks)
    skipped()
    return content


def digest(content: object) -> str:
    """Return a short hash of anything JSON can hold."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def slug(label: str) -> str:
    """Return a label as a file name, unlike that of any other label; no label leaves its folder.

    Examples
    --------
    >>> slug("Student t(5)")
    'Student-t-5-8589'
    """
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", label).lstrip(".-").rstrip("-")[:100]
    return f"{readable}-{digest(label)[:4]}"
