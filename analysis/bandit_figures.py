"""The figures of bandit training: regret curves, lost shares, and gradient quality against both.

Each takes what `Study` holds and returns a figure; `analysis.bandit` is the command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import _style
from analysis._panels import trellis

EXACT = "exact"


class Scenario(NamedTuple):
    """A kind of policy and a budget; every law is trained in each."""

    policy: str
    m: int
    N: int

    def __str__(self) -> str:
        return f"{self.policy}, m = {self.m}, N = {self.N}"


@dataclass(frozen=True)
class Study:
    """The tables that `simulations.bandit` writes, and its estimators as `{label: options}`."""

    curves: pd.DataFrame
    finals: pd.DataFrame
    options: Mapping[str, Mapping[str, Any]]

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """Scenarios in the study's order."""
        return [
            Scenario(*row) for row in self.finals[["policy", "m", "N"]].drop_duplicates().values
        ]

    @cached_property
    def means(self) -> pd.DataFrame:
        """Lost share and cosine of each estimator, mean over laws with its standard error."""
        rows = self.finals[self.finals["estimator"] != EXACT]
        return rows.groupby(["policy", "m", "N", "estimator"], sort=False).agg(
            share=("share", "mean"),
            share_se=("share_se", mean_se),
            cosine=("cosine", "mean"),
            cosine_se=("cosine_se", mean_se),
        )

    def rows(self, table: str, scenario: Scenario) -> pd.DataFrame:
        """Return the rows of one table in a scenario."""
        frame: pd.DataFrame = getattr(self, table)
        policy, m, N = scenario
        return frame[(frame["policy"] == policy) & (frame["m"] == m) & (frame["N"] == N)]


def mean_se(errors: pd.Series) -> float:
    """Return the standard error of the mean of independent estimates with these errors."""
    return float(np.sqrt(np.sum(errors**2)) / len(errors))


def ranking(shares: pd.Series) -> str:
    """Write the three smallest lost shares of a series by estimator, and the largest."""
    ranked = shares.sort_values()
    least = ", ".join(f"{label} {share:.0%}" for label, share in ranked.head(3).items())
    return f"least by {least}, most by {ranked.index[-1]} {ranked.iloc[-1]:.0%}"


def panels(study: Study, height: float, below: float) -> tuple[Figure, dict[Scenario, Axes]]:
    """Return a page-wide figure with one panel per scenario, three in a row."""
    columns = min(3, len(study.scenarios))
    rows = -(-len(study.scenarios) // columns)
    size = (_style.PAGE, height * rows + below)
    figure, grid = plt.subplots(
        rows, columns, figsize=size, sharey="row", squeeze=False, layout="constrained"
    )
    for axes in list(grid.flat)[len(study.scenarios) :]:
        axes.remove()
    found = dict(zip(study.scenarios, grid.flat, strict=False))
    for scenario, axes in found.items():
        axes.set_title(str(scenario), loc="left")
    return figure, found


def regret(study: Study, scenario: Scenario) -> Figure:
    """Regret against rollouts with 95 % bands, one panel per law."""
    looks, labels = _style.looks(study.options), _style.chosen(study.options)
    here = study.rows("curves", scenario)
    laws = list(here["law"].unique())
    figure, axes = trellis(laws, height=1.6)
    for law, panel in axes.items():
        for label in labels:
            curve = here[(here["law"] == law) & (here["estimator"] == label)]
            x, mean, band = (curve[name].to_numpy() for name in ("rollouts", "regret_mean", "band"))
            look = looks[label]
            panel.fill_between(x, mean - band, mean + band, color=look.colour, alpha=0.2, lw=0)
            panel.plot(x, mean, **look.line, markevery=max(1, len(x) // 5))
        panel.axhline(0.0, color=_style.INK, lw=0.6)
        panel.set_xlabel("rollouts" if law in laws[-4:] else "")
    figure.supylabel("regret in $V_N$ (reward sd)", fontsize=8)
    found = ranking(study.means.loc[tuple(scenario), "share"])
    _style.title(figure, f"{scenario}: the exact path's gain is lost {found} (mean over laws)")
    _style.legend(figure, looks, labels)
    return figure


def shares(study: Study) -> Figure:
    """Lost share by estimator: a marker with its 95 % interval per law, a bar for their mean."""
    looks, labels = _style.looks(study.options), _style.ordered(study.options)
    figure, axes = panels(study, height=0.5 + 0.22 * len(labels), below=0.9)
    for scenario, panel in axes.items():
        here = study.rows("finals", scenario)
        for place, label in enumerate(labels):
            mine = here[here["estimator"] == label]
            y = place + np.linspace(-0.3, 0.3, len(mine))
            look = {**looks[label].line, "ls": "", "elinewidth": 0.7, "ms": 2.5}
            panel.errorbar(mine["share"], y, xerr=_style.Z * mine["share_se"], **look)
            mean = study.means.loc[(*scenario, label), "share"]
            panel.plot([mean, mean], [place - 0.4, place + 0.4], color=_style.INK, lw=1.4)
        panel.axvline(0.0, color=_style.INK, lw=0.6)
        panel.axvline(1.0, color=_style.INK, lw=0.6, ls=":")
        panel.set_yticks(range(len(labels)), labels)
        panel.set_ylim(len(labels) - 0.4, -0.6)
    figure.supxlabel("lost share of the exact path's gain (dotted: as if untrained)", fontsize=8)
    overall = study.means["share"].groupby(["policy", "estimator"], sort=False).mean()
    policies = dict.fromkeys(policy for policy, *_ in study.scenarios)
    found = "; ".join(f"{policy}, {ranking(overall[policy])}" for policy in policies)
    _style.title(
        figure, f"Gain of the exact path that is lost, mean over laws and budgets: {found}"
    )
    return figure


def quality(study: Study) -> Figure:
    """Lost share against the cosine of the first ĝ with ∇V_N, both means over laws."""
    looks, labels = _style.looks(study.options), _style.ordered(study.options)
    figure, axes = panels(study, height=1.8, below=1.2)
    correlations = []
    for scenario, panel in axes.items():
        here = study.means.loc[tuple(scenario)]
        for label in labels:
            row = here.loc[label]
            bars = {"xerr": _style.Z * row["cosine_se"], "yerr": _style.Z * row["share_se"]}
            panel.errorbar(row["cosine"], row["share"], **bars, **looks[label].line, elinewidth=0.6)
        correlations.append(here["cosine"].corr(here["share"], method="spearman"))
        text = f"rank correlation {signed(correlations[-1])}"
        place = {"xy": (0.97, 0.96), "xycoords": "axes fraction", "ha": "right", "va": "top"}
        panel.annotate(text, **place, fontsize=7.5)
    figure.supxlabel("cosine of the first step's $\\hat g$ with $\\nabla V_N$", fontsize=8)
    figure.supylabel("lost share of the exact path's gain", fontsize=8)
    low, high = min(correlations), max(correlations)
    _style.title(
        figure,
        "Over estimators, the first gradient's cosine with the exact one and the lost share have "
        f"rank correlations from {signed(low)} to {signed(high)}",
    )
    _style.legend(figure, looks, labels)
    return figure


def signed(number: float) -> str:
    """Write a number to two places with a proper minus."""
    return f"{number:.2f}".replace("-", "−")
