"""Panels and marks that several figures share."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis._load import Absent, Results
from analysis._style import GREY, PAGE, Look, Z

#: legend entry for hollow marks
HOLLOW = Line2D(
    [],
    [],
    color=GREY,
    marker="o",
    markerfacecolor="white",
    linestyle="",
    label="within 2 s.e. of 0",
)


def trellis(
    laws: Sequence[str], height: float = 1.45, columns: int = 4, **shared: bool
) -> tuple[Figure, dict[str, Axes]]:
    """Return a page-wide figure with one panel per law, each `height` inches high."""
    columns = min(columns, len(laws))
    rows = -(-len(laws) // columns)
    width = PAGE if columns > 1 else PAGE / 2
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(width, height * rows + 1.0),
        squeeze=False,
        layout="constrained",
        **shared,
    )
    panels = dict(zip(laws, grid.flat, strict=False))
    for axes in list(grid.flat)[len(laws) :]:
        axes.remove()
    for place, (law, axes) in enumerate(panels.items()):
        axes.set_title(law, loc="left", pad=3)
        # a panel above a removed one keeps its numbers
        if shared.get("sharex") and place + columns >= len(laws):
            axes.tick_params(labelbottom=True)
    return figure, panels


def curve(axes: Axes, points: pd.DataFrame, x: str, y: str, look: Look, **style: object) -> None:
    """Draw a line with 95 % Monte Carlo bars; flagged points are hollow.

    `points` has the columns x, y, y_mcse, and may have `flagged`.
    """
    points = points[np.isfinite(points[y])].sort_values(x)
    height, reach = points[y].to_numpy(float), Z * points[f"{y}_mcse"].to_numpy(float)
    weak = points["flagged"].to_numpy(bool) if "flagged" in points else np.zeros(len(points), bool)
    # what cannot be told from zero has no place on a logarithmic axis: it is drawn at its bound
    height = np.where(weak, np.maximum(height, reach / 2), height)
    down = np.where(weak, 0.0, reach)
    line = {**look.line, **style}
    axes.plot(points[x], height, **line)
    bars = {"fmt": "none", "ecolor": line["color"], "elinewidth": 0.8, "zorder": 2}
    axes.errorbar(points[x], height, yerr=(down, reach), **bars)
    hollow = {**line, "linestyle": "", "markerfacecolor": "white"}
    axes.plot(points[x][weak], height[weak], **hollow)


def visible(axes: Axes, rows: pd.DataFrame, y: str, least: float) -> None:
    """Set a logarithmic y-axis to the range of the values, not of their bars, from `least` up."""
    values = rows[y][np.isfinite(rows[y]) & (rows[y] > 0.0)]
    axes.set_yscale("log")
    if len(values):
        axes.set_ylim(max(values.min() / 1.6, least), values.max() * 1.6)


def off_scale(axes: Axes, values: pd.Series) -> None:
    """Write how many values lie above the axis, so that none is hidden in silence."""
    count = int((values > axes.get_ylim()[1]).sum())
    if count:
        place = {"xy": (0.98, 0.97), "xycoords": "axes fraction", "ha": "right", "va": "top"}
        axes.annotate(f"{count} above ↑", **place, color=GREY, fontsize=7)


def nothing(axes: Axes, why: str) -> None:
    """Say inside an empty panel why it is empty."""
    axes.text(
        0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=7.5
    )


def need(results: Results, **least: int) -> None:
    """Raise Absent unless the grid has at least so many m, N or laws."""
    for name, count in least.items():
        have = getattr(results, name)
        if len(have) < count:
            listed = ", ".join(map(str, have))
            raise Absent(f"needs at least {count} values of {name}; this grid has {listed}")


def share(count: int, total: int) -> str:
    """Return a share as whole per cent."""
    return f"{100 * count / total:.0f} %" if total else "0 %"
