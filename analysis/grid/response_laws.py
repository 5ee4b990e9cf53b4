"""Figure: advantage response of the main estimators over the exact ψ_N, on every law."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.core import style
from analysis.core.panels import corner, one_column, outer, ranked
from analysis.core.read import Results
from analysis.core.write import command
from analysis.grid import responses


def draw(results: Results) -> Figure:
    """Response curves, one panel per law."""
    curves = responses.curves(results)
    looks, labels = style.looks(results.options), style.chosen(results.options, 6)
    curves = curves[curves["estimator"].isin(labels)]
    laws = [law for law in results.laws if (curves["law"] == law).any()]
    figure, panels = one_column(laws, height=1.0, columns=3, spare=1.3)
    for law, axes in panels.items():
        rows = curves[curves["law"] == law]
        responses.exact_line(axes, rows[rows["estimator"] == rows["estimator"].iloc[0]])
        for label in labels:
            responses.response_line(axes, rows[rows["estimator"] == label], looks[label])
        axes.set_title(law, loc="left", pad=2, fontsize=7.5)
        corner(axes, "saturated" * bool((rows["status"] == "saturated").all()))
    responses.scales(panels.values(), curves)
    outer(panels, "q", "E[A|q] + c")
    exact = Line2D([], [], **responses.EXACT, label="exact $\\psi_N$")
    style.legend(figure, looks, [x for x in labels if (curves["estimator"] == x).any()], exact)
    style.title(figure, finding(results))
    return figure


def finding(results: Results) -> str:
    """Say whose response is nearest to ψ_N on how many laws."""
    curves = responses.curves(results)
    off = responses.distances(curves).dropna()
    nearest = off.groupby("law", sort=False).idxmin().map(lambda pair: pair[1])
    least = off.groupby("law", sort=False).min()
    return (
        f"m = {curves['m'].iloc[0]}, N = {curves['N'].iloc[0]}: nearest to the exact advantage, of "
        f"{len(nearest)} laws: {ranked(nearest.value_counts())}; its distance is "
        f"{100 * least.min():.0f} % ({least.idxmin()}) to {100 * least.max():.0f} % "
        f"({least.idxmax()})"
    )


if __name__ == "__main__":
    command(draw)
