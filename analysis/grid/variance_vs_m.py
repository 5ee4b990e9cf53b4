"""Figure: variance of one group's gradient against m, and its growth in log N.

Theory (SPEC 6): under a Gaussian upper tail the variance is O(log N / m).
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.core import style
from analysis.core.panels import curve, curves, mark, marks_of, need, shown, visible
from analysis.core.read import Results
from analysis.grid import slopes
from analysis.grid.bias_vs_m import THEORY, chosen


def draw(results: Results) -> Figure:
    """Variance against m with fitted rates, and against log N with straight lines."""
    need(results, m=2, N=3)
    law = (results.theory_laws or results.laws)[0]
    m, N = results.m[-1], results.middle[1]
    labels = chosen(results, [law])
    looks = style.looks(results.options, labels)
    cells = results.cells[(results.cells["law"] == law) & results.cells["estimator"].isin(labels)]
    cells = cells.drop(columns="flagged")  # a mark of the bias
    fits = slopes.table(results, law=[law], parameter=["all"])
    rates = fits[(fits["quantity"] == "variance") & (fits["N"] == N)].set_index("estimator")
    growth = fits[(fits["quantity"] == "growth") & (fits["m"] == m)].set_index("estimator")
    grown = [x for x in labels if x in growth.index and results.options[x]["name"] in THEORY]

    figure, (upper, lower) = plt.subplots(2, 1, figsize=(style.COLUMN, 6.3), layout="constrained")
    here = cells[cells["N"] == N]
    curves(upper, here, "m", "variance", looks)
    style.grid_ticks(upper, results.m)
    visible(upper, shown(here), "variance", 1e-9)
    mark(upper, here, "m", looks, top=True)
    upper.set(title=f"{law}, N = {N}", xlabel="rollouts per group m")
    upper.set_ylabel("variance of one group")
    for label in grown:
        rows = cells[(cells["estimator"] == label) & (cells["m"] == m)]
        _straight(lower, rows, growth.loc[label, "slope"], looks[label])
    style.grid_ticks(lower, results.N)
    lower.set_ylim(bottom=0.0)
    lower.set(title=f"{law}, m = {m}", xlabel="deployment budget N (log scale)")
    lower.set_ylabel(f"variance / that at N = {results.N[-1]}")

    texts = [
        f"{x}: {slopes.text(rates.loc[x]) if x in rates.index else '–'}"
        + (f"; {growth.loc[x, 'r2']:.4f}" if x in grown else "")
        for x in labels
    ]
    handles = [
        Line2D([], [], label=text, **looks[x].line) for x, text in zip(labels, texts, strict=True)
    ]
    figure.legend(
        handles=[*handles, *marks_of(here)],
        loc="outside lower left",
        title="slope on log m ± 95 % (above); R² in log N (below)",
        alignment="left",
    )
    tea = next((x for x in labels if results.options[x]["name"] == "tea"), labels[0])
    headline = f"{law}: the variance of {tea}"
    if tea in rates.index:
        headline += f" falls with m at slope {style.number(rates.loc[tea, 'slope'])}"
    if tea in growth.index:
        headline += f" and is linear in log N to R² = {growth.loc[tea, 'r2']:.4f}"
    style.title(figure, headline)
    return figure


def _straight(axes: Axes, rows: pd.DataFrame, slope: float, look: style.Look) -> None:
    """Draw the variance against N, relative to its largest value, and its fitted line."""
    top = rows["variance"].max()
    rows = rows.assign(part=rows["variance"] / top, part_mcse=rows["variance_mcse"] / top)
    curve(axes, rows, "N", "part", look, linestyle="")
    log_N = np.log(rows["N"])
    line = rows["part"].mean() + slope / top * (log_N - log_N.mean())
    axes.plot(rows["N"], line, color=look.colour, lw=1)
