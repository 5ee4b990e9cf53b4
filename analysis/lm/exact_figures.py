"""Figures of the exact training study: gains, their price in divergence, what predicts them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from analysis.core import style
from analysis.core.panels import row_of_panels

SPLITS = ("trained", "held out")
#: the arms that follow exact gradients have no record, so their marks are here
EXACT = {
    "exact ∇V_N": {"color": "#222222", "marker": "", "linestyle": "--"},
    "exact ∇V_1": {"color": "#8a8a8a", "marker": "", "linestyle": ":"},
}


@dataclass(frozen=True)
class Exact:
    """The tables that `simulations.validate_lm --preset exact` writes."""

    start: pd.DataFrame
    gradients: pd.DataFrame
    checks: pd.DataFrame
    runs: pd.DataFrame
    differences: pd.DataFrame
    frontier: pd.DataFrame
    quality: pd.DataFrame | None
    pools: pd.DataFrame | None
    prediction: pd.DataFrame | None
    sweep: pd.DataFrame | None
    manifest: dict[str, Any]

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The study's configuration."""
        return self.manifest["configuration"]

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Registry name and options of each estimator."""
        return {
            label: {key: value for key, value in table.items() if value is not None}
            for label, table in self.configuration["estimators"].items()
        }

    @cached_property
    def stages(self) -> list[tuple[str, float]]:
        """Scenarios and step sizes that have runs, in the study's order."""
        pairs = self.runs[["scenario", "rate"]].drop_duplicates()
        return [(str(scenario), float(rate)) for scenario, rate in pairs.to_numpy()]

    def budget(self, scenario: str) -> int:
        """Return the N that a scenario trains for."""
        return int(self.configuration["scenarios"][scenario]["N"])

    def stage(self, scenario: str, rate: float) -> pd.DataFrame:
        """Return the runs of a scenario at a step size."""
        return self.runs[(self.runs["scenario"] == scenario) & (self.runs["rate"] == rate)]

    def arms(self, rows: pd.DataFrame) -> list[str]:
        """Return the arms among rows: exact ones first, then in the order of the estimators."""
        order = [*EXACT, *style.ordered(self.options)]
        return [label for label in order if label in set(rows["estimator"])]

    def line(self, label: str) -> dict[str, Any]:
        """Return how an arm is drawn."""
        return EXACT[label] if label in EXACT else style.looks(self.options)[label].line

    def path(self, rows: pd.DataFrame, label: str, split: str) -> pd.DataFrame:
        """Return an arm's means over seeds by step, the start included."""
        part = rows[(rows["estimator"] == label) & (rows["split"] == split)]
        mean = part.drop(columns=["scenario", "estimator", "split", "seed", "rate"])
        mean = mean.groupby("step").mean()
        mean.loc[0] = 0.0
        return mean.sort_index()


def training(study: Exact, scenario: str, rate: float) -> Figure:
    """Draw the gain in V_N against rollouts and against the divergence from the start."""
    rows, N = study.stage(scenario, rate), study.budget(scenario)
    figure, panels = row_of_panels([f"{s}, {x}" for x in ("steps", "KL") for s in SPLITS], 2.6)
    for axes, (x, split) in zip(
        panels, ((x, s) for x in ("step", "kl") for s in SPLITS), strict=True
    ):
        for label in study.arms(rows):
            curve = study.path(rows, label, split)
            across = curve.index if x == "step" else curve["kl"]
            axes.plot(across, curve[f"V_{N}"], **study.line(label))
        axes.axhline(0.0, color=style.GREY, lw=0.6)
        axes.set_xlabel("step" if x == "step" else "KL to the start, nats")
    panels[0].set_ylabel(f"gain in $V_{{{N}}}$")
    _legend(figure, study, rows)
    seeds = rows.groupby("estimator")["seed"].nunique()
    least, most = seeds.min(), seeds.max()
    count = f"{most}" if least == most else f"{least} to {most}"
    style.title(figure, f"{scenario}, step size {rate:g}: exact gains, means over {count} seeds")
    return figure


def final(study: Exact, scenario: str) -> Figure:
    """Draw every arm's gain at each N after the last step, with intervals over seeds."""
    N = [int(budget) for budget in study.configuration["N"]]
    figure, panels = row_of_panels([f"$V_{{{budget}}}$" for budget in N], 3.0)
    rates = [rate for name, rate in study.stages if name == scenario]
    # a step size that is not finished may lack arms
    labels = study.arms(study.runs[study.runs["scenario"] == scenario])
    for row, rate in enumerate(rates):
        rows = study.stage(scenario, rate)
        rows = rows[(rows["step"] == rows["step"].max()) & (rows["split"] == "held out")]
        for axes, budget in zip(panels, N, strict=True):
            _points(axes, study, rows, labels, f"V_{budget}", 0.2 * row, hollow=row > 0)
    for axes in panels:
        axes.axvline(0.0, color=style.GREY, lw=0.6)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
    sizes = " and (hollow) ".join(f"{rate:g}" for rate in rates)
    style.title(figure, f"{scenario}: exact gain on held-out prompts, step size {sizes}")
    return figure


def _points(
    axes: Axes,
    study: Exact,
    rows: pd.DataFrame,
    labels: list[str],
    name: str,
    below: float,
    hollow: bool,
) -> None:
    for place, label in enumerate(labels):
        values = rows.loc[rows["estimator"] == label, name].to_numpy(float)
        n = len(values)
        if n == 0:
            continue
        half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5 if n > 1 else 0.0
        colour = study.line(label)["color"]
        face = "white" if hollow else colour
        axes.errorbar(values.mean(), place + below, xerr=half, fmt="o", color=colour, mfc=face)


def prediction(study: Exact, rate: float) -> Figure:
    """Draw exact gains in V_N against the one-step gain before training, by scenario and step."""
    measured = [x for x, own in study.stages if own == rate and len(before_training(study, x))]
    steps = sorted({10, study.configuration["training"]["steps"]} & {*study.runs["step"]})
    size = (style.PAGE, 0.5 + 1.5 * len(steps))
    figure, grid = plt.subplots(
        len(steps), len(measured), figsize=size, squeeze=False, layout="constrained"
    )
    drawn: set[str] = set()
    for scenario, column in zip(measured, grid.T, strict=True):
        rows, N = study.stage(scenario, rate), study.budget(scenario)
        before = before_training(study, scenario)
        for axes, step in zip(column, steps, strict=True):
            last = rows[(rows["step"] == step) & (rows["split"] == "trained")]
            gain = last.groupby("estimator")[f"V_{N}"].mean()
            both = [label for label in study.arms(last) if label in before.index]
            for label in both:
                axes.plot(before.loc[label, "gain"], gain[label], **_mark(study, label))
            drawn |= {*both}
            rank = stats.spearmanr(before.loc[both, "gain"], gain[both]).statistic
            # where no arm is: above a rising line, else between the low arms and the others
            x, y, ha, va = (
                (0.04, 0.95, "left", "top") if rank > 0.8 else (0.5, 0.4, "center", "top")
            )
            text = f"rank {rank:.2f}".replace("-", "−")
            axes.text(x, y, text, transform=axes.transAxes, ha=ha, va=va)
            axes.margins(0.08, 0.14)
        column[0].set_title(scenario, loc="left", pad=3)
        column[-1].set_xlabel("one-step gain $G$")
    for axes, step in zip(grid[:, 0], steps, strict=True):
        axes.set_ylabel(f"gain, {step} steps")
    labels = [label for label in study.arms(study.runs) if label in drawn]
    handles = [Line2D([], [], **_mark(study, label), label=label) for label in labels]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
    style.title(figure, f"Exact gain in $V_N$ against the first batch's $G$, step size {rate:g}")
    return figure


def _mark(study: Exact, label: str) -> dict[str, Any]:
    """Return how an arm is drawn as a point."""
    return study.line(label) | {"linestyle": ""}


def before_training(study: Exact, scenario: str) -> pd.DataFrame:
    """Return the figures of a step's batch along the adapters' directions, by estimator."""
    assert study.quality is not None
    m = study.configuration["scenarios"][scenario]["m"]
    rows = study.quality
    kept = (rows["scenario"] == scenario) & (rows["prompt"] == "batch")
    kept &= (rows["scores"] == "adapter") & (rows["m"] == m) & (rows["N"] == study.budget(scenario))
    kept &= rows["groups"] == study.configuration["training"]["batch"]
    return rows[kept].set_index("estimator")


def of_the_mean(study: Exact, scenario: str) -> tuple[pd.Series, pd.Series]:
    """Return the cosine of ∇V_N with ∇V_1 by N: of the trained prompts' batch, and by prompt."""
    rows = study.gradients[study.gradients["scenario"] == scenario]
    batch = rows[rows["prompt"] == "trained"].set_index("N")["cosine"]
    alone = rows[~rows["prompt"].isin(["trained", "held out"])].groupby("N")["cosine"].mean()
    return batch, alone


def pools(shares: pd.DataFrame) -> Figure:
    """Draw the share of a pool's squared gradient that is noise against its tail rollouts M/N.

    `shares` is `analysis.lm.exact_tables.noise`.
    """
    rewards = list(dict.fromkeys(shares["reward"]))
    figure, panels = row_of_panels(rewards, 2.6)
    for axes, reward in zip(panels, rewards, strict=True):
        for place, (N, part) in enumerate(shares[shares["reward"] == reward].groupby("N")):
            colour = f"C{place}"
            axes.plot(part["tail"], part["share"], color=colour, marker="o", label=f"N = {N}")
            axes.plot(part["tail"], part["halves"], color=colour, ls=":", label="by halves")
            axes.plot(part["tail"], part["rule"], color=colour, lw=0.6, label="d/(d + M/N)")
        axes.axhline(0.5, color=style.GREY, lw=0.6)
        axes.set_xscale("log")
        axes.set_ylim(0.0, 1.0)
        axes.set_xlabel("tail rollouts of the pool, M/N")
    panels[0].set_ylabel("noise in the squared gradient")
    panels[0].legend()
    style.title(figure, "Pools drawn from exact laws: how much of their gradient is chance")
    return figure


def _legend(figure: Figure, study: Exact, rows: pd.DataFrame) -> None:
    handles = [Line2D([], [], **study.line(label), label=label) for label in study.arms(rows)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
