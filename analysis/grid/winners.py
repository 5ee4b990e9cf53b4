"""Figure: which estimator has the least error of a batch at which m and N, for every law.

The error is (‖bias‖² + total variance/64) / ‖∇V_N‖²; cells on a diagonal have the same m/N. A pale
cell is not won: the runner-up is within two standard errors of the difference.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from analysis.core import style
from analysis.core.panels import HATCHES, hatch, one_column, outer
from analysis.core.read import BATCH, Results
from analysis.core.write import command
from analysis.grid.least_error import by_band, winners


def draw(results: Results) -> Figure:
    """Map the winners of all cells, one panel per law."""
    looks, found = style.looks(results.options), winners(results)
    figure, panels = one_column(results.laws, height=1.12, columns=3, spare=1.3)
    for law, axes in panels.items():
        for cell in found[found["law"] == law].itertuples():
            x, y = results.N.index(cell.N), results.m.index(cell.m)
            if isinstance(cell.estimator, str):
                _cell(axes, x, y, looks[cell.estimator], cell.clear)
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
    labels = [x for x in style.ordered(results.options) if (found["estimator"] == x).any()]
    extra = [Line2D([], [], color=style.INK, lw=0.8, ls=":", label="m = N")]
    extra += [Patch(facecolor="#cccccc", alpha=0.45, label="not clear (2 s.e.)")]
    extra += [Patch(**HATCHES[x], label=x) for x in HATCHES if (found["status"] == x).any()]
    style.legend(figure, looks, labels, *extra)
    style.title(figure, finding(results))
    return figure


def _cell(axes: Axes, x: int, y: int, look: style.Look, clear: bool) -> None:
    alpha = 0.85 if clear else 0.3
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=look.colour, alpha=alpha, lw=0))
    face = "white" if clear else look.colour
    axes.plot(x, y, marker=look.marker, mfc=face, mec=face, ms=3, ls="")


def finding(results: Results) -> str:
    """Say who wins most often, and where."""
    places: dict[str, list[str]] = {}
    for name, wins in by_band(winners(results)).items():
        percent = 100 * wins.iloc[0] / wins.sum()
        places.setdefault(wins.index[0], []).append(f"{name} ({percent:.0f} %)")
    parts = [f"{label} at {' and '.join(names)}" for label, names in places.items()]
    return f"Least error of a {BATCH}-prompt batch, most often: {'; '.join(parts)}"


if __name__ == "__main__":
    command(draw)
