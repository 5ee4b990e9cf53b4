"""Coverage of the prediction intervals, printed: `python -m analysis.coverage FOLDER`.

One row for each law, method and target: the share of logs whose nominal 90 % interval contains the
truth, on average over numbers of prompts, rollouts and N, and in the worst and best of these cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich.table import Table

from analysis.core.read import read_table
from analysis.core.write import one_line_errors, show, text_table

#: range in which the coverage of a nominal 90 % interval should lie
RANGE = (0.85, 0.95)
COLUMNS = ["law", "method", "target", "model", "N", "coverage", "coverage_mcse"]


def tables(results: pd.DataFrame) -> Iterator[Table | str]:
    """Yield a headline and a table for laws inside and outside a method's model, and the stack."""
    for model, own in results.groupby("model"):
        points = own[own["N"] != "band"]
        inside = points["coverage"].between(*RANGE).mean()
        mcse = (points["coverage_mcse"] ** 2).mean() ** 0.5
        what = (
            "what is recommended" if model == "recommended" else f"laws {model} the method's model"
        )
        yield (
            f"{what}: {len(points)} intervals, on average "
            f"{points['coverage'].mean():.3f}; {inside:.0%} of them in {RANGE[0]:g} to "
            f"{RANGE[1]:g} (each ± {mcse:.3f})"
        )
        table = text_table(
            "law", "method", "target", "interval", "least", "most", "band", "least", "most"
        )
        for key, cells in own.groupby(["law", "method", "target"], sort=False):
            parts = [cells[cells["N"] != "band"], cells[cells["N"] == "band"]]
            numbers = [x for part in parts for x in part["coverage"].agg(["mean", "min", "max"])]
            table.add_row(*key, *(f"{number:.2f}" for number in numbers))
        yield table


def main(folder: Path) -> None:
    """Print the coverage of a results folder."""
    with one_line_errors():
        path = folder / "table.parquet"
        show(tables(read_table(path, COLUMNS, "run `python -m simulations.coverage`")), width=120)
