"""Figures of language-model training: gains, progress, shift of rewards, first gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.core import style
from analysis.core.panels import trellis

#: the arm that is not trained
START = "start"


@dataclass(frozen=True)
class Training:
    """The tables that `simulations.validate_lm` writes."""

    tuning: pd.DataFrame
    steps: pd.DataFrame
    curves: pd.DataFrame
    runs: pd.DataFrame
    differences: pd.DataFrame
    behaviour: pd.DataFrame
    histogram: pd.DataFrame
    samples: pd.DataFrame
    oracle: pd.DataFrame | None
    manifest: dict[str, Any]

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Registry name and options of each arm."""
        tables = self.manifest["configuration"]["estimators"]
        return {
            label: {key: value for key, value in table.items() if value is not None}
            for label, table in tables.items()
        }

    @cached_property
    def scenarios(self) -> list[str]:
        """Scenarios in the study's order."""
        return list(self.curves["scenario"].unique())

    @cached_property
    def step_sizes(self) -> str:
        """How step sizes were chosen."""
        rates = self.manifest["configuration"]["tuning"]["rates"]
        return "tuned" if len(rates) > 1 else f"step size {rates[0]:g}"

    def against(self, scenario: str, other: str) -> pd.DataFrame:
        """Return the differences of a scenario's arms with one of them."""
        rows = self.differences
        return rows[(rows["scenario"] == scenario) & (rows["against"] == other)]

    @cached_property
    def most(self) -> int:
        """The largest N of the best-of-N curves."""
        return int(self.differences["N"].max())

    def gains(self, scenario: str, N: int) -> pd.DataFrame:
        """Return each arm's gain over the start at one N, with its interval, by arm."""
        rows = self.against(scenario, START)
        return rows[rows["N"] == N].set_index("estimator")

    def rates(self, scenario: str) -> pd.Series:
        """Return the step size of each arm."""
        rows = self.steps[self.steps["scenario"] == scenario]
        return rows.drop_duplicates("estimator").set_index("estimator")["rate"]


def gain(studies: Sequence[Training]) -> Figure:
    """Every arm's gain over the start, in the mean reward and in the best of the largest N."""
    rows = [(training, scenario) for training in studies for scenario in training.scenarios]
    heights = [len(training.options) + 1.5 for training, _ in rows]
    figure, grid = plt.subplots(
        len(rows),
        2,
        figsize=(style.PAGE, 0.17 * sum(heights) + 0.35 * len(rows) + 0.3),
        squeeze=False,
        sharey="row",
        layout="constrained",
        height_ratios=heights,
    )
    for (training, scenario), row in zip(rows, grid, strict=True):
        for axes, N in zip(row, (1, training.most), strict=True):
            _gains(axes, training, scenario, N)
            what = "mean reward" if N == 1 else f"best of {N}"
            axes.set_title(f"{scenario}, {training.step_sizes}: {what}", loc="left")
    figure.supxlabel("gain over the start on held-out prompts", fontsize=8)
    training, scenario = rows[0]
    style.title(figure, _headline(training, scenario))
    return figure


def _gains(axes: Axes, training: Training, scenario: str, N: int) -> None:
    """Draw each arm's gain with its interval and, if it has several runs, a tick for each."""
    looks, labels = style.looks(training.options), style.ordered(training.options)
    means = training.gains(scenario, N)
    runs = training.runs[(training.runs["scenario"] == scenario) & (training.runs["N"] == N)]
    start = runs.loc[runs["estimator"] == START, "value"].mean()
    for place, label in enumerate(labels):
        mine = means.loc[label]
        reach = [[mine["difference"] - mine["low"]], [mine["high"] - mine["difference"]]]
        look = {**looks[label].line, "ls": "", "elinewidth": 0.9}
        axes.errorbar([mine["difference"]], [place], xerr=reach, **look)
        own = runs.loc[runs["estimator"] == label, "value"] - start
        if len(own) > 1:
            axes.plot(own, [place + 0.3] * len(own), "|", color=looks[label].colour, ms=4)
    axes.axvline(0.0, color=style.INK, lw=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)


def curves(training: Training) -> Figure:
    """Gain over the start on held-out prompts against N, with 95 % intervals."""
    looks, labels = style.looks(training.options), style.ordered(training.options)
    figure, panels = trellis(training.scenarios, height=2.6, columns=2, spare=1.2)
    for scenario, axes in panels.items():
        rows = training.against(scenario, START)
        for place, label in enumerate(labels):
            mine = rows[rows["estimator"] == label].sort_values("N")
            # side by side, so that bars do not overlap
            x = mine["N"] * 2.0 ** (0.5 * ((place + 0.5) / len(labels) - 0.5))
            y = mine["difference"]
            bars = (y - mine["low"], mine["high"] - y)
            axes.errorbar(x, y, yerr=bars, elinewidth=0.6, **looks[label].line)
        axes.axhline(0.0, color=style.INK, lw=0.6)
        style.grid_ticks(axes, sorted(rows["N"].unique()))
        axes.set_xlabel("N")
    figure.supylabel("gain in best-of-N over the start", fontsize=8)
    style.legend(figure, looks, labels)
    style.title(figure, _headline(training, training.scenarios[0]))
    return figure


def _headline(training: Training, scenario: str) -> str:
    """Return which arm gains most, and how many are significantly above the start."""
    rows = training.gains(scenario, training.most)
    label = rows["difference"].idxmax()
    first = rows.loc[label]
    above = int((rows["low"] > 0.0).sum())
    return (
        f"Best of {training.most}: {label} gains most "
        f"({first['difference']:+.3f} [{style.number(first['low'], 3)}, "
        f"{style.number(first['high'], 3)}]); significantly above the start: {above} of {len(rows)}"
    ).replace("(-", "(−")


def progress(training: Training) -> Figure:
    """Mean reward and best of m of the training rollouts by step, means over seeds."""
    looks, labels = style.looks(training.options), style.ordered(training.options)
    count = len(training.scenarios)
    figure, grid = plt.subplots(
        count, 2, figsize=(style.PAGE, 2.0 * count + 1.0), squeeze=False, layout="constrained"
    )
    for scenario, row in zip(training.scenarios, grid, strict=True):
        rows = training.steps[training.steps["scenario"] == scenario]
        names = {"reward": "mean reward", "best": "best of m, mean over prompts"}
        for axes, (column, name) in zip(row, names.items(), strict=True):
            for label in labels:
                mine = rows[rows["estimator"] == label].groupby("step")[column].mean()
                smooth = mine.rolling(3, center=True, min_periods=1).mean()
                axes.plot(smooth.index + 1, smooth, **looks[label].line, markevery=5)
            axes.set_title(f"{scenario}: {name}", loc="left")
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend(figure, looks, labels)
    ends = training.steps[training.steps["step"] >= training.steps["step"].max() - 2]
    last = ends.groupby("estimator")["reward"].mean().sort_values(ascending=False)
    style.title(
        figure,
        f"Mean reward of the last three steps: highest {last.index[0]} ({last.iloc[0]:.3f}), "
        f"lowest {last.index[-1]} ({last.iloc[-1]:.3f})",
    )
    return figure


def shift(training: Training) -> Figure:
    """Histograms of held-out rewards, before and after."""
    looks, labels = style.looks(training.options), style.ordered(training.options)
    figure, panels = trellis(training.scenarios, height=2.4, columns=2, spare=1.2)
    for scenario, axes in panels.items():
        rows = training.histogram[training.histogram["scenario"] == scenario]
        for label in [START, *labels]:
            mine = rows[rows["estimator"] == label]
            counts = mine.groupby(["low", "high"])["count"].sum().reset_index()
            share = counts["count"] / counts["count"].sum()
            edges = [*counts["low"], counts["high"].iloc[-1]]
            if label == START:
                axes.stairs(share, edges, color=style.GREY, alpha=0.35, fill=True)
            else:
                axes.stairs(share, edges, color=looks[label].colour, lw=0.9)
        axes.set_xlabel("reward on held-out prompts")
    figure.supylabel("share of rollouts", fontsize=8)
    start = Line2D([], [], color=style.GREY, alpha=0.35, lw=5.0, label=START)
    style.legend(figure, looks, labels, start)
    means = training.behaviour.groupby("estimator")["reward"].mean()
    top = means.drop(START).sort_values(ascending=False)
    style.title(
        figure,
        f"Mean reward {style.number(means[START], 3)} at the start, up to "
        f"{style.number(top.iloc[0], 3)} ({top.index[0]}) after training",
    )
    return figure


def oracle(training: Training) -> Figure:
    """Cosine of one step's gradient with the oracle's, by arm."""
    assert training.oracle is not None
    looks, labels = style.looks(training.options), style.ordered(training.options)
    height = 0.5 + 0.16 * len(labels)
    figure, panels = trellis(training.scenarios, height=height, columns=2, spare=0.9)
    headlines = []
    for scenario, axes in panels.items():
        rows = training.oracle[training.oracle["scenario"] == scenario]
        name = "cosine" if rows["cosine_corrected"].isna().any() else "cosine_corrected"
        by = rows.groupby("estimator")[name]
        mean, se = by.mean(), by.sem()
        for place, label in enumerate(labels):
            look = {**looks[label].line, "ls": "", "elinewidth": 0.8}
            axes.errorbar(mean[label], place, xerr=style.Z * se[label], **look)
        axes.axvline(0.0, color=style.INK, lw=0.6)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        headlines.append(_nearest(mean, se))
    figure.supxlabel("cosine of one step's gradient with the best-of-N oracle", fontsize=8)
    style.title(figure, f"Cosine of one step's gradient with the oracle's: {headlines[0]}")
    return figure


def _nearest(mean: pd.Series, se: pd.Series) -> str:
    """Return the arms of largest and smallest cosine, or that they do not differ significantly."""
    first, last = mean.idxmax(), mean.idxmin()
    if mean[first] - mean[last] < style.Z * math.hypot(se[first], se[last]):
        return f"{mean[last]:.2f} to {mean[first]:.2f}, no significant difference"
    return f"largest {first} ({mean[first]:.2f}), smallest {last} ({mean[last]:.2f})"
