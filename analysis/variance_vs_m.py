"""Figure: variance of one group's gradient against m, and its growth in log N.

Theory (SPEC 6): under a Gaussian upper tail the variance is O(log N / m).
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import _style, slopes
from analysis._figure import command
from analysis._load import Results
from analysis._panels import curve, need, visible
from analysis.bias_vs_m import BELOW, THEORY, chosen, rate


def draw(results: Results) -> Figure:
    """Variance against m, with rates, and against log N, with straight lines."""
    need(results, m=2, N=3)
    law = (results.theory_laws or results.laws)[0]
    m, N = results.m[-1], results.middle[1]
    looks, labels = _style.looks(results.options), chosen(results)
    cells = results.cells[results.cells["status"] == ""]
    cells = cells[(cells["law"] == law) & cells["estimator"].isin(labels)].drop(columns="flagged")
    fits = slopes.table(results)
    fits = fits[(fits["law"] == law) & (fits["parameter"] == "all")]
    rates = fits[(fits["quantity"] == "variance") & (fits["N"] == N)].set_index("estimator")
    growth = fits[(fits["quantity"] == "growth") & (fits["m"] == m)].set_index("estimator")
    grown = [x for x in labels if x in growth.index and results.options[x]["name"] in THEORY]

    figure, (left, right) = plt.subplots(1, 2, figsize=(_style.PAGE, 4.3), layout="constrained")
    for label in labels:
        rows = cells[cells["estimator"] == label]
        curve(left, rows[rows["N"] == N], "m", "variance", looks[label])
    for label in grown:
        rows = cells[(cells["estimator"] == label) & (cells["m"] == m)]
        top = rows["variance"].max()
        rows = rows.assign(part=rows["variance"] / top, part_mcse=rows["variance_mcse"] / top)
        curve(right, rows, "N", "part", looks[label], linestyle="")
        log_N = np.log(rows["N"])
        slope = growth.loc[label, "slope"] / top
        straight = rows["part"].mean() + slope * (log_N - log_N.mean())
        right.plot(rows["N"], straight, color=looks[label].colour, lw=1)
    _style.grid_ticks(left, results.m)
    visible(left, cells[cells["N"] == N], "variance", 1e-9)
    _style.grid_ticks(right, results.N)
    right.set_ylim(bottom=0.0)
    left.set(title=f"N = {N}: slope on log m ± 95 %", xlabel="rollouts per group m")
    left.set_ylabel("variance of one group's gradient")
    right.set(title=f"m = {m}: growth in log N", xlabel="deployment budget N (log scale)")
    right.set_ylabel(f"variance / variance at N = {results.N[-1]}")

    def keys(texts: dict[str, str]) -> list[Line2D]:
        return [Line2D([], [], label=text, **looks[x].line) for x, text in texts.items()]

    left.legend(handles=keys({x: rate(x, rates) for x in labels}), **BELOW)
    right.legend(handles=keys({x: f"{x}: R² = {growth.loc[x, 'r2']:.4f}" for x in grown}), **BELOW)
    tea = next((x for x in labels if results.options[x]["name"] == "tea"), labels[0])
    finding = f"{law}: the variance of {tea}"
    if tea in rates.index:
        finding += f" falls as {_style.power(rates.loc[tea, 'slope'])}"
    if tea in growth.index:
        finding += f" and is linear in log N to R² = {growth.loc[tea, 'r2']:.4f}"
    _style.title(figure, finding)
    return figure


if __name__ == "__main__":
    command(draw)
