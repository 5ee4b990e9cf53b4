"""Figure: advantage response of each estimator over the exact ψ_N, on one law.

The response E[A_i | F(R_i) = q] contains the bias for every possible score function (SPEC 5): an
estimator is unbiased for all of them where its curve lies on ψ_N, up to a constant.
"""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.core import style
from analysis.core.panels import listed, one_column, outer
from analysis.core.read import Results
from analysis.core.write import command
from analysis.grid import responses


def draw(results: Results) -> Figure:
    """Response curves on the first law of the theory, one panel per estimator."""
    curves, law = responses.curves(results), (results.theory_laws or results.laws)[0]
    curves = curves[curves["law"] == law]
    looks = style.looks(results.options)
    labels = [x for x in style.ordered(results.options) if (curves["estimator"] == x).any()]
    off = responses.distances(curves)[law]
    figure, panels = one_column(labels, height=0.86, columns=3, spare=1.4)
    for label, axes in panels.items():
        rows = curves[curves["estimator"] == label]
        responses.exact_line(axes, rows)
        responses.response_line(axes, rows, looks[label])
        axes.set_title(label, loc="left", pad=2, fontsize=7)
        place, note = 0.8, f"{100 * off.get(label, 0.0):.0f} %"
        if label not in off:
            place, note = 0.05, "infinite\nvariance"
        axes.text(0.04, place, note, transform=axes.transAxes, fontsize=6.5)
    responses.scales(panels.values(), curves)
    outer(panels, "q", "E[A|q] + c")
    handles = [
        Line2D([], [], **responses.EXACT, label="exact $\\psi_N$"),
        Line2D([], [], color=style.INK, lw=1, label="response ± 95 %; number: distance"),
    ]
    cells = results.cells[(results.cells["law"] == law) & (results.cells["status"] == "undefined")]
    here = cells[(cells["m"] == curves["m"].iloc[0]) & (cells["N"] == curves["N"].iloc[0])]
    if len(here):
        names = listed(here["estimator"])
        handles.append(Line2D([], [], ls="", label=f"undefined at this m: {names}"))
    columns = 2 if len(handles) == 2 else 1
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    style.title(figure, finding(results))
    return figure


def finding(results: Results) -> str:
    """Say whose response is nearest to ψ_N, and whose farthest."""
    curves, law = responses.curves(results), (results.theory_laws or results.laws)[0]
    m, N = curves["m"].iloc[0], curves["N"].iloc[0]
    off = responses.distances(curves)[law].sort_values(kind="stable")
    near = ", ".join(f"{label} ({100 * value:.0f} %)" for label, value in off.head(3).items())
    return (
        f"{law}, m = {m}, N = {N}: nearest to the exact advantage are {near}; "
        f"farthest {off.index[-1]} ({100 * off.iloc[-1]:.0f} %)"
    )


if __name__ == "__main__":
    command(draw)
