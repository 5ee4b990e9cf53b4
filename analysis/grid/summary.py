"""A small copy of a results folder, from which every figure can be drawn again.

python -m analysis.summary results/paper analysis/summaries/paper
python -m analysis.figures analysis/summaries/paper --out figures/paper

It keeps the columns that `analysis` reads, to 24 significant bits; the rows of whole cells, and
those of single parameters on the laws of the theory; and the response curves that are drawn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from analysis.core.read import RESPONSE_COLUMNS, TABLE_COLUMNS, Results
from analysis.core.write import Folder, opened, write_parquet
from analysis.grid import responses

#: significant bits of a number in the small copy: those of single precision, without its range
BITS = 24


def summarise(results: Results, out: Path) -> dict[Path, int]:
    """Write the small copy into `out`; return each file's size in bytes."""
    out.mkdir(parents=True, exist_ok=True)
    table = results.table
    kept = (table["parameter"] == "all") | table["law"].isin(results.theory_laws)
    files = {"table.parquet": table.loc[kept, TABLE_COLUMNS]}
    if results.response is not None:
        files["response.parquet"] = responses.drawn(results)[RESPONSE_COLUMNS]
    for name, frame in files.items():
        write_parquet(frame, out / name, BITS)
    manifest = {**results.manifest, "summary": {name: len(f) for name, f in files.items()}}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return {out / name: (out / name).stat().st_size for name in [*files, "manifest.json"]}


def main(
    folder: Folder, out: Annotated[Path, typer.Argument(help="Folder for the small copy.")]
) -> None:
    """Write a small copy of a results folder."""
    if out.resolve() == folder.resolve():
        typer.echo(f"error: {out} is the results folder itself; give another one", err=True)
        raise typer.Exit(1)
    for path, size in summarise(opened(folder), out).items():
        typer.echo(f"{path}: {size / 1e3:.0f} kB")
