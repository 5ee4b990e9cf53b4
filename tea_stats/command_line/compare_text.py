"""What `tea-stats compare` prints, its JSON and its figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from tea_stats.command_line import shared
from tea_stats.command_line.figures import STYLE, WIDTH, budgets
from tea_stats.command_line.shared import Part
from tea_stats.comparison import Comparison
from tea_stats.prediction import METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGETS = {
    "population": "the population the prompts come from",
    "these_prompts": "these prompts",
}


def parts(
    result: Comparison, names: tuple[str, str], curve: Sequence[Comparison]
) -> Iterator[Part]:
    """Yield the headline, the difference, what it rests on, and the differences at other N."""
    yield f"a: {names[0]}\nb: {names[1]}"
    pairs = result.pairs
    sizes = [log.sizes for log in (pairs.a, pairs.b)]
    each = " and ".join(
        f"{own.min()}" if np.ptp(own) == 0 else f"{own.min()} to {own.max()}" for own in sizes
    )
    kind = (
        f"{len(pairs.a):,} pairs of prompts"
        if result.paired
        else (f"{len(pairs.a):,} and {len(pairs.b):,} prompts, not paired")
    )
    yield f"{kind}, {each} rollouts each; for {TARGETS[result.target]}"
    yield verdict(result)
    head = f"best of {result.N:,}"
    table = shared.table(head, "a", "b", "b − a", f"{result.level:.0%} interval", "method")
    for other in curve:
        table.add_row(f"N = {other.N:,}", *_row(other))
    yield table
    if result.paired and result.unpaired_error > 0.0 and result.standard_error > 0.0:
        ratio = result.unpaired_error / result.standard_error
        yield f"Pairing makes the standard error {ratio:.2g} times as small as without pairs."
    if result.allowance > 0.0:
        yield (
            f"The interval includes {result.allowance:.3g} for the error of the extrapolation, by "
            "the backtest of the difference."
        )
    yield from (f"note: {note}" for note in result.notes)


def verdict(result: Comparison) -> Text:
    """Return which is better, if either is."""
    if not result.differs:
        return Text(
            f"No difference shown in best-of-{result.N:,}: {_interval(result)}", style="bold"
        )
    better = "b" if result.difference > 0 else "a"
    return Text(f"{better} is better in best-of-{result.N:,}: {_interval(result)}", style="bold")


def _interval(result: Comparison) -> str:
    return f"b − a = {result.difference:+.4g} [{result.low:+.4g}, {result.high:+.4g}]"


def _row(result: Comparison) -> tuple[str, ...]:
    return (
        f"{result.value_a:.4g}",
        f"{result.value_b:.4g}",
        f"{result.difference:+.4g}",
        f"[{result.low:+.4g}, {result.high:+.4g}]",
        METHODS[result.method].title,
    )


def content(
    result: Comparison, names: tuple[str, str], curve: Sequence[Comparison]
) -> dict[str, Any]:
    """Return everything, for JSON."""
    pairs = result.pairs
    return {
        "files": list(names),
        "reading": [shared.read_content(log) for log in (pairs.a, pairs.b)],
        **_numbers(result),
        "target": result.target,
        "level": result.level,
        "paired": result.paired,
        "paired_by_place": pairs.by_place,
        "prompts": [len(pairs.a), len(pairs.b)],
        "left_out": [pairs.alone_a, pairs.alone_b] if result.paired else [0, 0],
        "differs": result.differs,
        "notes": list(result.notes),
        "prompt_labels": [str(label) for label in pairs.a.prompts] if result.paired else None,
        "prompt_differences": result.each,
        "curve": [_numbers(other) for other in curve],
    }


def _numbers(result: Comparison) -> dict[str, Any]:
    names = ("N", "method", "value_a", "value_b", "difference", "low", "high")
    more = ("standard_error", "freedom", "allowance", "unpaired_error")
    return {name: getattr(result, name) for name in (*names, *more)}


def draw(curve: Sequence[Comparison]) -> Figure:
    """Return the figure: the difference and its interval at each N."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    N = np.array([result.N for result in curve])
    value = np.array([result.difference for result in curve])
    low, high = (np.array([getattr(result, end) for result in curve]) for end in ("low", "high"))
    within = np.array([result.method == "max_at_k" for result in curve])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0.0, color="#8a8a8a", lw=0.8)
        for kind, colour, label in (
            (within, "#1f5fa8", "unbiased"),
            (~within, "#b8621b", "extrapolated"),
        ):
            if kind.any():
                known = kind & np.isfinite(high)
                ends = np.abs(np.array([low, high])[:, known] - value[known])
                style: dict[str, Any] = {"fmt": "o", "ms": 4, "lw": 1.0, "capsize": 2}
                axes.errorbar(N[known], value[known], yerr=ends, color=colour, label=label, **style)
        budgets(axes, N)
        axes.set_xlabel("N")
        axes.set_ylabel("best of N: b − a")
        axes.set_title(f"Difference, with {curve[-1].level:.0%} intervals", weight="bold")
        axes.legend(loc="best")
        span = math.log2(max(2, int(N.max()))) * 0.04
        axes.set_xlim(N.min() * 2.0**-span, N.max() * 2.0**span)
    return figure
