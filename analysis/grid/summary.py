"""A small copy of a results folder, from which every figure can be drawn again.

python -m analysis.summary results/paper analysis/summaries/paper
python -m analysis.figures analysis/summaries/paper --out figures/paper

It keeps the columns that `analysis` reads, to 24 significant bits; the rows of whole cells, and
those of single parameters on the laws of the theory; and the response curves that are drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.core.read import RESPONSE_COLUMNS, TABLE_COLUMNS, Results
from analysis.core.write import Folder, opened, write_summary
from analysis.grid import responses


def summarise(results: Results, out: Path) -> None:
    """Write the small copy into `out`; print its files' sizes."""
    table = results.table
    kept = (table["parameter"] == "all") | table["law"].isin(results.theory_laws)
    tables = {"table": table.loc[kept, TABLE_COLUMNS]}
    if results.response is not None:
        tables["response"] = responses.drawn(results)[RESPONSE_COLUMNS]
    rows = {f"{name}.parquet": len(frame) for name, frame in tables.items()}
    write_summary(tables, {**results.manifest, "summary": rows}, out)


def main(
    folder: Folder, out: Annotated[Path, typer.Argument(help="Folder for the small copy.")]
) -> None:
    """Write a small copy of a results folder."""
    if out.resolve() == folder.resolve():
        typer.echo(f"error: {out} is the results folder itself; give another one", err=True)
        raise typer.Exit(1)
    summarise(opened(folder), out)
