"""Figure: an overview of every cell, a nested-loop plot for each law.

Within a panel the outer loop is m (bands, left to right), the inner one N (lines, left to right);
the height is the normalised mean squared error of a batch: (bias² + variance/64) / ‖∇V_N‖². After
Rücker and Schwarzer (2014), BMC Medical Research Methodology 14:129.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.core import style
from analysis.core.panels import BEYOND, curve, mark, marks_of, one_column, outer, remark, shown
from analysis.core.read import BATCH, Results

#: largest range of the axis; what lies beyond is counted in the panel
FAR = (1e-3, 10.0)
TICKS = (0.001, 0.01, 0.1, 1.0, 10.0)
BAND, DARK = "#f1f1f1", "#cfcfcf"


def draw(results: Results) -> Figure:
    """Normalised error of a batch in every cell of the grid."""
    looks, labels = style.looks(results.options), style.chosen(results.options, 6)
    cells = placed(results)
    cells = cells[cells["estimator"].isin(labels)]
    figure, panels = one_column(results.laws, height=0.82, columns=2, spare=1.4)
    width = len(results.N)
    errors = cells.loc[cells["status"] == "", "batch_nmse"]
    limits = np.clip([0.6 * errors.min(), 1.5 * errors.max()], *FAR)
    for law, axes in panels.items():
        rows = cells[cells["law"] == law]
        for place in range(0, len(results.m), 2):
            axes.axvspan(place * width - 0.5, (place + 1) * width - 0.5, color=BAND, lw=0, zorder=0)
        for x in rows.loc[rows["status"] == "saturated", "x"].unique():
            axes.axvspan(x - 0.5, x + 0.5, color=DARK, lw=0, zorder=0.5)
        for label in labels:
            for _, group in shown(rows[rows["estimator"] == label]).groupby("m"):
                curve(axes, group, "x", "batch_nmse", looks[label], markersize=1.6, linewidth=0.9)
        axes.axhline(1.0, color=style.INK, lw=0.6, ls=":")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_ylim(limits)
        # once a band: neither undefined nor infinite depends on N
        mark(axes, rows[rows["N"] == results.N[width // 2]], "x", looks)
        remark(axes, rows[rows["status"] == ""], "batch_nmse")
        axes.grid(visible=False, axis="x")
        axes.set_xticks(np.arange(len(results.m)) * width + (width - 1) / 2, results.m)
        axes.tick_params(axis="x", length=0)
        axes.set_yticks([x for x in TICKS if limits[0] <= x <= limits[1]])
        axes.yaxis.set_major_formatter("{x:g}")
    outer(panels, "m", "error")
    saturated = bool((cells["status"] == "saturated").any())
    inner = Patch(color=BAND, label=f"one m: N = {results.N[0]} … {results.N[-1]}")
    extra = [inner] + [Patch(color=DARK, label="saturated")] * saturated
    style.legend(figure, looks, labels, *extra, *marks_of(cells), BEYOND)
    style.title(figure, headline(results))
    return figure


def placed(results: Results) -> pd.DataFrame:
    """Return the cells with their place `x` in the nested loops; `flagged` is not for errors."""
    cells = results.cells.drop(columns="flagged")
    outer_place, inner_place = cells["m"].map(results.m.index), cells["N"].map(results.N.index)
    cells["x"] = outer_place * len(results.N) + inner_place
    return cells


def medians(results: Results) -> pd.Series:
    """Return the median error over cells, least first, of estimators measured in most of them."""
    errors = results.cells[results.cells["status"] == ""].groupby("estimator", sort=False)
    table = errors["batch_nmse"].agg(["median", "count"])
    common = table["count"] >= 0.75 * table["count"].max()
    return table.loc[common, "median"].sort_values(kind="stable")


def headline(results: Results) -> str:
    """Return the least median errors over all cells, and the largest one."""
    values = [f"{label} {value:.2g}" for label, value in medians(results).items()]
    cells = results.cells[results.cells["status"] == ""]
    count = len(cells[["law", "m", "N"]].drop_duplicates())
    return (
        f"Median error of a {BATCH}-prompt batch over {count} settings: "
        f"{', '.join(values[:3])}; largest {values[-1]}"
    )
