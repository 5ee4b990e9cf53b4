"""The manifest of a results folder: what its study is, and how and when it was computed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tea_stats
from simulations.core import store
from simulations.core.progress import tell

ROOT = Path(__file__).parents[2]
PACKAGES = ("numpy", "scipy", "numba", "pandas", "pyarrow")
#: tables of a configuration whose order is that of the results
LABELLED = ("laws", "policies", "scenarios", "estimators")
#: keys that every manifest has; a study's own ones follow from its configuration
COMMON = {"hash": str, "configuration": dict, "runs": list}


def describe(configuration: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a manifest: the configuration and its hash, and whatever else a study adds.

    A study is identified by its configuration: every value in it (of laws their contents, whatever
    file they come from), the order of the labels in `LABELLED`, which is that of the tables' rows,
    and what `more` derives from it, such as seeds. `run` compares all of it, and that the hash is
    that of the configuration. Not part of the identity are where and when the study was computed,
    with how many workers and which versions: that is in `runs`.
    """
    return {
        "hash": store.digest(configuration),
        "configuration": dict(configuration),
        **more,
        "runs": [],
    }


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
        If the folder cannot be written to, holds results of another configuration, or files but no
        manifest. Counts named in `grows` may exceed those of the folder: all its jobs are then of
        use.
    """
    this = circumstances(**more)
    try:
        out.mkdir(parents=True, exist_ok=True)
        earlier = _earlier_runs(out, manifest, grows)
    except OSError as error:
        raise store.Refused(store.explained(error, out)) from None
    manifest = {**manifest, "runs": [*earlier, this]}
    if any(old.get("code") != this["code"] for old in manifest["runs"]):
        tell(f"{out} was begun with other source code of tea_stats; what is finished is kept")
    store.write(manifest, out / "manifest.json")
    begun = time.monotonic()
    yield manifest
    this |= {"finished": now(), "seconds": round(time.monotonic() - begun, 1)}
    store.write(manifest, out / "manifest.json")


def _earlier_runs(out: Path, manifest: dict[str, Any], grows: Sequence[str]) -> list[Any]:
    path = out / "manifest.json"
    if not path.exists():
        # a run that was killed at its very start leaves a manifest that was begun
        if any(not file.name.startswith(f".{path.name}.") for file in out.iterdir()):
            raise store.Refused(
                f"{out} is not empty and has no manifest.json; give another --out, or empty it"
            )
        return []
    # in JSON's own types
    ours = json.loads(json.dumps(manifest))
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        if problem := _inconsistent(old):
            raise ValueError(problem)
        known, configuration = old["hash"], old["configuration"]
        other = known != ours["hash"] and not _grown(configuration, ours["configuration"], grows)
        changed = [key for key in ours if key not in COMMON and old.get(key) != ours[key]]
        if changed and not other:
            raise ValueError(f"{changed[0]} is not that of its configuration")
    except (ValueError, RecursionError) as error:
        raise store.Refused(
            f"{path} is damaged ({error}); give another --out, or remove {out}"
        ) from None
    if other:
        raise store.Refused(
            f"{out} holds results of another configuration ({known}, this one is "
            f"{ours['hash']}); give another --out, or remove that folder"
        )
    for name in LABELLED:
        there, here = (list(c.get(name, {})) for c in (configuration, ours["configuration"]))
        if there != here:
            raise store.Refused(
                f"{out} holds results of another configuration (its {name} are in the order "
                f"{', '.join(there)}); give them in that order, or another --out"
            )
    return list(old["runs"])


def _inconsistent(manifest: Any) -> str:
    """Return what is wrong with a manifest in itself, or ""."""
    if not isinstance(manifest, dict):
        return "it is not a JSON object"
    for key, kind in COMMON.items():
        if not isinstance(manifest.get(key), kind):
            return f"{key} is {json.dumps(manifest.get(key))[:40]}"
    for run in manifest["runs"]:
        if not isinstance(run, dict) or "started" not in run:
            return f"runs has {json.dumps(run)[:40]}"
    if manifest["hash"] != store.digest(manifest["configuration"]):
        return f"hash is {manifest['hash']}, which is not that of its configuration"
    return ""


def _grown(old: dict[str, Any], new: dict[str, Any], grows: Sequence[str]) -> bool:
    """Return whether two configurations differ in nothing but larger counts."""
    more = {name: new[name] for name in grows}
    return {**old, **more} == new and all(
        isinstance(old.get(name), int) and old[name] <= more[name] for name in more
    )


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
