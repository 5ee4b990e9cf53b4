"""Figure: a heat map of efficiency, estimators by laws.

Efficiency (SPEC 4.5) is (sᵀI⁻¹t)² / (tᵀI⁻¹t · E[A²]): the share of the advantages' second moment
that serves the exact gradient's direction. By Cauchy and Schwarz it is at most 1.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.core import style
from analysis.core.panels import HATCHES, hatch, ranked
from analysis.core.read import Results


def draw(results: Results) -> Figure:
    """Efficiency in the middle of the grid."""
    labels = style.ordered(results.options)
    rows = results.single
    values = rows.pivot(index="estimator", columns="law", values="efficiency")
    values = values.loc[labels, results.laws]
    status = rows.pivot(index="estimator", columns="law", values="status")
    status = status.reindex_like(values).fillna("undefined")
    values = values.mask(status.isin(["undefined", "infinite"]))

    figure, axes = plt.subplots(
        figsize=(style.COLUMN, 0.17 * len(labels) + 2.5), layout="constrained"
    )
    image = axes.imshow(values.clip(0.0, 1.0), cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
    for (i, j), state in np.ndenumerate(status.to_numpy()):
        hatch(axes, j, i, state)
        if state in ("", "saturated"):
            _number(axes, j, i, values.iat[i, j])
    axes.set_xticks(range(values.shape[1]), values.columns, rotation=90, fontsize=7)
    axes.set_yticks(range(values.shape[0]), values.index, fontsize=7)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, location="top", aspect=40, pad=0.01).set_label(
        "efficiency (numbers: per cent)", fontsize=7.5
    )
    used = [Patch(**HATCHES[x], label=x) for x in HATCHES if (status == x).any(axis=None)]
    if used:
        figure.legend(handles=used, loc="outside lower center", ncols=3, fontsize=7)
    style.title(figure, headline(results))
    return figure


def _number(axes: Axes, x: int, y: int, value: float) -> None:
    # no efficiency: all advantages are 0, or their mean is not significantly different from 0
    text = f"{100 * value:.0f}" if np.isfinite(value) else "–"
    ink = "white" if value < 0.5 else "black"
    axes.text(x, y, text, ha="center", va="center", color=ink, fontsize=6)


def best(results: Results) -> pd.DataFrame:
    """Return the most efficient estimator's row for each law, in the middle of the grid."""
    rows = results.single[results.single["status"] == ""].dropna(subset="efficiency")
    return rows.loc[rows.groupby("law", sort=False)["efficiency"].idxmax()]


def headline(results: Results) -> str:
    """Return the most efficient estimators, their range, and the largest standard error."""
    m, N = results.middle
    rows = best(results)
    low, high = (f"{100 * value:.0f}" for value in rows["efficiency"].agg(["min", "max"]))
    usable = results.single[results.single["status"] == ""]
    return (
        f"m = {m}, N = {N}: most efficient, of {len(rows)} laws, "
        f"{ranked(rows['estimator'].value_counts())}, at {low} to {high} % of the bound "
        f"(s.e. ≤ {100 * usable['efficiency_mcse'].max():.1g} %)"
    )
