"""Figure: norm of the bias against m on log scales, with fitted rates and the theory's.

Theory (SPEC 6): under a Gaussian upper tail TEA's bias is O(√log N / m), and that of Prefix-TEA of
order p is O(√log N / m^p).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.core import style
from analysis.core.panels import (
    HOLLOW,
    curves,
    mark,
    marks_of,
    need,
    one_column,
    outer,
    shown,
    visible,
)
from analysis.core.read import Results
from analysis.grid import slopes

#: estimators that the theory covers; the others are drawn where there is room
THEORY = ("tea", "prefix_tea", "linear_tea")
#: the headline leaves out slopes with a larger standard error
LARGEST_SE = 0.2


def draw(results: Results) -> Figure:
    """Bias against m, with rates."""
    need(results, m=2)
    N = results.middle[1]
    laws = (results.theory_laws or results.laws)[:2]
    labels = chosen(results, laws)
    looks = style.looks(results.options, labels)
    cells = results.cells
    cells = cells[(cells["N"] == N) & cells["estimator"].isin(labels) & cells["law"].isin(laws)]
    fits = slopes.table(results, law=laws, N=[N], parameter=["all"]).query("quantity == 'bias'")

    figure, panels = one_column(laws, height=1.9, columns=1, spare=2.2)
    for law, axes in panels.items():
        rows = cells[cells["law"] == law]
        curves(axes, rows, "m", "relative_bias", looks)
        style.grid_ticks(axes, results.m)
        visible(axes, shown(cells), "relative_bias", 1e-4)
        tea = [x for x in labels if results.options[x]["name"] == "tea"]
        _guides(axes, rows[rows["estimator"].isin(tea)], results.m)
        mark(axes, rows, "m", looks)
    outer(panels, "rollouts per group m", r"‖bias‖ / ‖$\nabla V_N$‖")
    texts = {x: f"{x}: {rates(x, laws, fits)}" for x in labels}
    handles = [Line2D([], [], label=text, **looks[x].line) for x, text in texts.items()]
    heading = f"slope on log m ± 95 %: {'; '.join(laws)}"
    place = {"loc": "outside lower left", "title": heading, "alignment": "left"}
    figure.legend(handles=[*handles, HOLLOW, *marks_of(cells)], **place)
    style.title(figure, headline(results, laws[0], N, fits))
    return figure


def chosen(results: Results, laws: list[str]) -> list[str]:
    """Return the labels that are drawn: those that the theory covers first, eight at most."""
    measured = set(results.cells.loc[results.cells["law"].isin(laws), "estimator"])
    names = {label: options for label, options in results.options.items() if label in measured}
    first = [x for x in style.ordered(names) if names[x]["name"] in THEORY]
    return (first + [x for x in style.chosen(names) if x not in first])[:8]


def rates(label: str, laws: list[str], fits: pd.DataFrame) -> str:
    """Write an estimator's slope on each law, leaving out those that rest on noise."""
    rows = fits[fits["estimator"] == label].query("points > flagged + 1").set_index("law")
    return "; ".join(slopes.text(rows.loc[law]) if law in rows.index else "–" for law in laws)


def _guides(axes: Axes, rows: pd.DataFrame, sizes: list[int]) -> None:
    """Draw the theory's slopes −1 and −2 where there is room, under TEA's bias at the least m."""
    first = shown(rows[rows["m"] == sizes[0]])["relative_bias"]
    m = np.array(sizes[:3], float)
    for order in (1, 2):
        line = 0.6 * first.min() * (m / m[0]) ** -order
        axes.plot(m, line, ":", color=style.GREY, lw=1, zorder=1)
        end = max(line[-1], 1.3 * axes.get_ylim()[0])  # the label stays inside
        place = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(rf"$m^{{-{order}}}$", (m[-1], end), **place, color=style.GREY)


def headline(results: Results, law: str, N: int, fits: pd.DataFrame) -> str:
    """Return how fast the bias of the theory's estimators falls."""
    fits = fits[fits["law"] == law].query(f"flagged == 0 and se < {LARGEST_SE}")
    fits = fits.set_index("estimator")
    names = {x: results.options[x]["name"] for x in chosen(results, [law]) if x in fits.index}
    labels = [x for x, name in names.items() if name in THEORY]
    other_tea = [x for x in labels if names[x] == "tea"][1:]  # one is enough
    labels = [x for x in labels if x not in other_tea]
    if not labels:
        return f"{law}, N = {N}: bias against m"
    text = ", ".join(f"{x} {style.number(fits.loc[x, 'slope'])}" for x in labels)
    span = f"m = {fits['from_m'].min()} to {fits['to_m'].max()}"
    return f"{law}, N = {N}: slopes of log bias on log m, {span}: {text}"
