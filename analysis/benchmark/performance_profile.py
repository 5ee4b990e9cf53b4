"""Figure: regret profiles, the share of cells in which an estimator's regret is at most x.

Regret is the error of a 64-prompt batch over that of the best estimator of the cell (the
performance profile of Dolan and Moré, 2002, Mathematical Programming 91).
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from analysis.benchmark.ratios import everywhere, regrets
from analysis.core import style
from analysis.core.read import Results
from analysis.core.write import command

FAR = 100.0


def draw(results: Results) -> Figure:
    """One panel for each part of the laws."""
    found, looks = regrets(results), style.looks(results.options)
    there = set(everywhere(found))
    core = [label for label in style.ordered(results.options) if looks[label].core]
    labels = [label for label in core if label in there]
    parts = list(found.groupby("part", sort=False))
    figure, grid = plt.subplots(
        1,
        len(parts),
        figsize=(style.PAGE if len(parts) > 1 else style.COLUMN, 2.9),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, (name, own) in zip(grid.flat, parts, strict=True):
        cells = len(own[["law", "m", "N"]].drop_duplicates())
        for label in labels:
            regret = np.sort(own.loc[own["estimator"] == label, "regret"].to_numpy())
            height = np.arange(1, len(regret) + 1) / cells
            axes.step(regret, height, where="post", color=looks[label].colour)
            # a marker where the curve passes its own worst cell, if that is on the axis
            if regret[-1] <= FAR:
                axes.plot(regret[-1], height[-1], **{**looks[label].line, "ls": ""})
        axes.set(xscale="log", xlim=(1.0, FAR), ylim=(0.0, 1.02), xlabel="regret")
        axes.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
        axes.set_title(f"{name}: {own['law'].nunique()} laws, {cells} cells")
    grid[0, 0].set_ylabel("share of cells")
    style.legend(figure, looks, labels)
    style.title(figure, finding(results))
    return figure


def finding(results: Results) -> str:
    """Say how often each of the first is within a factor of two of the best."""
    found = regrets(results)
    told = []
    for name, own in found.groupby("part", sort=False):
        cells = len(own[["law", "m", "N"]].drop_duplicates())
        close = own[own["regret"] <= 2.0].groupby("estimator").size() / cells
        best = close.sort_values(ascending=False, kind="stable")[:2]
        told.append(f"{name}: " + ", ".join(f"{x} {100 * y:.0f} %" for x, y in best.items()))
    return f"Within twice the least error, {'; '.join(told)}"


if __name__ == "__main__":
    command(draw)
