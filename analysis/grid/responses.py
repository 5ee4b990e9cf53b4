"""Advantage response curves: which ones are drawn, how far they are from ψ_N, how they look."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.core import style as _style
from analysis.core.read import Absent, Results

TICKS = (0.01, 0.5, 0.99)
EXACT = {"color": "#b5b5b5", "lw": 3.0, "solid_capstyle": "butt"}


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


def response_line(axes: Axes, rows: pd.DataFrame, look: _style.Look) -> None:
    """Draw a response with its 95 % band."""
    x, reach = rows["place"], _style.Z * rows["response_mcse"]
    low, high = rows["response"] - reach, rows["response"] + reach
    axes.fill_between(x, low, high, color=look.colour, alpha=0.3, lw=0)
    style = {**look.line, "markersize": 2.5, "linewidth": 1.0}
    axes.plot(x, rows["response"], **style, markevery=max(1, len(rows) // 5))


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
