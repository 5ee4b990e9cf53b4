"""The figure of `tea-stats predict`: extrapolated curves, and their backtest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tea_stats.prediction import METHODS, Forecast

SUFFIXES = (".png", ".pdf", ".svg")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 200,
}


def check(path: Path) -> None:
    """Raise ValueError if a figure cannot be written there, before anything is computed."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--figure is {path}; give a name that ends in {', '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--figure is {path}, in a folder that does not exist; make it first")


def draw(forecast: Forecast, path: Path, target_reward: float | None) -> None:
    """Write the figure."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.9), layout="constrained")
        if forecast.backtest is None:
            _curves(figure.subplots(), forecast, target_reward)
        else:
            left, right = figure.subplots(1, 2, width_ratios=(1.55, 1.0))
            _curves(left, forecast, target_reward)
            _backtest(right, forecast)
        figure.savefig(path)


def _curves(axes: Any, forecast: Forecast, target_reward: float | None) -> None:
    best = forecast.curves[forecast.recommended]
    colour = METHODS[best.method].colour
    finite = np.isfinite(best.band_low) & np.isfinite(best.band_high)
    for low, high, shade, label in (
        (best.band_low, best.band_high, 0.13, f"{forecast.level:.0%} band, all N at once"),
        (best.low, best.high, 0.25, f"{forecast.level:.0%} interval at each N"),
    ):
        axes.fill_between(
            best.grid, low, high, where=finite, color=colour, alpha=shade, lw=0, label=label
        )
    for name, curve in forecast.curves.items():
        chosen = name == forecast.recommended
        axes.plot(
            curve.grid,
            np.where(np.isfinite(curve.value), curve.value, np.nan),
            color=METHODS[name].colour,
            lw=2.0 if chosen else 1.2,
            ls="-" if chosen or name == "max_at_k" else "--",
            marker="o" if name == "max_at_k" else None,
            markersize=3.5,
            zorder=4 if name == "max_at_k" else 3,
            label=METHODS[name].title + (" (recommended)" if chosen else ""),
        )
    rollouts = float(np.median(forecast.log.sizes))
    note = {"textcoords": "offset points", "color": "#666666"}
    axes.axvline(rollouts, color="#8a8a8a", lw=0.8, ls=":")
    at_top = {"xy": (rollouts, 1.0), "xycoords": ("data", "axes fraction"), "xytext": (3, -2)}
    axes.annotate(f"m = {rollouts:g}", **at_top, **note, va="top")
    if target_reward is not None:
        axes.axhline(target_reward, color="#8a8a8a", lw=0.8)
        at_end = {"xy": (1.0, target_reward), "xycoords": ("axes fraction", "data")}
        axes.annotate(f"target {target_reward:g}", **at_end, **note, xytext=(0, 2), ha="right")
    _budgets(axes, forecast.N // 4 ** np.arange(int(np.log2(forecast.N) / 2) + 1))
    axes.set_xlabel("N")
    axes.set_ylabel("mean reward of the best of N")
    prompts = "the population" if forecast.target == "population" else "these prompts"
    axes.set_title(f"Best-of-N, average over {prompts}", weight="bold")
    axes.legend(loc="upper left")


def _backtest(axes: Any, forecast: Forecast) -> None:
    test = forecast.backtest
    assert test is not None
    axes.plot(
        test.grid, test.truth, color="#000000", marker="o", markersize=3.5, label="all rollouts"
    )
    for name, line in test.predicted.items():
        axes.plot(
            test.grid,
            line,
            color=METHODS[name].colour,
            lw=2.0 if name == forecast.recommended else 1.2,
            ls=":" if name == "max_at_k" else "-" if name == forecast.recommended else "--",
            label="no extrapolation" if name == "max_at_k" else METHODS[name].title,
        )
    _budgets(axes, test.grid[1::2])
    axes.set_xlabel("k")
    axes.set_title(f"Backtest: from {test.m} of {test.M} rollouts", weight="bold")
    axes.legend(loc="best")


def _budgets(axes: Any, ticks: Any) -> None:
    """Make the x-axis logarithmic, with these budgets written as integers."""
    axes.set_xscale("log", base=2)
    ticks = np.unique(ticks)
    while len(ticks) > 8:
        ticks = ticks[::-2]
    axes.set_xticks(ticks, [f"{N:g}" if N < 1e6 else f"{N:.0e}" for N in ticks])
    axes.set_xticks([], minor=True)
