"""Figure: the bias–variance frontier, one panel per law; distance from the corner is the error.

An estimator is on the frontier if no other has both less bias and less variance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.core import style
from analysis.core.panels import corner, one_column, outer, ranked, shown
from analysis.core.read import BATCH, Results

#: upper ends of the axes: standard deviation of a batch, and bias, over the gradient's norm
FAR = (0.4, 1.3)
ARC = {"color": "#d0d0d0", "lw": 0.8}


def draw(results: Results) -> Figure:
    """Relative bias against the relative noise of a batch, in the middle of the grid."""
    looks, labels = style.looks(results.options), style.ordered(results.options)
    rows = frontier(results)
    figure, panels = one_column(results.laws, height=1.0, columns=3, spare=1.9)
    measured = rows.query("status == ''")[["noise", "relative_bias"]]
    ends = np.minimum(FAR, 1.15 * measured.max().to_numpy())
    for law, axes in panels.items():
        here = rows[rows["law"] == law]
        angle = np.linspace(0.0, np.pi / 2, 91)
        for error in max(ends) * np.arange(1, 7) / 6:
            axes.plot(error * np.cos(angle), error * np.sin(angle), **ARC, zorder=0)
        hull = here[here["frontier"]].sort_values("noise")
        axes.plot(hull["noise"], hull["relative_bias"], color=style.INK, lw=0.7, zorder=1)
        for label in labels:
            _points(axes, here[here["estimator"] == label], looks[label])
        axes.set(xlim=(0.0, ends[0]), ylim=(0.0, ends[1]))
        axes.locator_params(nbins=3)
        axes.grid(visible=False)
        _missing(axes, results.single[results.single["law"] == law], here, ends)
    outer(panels, f"sd of {BATCH} groups", "‖bias‖")
    edge = Line2D([], [], color=style.INK, lw=0.7, label="frontier")
    arcs = Line2D([], [], **ARC, label="equal error")
    unit = Line2D([], [], ls="", label="over ‖$\\nabla V_N$‖")
    style.legend(figure, looks, labels, edge, arcs, unit)
    style.title(figure, headline(results))
    return figure


def frontier(results: Results) -> pd.DataFrame:
    """Return the middle cell of every law and estimator, with `noise` and `frontier`."""
    rows = shown(results.single).copy()
    rows["noise"] = np.sqrt(rows["noise_part"])
    # se of a root: se(v) / (2 √v)
    rows["noise_mcse"] = rows["noise"] * rows["variance_mcse"] / (2.0 * rows["variance"])
    rows["frontier"] = False
    for _, here in rows.groupby("law"):
        x, y = here["noise"].to_numpy(), here["relative_bias"].to_numpy()
        better = (x < x[:, None]) & (y < y[:, None])
        rows.loc[here.index, "frontier"] = ~better.any(axis=1)
    return rows


def _points(axes: Axes, rows: pd.DataFrame, look: style.Look) -> None:
    axes.errorbar(
        rows["noise"],
        rows["relative_bias"],
        xerr=style.Z * rows["noise_mcse"],
        yerr=style.Z * rows["relative_bias_mcse"],
        **{**look.line, "ls": "", "ms": 3.5, "elinewidth": 0.7},
    )


def _missing(axes: Axes, cells: pd.DataFrame, rows: pd.DataFrame, ends: np.ndarray) -> None:
    """Write how many estimators have no point in the panel, and why."""
    counts = cells["status"].value_counts()
    notes = [f"{counts[x]} {x}" for x in ("undefined", "infinite") if x in counts]
    beyond = int((rows[["noise", "relative_bias"]] > ends).any(axis=1).sum())
    notes += [f"{beyond} off scale"] * (beyond > 0) + ["saturated"] * ("saturated" in counts)
    corner(axes, "\n".join(notes))


def headline(results: Results) -> str:
    """Return the estimators of least error, and the one most often on the frontier."""
    m, N = results.middle
    rows = frontier(results).query("status == ''")
    counts = rows.groupby("estimator", sort=False)["frontier"].sum()
    least = rows.loc[rows.groupby("law", sort=False)["batch_nmse"].idxmin(), "estimator"]
    return (
        f"m = {m}, N = {N}: least error by {ranked(least.value_counts())} of {len(least)} laws; "
        f"on the frontier most often {ranked(counts, 1)}"
    )
