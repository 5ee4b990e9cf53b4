"""Figure: squared bias and variance against m/N, for every law, on one scale.

Their sum is the mean squared error of a batch's gradient over the squared norm of the exact one.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.core import style
from analysis.core.panels import BEYOND, HOLLOW, curves, mark, marks_of, need, remark, share
from analysis.core.read import BATCH, Results

#: wide enough for all but a few cells; those are counted in their panel
LIMITS = (1e-4, 3.0)
PARTS = {"bias_part": "bias²", "noise_part": f"var./{BATCH}"}
#: where the name of a part stands, over the first law's
HEAD = {"xytext": (0, 14), "textcoords": "offset points", "fontsize": 7.5, "color": "#5a5a5a"}


def draw(results: Results) -> Figure:
    """Squared bias and variance of a batch, relative to the gradient, against m/N."""
    need(results, m=2)
    N = results.middle[1]
    labels = style.chosen(results.options, 6)
    looks = style.looks(results.options, labels)
    cells = results.cells
    cells = cells[(cells["N"] == N) & cells["estimator"].isin(labels)]

    rows = -(-len(results.laws) // 2)
    figure, grid = plt.subplots(
        rows,
        4,
        figsize=(style.COLUMN, 0.8 * rows + 1.6),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, hspace=0.0, wspace=0.0)
    pairs = grid.reshape(-1, 2)
    for law, pair in zip(results.laws, pairs, strict=False):
        for axes, part in zip(pair, PARTS, strict=True):
            _panel(axes, cells[cells["law"] == law], part, looks)
        pair[0].set_title(law, loc="left", pad=2.5, fontsize=7.5)
    for axes, name in zip(grid[0], [*PARTS.values()] * 2, strict=True):
        axes.annotate(name, (0.0, 1.0), xycoords="axes fraction", **HEAD)
    for axes in pairs[len(results.laws) :].flat:
        axes.remove()
    sizes = results.m
    fractions = [f"{m / N:g}" if m >= N else f"1/{N / m:g}" for m in sizes]
    style.grid_ticks(grid[0, 0], [m / N for m in sizes], style.every_other(fractions))
    for place, axes in enumerate(pairs[: len(results.laws)].flat):
        axes.tick_params(labelsize=6.5, labelbottom=place >= 2 * len(results.laws) - 4)
    for axes in pairs[max(0, len(results.laws) - 2) : len(results.laws)].flat:
        axes.set_xlabel("m/N", fontsize=7)
    style.legend(figure, looks, labels, HOLLOW, *marks_of(cells), BEYOND)
    style.title(figure, headline(results))
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, part: str, looks: dict[str, style.Look]) -> None:
    drawn = rows.drop(columns="flagged") if part == "noise_part" else rows  # a mark of the bias
    curves(axes, drawn, "ratio", part, looks, markersize=2.5, linewidth=1.0)
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_ylim(LIMITS)
    mark(axes, rows, "ratio", looks)
    remark(axes, rows, part)


def headline(results: Results) -> str:
    """Return how often bias, not variance, dominates the error of a batch."""
    N = results.middle[1]
    cells = results.cells
    few = cells[(cells["N"] == N) & (cells["m"] <= N / 4) & (cells["status"] == "")]
    biased = int((few["bias_part"] > few["noise_part"]).sum())
    return (
        f"N = {N}, m ≤ N/4: bias outweighs the noise of a {BATCH}-prompt batch in "
        f"{share(biased, len(few))} of {len(few)} cells"
    )
