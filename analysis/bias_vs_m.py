"""Figure: norm of the bias against m on log scales, with fitted rates and the theory's.

Theory (SPEC 6): under a Gaussian upper tail TEA's bias is O(√log N / m), and that of Prefix-TEA of
order p is O(√log N / m^p).
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import _style, slopes
from analysis._figure import command
from analysis._load import Results
from analysis._panels import HOLLOW, curve, need, visible

#: methods whose bias the theory speaks of; the others are drawn where there is room
THEORY = ("tea", "prefix_tea", "linear_tea")
#: a legend of two columns under its panel
BELOW = {
    "loc": "upper left",
    "bbox_to_anchor": (-0.2, -0.17),
    "ncols": 2,
    "columnspacing": 0.8,
    "handlelength": 1.4,
    "handletextpad": 0.4,
}


def draw(results: Results) -> Figure:
    """Bias against m, with rates."""
    need(results, m=2)
    N = results.middle[1]
    laws = (results.theory_laws or results.laws)[:2]
    looks = _style.looks(results.options)
    labels = chosen(results)
    cells = results.cells[(results.cells["N"] == N) & (results.cells["status"] == "")]
    fits = slopes.table(results)
    fits = fits[(fits["quantity"] == "bias") & (fits["N"] == N) & (fits["parameter"] == "all")]

    figure, grid = plt.subplots(
        1,
        len(laws),
        figsize=(3.5 * len(laws), 4.3),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for law, axes in zip(laws, grid[0], strict=True):
        rows = cells[(cells["law"] == law) & cells["estimator"].isin(labels)]
        rates = fits[fits["law"] == law].set_index("estimator")
        for label in labels:
            curve(axes, rows[rows["estimator"] == label], "m", "relative_bias", looks[label])
        _style.grid_ticks(axes, results.m)
        visible(axes, rows, "relative_bias", 1e-4)
        _guides(axes, rows, results)
        axes.set(title=law, xlabel="rollouts per group m")
        handles = [Line2D([], [], label=rate(x, rates), **looks[x].line) for x in labels]
        axes.legend(handles=[*handles, HOLLOW], **BELOW)
    grid[0, 0].set_ylabel(r"‖bias‖ / ‖$\nabla V_N$‖")
    _style.title(figure, _finding(results, laws[0], N, fits))
    return figure


def chosen(results: Results) -> list[str]:
    names = results.options
    first = [x for x in _style.ordered(names) if names[x]["name"] in THEORY]
    return (first + [x for x in _style.chosen(names) if x not in first])[:8]


def rate(label: str, rates: pd.DataFrame) -> str:
    if label not in rates.index:
        return label
    row = rates.loc[label]
    return f"{label}: {_style.number(row['slope'])} ± {_style.Z * row['se']:.2f}"


def _guides(axes: Axes, rows: pd.DataFrame, results: Results) -> None:
    """Draw lines of slope −1 and −2 beside the data."""
    m = np.array(results.m[-3:], float)
    level = rows[rows["m"] == results.m[-1]]["relative_bias"].median()
    for order in (1, 2):
        axes.plot(m, level * (m / m[-1]) ** -order, ":", color=_style.GREY, lw=1, zorder=1)
        axes.annotate(
            _style.power(-order).removesuffix("·⁰⁰"),
            (m[0], level * (m[0] / m[-1]) ** -order),
            xytext=(-2, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            color=_style.GREY,
        )


def _finding(results: Results, law: str, N: int, fits: pd.DataFrame) -> str:
    rates = fits[(fits["law"] == law) & (fits["flagged"] < fits["points"])].set_index("estimator")
    told = [x for x in chosen(results) if results.options[x]["name"] in THEORY]
    told = [f"{x}'s as {_style.power(rates.loc[x, 'slope'])}" for x in told if x in rates.index]
    sizes = slopes.fitted_sizes(results.m)
    if not told:
        return f"Bias against m on the {law} law, N = {N}"
    return (
        f"{law}, N = {N}: bias falls with m, {', '.join(told[:4])} (m = {sizes[0]} to {sizes[-1]})"
    )


if __name__ == "__main__":
    command(draw)
