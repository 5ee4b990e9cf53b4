"""Figures of linear designs: `python -m analysis.linear_design --out figures/linear_design`.

Designs on the Normal law, exact: their slopes and mean response p(u) beside N u^{N−1}, their
weights of max@k, and their efficiency against TEA's. TEA's comes from the summary of a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.stats import binom

from analysis.core import style
from analysis.core.panels import row_of_panels
from analysis.core.style import Look
from analysis.core.write import opened, save
from analysis.linear.tables import normal_efficiency
from tea_stats import LinearDesign, linear_tea_design

Array = NDArray[np.float64]

BUDGETS = ((16, 128), (32, 512), (64, 1024))
SIZES = (8, 16, 32, 64, 128, 256)
RATIOS = (4, 16, 64)
#: k_min as a share of m, 0 for k_min = 1: shades of the crimson of linear TEA
SHARES: Mapping[float, tuple[str, Look]] = {
    0.0: ("k_min = 1", Look("#7A0026", "o")),
    0.25: ("m/4", Look("#E0245E", "^")),
    0.5: ("m/2", Look("#F59AB5", "s")),
}
PLAIN = ("TEA .25", "TEA .5")
#: the grid whose summary has TEA's efficiency
SUMMARY = Path(__file__).parents[1] / "summaries" / "paper"


def k_min(m: int, share: float) -> int:
    """Return the share of m, at least 1."""
    return max(1, int(m * share))


def response(design: LinearDesign, u: Array) -> Array:
    """Return p(u) = Σ_i a_i m C(m−1, i−1) u^{i−1} (1−u)^{m−i}, the mean response's slope."""
    return (
        design.m * binom.pmf(np.arange(design.m), design.m - 1, u[:, None]) @ design.value_weights
    )


# --- figures ------------------------------------------------------------------------------------


def slopes() -> Figure:
    """Slopes s_b at b/m, p(u), and the exact N u^{N−1}; a panel for each m and N."""
    figure, panels = row_of_panels([f"m = {m}, N = {N}" for m, N in BUDGETS], height=2.9)
    u = np.linspace(0.0, 1.0, 1001)
    for axes, (m, N) in zip(panels, BUDGETS, strict=True):
        axes.plot(u, N * u ** (N - 1), color=style.INK, lw=1.0, ls="--")
        for share, (_, look) in SHARES.items():
            design = linear_tea_design(m, N, k_min=k_min(m, share))
            axes.plot(u, response(design, u), color=look.colour)
            used = np.arange(design.k_min, m)
            dots = {**look.line, "ls": "", "ms": 2.2, "alpha": 0.8}
            axes.plot(used / m, design.slopes[design.k_min - 1 :], **dots)
        _signed_powers(axes, range(3), range(4))
        axes.set_xlabel("u = F(r); gaps at b/m")
    panels[0].set_ylabel("slope of the advantage in r")
    dashed = Line2D([], [], color=style.INK, lw=1.0, ls="--", label="exact, N u$^{N-1}$")
    line = Line2D([], [], color=style.GREY, label="p(u)")
    dots = Line2D([], [], color=style.GREY, ls="", marker="o", ms=3, label="slopes $s_b$")
    _legend(figure, dashed, line, dots)
    style.title(figure, slopes_headline())
    return figure


def slopes_headline() -> str:
    """Return where p is negative, and its slope at the top beside the exact one."""
    m, N = BUDGETS[-1]
    u = np.linspace(0.0, 1.0, 100_001)
    p = {share: response(linear_tea_design(m, N, k_min=k_min(m, share)), u) for share in SHARES}
    turns = {share: u[values < 0.0].max() for share, values in p.items()}
    return (
        f"m = {m}, N = {N}: linear TEA's response falls in r up to u = {turns[0.0]:.2f} "
        f"(k_min = 1) or {turns[0.5]:.2f} (m/2) and ends with slope {p[0.0][-1]:.1f} or "
        f"{p[0.5][-1]:.1f}, the exact one with {N}"
    )


def weights() -> Figure:
    """Weights w_k of max@k on a symmetric logarithmic axis; a panel for each m and N."""
    figure, panels = row_of_panels(
        [f"m = {m}, N = {N}" for m, N in BUDGETS], height=2.9, sharey=False
    )
    for axes, (m, N) in zip(panels, BUDGETS, strict=True):
        for share, (_, look) in SHARES.items():
            w = linear_tea_design(m, N, k_min=k_min(m, share)).weights
            axes.plot(list(w), list(w.values()), **{**look.line, "lw": 0.5, "ms": 2.2})
        largest = max(abs(w) for line in axes.lines for w in line.get_ydata())
        # about four ticks on either side
        step = max(1, round(np.log10(largest) / 4))
        exponents = range(step, int(np.log10(largest)) + step + 1, step)
        _signed_powers(axes, exponents, exponents)
        axes.set_xlabel("k")
    panels[0].set_ylabel("weight $w_k$ of max@k")
    _legend(figure)
    style.title(figure, weights_headline())
    return figure


def weights_headline() -> str:
    """Return the largest weights."""
    largest = []
    for m, N in BUDGETS:
        sizes = [
            max(map(abs, linear_tea_design(m, N, k_min=k_min(m, share)).weights.values()))
            for share in SHARES
        ]
        largest.append(f"{max(sizes):.0e} at m = {m}".replace("e+0", "e").replace("e+", "e"))
    return (
        "The weights sum to 1, and nearly all of them alternate in sign; "
        f"the largest is {', '.join(largest)}"
    )


def efficiency(plain: pd.DataFrame) -> Figure:
    """Efficiency on the Normal law against m, exact, with TEA's; a panel for each N/m."""
    figure, panels = row_of_panels([f"N = {ratio} m" for ratio in RATIOS], height=2.9)
    looks = style.looks({"TEA .25": {"name": "tea"}, "TEA .5": {"name": "tea", "alpha": 0.5}})
    for axes, ratio in zip(panels, RATIOS, strict=True):
        axes.axhline(1.0, color=style.INK, lw=0.8)
        for share, (_, look) in SHARES.items():
            exact = [normal_efficiency(m, ratio * m, k_min(m, share)) for m in SIZES]
            axes.plot(SIZES, exact, **look.line)
        for label in PLAIN:
            rows = plain[(plain["estimator"] == label) & (plain["N"] == ratio * plain["m"])]
            bars = {"yerr": style.Z * rows["efficiency_mcse"], "elinewidth": 0.8}
            axes.errorbar(rows["m"], rows["efficiency"], **bars, **looks[label].line)
        style.grid_ticks(axes, SIZES)
        axes.set_ylim(0.0, 1.05)
        axes.set_xlabel("rollouts per group m")
    panels[0].set_ylabel("efficiency (bound: 1)")
    names = {label: f"{label} (N ≤ {plain['N'].max()})" for label in PLAIN}
    _legend(figure, *(Line2D([], [], label=names[x], **looks[x].line) for x in PLAIN))
    style.title(figure, efficiency_headline(plain))
    return figure


def efficiency_headline(plain: pd.DataFrame) -> str:
    """Return the range of every line."""
    linear = []
    for share, (label, _) in SHARES.items():
        exact = [normal_efficiency(m, r * m, k_min(m, share)) for r in RATIOS for m in SIZES]
        linear.append(f"{_range(min(exact), max(exact))} with {label}")
    drawn = plain[(plain["N"] / plain["m"]).isin(RATIOS)].groupby("estimator")["efficiency"]
    others = [f"{label}: {_range(x.min(), x.max())}" for label, x in drawn]
    return f"Efficiency, Normal law. Linear TEA: {', '.join(linear)}; {'; '.join(others)}"


def _range(low: float, high: float) -> str:
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def _signed_powers(axes: Axes, below: range, above: range) -> None:
    """Make the y-axis symmetric and logarithmic, with ticks at 0 and ±10 to these powers."""
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.5)
    labels = {0: "1", 1: "10"}
    ticks = {-(10.0**x): f"−{labels.get(x, f'$10^{{{x}}}$')}" for x in below} | {0.0: "0"}
    ticks |= {10.0**x: labels.get(x, f"$10^{{{x}}}$") for x in above}
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_yticks([], minor=True)


def _legend(figure: Figure, *extra: Line2D) -> None:
    """Put the designs, and `extra` handles, under the panels."""
    style.legend(figure, dict(SHARES.values()), [label for label, _ in SHARES.values()], *extra)


# --- the command --------------------------------------------------------------------------------


def main(
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures"),
    summary: Annotated[
        Path,
        typer.Option(
            help="Results or summary with TEA's cells.", show_default="analysis/summaries/paper"
        ),
    ] = SUMMARY,
) -> None:
    """Draw slopes, weights and efficiency of linear designs."""
    table = opened(summary).table
    cells = table[(table["law"] == "Normal") & (table["parameter"] == "all")]
    plain = cells[cells["estimator"].isin(PLAIN)]
    figures = {"slopes": slopes, "weights": weights, "efficiency": partial(efficiency, plain)}
    save(figures, out)
    typer.echo("\n".join(f"{out / name}.png, .pdf" for name in figures))
