"""Panels, marks and phrases that several figures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from analysis.core.read import Absent, Results
from analysis.core.style import COLUMN, GREY, PAGE, Look, Z

#: legend entries for marks that are not an estimator's
HOLLOW = Line2D([], [], color=GREY, marker="o", mfc="white", ls="", label="≈ 0 (2 s.e.)")
BEYOND = Line2D([], [], ls="", label="1↑ 2↓ off scale")
MARKS = {
    "infinite": Line2D(
        [], [], color=GREY, marker=r"$\infty$", ls="", ms=6, mew=0.3, label="infinite variance"
    ),
    "undefined": Line2D([], [], color=GREY, marker="x", ls="", ms=4, label="undefined"),
}


def trellis(
    laws: Sequence[str],
    height: float = 1.45,
    columns: int = 4,
    width: float = PAGE,
    spare: float = 1.0,
    **shared: bool,
) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with one panel per law, each `height` inches high, `spare` for the rest."""
    columns = min(columns, len(laws))
    rows = -(-len(laws) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(width if columns > 1 else min(width, PAGE / 2), height * rows + spare),
        squeeze=False,
        layout="constrained",
        **shared,
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, hspace=0.01, wspace=0.02)
    panels = dict(zip(laws, grid.flat, strict=False))
    for axes in list(grid.flat)[len(laws) :]:
        axes.remove()
    for place, (law, axes) in enumerate(panels.items()):
        axes.set_title(law, loc="left", pad=3)
        # a panel above a removed one keeps its numbers
        if shared.get("sharex") and place + columns >= len(laws):
            axes.tick_params(labelbottom=True)
    return figure, panels


def one_column(
    names: Sequence[str], height: float, columns: int, spare: float = 1.0
) -> tuple[Figure, dict[str, Axes]]:
    """Return a trellis as wide as one column, with common axes."""
    return trellis(names, height, columns, COLUMN, spare, sharex=True, sharey=True)


def row_of_panels(
    names: Sequence[str], height: float, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of panels, page-wide if there is more than one."""
    size = (PAGE if len(names) > 1 else COLUMN, height)
    figure, grid = plt.subplots(
        1, len(names), figsize=size, sharey=sharey, squeeze=False, layout="constrained"
    )
    for name, axes in zip(names, grid.flat, strict=True):
        axes.set_title(name, loc="left", pad=3)
    return figure, list(grid.flat)


def curves(
    axes: Axes, rows: pd.DataFrame, x: str, y: str, looks: Mapping[str, Look], **style: object
) -> None:
    """Draw the `curve` of each estimator in the rows, in the order of `looks`."""
    for label, look in looks.items():
        curve(axes, shown(rows[rows["estimator"] == label]), x, y, look, **style)


def curve(axes: Axes, points: pd.DataFrame, x: str, y: str, look: Look, **style: object) -> None:
    """Draw a line with 95 % Monte Carlo bars; flagged points are hollow.

    `points` has the columns x, y, y_mcse, and may have `flagged`.
    """
    points = points[np.isfinite(points[y])].sort_values(x)
    height, reach = points[y].to_numpy(float), Z * points[f"{y}_mcse"].to_numpy(float)
    weak = points["flagged"].to_numpy(bool) if "flagged" in points else np.zeros(len(points), bool)
    # what is within 2 s.e. of zero has no place on a logarithmic axis: it is drawn at its bound
    height = np.where(weak, np.maximum(height, reach / 2), height)
    down = np.where(weak, 0.0, reach)
    line = {**look.line, **style}
    axes.plot(points[x], height, **line)
    bars = {"fmt": "none", "ecolor": line["color"], "elinewidth": 0.8, "zorder": 2}
    axes.errorbar(points[x], height, yerr=(down, reach), **bars)
    hollow = {**line, "linestyle": "", "markerfacecolor": "white"}
    axes.plot(points[x][weak], height[weak], **hollow)


def mark(
    axes: Axes, rows: pd.DataFrame, x: str, looks: Mapping[str, Look], top: bool = False
) -> None:
    """Mark cells without a number in their estimator's colour: ∞ and × stacked from the bottom.

    With `top`, ∞ comes from the top: for variances, where it belongs.
    """
    rows = rows.sort_values("status", ascending=False)
    for place, group in rows[rows["status"].isin(list(MARKS))].groupby(x):
        for upper, part in group.groupby((group["status"] == "infinite") & top):
            for level, (label, status) in enumerate(
                zip(part["estimator"], part["status"], strict=True)
            ):
                axes.plot(
                    place,
                    0.93 - 0.11 * level if upper else 0.07 + 0.11 * level,
                    transform=axes.get_xaxis_transform(),
                    color=looks[label].colour,
                    marker=MARKS[status].get_marker(),
                    ms=MARKS[status].get_markersize() - 1,
                    mew=MARKS[status].get_markeredgewidth(),
                    clip_on=False,
                )


def marks_of(rows: pd.DataFrame) -> list[Line2D]:
    """Return the legend entries of the marks that occur in these rows."""
    return [handle for status, handle in MARKS.items() if (rows["status"] == status).any()]


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have numbers worth drawing: all but undefined and infinite ones."""
    return rows[rows["status"].isin(["", "saturated"])]


def visible(axes: Axes, rows: pd.DataFrame, y: str, least: float) -> None:
    """Set a logarithmic y-axis to the range of what `curve` draws, bars apart, from `least` up."""
    values = rows[y].to_numpy(float)
    if "flagged" in rows:
        values = np.where(rows["flagged"], np.maximum(values, Z / 2 * rows[f"{y}_mcse"]), values)
    values = values[np.isfinite(values) & (values > 0.0)]
    axes.set_yscale("log")
    if len(values):
        axes.set_ylim(max(values.min() / 2.5, least), values.max() * 1.6)


def remark(axes: Axes, rows: pd.DataFrame, y: str) -> None:
    """Write whether a panel's law is saturated and how many values lie beyond the axis."""
    values, (low, high) = shown(rows)[y], axes.get_ylim()
    over, under = int((values > high).sum()), int((values < low).sum())
    notes = ["saturated"] * bool((rows["status"] == "saturated").any())
    corner(axes, "\n".join(notes + [f"{over}↑"] * (over > 0)))
    corner(axes, f"{under}↓" * (under > 0), 0.03, "bottom")


def corner(axes: Axes, text: str, height: float = 0.97, side: str = "top") -> None:
    """Write a remark into a right corner of a panel."""
    note = axes.text(0.98, height, text, transform=axes.transAxes, ha="right", va=side)
    note.set(color="#5a5a5a", fontsize=6.5, in_layout=False)
    if text:
        note.set_bbox({"facecolor": "white", "alpha": 0.5, "edgecolor": "none", "pad": 0.3})


def need(results: Results, **least: int) -> None:
    """Raise Absent unless the grid has at least so many m, N or laws."""
    for name, count in least.items():
        have = getattr(results, name)
        if len(have) < count:
            values = ", ".join(map(str, have))
            raise Absent(f"needs at least {count} values of {name}; this grid has {values}")


def share(count: int, total: int) -> str:
    """Return a share as whole per cent."""
    return f"{100 * count / total:.0f} %" if total else "0 %"


def ranked(counts: pd.Series, most: int = 3) -> str:
    """Write the largest `most` of a series of counts as "TEA .5 (9), max@m (4)"."""
    first = counts.sort_values(ascending=False, kind="stable").head(most)
    return ", ".join(f"{label} ({count:.0f})" for label, count in first.items())


def listed(names: Iterable[str], limit: int = 4) -> str:
    """Write names as "a, b and 3 more"."""
    names = list(names)
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def outer(panels: Mapping[str, Axes], x: str, y: str) -> None:
    """Label the lowest panel of each column, and the first of each row."""
    for axes in panels.values():
        place = axes.get_subplotspec()
        if axes.xaxis.get_tick_params()["labelbottom"] or not axes.get_shared_x_axes():
            axes.set_xlabel(x)
        if place.is_first_col():
            axes.set_ylabel(y)


#: how a cell of a map is hatched where its number means little or is missing
HATCHES = {
    "saturated": {"fc": "none", "ec": "#222222", "hatch": "////", "lw": 0.0},
    "undefined": {"fc": "#ffffff", "ec": "#b0b0b0", "hatch": "....", "lw": 0.0},
    "infinite": {"fc": "#dddddd", "ec": "#555555", "hatch": "xxxx", "lw": 0.0},
}


def hatch(axes: Axes, x: int, y: int, status: str) -> None:
    """Hatch the cell at (x, y) of a map unless its status is ""."""
    if status:
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **HATCHES[status]))
