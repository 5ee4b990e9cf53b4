"""What `tea-stats predict` prints: tables and notes for a terminal, everything as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.table import Table

from tea_stats.command_line import shared
from tea_stats.prediction import BEYOND, METHODS, Curve, Forecast, Reach

#: prompts listed on a terminal; --json has all of them
LISTED = 20
#: fewer prompts are a small sample of the population
FEW_PROMPTS = 8
AVERAGE = {
    "population": "average over the population the prompts come from",
    "these_prompts": "average over these prompts",
}


def tables(
    forecast: Forecast, file: str, target_reward: float | None, reaches: dict[str, Reach] | None
) -> Iterator[Table | str]:
    """Yield headlines and tables."""
    log, sizes = forecast.log, forecast.log.sizes
    each = f"{sizes[0]}" if np.ptp(sizes) == 0 else f"{sizes.min()} to {sizes.max()}"
    yield (
        f"{shared.printable(file)}: {shared.many(len(log), 'prompt')}, {each} rollouts each\n"
        f"best-of-N, {AVERAGE[forecast.target]}; {forecast.level:.0%} intervals"
    )
    yield _at_budget(forecast)
    yield _reason(forecast)
    yield _along(forecast)
    if reaches is not None and target_reward is not None:
        yield _reached(forecast, target_reward, reaches)
    if forecast.curves[forecast.recommended].prompt_low is not None:
        yield _each_prompt(forecast)
    yield from (f"note: {note}" for note in notes(forecast))


def _title(forecast: Forecast, name: str) -> str:
    return METHODS[name].title + (" *" if name == forecast.recommended else "")


def _at_budget(forecast: Forecast) -> Table:
    budget, test = f"best of {forecast.N:,}", forecast.backtest
    columns = ("interval", "all N at once", "backtest error", "its bias ± s.e.")
    table = shared.table("method", budget, *columns)
    for name, curve in forecast.curves.items():
        error, bias = "", ""
        if test is not None and name in test.errors:
            error = _number(test.errors[name])
            bias = f"{_number(test.biases[name])} ± {_number(test.standard_errors[name])}"
        table.add_row(_title(forecast, name), *_at(curve, -1), error, bias)
    return table


def _at(curve: Curve, place: int) -> tuple[str, str, str]:
    if curve.method == "stack" and np.isnan(curve.value[place]):
        return BEYOND, "", ""
    return (
        _number(curve.value[place]),
        _interval(curve.low[place], curve.high[place]),
        _interval(curve.band_low[place], curve.band_high[place]),
    )


def _reason(forecast: Forecast) -> str:
    return f"* {forecast.reason}"


def _along(forecast: Forecast) -> Table:
    best = forecast.curves[forecast.recommended]
    inside = forecast.curves.get("max_at_k")
    title = _title(forecast, best.method)
    twice = best.method == "max_at_k"
    beside = [] if twice else ["unbiased max@k"]
    table = shared.table("N", *beside, title, "interval", "all N at once")
    for place, N in enumerate(best.grid):
        if N & (N - 1) and N != forecast.N:
            continue
        unbiased = "" if inside is None else _number(inside.value[place])
        table.add_row(f"{N:,}", *([] if twice else [unbiased]), *_at(best, place))
    return table


def _reached(forecast: Forecast, target_reward: float, reaches: dict[str, Reach]) -> Table:
    table = shared.table(f"N that reaches {target_reward:g}", "N", "interval")
    for name, reach in reaches.items():
        table.add_row(_title(forecast, name), *reach_text(forecast.curves[name], reach))
    return table


def reach_text(curve: Curve, reach: Reach) -> tuple[str, str]:
    """Return the budget and its interval as text; "beyond N = …" where there is none."""
    known = ~np.isnan(curve.value)
    last = f"{int(curve.grid[known].max(initial=0)):,}"
    value = f"beyond N = {last}" if reach.N is None else f"{reach.N:,}"
    if np.isnan(curve.low[known]).all():
        return value, ""
    low, high = (f"> {last}" if end is None else f"{end:,}" for end in (reach.low, reach.high))
    return value, low if reach.low is None else f"[{low}, {high}]"


def _each_prompt(forecast: Forecast) -> Table:
    curve = forecast.curves[forecast.recommended]
    assert curve.prompt_low is not None and curve.prompt_high is not None
    budget = f"best of {forecast.N:,}"
    table = shared.table("prompt", "rollouts", "best observed", budget, "interval")
    groups = list(forecast.log)
    for place, label in enumerate(forecast.log.prompts[:LISTED]):
        text = " ".join(shared.printable(label).split())
        table.add_row(
            text if len(text) <= 40 else text[:37] + "...",
            str(len(groups[place])),
            _number(groups[place].max()),
            _number(curve.prompt_values[place, -1]),
            _interval(curve.prompt_low[place, -1], curve.prompt_high[place, -1]),
        )
    if len(forecast.log) > LISTED:
        table.add_row(f"and {len(forecast.log) - LISTED:,} more (--json)")
    return table


def notes(forecast: Forecast) -> Iterator[str]:
    """Yield caveats."""
    yield from forecast.notes
    prompts = len(forecast.log)
    if forecast.target == "population" and prompts < FEW_PROMPTS:
        yield f"{prompts} prompts are a small sample of the population they come from"
    for name, curve in forecast.curves.items():
        if name == "max_at_k":  # has a note of its own
            continue
        left_out = prompts - int(curve.prompts.max(initial=0))
        if left_out:
            count = f"{left_out:,} prompt{'' if left_out == 1 else 's'}"
            least = METHODS[name].least
            yield f"{METHODS[name].title} leaves out {count} with fewer than {least} rollouts"
    shape = forecast.curves["gen_pareto"].details["shape"] if "gen_pareto" in forecast.curves else 0
    if shape >= 0.5:
        yield (
            f"the generalised Pareto shape is {shape:.2f}: from 0.5 on the variance is infinite "
            "and intervals are too narrow; from 1 on there is no mean, and best-of-N is infinite"
        )


def _number(value: float) -> str:
    if np.isnan(value):
        return ""
    return "∞" if np.isinf(value) else f"{value:.4g}"


def _interval(low: float, high: float) -> str:
    return "" if np.isnan(low) or np.isnan(high) else f"[{_number(low)}, {_number(high)}]"


# --- JSON ----------------------------------------------------------------------------------------


def content(
    forecast: Forecast, file: str, target_reward: float | None, reaches: dict[str, Reach] | None
) -> dict[str, Any]:
    """Return everything for JSON; infinite ends become null, as does what is absent."""
    first = next(iter(forecast.curves.values()))
    whole: dict[str, Any] = {
        "file": file,
        "reading": shared.read_content(forecast.log),
        "prompts": len(forecast.log),
        "rewards": len(forecast.log.rewards),
        "rollouts": {"least": forecast.log.sizes.min(), "most": forecast.log.sizes.max()},
        "N": forecast.N,
        "target": forecast.target,
        "level": forecast.level,
        "recommended": forecast.recommended,
        "reason": forecast.reason,
        "reach": forecast.reach,
        "notes": list(notes(forecast)),
        "grid": first.grid,
        "curves": {name: _curve_content(curve) for name, curve in forecast.curves.items()},
        "backtest": None if forecast.backtest is None else forecast.backtest.__dict__,
    }
    if reaches is not None:
        whole["target_reward"] = target_reward
        whole["budget"] = {name: reach.__dict__ for name, reach in reaches.items()}
    if first.prompt_low is not None:
        whole["prompt_labels"] = list(forecast.log.prompts)
    return whole


def _curve_content(curve: Curve) -> dict[str, Any]:
    method = {
        "title": METHODS[curve.method].title,
        "formula": METHODS[curve.method].formula,
        "reference": METHODS[curve.method].reference,
        "details": curve.details,
    }
    lines = ["value", "low", "high", "band_low", "band_high", "allowance", "prompts"]
    if curve.prompt_low is not None:
        lines += ["prompt_values", "prompt_low", "prompt_high"]
    return method | {line: getattr(curve, line) for line in lines}
