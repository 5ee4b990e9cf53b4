"""Figure: performance profiles, the share of cells with a performance ratio of at most x.

The performance ratio is the error of a 64-prompt batch over that of the best estimator of the cell
(Dolan and Moré, 2002, Mathematical Programming 91).
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.benchmark.ranking import in_most_cells
from analysis.benchmark.ratios import CELL, performance_ratios
from analysis.core import style
from analysis.core.panels import row_of_panels
from analysis.core.read import Results

FAR = 100.0


def draw(results: Results) -> Figure:
    """One panel for each part of the laws."""
    ratios, looks = performance_ratios(results), style.looks(results.options)
    common = set(in_most_cells(ratios))
    labels = [x for x in style.ordered(results.options) if looks[x].main and x in common]
    parts = list(ratios.groupby("part", sort=False))
    figure, panels = row_of_panels([name for name, _ in parts], height=2.9)
    for axes, (name, own) in zip(panels, parts, strict=True):
        cells = len(own[CELL].drop_duplicates())
        for label in labels:
            ratio = np.sort(own.loc[own["estimator"] == label, "to_best"].to_numpy())
            height = np.arange(1, len(ratio) + 1) / cells
            axes.step(ratio, height, where="post", color=looks[label].colour)
            # a marker at the estimator's worst cell, if that is on the axis
            if ratio[-1] <= FAR:
                axes.plot(ratio[-1], height[-1], **{**looks[label].line, "ls": ""})
        axes.set(xscale="log", xlim=(1.0, FAR), ylim=(0.0, 1.02), xlabel="performance ratio")
        axes.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
        axes.set_title(f"{name}: {own['law'].nunique()} laws, {cells} cells", pad=3)
    panels[0].set_ylabel("share of cells")
    style.legend(figure, looks, labels)
    style.title(figure, headline(results))
    return figure


def headline(results: Results) -> str:
    """Return the two estimators most often within twice the least error, part by part."""
    parts = []
    for name, own in performance_ratios(results).groupby("part", sort=False):
        cells = len(own[CELL].drop_duplicates())
        close = own[own["to_best"] <= 2.0].groupby("estimator").size() / cells
        best = close.sort_values(ascending=False, kind="stable")[:2]
        parts.append(f"{name}: " + ", ".join(f"{x} {100 * y:.0f} %" for x, y in best.items()))
    return f"Within twice the least error, {'; '.join(parts)}"
