"""The figure of `tea-stats predict`: extrapolated curves, and their backtest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tea_stats.command_line.figures import STYLE, WIDTH, budgets
from tea_stats.prediction import METHODS, Forecast

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(forecast: Forecast, target_reward: float | None) -> Figure:
    """Return the figure: curves, and below them the backtest."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        if forecast.backtest is None:
            figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
            _curves(figure.subplots(), forecast, target_reward)
        else:
            figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
            upper, lower = figure.subplots(2, 1, height_ratios=(1.4, 1.0))
            _curves(upper, forecast, target_reward)
            _backtest(lower, forecast)
    return figure


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
    budgets(axes, forecast.N // 4 ** np.arange(int(np.log2(forecast.N) / 2) + 1))
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
    budgets(axes, test.grid[1::2])
    axes.set_xlabel("k")
    axes.set_title(f"Backtest: from {test.m} of {test.M} rollouts", weight="bold")
    axes.legend(loc="best")
