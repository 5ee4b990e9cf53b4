"""Figure: a heat map of performance ratios, estimators by laws, with a stripe for every (m, N).

The performance ratio is the error of a 64-prompt batch over that of the best estimator of the cell.
Within a law the stripes go from left to right through m and, within m, through N.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from analysis.benchmark.ranking import in_most_cells, ranking
from analysis.benchmark.ratios import performance_ratios
from analysis.core import style
from analysis.core.read import Results

#: ratios from here on have one colour
FAR = 100.0
INFINITE = "#b9c4cc"


def draw(results: Results) -> Figure:
    """Map the performance ratios of every estimator that is defined in most cells."""
    ratios = performance_ratios(results)
    labels = in_most_cells(ratios)
    measured = set(ratios["law"])
    parts = {name: [x for x in laws if x in measured] for name, laws in results.parts.items()}
    parts = {name: laws for name, laws in parts.items() if laws}
    figure, grid = plt.subplots(
        1,
        len(parts),
        figsize=(_width(parts), 0.145 * len(labels) + 2.5),
        width_ratios=[len(laws) for laws in parts.values()],
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, (name, laws) in zip(grid.flat, parts.items(), strict=True):
        image = _map(axes, ratios[ratios["part"] == name], laws, labels)
        axes.set_title(name, fontsize=8)
    grid[0, 0].set_yticks(range(len(labels)), labels, fontsize=6.5)
    bar = figure.colorbar(image, ax=list(grid.flat), location="right", aspect=40, extend="max")
    bar.set_label("performance ratio: error / least error of the cell", fontsize=7.5)
    bar.set_ticks([1, 3, 10, 30, 100], labels=["1", "3", "10", "30", "100"])
    blank = Patch(fc="white", ec="#aaaaaa", lw=0.5, label="saturated or undefined")
    figure.legend(
        handles=[Patch(fc=INFINITE, label="infinite variance"), blank],
        loc="outside lower center",
        ncols=2,
        fontsize=7,
    )
    style.title(figure, headline(results))
    return figure


def _width(parts: Mapping[str, list[str]]) -> float:
    return style.COLUMN if sum(map(len, parts.values())) <= 20 else style.PAGE


def _map(axes: Axes, ratios: pd.DataFrame, laws: list[str], labels: list[str]) -> AxesImage:
    """Draw the stripes of one part; one law is one unit wide."""
    cells = ratios[["m", "N"]].drop_duplicates().sort_values(["m", "N"])
    wide = ratios.pivot_table(index="estimator", columns=["law", "m", "N"], values="to_best")
    keys = [(law, *cell) for law in laws for cell in cells.itertuples(index=False, name=None)]
    values = wide.reindex(index=labels, columns=keys).to_numpy()
    place = (-0.5, len(laws) - 0.5, len(labels) - 0.5, -0.5)
    axes.imshow(
        np.where(np.isinf(values), 1.0, np.nan),
        cmap=ListedColormap([INFINITE]),
        aspect="auto",
        extent=place,
        interpolation="nearest",
    )
    image = axes.imshow(
        np.where(np.isinf(values), np.nan, values),
        cmap="magma_r",
        norm=LogNorm(1.0, FAR),
        aspect="auto",
        extent=place,
        interpolation="nearest",
    )
    axes.set_xticks(range(len(laws)), laws, rotation=90, fontsize=6.0)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for x in range(1, len(laws)):
        axes.axvline(x - 0.5, color="white", lw=0.8)
    for y in range(1, len(labels)):
        axes.axhline(y - 0.5, color="white", lw=0.5)
    return image


def headline(results: Results) -> str:
    """Return the two estimators of smallest worst-case performance ratio, part by part."""
    parts = []
    for name, own in performance_ratios(results).groupby("part", sort=False):
        table = ranking(own[own["estimator"].isin(in_most_cells(own))])
        first = [
            f"{row.estimator} {style.size(row.worst_to_best)}" for row in table[:2].itertuples()
        ]
        parts.append(f"{name}: {', then '.join(first)}")
    return f"Smallest worst-case performance ratio; {'; '.join(parts)}"
