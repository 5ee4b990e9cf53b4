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
from matplotlib.ticker import NullFormatter

from analysis.core import style
from analysis.core.panels import trellis
from tea_stats import ESTIMATORS

POOL, GAUSSIAN, NORMAL = "pool", "gaussian", "normal law"
#: marks of the three kinds where they are drawn together
KINDS = {
    POOL: Line2D([], [], color=style.GREY, marker="o", ls="", label="the model's pools"),
    GAUSSIAN: Line2D(
        [],
        [],
        color=style.GREY,
        marker="o",
        mfc="white",
        ls="",
        label="the same with normal rewards",
    ),
    NORMAL: Line2D([], [], color=style.GREY, marker="|", ms=7, ls="", label="Normal law"),
}
#: in units of the reward, but too small by a factor that depends on m
SMALLER = ("bon_max_mean", "leave_one_out_max", "tail_rl")


@dataclass(frozen=True)
class Pools:
    """The tables that `simulations.lm_pool measure` writes."""

    table: pd.DataFrame
    model: pd.DataFrame
    response: pd.DataFrame
    tails: pd.DataFrame
    quantiles: pd.DataFrame
    noise: pd.DataFrame
    manifest: dict[str, Any]

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Registry name and options of each estimator."""
        first = self.table.drop_duplicates("estimator")
        return {e: json.loads(o) for e, o in zip(first.estimator, first.options, strict=True)}

    @cached_property
    def prompts(self) -> list[str]:
        """The pools, one for each prompt."""
        return list(self.table.loc[self.table["kind"] == POOL, "pool"].unique())

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
        """Tails of Gaussian samples: rows low, median, high."""
        return self.tails[self.tails["pool"] == "chance"].set_index("reward")


def tails(pools: Pools) -> Figure:
    """QQ plots of every reward against the normal law, one line per prompt."""
    rewards = list(pools.quantiles["reward"].unique())
    figure, panels = trellis(rewards, height=1.6, columns=3)
    shapes = []
    for reward, axes in panels.items():
        rows = pools.quantiles[pools.quantiles["reward"] == reward]
        for _, part in rows.groupby("pool", sort=False):
            axes.plot(part["z"], part["r"], color="#0072B2", lw=0.8, alpha=0.6)
        ends = [rows["z"].min(), rows["z"].max()]
        axes.plot(ends, ends, color=style.INK, lw=0.6, ls=":")
        axes.set_ylim(-5.5, 5.5)
        values = pools.tails[(pools.tails["reward"] == reward) & (pools.tails["pool"] != "chance")]
        r2, shape = values["qq_r2"].median(), values["shape"].median()
        if np.isfinite(r2):
            text = f"$R^2$ {r2:.3f}\nshape {style.number(shape)}"
            shapes.append(f"{style.number(shape)} ({reward})")
        else:
            text = f"{values['tied'].median():.0%} ties"
        axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=7)
    figure.supxlabel("normal quantile", fontsize=8)
    figure.supylabel("reward (standard deviations)", fontsize=8)
    low, high = pools.chance.loc["low", "shape"], pools.chance.loc["high", "shape"]
    style.title(
        figure,
        f"Pareto shape of the upper quarter, median over prompts: {', '.join(shapes)}; "
        f"in Gaussian samples {style.number(low)} to {style.number(high)}",
    )
    return figure


def cosine(pools: Pools) -> Figure:
    """Cosine and error of every estimator on every reward's pools, at the first m and N.

    Dots are means over prompts with 95 % intervals; hollow dots the same pools with normal rewards,
    bars the Normal law itself.
    """
    looks, labels = style.looks(pools.options), style.ordered(pools.options)
    m, N = pools.budgets[0]
    at = pools.table[(pools.table["m"] == m) & (pools.table["N"] == N)]
    size = (style.PAGE, 2 * (0.45 + 0.14 * len(labels)) + 0.9)
    figure, grid = plt.subplots(
        2, len(pools.rewards), figsize=size, squeeze=False, sharey=True, layout="constrained"
    )
    for column, reward in enumerate(pools.rewards):
        here = at[at["reward"] == reward]
        kinds = set(here["kind"])
        for axes, name in zip(grid[:, column], ("cosine", "scaled_nmse"), strict=True):
            for kind, offset in ((POOL, -0.15), (GAUSSIAN, 0.15)):
                over = here[here["kind"] == kind].groupby("estimator")[name].agg(["mean", "sem"])
                for label in set(over.index):
                    look = {**looks[label].line, "ls": "", "elinewidth": 0.7, "ms": 3.5}
                    look["mfc"] = "white" if kind == GAUSSIAN else looks[label].colour
                    mean, sem = over.loc[label]
                    place = labels.index(label) + offset * (GAUSSIAN in kinds)
                    axes.errorbar(mean, place, xerr=style.Z * sem, **look)
            if GAUSSIAN in kinds:
                law = at[at["kind"] == NORMAL].set_index("estimator")[name]
                places = [labels.index(label) for label in law.index]
                axes.plot(law, places, "|", color=style.INK, ms=7, mew=0.8)
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.set_xlim(-0.05, 1.05)
            axes.set_xlabel("cosine" if name == "cosine" else "error of 64 prompts")
        grid[0, column].set_title(reward, loc="left")
    figure.legend(handles=list(KINDS.values()), loc="outside lower center", ncols=3)
    style.title(
        figure, f"m = {m}, N = {N}. Lowest error at the best step length: {_lowest(at, pools)}"
    )
    return figure


def _lowest(rows: pd.DataFrame, pools: Pools) -> str:
    """Name the estimator of lowest error on every reward's pools."""
    names = []
    for reward in pools.rewards:
        here = rows[(rows["reward"] == reward) & (rows["kind"] == POOL)]
        error = here.groupby("estimator")["scaled_nmse"].mean()
        names.append(f"{error.idxmin()} on {reward} ({error.min():.2f})")
    return ", ".join(names)


def bias_variance(pools: Pools) -> Figure:
    """Relative bias against relative variance, pools' mean, for the pool and for a normal tail.

    Estimators in other units than the reward's are left out: their bias is mostly one of scale.
    """
    looks = style.looks(pools.options)
    labels = [x for x in style.ordered(pools.options) if _in_reward_units(pools.options[x])]
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
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("variance / ‖truth‖²")
    figure.supylabel("‖bias‖ / ‖truth‖", fontsize=8)
    style.legend(figure, looks, labels, *list(KINDS.values())[:2])
    m, N = pools.budgets[0]
    first = rows[(rows["kind"] == POOL) & (rows["m"] == m) & (rows["N"] == N)]
    bias = first[first["estimator"].isin(labels)].groupby("estimator")["relative_bias"].mean()
    style.title(
        figure,
        f"{reward}, one group: at m = {m}, N = {N} {bias.idxmin()} has the smallest bias "
        f"({bias.min():.2f} of the gradient)",
    )
    return figure


def _in_reward_units(options: dict[str, Any]) -> bool:
    """Return whether rewards times s multiply an estimator's advantages by s, as the gradient."""
    estimator = ESTIMATORS[options["name"]]
    return estimator.scale_degree == 1 and estimator.name not in SMALLER


def response(pools: Pools) -> Figure:
    """Advantage response curves, means over pools, beside the exact advantage."""
    looks = style.looks(pools.options)
    measured = set(pools.response["estimator"])
    labels = [x for x in style.chosen(pools.options, 8) if x in measured]
    reward = pools.rewards[0]
    rows = pools.response[(pools.response["reward"] == reward) & (pools.response["kind"] == POOL)]
    names = [f"m = {m}, N = {N}" for m, N in pools.budgets]
    figure, panels = trellis(names, height=1.9, columns=2)
    for (m, N), axes in zip(pools.budgets, panels.values(), strict=True):
        here = rows[(rows["m"] == m) & (rows["N"] == N)]
        mean = here.groupby(["estimator", "q"], sort=False)[["response", "exact"]].mean()
        exact = mean.groupby("q")["exact"].first()
        x = -np.log10(1.0 - exact.index.to_numpy())
        axes.plot(x, exact, color=style.INK, lw=1.6, ls="--")
        for label in labels:
            curve = mean.loc[label, "response"]
            axes.plot(x, curve, **looks[label].line, markevery=8, ms=3)
        limit = exact.max() * 1.2
        axes.set_ylim(-0.1 * limit, limit)
        ticks = [0.5, 0.9, 0.99, 0.999]
        axes.set_xticks([-np.log10(1.0 - q) for q in ticks], [f"{q:g}" for q in ticks])
        axes.set_xlabel("quantile of the rollout's reward")
    figure.supylabel("mean advantage (reward s.d.)", fontsize=8)
    exact_line = Line2D([], [], color=style.INK, lw=1.6, ls="--", label="exact")
    style.legend(figure, looks, labels, exact_line)
    style.title(figure, f"{reward}: mean advantage by quantile of the reward, beside the exact one")
    return figure
