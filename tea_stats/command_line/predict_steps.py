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


def tables(forecasts: Mapping[Any, Forecast], by: str) -> Iterator[Table | str]:
    """Yield what was read, and a table with a row for each step."""
    last = list(forecasts.values())[-1]
    read = last.log.reading
    assert read is not None
    left_out = len(read.steps) - len(forecasts)
    yield shared.printable(
        f"read ({read.format}): {read.columns()}, "
        f"{shared.many(len(read.steps), 'step')} ({read.step})"
    )
    columns = ("prompts", "rollouts", "mean", f"best of {last.N:,}", "interval", "method")
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
            METHODS[forecast.recommended].title,
        )
    yield table
    if left_out:
        yield f"note: {shared.many(left_out, 'step')} with one rollout of each prompt left out"
    yield (
        "note: steps that differ in their prompts differ for that reason too; intervals are those "
        f"of each step by itself, {last.level:.0%}"
    )


def mean(forecast: Forecast) -> float:
    """Return the mean reward: the average over prompts of each one's mean."""
    return float(np.mean([group.mean() for group in forecast.log]))


def content(forecasts: Mapping[Any, Forecast], by: str) -> dict[str, Any]:
    """Return everything for JSON: a list with an entry for each step."""
    rows = []
    for step, forecast in forecasts.items():
        curve = forecast.curves[forecast.recommended]
        assert forecast.log.reading is not None
        rows.append(
            {
                by: step,
                "prompts": len(forecast.log),
                "rewards": len(forecast.log.rewards),
                "mean": mean(forecast),
                "recommended": forecast.recommended,
                "value": curve.value[-1],
                "low": curve.low[-1],
                "high": curve.high[-1],
                "reading": forecast.log.reading.content(),
            }
        )
    first = next(iter(forecasts.values()))
    return {"by": by, "N": first.N, "level": first.level, "steps": rows}


def draw(forecasts: Mapping[Any, Forecast], by: str) -> Figure:
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
    colour = METHODS[rows[-1].recommended].colour
    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(figures.WIDTH, 2.8), layout="constrained")
        axes = figure.subplots()
        axes.vlines(x[known], low[known], high[known], color=colour, alpha=0.35, lw=3.0)
        axes.plot(
            x,
            np.where(np.isfinite(value), value, np.nan),
            color=colour,
            marker="o",
            markersize=3.5,
            label=f"best of {rows[-1].N:,}, {rows[-1].level:.0%} intervals",
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
