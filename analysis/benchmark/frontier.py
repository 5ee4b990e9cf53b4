"""Figure: mean and worst error over TEA's, for every estimator of the benchmark.

Left is better on average, down is safer. An estimator is on the frontier if no other is better in
both; the grey lines are TEA's own error.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.benchmark.ranking import in_most_cells, ranking
from analysis.benchmark.ratios import performance_ratios, reference
from analysis.core import style
from analysis.core.panels import row_of_panels
from analysis.core.read import Results


def draw(results: Results) -> Figure:
    """One panel for each part of the laws."""
    ratios, looks = performance_ratios(results), style.looks(results.options)
    labels = [x for x in style.ordered(results.options) if x in set(in_most_cells(ratios))]
    parts = list(ratios.groupby("part", sort=False))
    figure, panels = row_of_panels([name for name, _ in parts], height=3.4, sharey=False)
    for axes, (_, own) in zip(panels, parts, strict=True):
        _panel(axes, frontier(own[own["estimator"].isin(labels)]), looks)
        axes.set_xlabel(f"mean error / {reference(results)}")
    panels[0].set_ylabel(f"worst error / {reference(results)}")
    edge = Line2D([], [], color=style.INK, lw=0.7, label="frontier")
    style.legend(figure, looks, labels, edge)
    style.title(figure, headline(results))
    return figure


def frontier(ratios: pd.DataFrame) -> pd.DataFrame:
    """Return the ranking with `frontier`: whether no estimator is better in mean and in worst."""
    table = ranking(ratios)
    x, y = table["mean_to_tea"].to_numpy(), table["worst_to_tea"].to_numpy()
    beaten = (x < x[:, None]) & (y < y[:, None])
    return table.assign(frontier=np.isfinite(x) & ~beaten.any(axis=1))


def _panel(axes: Axes, table: pd.DataFrame, looks: dict[str, style.Look]) -> None:
    axes.axhline(1.0, color=style.GREY, lw=0.8, zorder=1)
    axes.axvline(1.0, color=style.GREY, lw=0.8, zorder=1)
    edge = table[table["frontier"]].sort_values("mean_to_tea")
    axes.plot(edge["mean_to_tea"], edge["worst_to_tea"], color=style.INK, lw=0.7, zorder=1.5)
    for row in table.itertuples():
        if not np.isfinite(row.mean_to_tea):
            continue
        axes.errorbar(
            row.mean_to_tea,
            row.worst_to_tea,
            yerr=style.Z * min(row.worst_to_tea_mcse, 0.45 * row.worst_to_tea),
            **{**looks[row.estimator].line, "ls": "", "elinewidth": 0.7},
        )
    axes.set(xscale="log", yscale="log")
    axes.set_xticks([], minor=True)
    low, high = axes.get_xlim()
    ticks = [x for x in (0.1, 0.3, 1.0, 3.0, 10.0) if low <= x <= high]
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])


def headline(results: Results) -> str:
    """Return the first estimators on the frontier, part by part."""
    ratios = performance_ratios(results)
    labels = in_most_cells(ratios)
    parts = []
    for name, own in ratios.groupby("part", sort=False):
        table = frontier(own[own["estimator"].isin(labels)])
        table = table[table["frontier"]].sort_values("mean_to_tea")
        names = [
            f"{x.estimator} ({style.size(x.mean_to_tea)}, worst {style.size(x.worst_to_tea)})"
            for x in table[:3].itertuples()
        ]
        parts.append(f"{name}: {', '.join(names)}")
    return f"On the frontier, {'; '.join(parts)}"
