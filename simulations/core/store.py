"""Results on disk: files that exist whole or not at all, and a manifest beside them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
PACKAGES = ("numpy", "scipy", "numba", "pandas", "pyarrow")


class Refused(ValueError):
    """A results folder or file cannot be used; one line that says which, why, and the cure."""


class Damaged(Exception):
    """A file is not what was written; the message says in what way."""


# --- files --------------------------------------------------------------------------------------


def write(content: pd.DataFrame | Mapping[str, Any], path: Path, **marks: str) -> None:
    """Write a table (Parquet) or a mapping (JSON), whole or not at all.

    `marks` go into the Parquet file's metadata; `read` asks for them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    if isinstance(content, pd.DataFrame):
        table = pa.Table.from_pandas(content, preserve_index=False)
        known = table.schema.metadata or {}
        table = table.replace_schema_metadata({**known, **marks})
        pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
    else:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def read(path: Path, columns: list[str] | None = None, **marks: str) -> pd.DataFrame:
    """Read a table that `write` wrote; Damaged if its bytes or its marks are not those."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        known = file.schema_arrow.metadata or {}
        for name, value in marks.items():
            if known.get(name.encode()) != value.encode():
                raise Damaged(f"its mark {name} is not {value}")
        return file.read(columns=columns).to_pandas()
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise Damaged((str(error).splitlines() or ["not readable"])[0]) from None


def digest(content: object) -> str:
    """Return a short hash of anything JSON can hold."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- manifest -----------------------------------------------------------------------------------


def describe(configuration: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a manifest: the configuration and its hash, and whatever else a study adds."""
    return {"hash": digest(configuration), "configuration": dict(configuration), **more, "runs": []}


def circumstances(**more: Any) -> dict[str, Any]:
    """Return what this run is made with: code, versions, machine, time."""
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


def opened(out: Path, manifest: dict[str, Any], grows: Sequence[str] = ()) -> dict[str, Any]:
    """Return the folder's manifest if it is of this configuration, or else the new one.

    Parameters
    ----------
    out : Path
        Results folder.
    manifest : dict
        As `describe` returns it.
    grows : sequence of str
        Counts that may be above those of the folder: what is asked for then has all of the
        folder's jobs, and some more.

    Raises
    ------
    Refused
        If the folder holds results of another configuration, or files but no manifest.
    """
    path = out / "manifest.json"
    if not path.exists():
        if out.is_dir() and any(out.iterdir()):
            raise Refused(
                f"{out} is not empty and has no manifest.json; give another --out, or empty it"
            )
        return manifest
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        known, runs, old = held["hash"], held["runs"], held["configuration"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"{path} is damaged ({type(error).__name__}: {error}); give another --out, or remove "
            f"{out}"
        ) from None
    if known != manifest["hash"] and not _grown(old, manifest["configuration"], grows):
        raise Refused(
            f"{out} holds results of another configuration ({known}, this one is "
            f"{manifest['hash']}); give another --out, or remove that folder"
        )
    return {**manifest, "runs": runs}


def _grown(old: dict[str, Any], new: dict[str, Any], grows: Sequence[str]) -> bool:
    """Tell whether two configurations differ in nothing but larger counts."""
    more = {name: new[name] for name in grows}
    return {**old, **more} == new and all(old[name] <= more[name] for name in more)


def now() -> str:
    """Return the time in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def code_hash() -> str:
    """Return a hash of tea_stats' source: results made with different ones may differ."""
    text = hashlib.sha256()
    for path in sorted((ROOT / "tea_stats").rglob("*.py")):
        text.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return text.hexdigest()[:16]


def _git(*command: str) -> str | None:
    run = ["git", "-C", str(ROOT), *command]
    try:
        done = subprocess.run(run, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), "")
