"""Figures: advantage responses of estimators over the exact ψ_N.

The response E[A_i | F(R_i) = q] contains the bias for every possible score function (SPEC 5): an
estimator is unbiased for all of them where its curve lies on ψ_N, up to a constant.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.core import style
from analysis.core.panels import corner, listed, one_column, outer, ranked
from analysis.core.read import Absent, Results

TICKS = (0.01, 0.5, 0.99)
EXACT = {"color": "#b5b5b5", "lw": 3.0, "solid_capstyle": "butt"}


# --- the figures --------------------------------------------------------------------------------


def draw_one_law(results: Results) -> Figure:
    """Response curves on the first law of the theory, one panel per estimator."""
    rows, law = _of_one_law(results)
    looks = style.looks(results.options)
    labels = [x for x in style.ordered(results.options) if (rows["estimator"] == x).any()]
    off = distances(rows)[law]
    figure, panels = one_column(labels, height=0.86, columns=3, spare=1.4)
    for label, axes in panels.items():
        curve = rows[rows["estimator"] == label]
        exact_line(axes, curve)
        response_line(axes, curve, looks[label])
        axes.set_title(label, loc="left", pad=2, fontsize=7)
        place, note = 0.8, f"{100 * off.get(label, 0.0):.0f} %"
        if label not in off:
            place, note = 0.05, "infinite\nvariance"
        axes.text(0.04, place, note, transform=axes.transAxes, fontsize=6.5)
    scales(panels.values(), rows)
    outer(panels, "q", "E[A|q] + c")
    handles = [
        Line2D([], [], **EXACT, label="exact $\\psi_N$"),
        Line2D([], [], color=style.INK, lw=1, label="response ± 95 %; number: distance"),
    ]
    cells = results.cells[(results.cells["law"] == law) & (results.cells["status"] == "undefined")]
    here = cells[(cells["m"] == rows["m"].iloc[0]) & (cells["N"] == rows["N"].iloc[0])]
    if len(here):
        names = listed(here["estimator"])
        handles.append(Line2D([], [], ls="", label=f"undefined at this m: {names}"))
    columns = 2 if len(handles) == 2 else 1
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    style.title(figure, headline_one_law(results))
    return figure


def headline_one_law(results: Results) -> str:
    """Return the estimators whose responses are nearest to ψ_N, and the farthest one."""
    rows, law = _of_one_law(results)
    off = distances(rows)[law].sort_values(kind="stable")
    near = ", ".join(f"{label} ({100 * value:.0f} %)" for label, value in off.head(3).items())
    return (
        f"{law}, m = {rows['m'].iloc[0]}, N = {rows['N'].iloc[0]}: nearest to the exact advantage "
        f"are {near}; farthest {off.index[-1]} ({100 * off.iloc[-1]:.0f} %)"
    )


def _of_one_law(results: Results) -> tuple[pd.DataFrame, str]:
    rows, law = curves(results), (results.theory_laws or results.laws)[0]
    return rows[rows["law"] == law], law


def draw_all_laws(results: Results) -> Figure:
    """Response curves of the main estimators, one panel per law."""
    rows = curves(results)
    looks, labels = style.looks(results.options), style.chosen(results.options, 6)
    rows = rows[rows["estimator"].isin(labels)]
    laws = [law for law in results.laws if (rows["law"] == law).any()]
    figure, panels = one_column(laws, height=1.0, columns=3, spare=1.3)
    for law, axes in panels.items():
        here = rows[rows["law"] == law]
        exact_line(axes, here[here["estimator"] == here["estimator"].iloc[0]])
        for label in labels:
            response_line(axes, here[here["estimator"] == label], looks[label])
        axes.set_title(law, loc="left", pad=2, fontsize=7.5)
        corner(axes, "saturated" * bool((here["status"] == "saturated").all()))
    scales(panels.values(), rows)
    outer(panels, "q", "E[A|q] + c")
    exact = Line2D([], [], **EXACT, label="exact $\\psi_N$")
    style.legend(figure, looks, [x for x in labels if (rows["estimator"] == x).any()], exact)
    style.title(figure, headline_all_laws(results))
    return figure


def headline_all_laws(results: Results) -> str:
    """Return on how many laws each estimator's response is nearest to ψ_N."""
    rows = curves(results)
    off = distances(rows).dropna()
    nearest = off.groupby("law", sort=False).idxmin().map(lambda pair: pair[1])
    least = off.groupby("law", sort=False).min()
    return (
        f"m = {rows['m'].iloc[0]}, N = {rows['N'].iloc[0]}: nearest to the exact advantage, of "
        f"{len(nearest)} laws: {ranked(nearest.value_counts())}; its distance is "
        f"{100 * least.min():.0f} % ({least.idxmin()}) to {100 * least.max():.0f} % "
        f"({least.idxmax()})"
    )


# --- the curves ---------------------------------------------------------------------------------


def drawn(results: Results) -> pd.DataFrame:
    """Return the rows of the (m, N) nearest to the grid's middle: the curves that are drawn."""
    if results.response is None:
        raise Absent("this grid has no response curves ([response] in its configuration)")
    rows, (m, N) = results.response, results.middle
    pairs = rows[["m", "N"]].drop_duplicates().to_numpy(float)
    away = np.abs(np.log(pairs / (m, N))).sum(axis=1).round(6)
    ratio = np.abs(np.log(pairs[:, 1] / pairs[:, 0] / (N / m)))
    nearest = pairs[np.lexsort((ratio, away))[0]]
    return rows[(rows["m"] == nearest[0]) & (rows["N"] == nearest[1])]


def curves(results: Results) -> pd.DataFrame:
    """Return the curves that are drawn, `placed`."""
    return placed(drawn(results), results.cells)


def placed(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return curves with `place`, the logit of q, `weight` and `status`.

    `weight` is the probability that a point stands for; a finite law's point is in the middle of
    its jump of the distribution function. A constant added to all advantages changes no expected
    gradient: each response is moved to ψ_N by the best one. `status` is that of the (law,
    estimator) in `cells`, which are those of `Results.cells`.
    """
    key = ["law", "estimator", "m", "N"]
    parts = [_placed(part) for _, part in rows.groupby(key, sort=False)]
    rows = pd.concat(parts).merge(cells[[*key, "status"]], on=key, how="left")
    return rows.fillna({"status": ""})


def _placed(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.sort_values("q")
    q = rows["q"].to_numpy()
    finite = q[-1] == 1.0
    weight = np.diff(q, prepend=0.0) if finite else np.gradient(q)
    middle = q - weight / 2 if finite else q
    gap = np.average(rows["response"] - rows["exact"], weights=weight)
    return rows.assign(place=_logit(middle), weight=weight, response=rows["response"] - gap)


def _logit(q: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(q / (1.0 - q))


def distances(rows: pd.DataFrame) -> pd.Series:
    """Return each (law, estimator)'s distance from ψ_N over ψ_N's own size, in mean square over q.

    Over the q that are drawn; the responses' Monte Carlo variance is taken off. Only where the
    estimator's variance is finite and the law not saturated.
    """
    rows = rows[rows["status"] == ""]
    gap = (rows["response"] - rows["exact"]) ** 2 - rows["response_mcse"] ** 2
    parts = pd.DataFrame({"gap": gap, "size": rows["exact"] ** 2}).mul(rows["weight"], axis=0)
    sums = parts.groupby([rows["law"], rows["estimator"]], sort=False).sum()
    return np.sqrt(sums["gap"].clip(lower=0.0) / sums["size"])


def exact_line(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw ψ_N as a broad grey line."""
    axes.plot(rows["place"], rows["exact"], **EXACT, zorder=1)


def response_line(axes: Axes, rows: pd.DataFrame, look: style.Look) -> None:
    """Draw a response with its 95 % band."""
    x, reach = rows["place"], style.Z * rows["response_mcse"]
    low, high = rows["response"] - reach, rows["response"] + reach
    axes.fill_between(x, low, high, color=look.colour, alpha=0.3, lw=0)
    line = {**look.line, "markersize": 2.5, "linewidth": 1.0}
    axes.plot(x, rows["response"], **line, markevery=max(1, len(rows) // 5))


def scales(panels: Iterable[Axes], rows: pd.DataFrame) -> None:
    """Set a logit axis for q, and one for advantages: linear up to 1, then logarithmic.

    The limits are those of ψ_N and of the responses that have a finite variance.
    """
    values = rows.loc[rows["status"] == "", ["exact", "response"]].to_numpy()
    for axes in panels:
        axes.set_xticks(_logit(np.array(TICKS)), [f"{q:g}" for q in TICKS])
        axes.set_yscale("symlog", linthresh=1.0, linscale=0.7)
        axes.set_ylim(1.5 * values.min(), 1.5 * values.max())
        axes.set_yticks([-10.0, 0.0, 10.0, 100.0][int(values.min() > -7.0) :])
        axes.tick_params(labelsize=6.5)
        axes.minorticks_off()
