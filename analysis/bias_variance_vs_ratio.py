"""Figure: bias and variance against m/N, for every law."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import _style
from analysis._figure import command
from analysis._load import BATCH, Results
from analysis._panels import HOLLOW, curve, need, nothing, off_scale, share

COLUMNS = 4


def draw(results: Results) -> Figure:
    """Relative bias and relative variance of a batch against m/N."""
    need(results, m=2)
    N = results.middle[1]
    looks, labels = _style.looks(results.options), _style.chosen(results.options, 6)
    cells = results.cells[results.cells["status"] == ""].copy()
    cells = cells[(cells["N"] == N) & cells["estimator"].isin(labels)]
    cells["ratio"] = cells["m"] / cells["N"]
    cells["noise"] = cells["relative_variance"] / BATCH
    cells["noise_mcse"] = cells["relative_variance_mcse"] / BATCH

    columns = min(COLUMNS, len(results.laws))
    bands = -(-len(results.laws) // columns)
    figure, grid = plt.subplots(
        2 * bands,
        columns,
        figsize=(_style.PAGE, 2.25 * bands + 0.9),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(hspace=0.01, h_pad=0.02, w_pad=0.02)
    for axes in grid.flat:
        axes.set_visible(False)
    for place, law in enumerate(results.laws):
        band, column = divmod(place, columns)
        pair = grid[2 * band : 2 * band + 2, column]
        rows = cells[cells["law"] == law]
        for axes, y in zip(pair, ("relative_bias", "noise"), strict=True):
            _panel(axes, rows, y, looks, labels)
        pair[0].set_title(law, loc="left", pad=3)
        _style.grid_ticks(pair[1], [m / N for m in results.m], _fractions(results.m, N))
        if place + columns >= len(results.laws):
            pair[1].tick_params(labelbottom=True)
            pair[1].set_xlabel("m/N")
        if column == 0:
            pair[0].set_ylabel("bias")
            pair[1].set_ylabel(f"var./{BATCH}")
    _style.legend(figure, looks, labels, HOLLOW)
    _style.title(figure, _finding(cells, N))
    return figure


def _panel(
    axes: Axes, rows: pd.DataFrame, y: str, looks: dict[str, _style.Look], labels: list[str]
) -> None:
    axes.set_visible(True)
    for label in labels:
        points = rows[rows["estimator"] == label]
        if y == "noise":
            points = points.drop(columns="flagged")  # a mark of the bias
        curve(axes, points, "ratio", y, looks[label], markersize=3)
    axes.set_yscale("log")
    axes.set_ylim((2e-3, 4.0) if y == "relative_bias" else (1e-4, 2.0))
    off_scale(axes, rows[y])
    if rows.empty:
        nothing(axes, "no finite second\nmoment, or no gradient")


def _fractions(sizes: list[int], N: int) -> list[str]:
    """Write m/N for every other m, the last one included."""
    texts = [f"{m / N:g}" if m >= N else f"1/{N / m:g}" for m in sizes]
    return [text if (len(texts) - place) % 2 else "" for place, text in enumerate(texts)]


def _finding(cells: pd.DataFrame, N: int) -> str:
    few = cells[cells["m"] <= N / 4]
    biased = int((few["relative_bias"] ** 2 > few["noise"]).sum())
    return (
        f"N = {N}: at m ≤ N/4, bias outweighs the noise of a {BATCH}-prompt batch in "
        f"{share(biased, len(few))} of {len(few)} cells"
    )


if __name__ == "__main__":
    command(draw)
