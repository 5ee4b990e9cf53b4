"""The ranking of the benchmark, printed: `python -m analysis.benchmark.ranking results/league`.

For each part of the laws: each estimator's error of a 64-prompt batch over TEA's, its performance
ratio (over the best estimator's of the cell), the cell where that is largest, and its mean cosine
and efficiency.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import typer
from rich.table import Table

from analysis.benchmark.ratios import CELL, performance_ratios, reference
from analysis.core.read import BATCH, Results
from analysis.core.style import plus_minus, size, size_and_error
from analysis.core.write import Folder, one_line_errors, opened, show, text_table

#: an estimator is "much worse" than TEA where its error is larger by more than this factor
MUCH = 1.1
#: columns of the widest table
WIDTH = 190


def ranking(ratios: pd.DataFrame) -> pd.DataFrame:
    """Return one row per estimator, least worst performance ratio first, from such ratios.

    Columns: cells; mean_to_tea, mean_to_best (geometric means); worst_to_tea, worst_to_best with
    their _mcse and the cell where they are, as text (_at); much_worse, the cells where the error is
    more than `MUCH` times TEA's; wins, those where it is the least; cosine and efficiency, means
    over the cells where they are defined, with their _mcse.
    """
    rows = []
    for label, own in ratios.groupby("estimator", sort=False):
        row = {"estimator": label, "cells": len(own)}
        for name in ("to_tea", "to_best"):
            worst = own.loc[own[name].fillna(0.0).idxmax()]
            row[f"mean_{name}"] = float(np.exp(np.log(own[name]).mean()))
            row[f"worst_{name}"] = worst[name]
            row[f"worst_{name}_mcse"] = worst[f"{name}_mcse"]
            row[f"worst_{name}_at"] = f"{worst['law']}, m = {worst['m']}, N = {worst['N']}"
        for name in ("cosine", "efficiency"):
            defined = own.dropna(subset=[name, f"{name}_mcse"])
            row[name] = defined[name].mean()
            spread = np.sqrt((defined[f"{name}_mcse"] ** 2).sum())
            row[f"{name}_mcse"] = spread / max(len(defined), 1)
        row["much_worse"] = int((own["to_tea"] > MUCH).sum())
        row["wins"] = int((own["to_best"] == 1.0).sum())
        rows.append(row)
    table = pd.DataFrame(rows).sort_values(["worst_to_best", "mean_to_best"], kind="stable")
    return table.reset_index(drop=True)


def in_most_cells(ratios: pd.DataFrame) -> list[str]:
    """Return the estimators defined in nine of ten cells, least mean performance ratio first."""
    table = ranking(ratios)
    table = table[table["cells"] >= 0.9 * len(ratios[CELL].drop_duplicates())]
    return list(table.sort_values(["mean_to_best", "worst_to_best"], kind="stable")["estimator"])


def tables(results: Results) -> Iterator[Table | str]:
    """Yield a headline and a table for each part of the laws."""
    ratios, tea = performance_ratios(results), reference(results)
    for part, own in ratios.groupby("part", sort=False):
        cells = len(own[CELL].drop_duplicates())
        yield (
            f"{part}: {own['law'].nunique()} laws, {cells} cells; error of a {BATCH}-prompt batch "
            f"over {tea}'s and over the best (geometric mean, worst cell ± s.e.)"
        )
        table = text_table(
            *("estimator", "cells", f"/ {tea}", "worst", f"> {MUCH:g} ×"),
            *("/ best", "worst", "wins", "cosine", "efficiency"),
        )
        table.add_column("at", justify="left")
        for row in ranking(own).itertuples():
            table.add_row(
                row.estimator,
                "" if row.cells == cells else str(row.cells),
                size(row.mean_to_tea),
                size_and_error(row.worst_to_tea, row.worst_to_tea_mcse),
                str(row.much_worse),
                size(row.mean_to_best),
                size_and_error(row.worst_to_best, row.worst_to_best_mcse),
                str(row.wins),
                plus_minus(row.cosine, row.cosine_mcse),
                plus_minus(row.efficiency, row.efficiency_mcse),
                row.worst_to_best_at,
            )
        yield table


def main(folder: Folder) -> None:
    """Print the ranking of the estimators on a folder of batches."""
    results = opened(folder)
    with one_line_errors():
        show(tables(results), WIDTH)


if __name__ == "__main__":
    typer.run(main)
