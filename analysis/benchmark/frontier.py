"""Figure: mean and worst error over TEA's, for every estimator of the league.

Left is better on average, down is safer. An estimator is on the frontier if no other is better in
both; the grey line is TEA's own error.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.benchmark.ratios import everywhere, reference, regrets, standings
from analysis.core import style
from analysis.core.read import Results
from analysis.core.write import command


def draw(results: Results) -> Figure:
    """One panel for each part of the laws."""
    found, looks = regrets(results), style.looks(results.options)
    labels = [x for x in style.ordered(results.options) if x in set(everywhere(found))]
    parts = list(found.groupby("part", sort=False))
    figure, grid = plt.subplots(
        1,
        len(parts),
        figsize=(style.PAGE if len(parts) > 1 else style.COLUMN, 3.4),
        squeeze=False,
        layout="constrained",
    )
    for axes, (name, own) in zip(grid.flat, parts, strict=True):
        _panel(axes, frontier(own[own["estimator"].isin(labels)]), looks)
        axes.set_title(name)
        axes.set_xlabel(f"mean error / {reference(results)}")
    grid[0, 0].set_ylabel(f"worst error / {reference(results)}")
    edge = Line2D([], [], color=style.INK, lw=0.7, label="frontier")
    style.legend(figure, looks, labels, edge)
    style.title(figure, finding(results))
    return figure


def frontier(found: pd.DataFrame) -> pd.DataFrame:
    """Return the standings with `frontier`: whether no estimator is better in mean and in worst."""
    table = standings(found)
    x, y = table["mean_versus"].to_numpy(), table["worst_versus"].to_numpy()
    beaten = (x < x[:, None]) & (y < y[:, None])
    return table.assign(frontier=np.isfinite(x) & ~beaten.any(axis=1))


def _panel(axes: Axes, table: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    axes.axhline(1.0, color=style.GREY, lw=0.8, zorder=1)
    axes.axvline(1.0, color=style.GREY, lw=0.8, zorder=1)
    edge = table[table["frontier"]].sort_values("mean_versus")
    axes.plot(edge["mean_versus"], edge["worst_versus"], color=style.INK, lw=0.7, zorder=1.5)
    for row in table.itertuples():
        if not np.isfinite(row.mean_versus):
            continue
        axes.errorbar(
            row.mean_versus,
            row.worst_versus,
            yerr=style.Z * min(row.worst_versus_mcse, 0.45 * row.worst_versus),
            **{**looks[row.estimator].line, "ls": "", "elinewidth": 0.7},
        )
    axes.set(xscale="log", yscale="log")
    axes.set_xticks([], minor=True)
    low, high = axes.get_xlim()
    ticks = [x for x in (0.1, 0.3, 1.0, 3.0, 10.0) if low <= x <= high]
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])


def finding(results: Results) -> str:
    """Say who is on the frontier, part by part."""
    found = regrets(results)
    there = set(everywhere(found))
    told = []
    for name, own in found.groupby("part", sort=False):
        table = frontier(own[own["estimator"].isin(there)])
        table = table[table["frontier"]].sort_values("mean_versus")
        names = [
            f"{x.estimator} ({style.size(x.mean_versus)}, worst {style.size(x.worst_versus)})"
            for x in table[:3].itertuples()
        ]
        told.append(f"{name}: {', '.join(names)}")
    return f"On the frontier, {'; '.join(told)}"


if __name__ == "__main__":
    command(draw)
