"""The league table, printed: `python -m analysis.benchmark.ranking results/league`.

For each part of the laws, each estimator's error of a 64-prompt batch over TEA's, its regret
against the best estimator of the cell, where it is worst, and mean cosine and efficiency.
"""

from __future__ import annotations

from collections.abc import Iterator

import typer
from rich.console import Console
from rich.table import Table

from analysis.benchmark.ratios import CELL, MUCH, reference, regrets, standings
from analysis.core import style
from analysis.core.read import BATCH, Absent, Results
from analysis.core.write import Folder, opened
from analysis.grid.report import grid, plus_minus

#: of the widest table
WIDTH = 190


def tables(results: Results) -> Iterator[Table | str]:
    """Yield a headline and a table for each part of the laws."""
    found, tea = regrets(results), reference(results)
    for part, own in found.groupby("part", sort=False):
        cells = len(own[CELL].drop_duplicates())
        yield (
            f"{part}: {own['law'].nunique()} laws, {cells} cells; error of a {BATCH}-prompt batch "
            f"over {tea}'s and over the best (geometric mean, worst cell ± s.e.)"
        )
        table = grid(
            "estimator",
            "cells",
            f"/ {tea}",
            "worst",
            f"> {MUCH:g} ×",
            "regret",
            "worst",
            "won",
            "cosine",
            "efficiency",
        )
        table.add_column("at", justify="left")
        for row in standings(own).itertuples():
            table.add_row(
                row.estimator,
                "" if row.cells == cells else str(row.cells),
                style.size(row.mean_versus),
                _with_error(row.worst_versus, row.worst_versus_mcse),
                str(row.much_worse),
                style.size(row.mean_regret),
                _with_error(row.worst_regret, row.worst_regret_mcse),
                str(row.best),
                plus_minus(row.cosine, row.cosine_mcse),
                plus_minus(row.efficiency, row.efficiency_mcse),
                row.worst_regret_at,
            )
        yield table


def _with_error(value: float, mcse: float) -> str:
    text = style.size(value)
    return f"{text} ± {style.size(mcse)}" if 0.0 < mcse < float("inf") else text


def main(folder: Folder) -> None:
    """Print the league table of a results folder."""
    # a line that is cut would lose numbers: a narrow terminal wraps it
    console = Console(markup=False, width=max(WIDTH, Console().width))
    try:
        for part in tables(opened(folder)):
            console.print(part, highlight=False)
    except Absent as reason:
        typer.echo(f"error: {reason}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
