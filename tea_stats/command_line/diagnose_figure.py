"""The figure of `tea-stats diagnose`: QQ plot, threshold stability, mean excess."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tea_stats.command_line.figures import STYLE, WIDTH
from tea_stats.diagnosis import Diagnosis, Interval, Tail, Threshold
from tea_stats.diagnosis.tail import TAIL
from tea_stats.tails import tail_count

LOG, NORMAL = "#1f5fa8", "#b8621b"


def draw(result: Diagnosis) -> Figure:
    """Return the figure of the tail of a log.

    Raises
    ------
    ValueError
        If the log has no tail to draw.
    """
    if result.tail is None:
        reason = next(finding.note for finding in result.findings if finding.note)
        raise ValueError(f"there is nothing to draw ({reason}); leave the figure out")
    tail = result.tail
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 8.6), layout="constrained")
        plot, shape, excess, scale = figure.subplots(4, 1)
        _quantiles(plot, tail)
        _thresholds(shape, tail, lambda t: t.shape, lambda t: t.normal_shape)
        shape.set(title="Shape ξ by threshold", ylabel="generalised-Pareto ξ")
        _mean_excess(excess, tail)
        _thresholds(scale, tail, lambda t: t.scale, None)
        scale.set(title="Modified scale by threshold", ylabel="β − ξ · threshold")
        figure.suptitle(
            f"Upper tail of {result.tail_prompts:,} prompts, {result.tail_rollouts:,} rollouts\n"
            f"(sets of {tail.m}; bars: 95 %)",
            fontsize=8,
        )
    return figure


def _quantiles(axes: Axes, tail: Tail) -> None:
    z, r = tail.normal_scores, tail.quantiles - tail.quantiles.mean()
    first = tail.m - tail_count(tail.m, TAIL)
    slope, base = np.polyfit(z[first:], r[first:], 1)
    axes.axvspan(z[first], z[-1] + 0.15, color=LOG, alpha=0.07, lw=0)
    upper = z[tail.m // 2 - 1 :]
    line: dict[str, Any] = {"color": NORMAL, "lw": 1.2}
    axes.plot(upper, base + slope * upper, "--", **line, label="line through the best quarter")
    errors = 1.96 * tail.quantile_errors
    axes.errorbar(z, r, yerr=errors, fmt="o", ms=3, lw=0.8, color=LOG, label="log")
    axes.set(
        title="Tail QQ plot",
        xlabel="mean order statistic, standard normal",
        ylabel="log's, less prompt's mean",
        xlim=(z[0] - 0.15, z[-1] + 0.15),
    )
    axes.legend(loc="upper left")


def _thresholds(
    axes: Axes,
    tail: Tail,
    value: Callable[[Threshold], Interval],
    normal: Callable[[Threshold], float] | None,
) -> None:
    x = np.array([threshold.k / tail.m for threshold in tail.thresholds])
    _bars(axes, x, [value(threshold) for threshold in tail.thresholds], "log")
    if normal is not None:
        y = [normal(threshold) for threshold in tail.thresholds]
        axes.plot(x, y, "--", color=NORMAL, lw=1.2, label="normal law")
        axes.legend()
    axes.set_xscale("log", base=2)
    axes.set_xticks(x, [str(threshold.k) for threshold in tail.thresholds])
    axes.minorticks_off()
    axes.invert_xaxis()
    axes.set_xlabel(f"rewards above the threshold, of {tail.m}")


def _mean_excess(axes: Axes, tail: Tail) -> None:
    x = np.array([threshold.height for threshold in tail.thresholds])
    _bars(axes, x, [threshold.mean_excess for threshold in tail.thresholds], "log")
    normal = [threshold.normal_mean_excess for threshold in tail.thresholds]
    axes.plot(x, normal, "--", color=NORMAL, lw=1.2, label="normal law")
    axes.set(
        title="Mean excess",
        xlabel="threshold, from the prompt's mean",
        ylabel="mean excess",
    )
    axes.legend()


def _bars(axes: Axes, x: np.ndarray, intervals: list[Interval], label: str) -> None:
    estimate, low, high = np.array(intervals).T
    known = np.isfinite(low)
    ends = np.abs(np.array([low, high])[:, known] - estimate[known])
    style: dict[str, Any] = {"fmt": "o-", "ms": 3.5, "lw": 0.9, "capsize": 2, "color": LOG}
    axes.errorbar(x[known], estimate[known], yerr=ends, label=label, **style)
