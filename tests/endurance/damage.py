"""Damage the files of finished studies at random: each is noticed, or changes nothing.

python -m tests.endurance.damage --files 10000

A file is damaged in one of the ways of `WAYS`, then read as its study reads it. Either that is
noticed (the file is computed again, the folder refused), or what is read is what was written.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from simulations.core import manifests, store
from simulations.core.progress import console

#: the damaged bytes of a file, its siblings' being at hand
Way = Callable[[bytes, bytes, np.random.Generator], bytes]


def _place(data: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(max(1, len(data))))


def flip(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Flip one bit."""
    changed = bytearray(data)
    changed[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def zeros(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Replace some bytes by zeros, as an unwritten sector is read."""
    start, length = _place(data, rng), int(rng.integers(1, 512))
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def cut(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Keep the beginning."""
    return data[: _place(data, rng)]


def spliced(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Keep the beginning, and go on with another file."""
    place = _place(data, rng)
    return data[:place] + other[place:]


WAYS: dict[str, Way] = {
    "flip": flip,
    "zeros": zeros,
    "cut": cut,
    "spliced": spliced,
    "appended": lambda data, other, rng: data + other[:100],
    "another's": lambda data, other, rng: other,
    "empty": lambda data, other, rng: b"",
    "text": lambda data, other, rng: b"not what was written\n",
}


# --- files of every kind --------------------------------------------------------------------------


def written(folder: Path) -> dict[Path, tuple[Callable[[], Any], Path]]:
    """Write two files of each kind; return, by path, how it is read, and its sibling."""
    rng = np.random.default_rng(0)
    kept: dict[Path, tuple[Callable[[], Any], Path]] = {}
    for place in range(2):
        table = pd.DataFrame(
            {
                "estimator": rng.choice(["TEA", "max@m", "linear TEA, k ≥ 1"], 60),
                "value": rng.normal(size=60),
                "reps": rng.integers(1, 9, 60),
            }
        )
        contents: dict[str, Any] = {
            "block.parquet": table,
            "score.json": {"rate": 0.01 * (1 + place), "N": 8, "value": float(rng.normal())},
            "part.npz": {"scores": rng.normal(size=(6, 4)), "completions": np.array(["a", "bc"])},
        }
        for name, content in contents.items():
            path, sibling = folder / f"{place}{name}", folder / f"{1 - place}{name}"
            mark = {"job": store.digest([place, name])}
            store.write(content, path, **mark)
            kept[path] = (lambda path=path, mark=mark: store.kept(path, **mark)), sibling
        manifest = manifests.describe({"seed": place, "laws": {"a": "x", "b": "y"}}, seeds=[place])
        out = folder / f"study{place}"
        with manifests.run(out, manifest):
            pass
        sibling = folder / f"study{1 - place}" / "manifest.json"
        kept[out / "manifest.json"] = (
            (lambda out=out, manifest=manifest: _reopened(out, manifest)),
            sibling,
        )
    return kept | _checkpoints(folder)


def _reopened(out: Path, manifest: dict[str, Any]) -> Any:
    """Return the identity that a folder is taken for, or None where it is refused."""
    try:
        with manifests.run(out, manifest) as opened:
            return {key: value for key, value in opened.items() if key != "runs"}
    except store.Refused:
        return None


def _checkpoints(folder: Path) -> dict[Path, tuple[Callable[[], Any], Path]]:
    try:
        import torch

        from simulations.lm import train
    except ImportError:
        return {}
    kept: dict[Path, tuple[Callable[[], Any], Path]] = {}
    for place in range(2):
        path, job = folder / f"{place}state.pt", store.digest(place)
        weights = torch.randn(200, generator=torch.Generator().manual_seed(place))
        train.write_state(path, {"weights": [weights], "optimiser": {}, "log": [place]}, job)
        kept[path] = (
            (lambda path=path, job=job: train.read_state(path, job)),
            folder / f"{1 - place}state.pt",
        )
    return kept


def plain(content: Any) -> str:
    """Return what was read as text, to be compared."""
    if isinstance(content, pd.DataFrame):
        return content.to_csv(float_format="%r")
    if isinstance(content, dict):
        return json.dumps({k: plain(v) for k, v in content.items()}, sort_keys=True)
    if hasattr(content, "tolist"):
        return repr(content.tolist())
    return json.dumps([plain(x) for x in content]) if isinstance(content, list) else repr(content)


def damaged(files: int, seed: int = 0) -> Counter[tuple[str, bool]]:
    """Damage so many files; return how many of each way were noticed, or changed nothing.

    Raises
    ------
    AssertionError
        If a damaged file is read as something else than what was written.
    """
    rng, counts = np.random.default_rng(seed), Counter[tuple[str, bool]]()
    with tempfile.TemporaryDirectory() as place:
        kept = written(Path(place))
        original = {path: path.read_bytes() for path in kept}
        expected = {path: plain(read()) for path, (read, _) in kept.items()}
        # reading a manifest adds a run to it
        for path, data in original.items():
            path.write_bytes(data)
        for _ in range(files):
            path = list(kept)[rng.integers(len(kept))]
            way = list(WAYS)[rng.integers(len(WAYS))]
            read, sibling = kept[path]
            changed = WAYS[way](original[path], original[sibling], rng)
            path.write_bytes(changed)
            content = read()
            assert content is None or plain(content) == expected[path], (path.name, way)
            if changed != original[path]:
                counts[way, content is None] += 1
            path.write_bytes(original[path])
    return counts


def main(
    files: Annotated[int, typer.Option(min=1, help="Files to damage.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Damage files of every kind, and print how many were noticed."""
    console.quiet = True  # a line for each file
    counts = damaged(files, seed)
    for way in WAYS:
        print(f"{way}: {counts[way, True]} noticed, {counts[way, False]} without any effect")
    print(f"{counts.total()} damaged files, none accepted with another content")


if __name__ == "__main__":
    typer.run(main)
