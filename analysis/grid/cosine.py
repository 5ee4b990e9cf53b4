"""Figure: cosine of the mean gradient with the exact one, against m, for every law.

The cosine is that of the Fisher metric (SPEC 4.5): what a bias does to the direction of a natural
gradient step, whatever its length.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.core import style
from analysis.core.panels import (
    BEYOND,
    curves,
    mark,
    marks_of,
    need,
    one_column,
    outer,
    remark,
)
from analysis.core.read import Results

HIGH = 0.95


def draw(results: Results) -> Figure:
    """Cosine against m, one panel per law."""
    need(results, m=2)
    N = results.middle[1]
    labels = style.chosen(results.options)
    looks = style.looks(results.options, labels)
    cells = results.cells[(results.cells["N"] == N) & results.cells["estimator"].isin(labels)]
    cells = cells.drop(columns="flagged")  # a mark of the bias
    low = cells.loc[cells["status"] == "", "cosine"].min()
    figure, panels = one_column(results.laws, height=0.95, columns=3, spare=1.4)
    for law, axes in panels.items():
        rows = cells[cells["law"] == law]
        curves(axes, rows, "m", "cosine", looks, markersize=3)
        axes.axhline(1.0, color=style.INK, lw=0.6, ls=":")
        axes.set_ylim(min(-0.02, 1.1 * low), 1.06)
        mark(axes, rows, "m", looks)
        remark(axes, rows, "cosine")
    style.grid_ticks(axes, results.m, style.every_other(results.m))
    outer(panels, "m", "cosine")
    style.legend(figure, looks, labels, *marks_of(cells), BEYOND)
    style.title(figure, headline(results))
    return figure


def medians(results: Results) -> pd.Series:
    """Return each estimator's median cosine over laws in the middle of the grid, largest first.

    Estimators with a cosine on few laws are left out: their medians are of other laws.
    """
    cosines = results.single[results.single["status"] == ""].groupby("estimator", sort=False)
    table = cosines["cosine"].agg(["median", "count"])
    common = table["count"] >= 0.75 * table["count"].max()
    # rounded, so that the order of equal medians does not depend on the last digits
    return table.loc[common, "median"].round(3).sort_values(ascending=False, kind="stable")


def headline(results: Results) -> str:
    """Return how many estimators have a high median cosine, and the lowest ones."""
    m, N = results.middle
    cosines = medians(results)
    high = int((cosines >= HIGH).sum())
    least = ", ".join(f"{label} {value:.2f}" for label, value in cosines[::-1].head(3).items())
    return (
        f"m = {m}, N = {N}: median cosine over laws is ≥ {HIGH} for {high} of {len(cosines)} "
        f"estimators; lowest {least}"
    )
