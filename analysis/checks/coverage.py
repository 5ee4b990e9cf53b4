"""How often intervals of predictions hold the truth, printed: `python -m analysis.coverage FOLDER`.

One row for each law, method and target: the share of logs whose nominal 90 % interval holds the
truth, on average over numbers of prompts, rollouts and N, and in the worst and best of these cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from analysis.grid.report import grid

#: of the widest table
WIDTH = 120
#: coverage that a nominal 90 % interval is to have
WANTED = (0.85, 0.95)


def tables(results: pd.DataFrame) -> Iterator[Table | str]:
    """Yield a headline and a table for the laws inside and outside each method's model."""
    for model, own in results.groupby("model"):
        points = own[own["N"] != "band"]
        right = points["coverage"].between(*WANTED).mean()
        mcse = (points["coverage_mcse"] ** 2).mean() ** 0.5
        yield (
            f"laws {model} the method's model: {len(points)} intervals, on average "
            f"{points['coverage'].mean():.3f}; {right:.0%} of them in {WANTED[0]:g} to "
            f"{WANTED[1]:g} (each ± {mcse:.3f})"
        )
        table = grid(
            "law", "method", "target", "interval", "least", "most", "band", "least", "most"
        )
        for key, cells in own.groupby(["law", "method", "target"], sort=False):
            parts = [cells[cells["N"] != "band"], cells[cells["N"] == "band"]]
            numbers = [x for part in parts for x in part["coverage"].agg(["mean", "min", "max"])]
            table.add_row(*key, *(f"{number:.2f}" for number in numbers))
        yield table


def main(folder: Path) -> None:
    """Print the coverage of a results folder."""
    path = folder / "table.parquet"
    if not path.is_file():
        typer.echo(f"error: {path} does not exist; run python -m simulations.coverage", err=True)
        raise typer.Exit(1)
    console = Console(markup=False, width=max(WIDTH, Console().width))
    for part in tables(pd.read_parquet(path)):
        console.print(part, highlight=False)
