"""Figures of pools of a language model's rollouts: tails, cosine and error, bias, response."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import _style
from analysis._panels import trellis

POOL, GAUSSIAN, NORMAL = "pool", "gaussian", "normal law"
#: how the three are told apart wherever they stand side by side
KINDS = {
    POOL: Line2D([], [], color=_style.GREY, marker="o", ls="", label="the model"),
    GAUSSIAN: Line2D(
        [], [], color=_style.GREY, marker="o", mfc="white", ls="", label="the same, normal tail"
    ),
    NORMAL: Line2D([], [], color=_style.GREY, marker="|", ms=7, ls="", label="Normal law"),
}


@dataclass(frozen=True)
class Pools:
    """The tables that `simulations.lm_pool measure` writes."""

    table: pd.DataFrame
    model: pd.DataFrame
    response: pd.DataFrame
    tails: pd.DataFrame
    quantiles: pd.DataFrame
    manifest: dict[str, Any]

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Registry name and options of each estimator."""
        first = self.table.drop_duplicates("estimator")
        return {e: json.loads(o) for e, o in zip(first.estimator, first.options, strict=True)}

    @cached_property
    def rewards(self) -> list[str]:
        """The rewards on which estimators were measured."""
        return list(self.model["reward"].unique())

    @cached_property
    def budgets(self) -> list[tuple[int, int]]:
        """Every (m, N)."""
        rows = self.model[["m", "N"]].drop_duplicates()
        return [(int(m), int(N)) for m, N in rows.to_numpy()]

    @cached_property
    def chance(self) -> pd.DataFrame:
        """What tails of Gaussian samples look like: rows low, median, high."""
        return self.tails[self.tails["pool"] == "chance"].set_index("reward")


def tails(pools: Pools) -> Figure:
    """QQ plots of every reward against the normal law, one line per prompt."""
    rewards = list(pools.quantiles["reward"].unique())
    figure, panels = trellis(rewards, height=1.6, columns=3)
    found = []
    for reward, axes in panels.items():
        rows = pools.quantiles[pools.quantiles["reward"] == reward]
        for _, part in rows.groupby("pool", sort=False):
            axes.plot(part["z"], part["r"], color="#0072B2", lw=0.8, alpha=0.6)
        ends = [rows["z"].min(), rows["z"].max()]
        axes.plot(ends, ends, color=_style.INK, lw=0.6, ls=":")
        axes.set_ylim(-5.5, 5.5)
        values = pools.tails[(pools.tails["reward"] == reward) & (pools.tails["pool"] != "chance")]
        r2, shape = values["qq_r2"].median(), values["shape"].median()
        if np.isfinite(r2):
            text = f"$R^2$ {r2:.3f}\nshape {_style.number(shape)}"
            found.append((reward, shape))
        else:
            text = f"{values['tied'].median():.0%} ties"
        axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=7)
    figure.supxlabel("normal quantile", fontsize=8)
    figure.supylabel("reward (standard deviations)", fontsize=8)
    told = ", ".join(f"{_style.number(shape)} ({reward})" for reward, shape in found)
    low, high = pools.chance.loc["low", "shape"], pools.chance.loc["high", "shape"]
    _style.title(
        figure,
        f"Pareto shape of the upper quarter, median over prompts: {told}; a Gaussian sample has "
        f"{_style.number(low)} to {_style.number(high)}",
    )
    return figure


def cosine(pools: Pools) -> Figure:
    """Cosine and error of every estimator on the model, beside a normal tail and the Normal law."""
    looks, labels = _style.looks(pools.options), _style.ordered(pools.options)
    reward = pools.rewards[0]
    rows = pools.model[pools.model["reward"] == reward]
    normal = pools.table[pools.table["kind"] == NORMAL]
    size = (_style.PAGE, 2 * (0.45 + 0.15 * len(labels)) + 0.9)
    figure, grid = plt.subplots(
        2, len(pools.budgets), figsize=size, squeeze=False, sharey=True, layout="constrained"
    )
    for column, (m, N) in enumerate(pools.budgets):
        here = rows[(rows["m"] == m) & (rows["N"] == N)]
        for axes, name in zip(grid[:, column], ("cosine", "scaled_nmse"), strict=True):
            for place, label in enumerate(labels):
                for kind, offset in ((POOL, -0.15), (GAUSSIAN, 0.15)):
                    row = here[(here["estimator"] == label) & (here["kind"] == kind)]
                    if row.empty or not np.isfinite(row[name].item()):
                        continue
                    look = {**looks[label].line, "ls": "", "elinewidth": 0.7, "ms": 3.5}
                    look["mfc"] = "white" if kind == GAUSSIAN else looks[label].colour
                    reach = _style.Z * row[f"{name}_se"].item()
                    axes.errorbar(row[name].item(), place + offset, xerr=reach, **look)
                law = normal[(normal["estimator"] == label) & (normal["m"] == m)]
                law = law[law["N"] == N]
                if name == "cosine" and len(law):
                    axes.plot(law["cosine"], [place], "|", color=_style.INK, ms=7, mew=0.8)
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.set_xlim(*((-0.1, 1.15) if name == "cosine" else (0.0, 1.05)))
            axes.set_title(f"m = {m}, N = {N}" if name == "cosine" else "", loc="left")
        grid[0, column].set_xlabel("cosine with the model's gradient")
        grid[1, column].set_xlabel("error of 64 prompts, best length")
    figure.legend(handles=list(KINDS.values()), loc="outside lower center", ncols=3)
    _style.title(figure, f"{reward}: {_best(rows, pools.budgets[0])}")
    return figure


def _best(rows: pd.DataFrame, budget: tuple[int, int]) -> str:
    """Name the estimators of least error on the model at one budget."""
    m, N = budget
    here = rows[(rows["kind"] == POOL) & (rows["m"] == m) & (rows["N"] == N)].dropna()
    ranked = here.sort_values("scaled_nmse").head(3)
    told = ", ".join(
        f"{x} ({value:.2f})"
        for x, value in zip(ranked["estimator"], ranked["scaled_nmse"], strict=True)
    )
    return f"at m = {m}, N = {N} the least error of a batch has {told or 'none that can be told'}"


def bias_variance(pools: Pools) -> Figure:
    """Relative bias against relative variance, pools' mean, for the pool and for a normal tail."""
    looks, labels = _style.looks(pools.options), _style.ordered(pools.options)
    reward = pools.rewards[0]
    rows = pools.table[pools.table["reward"] == reward]
    names = [f"m = {m}, N = {N}" for m, N in pools.budgets]
    figure, panels = trellis(names, height=1.9, columns=min(4, len(names)), sharey=True)
    for (m, N), axes in zip(pools.budgets, panels.values(), strict=True):
        here = rows[(rows["m"] == m) & (rows["N"] == N)]
        for label in labels:
            for kind in (POOL, GAUSSIAN):
                part = here[(here["estimator"] == label) & (here["kind"] == kind)]
                if part.empty:
                    continue
                look = {**looks[label].line, "ls": ""}
                look["mfc"] = "white" if kind == GAUSSIAN else looks[label].colour
                axes.plot(part["relative_variance"].mean(), part["relative_bias"].mean(), **look)
        axes.set_xscale("log")
    figure.supxlabel("variance of one group / ‖truth‖²", fontsize=8)
    figure.supylabel("‖bias‖ / ‖truth‖", fontsize=8)
    _style.legend(figure, looks, labels, *list(KINDS.values())[:2])
    m, N = pools.budgets[0]
    first = rows[(rows["kind"] == POOL) & (rows["m"] == m) & (rows["N"] == N)]
    error = first.groupby("estimator")["batch_nmse"].mean().sort_values()
    told = ", ".join(f"{label} ({value:.2f})" for label, value in error.head(3).items())
    _style.title(
        figure,
        f"{reward}, m = {m}, N = {N}: as laws of their own, the pools give the least error of 64 "
        f"prompts to {told}",
    )
    return figure


def response(pools: Pools) -> Figure:
    """Advantage response curves, means over pools, beside the exact advantage."""
    looks, labels = _style.looks(pools.options), _style.chosen(pools.options, 7)
    reward = pools.rewards[0]
    rows = pools.response[(pools.response["reward"] == reward) & (pools.response["kind"] == POOL)]
    names = [f"m = {m}, N = {N}" for m, N in pools.budgets]
    figure, panels = trellis(names, height=1.9, columns=2)
    for (m, N), axes in zip(pools.budgets, panels.values(), strict=True):
        here = rows[(rows["m"] == m) & (rows["N"] == N)]
        mean = here.groupby(["estimator", "q"], sort=False)[["response", "exact"]].mean()
        exact = mean.groupby("q")["exact"].first()
        x = -np.log10(1.0 - exact.index.to_numpy())
        axes.plot(x, exact, color=_style.INK, lw=1.6, ls="--")
        for label in labels:
            curve = mean.loc[label, "response"]
            axes.plot(x, curve, **looks[label].line, markevery=8, ms=3)
        limit = exact.max() * 1.2
        axes.set_ylim(-0.35 * limit, limit)
        ticks = [0.5, 0.9, 0.99, 0.999]
        axes.set_xticks([-np.log10(1.0 - q) for q in ticks], [f"{q:g}" for q in ticks])
    figure.supxlabel("quantile of the rollout's reward", fontsize=8)
    figure.supylabel("mean advantage (reward s.d.)", fontsize=8)
    exact_line = Line2D([], [], color=_style.INK, lw=1.6, ls="--", label="exact")
    _style.legend(figure, looks, labels, exact_line)
    _style.title(figure, f"{reward}: what a rollout's rank earns, against the exact advantage")
    return figure
