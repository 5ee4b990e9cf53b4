"""Results on disk: files that exist whole or not at all, work done once, a manifest beside them.

A study is a set of files, each a pure function of its configuration. `once` makes such a file, or
returns what an earlier run left; nothing else is needed for a killed run to go on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import tea_stats
from simulations.core.progress import tell

ROOT = Path(__file__).parents[2]
PACKAGES = ("numpy", "scipy", "numba", "pandas", "pyarrow")


class Refused(ValueError):
    """A results folder or file cannot be used; one line that names it, the reason and the cure."""


class Damaged(Exception):
    """A file is not what was written; the message gives the reason."""


# --- files --------------------------------------------------------------------------------------


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a file name to write to; the file becomes `path` when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    yield partial
    partial.replace(path)


def write(content: pd.DataFrame | Mapping[str, Any], path: Path, **marks: str) -> None:
    """Write a table (.parquet), a mapping (.json) or arrays by name (.npz), whole or not at all.

    `marks` go into the Parquet file's metadata; `read` checks them.
    """
    with whole(path) as partial:
        if isinstance(content, pd.DataFrame):
            table = pa.Table.from_pandas(content, preserve_index=False)
            table = table.replace_schema_metadata({**(table.schema.metadata or {}), **marks})
            pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
        elif path.suffix == ".npz":
            with partial.open("wb") as file:
                np.savez(file, **content)
        else:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(path: Path, columns: list[str] | None = None, **marks: str) -> Any:
    """Read what `write` wrote; Damaged if its bytes or its marks are not those."""
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        parquet = pq.ParquetFile(path, page_checksum_verification=True)
        known = parquet.schema_arrow.metadata or {}
        for name, value in marks.items():
            if known.get(name.encode()) != value.encode():
                raise Damaged(f"its mark {name} is not {value}")
        return parquet.read(columns=columns).to_pandas()
    except Damaged:
        raise
    except Exception as error:  # zip, zlib, json, numpy and Arrow have no common kind of error
        raise Damaged((str(error).splitlines() or ["not readable"])[0]) from None


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
        Hashes that the file must carry to be accepted, such as `digest` of a configuration;
        Parquet only.

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
        return read(path)
    skipped()
    return content


def digest(content: object) -> str:
    """Return a short hash of anything JSON can hold."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def slug(label: str) -> str:
    """Return a label as a file name, unlike that of any other label.

    Examples
    --------
    >>> slug("Student t(5)")
    'Student-t-5-8589'
    """
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', label).strip('-')}-{digest(label)[:4]}"


# --- manifest -----------------------------------------------------------------------------------


def describe(configuration: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a manifest: the configuration and its hash, and whatever else a study adds."""
    return {"hash": digest(configuration), "configuration": dict(configuration), **more, "runs": []}


def circumstances(**more: Any) -> dict[str, Any]:
    """Return what a run is made with: code, versions, machine, time."""
    return {
        "started": now(),
        "revision": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "code": code_hash(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "machine": {
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
        **more,
    }


@contextmanager
def run(
    out: Path, manifest: dict[str, Any], grows: Sequence[str] = (), **more: Any
) -> Iterator[dict[str, Any]]:
    """Keep the manifest of a results folder while a study runs; give the manifest.

    Its last entry of `runs` is this run, with `circumstances(**more)`. What the block adds is
    written when it ends without error, with the time and the seconds it took.

    Raises
    ------
    Refused
        If the folder holds results of another configuration, or files but no manifest. Counts
        named in `grows` may exceed those of the folder: all its jobs are then of use.
    """
    this = circumstances(**more)
    manifest = {**manifest, "runs": [*_earlier_runs(out, manifest, grows), this]}
    if any(old.get("code") != this["code"] for old in manifest["runs"]):
        tell(f"{out} was begun with other source code of tea_stats; what is finished is kept")
    write(manifest, out / "manifest.json")
    begun = time.monotonic()
    yield manifest
    this |= {"finished": now(), "seconds": round(time.monotonic() - begun, 1)}
    write(manifest, out / "manifest.json")


def _earlier_runs(out: Path, manifest: dict[str, Any], grows: Sequence[str]) -> list[Any]:
    path = out / "manifest.json"
    if not path.exists():
        if out.is_dir() and any(out.iterdir()):
            raise Refused(
                f"{out} is not empty and has no manifest.json; give another --out, or empty it"
            )
        return []
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        known, runs, configuration = old["hash"], old["runs"], old["configuration"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"{path} is damaged ({type(error).__name__}: {error}); give another --out, or remove "
            f"{out}"
        ) from None
    if known != manifest["hash"] and not _grown(configuration, manifest["configuration"], grows):
        raise Refused(
            f"{out} holds results of another configuration ({known}, this one is "
            f"{manifest['hash']}); give another --out, or remove that folder"
        )
    return runs


def _grown(old: dict[str, Any], new: dict[str, Any], grows: Sequence[str]) -> bool:
    """Return whether two configurations differ in nothing but larger counts."""
    more = {name: new[name] for name in grows}
    return {**old, **more} == new and all(old[name] <= more[name] for name in more)


def now() -> str:
    """Return the time in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def code_hash() -> str:
    """Return a hash of tea_stats' source: results made with different ones may differ."""
    text = hashlib.sha256()
    package = Path(tea_stats.__file__).parent
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package.parent).as_posix()
        if not name.startswith("tea_stats/_studies/top_level/"):  # in a wheel they are inside
            text.update(name.encode() + path.read_bytes())
    return text.hexdigest()[:16]


def _git(*command: str) -> str | None:
    if not (ROOT / ".git").exists():  # an installed package, perhaps inside another repository
        return None
    try:
        done = subprocess.run(["git", "-C", ROOT, *command], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    """Return the processor's name on Linux, elsewhere what Python knows."""
    known = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", known.read_text()) if known.exists() else []
    return names[0] if names else platform.processor()
