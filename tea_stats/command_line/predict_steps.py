"""What `tea-stats predict --by step` prints and draws: best-of-N along training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from tea_stats.command_line import figures, shared
from tea_stats.command_line.predict_text import _interval, _number
from tea_stats.prediction import METHODS, Forecast

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Forecasts = Mapping[Any, Forecast]


def level_of_all(level: float, steps: int) -> float:
    """Return the level at which each of several intervals has to cover, for all to do so at once.

    By Bonferroni's inequality, whatever the steps have in common.

    Examples
    --------
    >>> level_of_all(0.9, 10)
    0.99
    """
    return 1.0 - (1.0 - level) / steps


def _ends(forecast: Forecast) -> tuple[float, float]:
    curve = forecast.curves[forecast.recommended]
    return float(curve.low[-1]), float(curve.high[-1])


def tables(forecasts: Forecasts, bands: Forecasts, by: str) -> Iterator[Table | str]:
    """Yield what was read, and a table with a row for each step."""
    last = list(forecasts.values())[-1]
    read = last.log.reading
    assert read is not None
    left_out = len(read.steps) - len(forecasts)
    yield shared.printable(
        f"read ({read.format}): {read.columns()}, "
        f"{shared.many(len(read.steps), 'step')} ({read.step})"
    )
    budget = f"best of {last.N:,}"
    columns = ("prompts", "rollouts", "mean", budget, "interval", "all at once", "method")
    table = shared.table(by, *columns)
    for step, forecast in forecasts.items():
        curve = forecast.curves[forecast.recommended]
        table.add_row(
            shared.printable(step),
            f"{len(forecast.log):,}",
            f"{len(forecast.log.rewards):,}",
            _number(mean(forecast)),
            _number(curve.value[-1]),
            _interval(curve.low[-1], curve.high[-1]),
            _interval(*_ends(bands[step])),
            METHODS[forecast.recommended].title,
        )
    yield table
    if left_out:
        yield f"note: {shared.many(left_out, 'step')} with one rollout of each prompt left out"
    yield (
        "note: steps that differ in their prompts differ for that reason too; intervals are those "
        f"of each step by itself, {last.level:.0%}, and those of all steps at once"
    )


def mean(forecast: Forecast) -> float:
    """Return the mean reward: the average over prompts of each one's mean."""
    return float(np.mean([group.mean() for group in forecast.log]))


def content(forecasts: Forecasts, bands: Forecasts, file: str, by: str) -> dict[str, Any]:
    """Return everything for JSON: a list with an entry for each step."""
    rows = []
    for step, forecast in forecasts.items():
        curve = forecast.curves[forecast.recommended]
        assert forecast.log.reading is not None
        low, high = _ends(bands[step])
        rows.append(
            {
                "step": step,
                "prompts": len(forecast.log),
                "rewards": len(forecast.log.rewards),
                "mean": mean(forecast),
                "recommended": forecast.recommended,
                "value": curve.value[-1],
                "low": curve.low[-1],
                "high": curve.high[-1],
                "band_low": low,
                "band_high": high,
                "reading": forecast.log.reading.content(),
            }
        )
    first = next(iter(forecasts.values()))
    head = {"file": file, "by": by, "N": first.N, "target": first.target, "level": first.level}
    return {**head, "steps": rows}


def draw(forecasts: Forecasts, bands: Forecasts, by: str) -> Figure:
    """Return the figure: best-of-N with its interval and the mean reward, by step."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    steps, rows = list(forecasts), list(forecasts.values())
    numbers = all(isinstance(step, int | float) for step in steps)
    x = np.array(steps if numbers else range(len(steps)), dtype=float)
    best = [forecast.curves[forecast.recommended] for forecast in rows]
    value, low, high = (
        np.array([getattr(curve, end)[-1] for curve in best]) for end in ("value", "low", "high")
    )
    known = np.isfinite(low) & np.isfinite(high)
    outer_low, outer_high = np.array([_ends(bands[step]) for step in steps]).T
    colour = METHODS[rows[-1].recommended].colour
    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(figures.WIDTH, 2.8), layout="constrained")
        axes = figure.subplots()
        axes.vlines(x[known], outer_low[known], outer_high[known], color=colour, lw=0.8)
        axes.vlines(x[known], low[known], high[known], color=colour, alpha=0.35, lw=3.0)
        axes.plot(
            x,
            np.where(np.isfinite(value), value, np.nan),
            color=colour,
            marker="o",
            markersize=3.5,
            label=f"best of {rows[-1].N:,}, {rows[-1].level:.0%} (thin: all steps at once)",
        )
        means = [mean(forecast) for forecast in rows]
        axes.plot(x, means, color="#666666", ls="--", marker=".", label="mean reward")
        if numbers:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            axes.set_xticks(x, [shared.printable(step) for step in steps])
        axes.set_xlabel(by)
        axes.set_ylabel("reward")
        axes.legend(loc="best")
    return figure
