"""The league of batches: `python -m analysis.batches results/batches`.

Prints the tables of `analysis.batches.tables`, draws the figure of `analysis.batches.figure` and,
with --summary, writes a small copy of the results.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from analysis.batches import figure, tables
from analysis.batches.read import load
from analysis.core.write import one_line_errors, save, show, single, write_summary


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.batches.")],
    out: Annotated[Path, typer.Option(help="Folder for the figure.")] = Path("figures/batches"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figure of the league of batches and print its tables."""
    with one_line_errors():
        league = load(results)
    if summary:
        write_summary({"table": single(league.whole)}, league.manifest, summary, bits=16)
    save({"batches": partial(figure.draw, league)}, out)
    show(tables.printed(league), 150)


if __name__ == "__main__":
    typer.run(main)
