"""Figures of the paper's experiment: gains on GRPO beside the published ones, and curves in N."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.core import style
from analysis.lm.recipe import START, Study

PUBLISHED = {"marker": "D", "ls": "", "mfc": "white", "mec": style.INK, "ms": 5}


def gain(study: Study) -> Figure:
    """Each arm's best-of-N minus that of the arm of comparison, at the N it was trained for."""
    labels = [x for x in style.ordered(study.options) if x != study.against]
    figure, grid = _grid(study, 0.17 * (len(labels) + 1) + 0.35, sharey=True)
    for (scenario, m, N), axes in grid.items():
        _gains(axes, study, labels, scenario, m, N)
        if scenario == study.scenarios[-1]:
            axes.set_xlabel(f"best of N minus {study.against}'s")
    published = Line2D([], [], label="published", **PUBLISHED)
    figure.legend(handles=[published], loc="outside lower right", fontsize=7.5)
    style.title(figure, headline(study))
    return figure


def _gains(axes: Axes, study: Study, labels: list[str], scenario: str, m: int, N: int) -> None:
    looks = style.looks(study.options)
    rows = study.at_trained(study.differences)
    rows = rows[(rows["scenario"] == scenario) & (rows["m"] == m) & (rows["trained_N"] == N)]
    rows = rows[rows["against"] == study.against].set_index("estimator")
    for place, label in enumerate(labels):
        if label in rows.index:
            mine = rows.loc[label]
            reach = [[mine["difference"] - mine["low"]], [mine["high"] - mine["difference"]]]
            look = {**looks[label].line, "ls": "", "elinewidth": 0.9}
            axes.errorbar([mine["difference"]], [place], xerr=reach, **look)
    for paper in study.published(m, N):
        if paper["estimator"] in labels and paper["against"] == study.against:
            axes.plot(paper["difference"], labels.index(paper["estimator"]), **PUBLISHED)
    axes.axvline(0.0, color=style.INK, lw=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)


def curves(study: Study) -> Figure:
    """Each arm's best-of-N minus that of the arm of comparison, at every N."""
    labels = [x for x in style.ordered(study.options) if x != study.against]
    looks = style.looks(study.options)
    figure, grid = _grid(study, 1.5)
    for (scenario, m, trained), axes in grid.items():
        rows = study.differences
        rows = rows[(rows["scenario"] == scenario) & (rows["against"] == study.against)]
        rows = rows[(rows["m"] == m) & (rows["trained_N"] == trained)]
        for label in labels:
            mine = rows[rows["estimator"] == label].sort_values("N")
            axes.plot(mine["N"], mine["difference"], **looks[label].line, markevery=2)
            axes.fill_between(
                mine["N"], mine["low"], mine["high"], color=looks[label].colour, alpha=0.1, lw=0
            )
        axes.axhline(0.0, color=style.INK, lw=0.6)
        if scenario == study.scenarios[-1]:
            axes.set_xlabel("N; dotted: trained for")
        axes.axvline(trained, color=style.GREY, lw=0.6, ls=":")
        sizes = sorted(int(N) for N in rows["N"].unique())
        if sizes:
            style.grid_ticks(axes, sizes, style.every_other(sizes))
    figure.supylabel(f"best of N minus {study.against}'s", fontsize=8)
    style.legend(figure, looks, labels)
    style.title(figure, headline(study))
    return figure


def _grid(
    study: Study, height: float, sharey: bool = False
) -> tuple[Figure, dict[tuple[str, int, int], Axes]]:
    """Return a figure with a row for each scenario and a column for each m and N."""
    rows, columns = len(study.scenarios), len(study.settings)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(style.PAGE if columns > 1 else style.COLUMN, height * rows + 0.9),
        squeeze=False,
        sharey=sharey,
        layout="constrained",
    )
    panels = {}
    for scenario, row in zip(study.scenarios, axes, strict=True):
        for (m, N), panel in zip(study.settings, row, strict=True):
            panel.set_title(f"{scenario}\nm = {m}, N = {N}", loc="left", fontsize=7.5)
            panels[scenario, m, N] = panel
    return figure, panels


def headline(study: Study) -> str:
    """Return how many arms are significantly above the arm of comparison, and below."""
    rows = study.at_trained(study.differences)
    rows = rows[(rows["against"] == study.against) & (rows["estimator"] != START)]
    above, below = int((rows["low"] > 0.0).sum()), int((rows["high"] < 0.0).sum())
    runs = sorted({int(x) for x in rows["seeds"]}) or [0]
    many = (
        f"{runs[0]} to {runs[-1]} runs" if len(runs) > 1 else f"{runs[0]} run{'s' * (runs[0] > 1)}"
    )
    largest = rows["difference"].abs().max() if len(rows) else np.nan
    return (
        f"Significantly above {study.against}: {above} of {len(rows)} comparisons, below: {below} "
        f"(95 %, {many} an arm); the largest difference is {style.size(largest)}"
    )
