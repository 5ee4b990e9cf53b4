"""Figure: which estimator has the least error of a batch at each m and N, for every law.

The error is (‖bias‖² + total variance/64) / ‖∇V_N‖²; cells on a diagonal have the same m/N. In a
pale cell the runner-up is within two standard errors of the difference.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from analysis.core import style
from analysis.core.panels import HATCHES, hatch, one_column, outer, shown
from analysis.core.read import BATCH, Results

#: bands of m/N: name, lower and upper end (inclusive)
BANDS = (("m ≤ N/8", 0.0, 0.125), ("N/8 < m < N", 0.126, 0.999), ("m ≥ N", 1.0, np.inf))


def draw(results: Results) -> Figure:
    """Map the winners of all cells, one panel per law."""
    looks, best = style.looks(results.options), winners(results)
    figure, panels = one_column(results.laws, height=1.12, columns=3, spare=1.3)
    for law, axes in panels.items():
        for cell in best[best["law"] == law].itertuples():
            x, y = results.N.index(cell.N), results.m.index(cell.m)
            if isinstance(cell.estimator, str):
                _cell(axes, x, y, looks[cell.estimator], cell.significant)
            hatch(axes, x, y, cell.status)
        equal = [(results.N.index(m), i) for i, m in enumerate(results.m) if m in results.N]
        if len(equal) > 1:
            axes.plot(*zip(*equal, strict=True), color=style.INK, lw=0.8, ls=":", zorder=1.5)
        axes.set(xlim=(-0.5, len(results.N) - 0.5), ylim=(-0.5, len(results.m) - 0.5))
        axes.set_xticks(range(len(results.N)), style.every_other(results.N), fontsize=6.5)
        axes.set_yticks(range(len(results.m)), results.m, fontsize=6.5)
        axes.tick_params(length=0)
        axes.grid(visible=False)
    outer(panels, "N", "m")
    labels = [x for x in style.ordered(results.options) if (best["estimator"] == x).any()]
    extra = [Line2D([], [], color=style.INK, lw=0.8, ls=":", label="m = N")]
    extra += [Patch(facecolor="#cccccc", alpha=0.45, label="not significant (2 s.e.)")]
    extra += [Patch(**HATCHES[x], label=x) for x in HATCHES if (best["status"] == x).any()]
    style.legend(figure, looks, labels, *extra)
    style.title(figure, headline(results))
    return figure


def _cell(axes: Axes, x: int, y: int, look: style.Look, significant: bool) -> None:
    alpha = 0.85 if significant else 0.3
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=look.colour, alpha=alpha, lw=0))
    face = "white" if significant else look.colour
    axes.plot(x, y, marker=look.marker, mfc=face, mec=face, ms=3, ls="")


def winners(results: Results) -> pd.DataFrame:
    """Return the estimator of least error for each (law, m, N).

    Columns: law, m, N, ratio, estimator, error, error_mcse, significant, status. The difference to
    the runner-up is `significant` at two standard errors. `status` is that of the cell: "",
    "saturated", or "infinite" where no estimator has a finite second moment.
    """
    rows = shown(results.cells).dropna(subset="batch_nmse")
    rows = rows.sort_values("batch_nmse", kind="stable")
    key = ["law", "m", "N"]
    best = rows.groupby(key, sort=False).nth(0).set_index(key)
    second = rows.groupby(key, sort=False).nth(1).set_index(key).reindex(best.index)
    # as if independent: with common random numbers the difference has a smaller error than that
    reach = 2.0 * np.hypot(best["batch_nmse_mcse"], second["batch_nmse_mcse"])
    gap = second["batch_nmse"] - best["batch_nmse"]
    every = results.cells[key].drop_duplicates().reset_index(drop=True)
    columns = pd.DataFrame(
        {
            "estimator": best["estimator"],
            "error": best["batch_nmse"],
            "error_mcse": best["batch_nmse_mcse"],
            "significant": second["estimator"].isna() | (gap > reach),
            "status": best["status"],
        }
    )
    table = every.merge(columns, how="left", left_on=key, right_index=True)
    table["significant"] = table["significant"].eq(True)
    table["ratio"] = table["m"] / table["N"]
    saturated = results.cells.groupby(key)["status"].agg(lambda x: (x == "saturated").any())
    no_winner = np.where(
        pd.MultiIndex.from_frame(table[key]).map(saturated), "saturated", "infinite"
    )
    return table.assign(status=table["status"].where(table["status"].notna(), no_winner))


def by_band(best: pd.DataFrame) -> dict[str, pd.Series]:
    """Return for each band of m/N how many unsaturated cells each estimator wins."""
    usable = best[best["status"] == ""]
    counts = {}
    for name, low, high in BANDS:
        wins = usable.loc[usable["ratio"].between(low, high), "estimator"].value_counts()
        if len(wins):
            counts[name] = wins
    return counts


def headline(results: Results) -> str:
    """Return the most frequent winner of each band of m/N."""
    places: dict[str, list[str]] = {}
    for name, wins in by_band(winners(results)).items():
        percent = 100 * wins.iloc[0] / wins.sum()
        places.setdefault(wins.index[0], []).append(f"{name} ({percent:.0f} %)")
    parts = [f"{label} at {' and '.join(names)}" for label, names in places.items()]
    return f"Least error of a {BATCH}-prompt batch, most often: {'; '.join(parts)}"
