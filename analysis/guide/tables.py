"""The tables of the guide "Which estimator when", in Markdown, from the committed summaries."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from analysis.bandit import read, report
from analysis.benchmark.ratios import CELL, MUCH, standings
from analysis.core import style
from analysis.grid import sample_efficiency
from analysis.grid.report import plus_minus
from analysis.guide.situations import SITUATIONS, Situation
from analysis.guide.sources import Sources, label
from analysis.lm import pool_tables
from analysis.lm.pool_figures import Pools
from tea_stats import RECOMMENDED

#: another estimator is preferred to the default if its mean regret is below this share of the
#: default's, and less by more than two standard errors
CLEAR = 0.9
#: lines of the table of one situation, and of the default's losses
BEST, WORST = 5, 10
#: of training: what every estimator's rollouts are counted up to
TARGET = read.OWN


# --- a situation --------------------------------------------------------------------------------


def ranking(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the standings of the estimators that exist in every cell, least mean regret first.

    `mean_regret_mcse` and `mean_versus_mcse` are those of the geometric means, as if cells and
    estimators were independent.
    """
    table = standings(rows)
    table = table[table["cells"] == len(rows[CELL].drop_duplicates())]
    for name in ("regret", "versus"):
        share = (rows[f"{name}_mcse"] / rows[name]) ** 2
        spread = np.sqrt(share.groupby(rows["estimator"]).sum()) / len(rows[CELL].drop_duplicates())
        table[f"mean_{name}_mcse"] = table[f"mean_{name}"] * table["estimator"].map(spread)
    return table.sort_values(["mean_regret", "worst_regret"], kind="stable").set_index("estimator")


def advised(table: pd.DataFrame, default: str) -> str:
    """Return whom to take: the default, unless the best one is clearly better."""
    first = str(table.index[0])
    if default not in table.index:
        return first
    best, own = table.loc[first], table.loc[default]
    margin = 2.0 * np.hypot(best["mean_regret_mcse"], own["mean_regret_mcse"])
    clear = best["mean_regret"] < min(CLEAR * own["mean_regret"], own["mean_regret"] - margin)
    return first if clear else default


def mean_and_worst(table: pd.DataFrame, name: str) -> str:
    """Write an estimator's regret in a situation: the mean, and the worst in brackets."""
    if name not in table.index:
        return "–"
    row = table.loc[name]
    mean = plus_minus(row["mean_regret"], row["mean_regret_mcse"])
    return f"{mean} ({size(row['worst_regret'])})"


def size(value: float, mcse: float = 0.0) -> str:
    """Write a positive number, with its standard error if there is one.

    Examples
    --------
    >>> size(2.294, 0.15), size(1001.6, 11.2), size(0.174)
    ('2.29 ± 0.15', '1002 ± 11', '0.17')
    """
    text = style.size(value)
    return f"{text} ± {style.size(mcse)}" if 0.0 < mcse < np.inf else text


# --- the tables of the page ---------------------------------------------------------------------


def decisions(sources: Sources) -> str:
    """Return the table of situations: whom to take, and at what regret."""
    tea, default, lines = sources.tea, sources.default, []
    for situation in SITUATIONS:
        table = ranking(sources.cells(situation))
        take = advised(table, sources.default)
        lines.append(
            [
                f"[{situation.name}](#{situation.anchor})",
                f"**{take}**" if take == default else take,
                mean_and_worst(table, take),
                mean_and_worst(table, default),
                mean_and_worst(table, tea),
                str(table["cells"].max()),
            ]
        )
    head = ["if", "take", "its regret (worst)", f"{default}'s", f"{tea}'s", "cells"]
    return markdown(head, lines)


def leaders(sources: Sources, situation: Situation) -> str:
    """Return the best estimators of a situation, and the default and TEA if they are not there."""
    table, tea = ranking(sources.cells(situation)), sources.tea
    shown = list(table.index[:BEST])
    shown += [x for x in (sources.default, tea) if x in table.index and x not in shown]
    lines = []
    for name in shown:
        row = table.loc[name]
        lines.append(
            [
                name,
                plus_minus(row["mean_regret"], row["mean_regret_mcse"]),
                size(row["worst_regret"], row["worst_regret_mcse"]),
                str(row["worst_regret_at"]),
                plus_minus(row["mean_versus"], row["mean_versus_mcse"]),
                str(row["best"]),
            ]
        )
    head = ["estimator", "regret, mean", "worst", "where", f"error / {tea}'s", "cells won"]
    return markdown(head, lines)


def losses(sources: Sources) -> str:
    """Return the cells in which the default's regret is largest, and who wins them."""
    rows = sources.regrets["league"]
    best = rows[rows["regret"] == 1.0].set_index(CELL)
    own = rows[rows["estimator"] == sources.default].nlargest(WORST, "regret")
    lines = []
    for row in own.itertuples():
        winner = best.loc[(row.law, row.m, row.N)]
        lines.append(
            [
                f"{row.law}, m = {row.m}, N = {row.N}",
                size(row.regret, row.regret_mcse),
                size(row.versus, row.versus_mcse),
                str(winner["estimator"]),
            ]
        )
    head = ["cell", "regret", f"error / {sources.tea}'s", "the best one"]
    return markdown(head, lines)


def parts(sources: Sources) -> str:
    """Return how the default does on the laws it was chosen on, and on the others."""
    tea, default, lines = sources.tea, sources.default, []
    for part, rows in sources.regrets["league"].groupby("part", sort=False):
        table = ranking(rows)
        own, others = table.loc[default], table.drop(index=default)
        safest = others["worst_regret"].idxmin()
        lines.append(
            [
                str(part),
                str(rows["law"].nunique()),
                plus_minus(own["mean_versus"], own["mean_versus_mcse"]),
                f"{own['much_worse']} of {own['cells']}",
                plus_minus(own["mean_regret"], own["mean_regret_mcse"]),
                size(own["worst_regret"], own["worst_regret_mcse"]),
                f"{safest}: {size(others.loc[safest, 'worst_regret'])}",
            ]
        )
    head = ["laws", "how many", f"error / {tea}'s", f"above {MUCH:g} times it"]
    head += ["regret, mean", "worst", "least worst of the others"]
    return markdown(head, lines)


def worth(sources: Sources) -> str:
    """Return how many rollouts others need for the error that adaptive TEA has with few."""
    found = sample_efficiency.table(
        sources.rollouts, label(sources.rollouts, "adaptive_tea"), sample_efficiency.FEW
    )
    labels = list(found["estimator"].unique())
    lines = []
    for (law, N), own in found.groupby(["law", "N"], sort=False):
        own = own.set_index("estimator")
        lines.append([str(law), str(N), *(sample_efficiency.cell(own.loc[x]) for x in labels)])
    return markdown(["law", "N", *labels], lines)


def training(sources: Sources) -> str:
    """Return on how many laws each estimator needs fewer rollouts than TEA in training."""
    study = sources.bandit
    counts = report.wins(study, TARGET)
    order = [name for name in style.ordered(study.options) if name in counts.index]
    lines = [[name, *counts.loc[name].fillna("–")] for name in order]
    return markdown(["estimator", *counts.columns], lines)


def pools(sources: Sources) -> str:
    """Return who has the least error on a language model's pools, beside the default and others."""
    study = sources.lm_pool
    shown = [_at_defaults(study, name) for name in (RECOMMENDED, "tea", "max_at_k")]
    lines = []
    for reward in study.rewards:
        found = pool_tables.over_prompts(study, reward).set_index(["estimator", "m", "N"])
        for m, N in study.budgets:
            best, value, se, equals = pool_tables.nearest(study, reward, m, N, "scaled_nmse")
            own = (found.loc[(x, m, N), ["scaled_nmse", "scaled_nmse_se"]] for x in shown)
            cells = [plus_minus(value, se), *(plus_minus(*pair) for pair in own)]
            lines.append([reward, str(m), str(N), best, *cells, ", ".join(equals) or "–"])
    head = ["reward", "m", "N", "least error", "its error", *(f"{x}'s" for x in shown)]
    return markdown([*head, "not told from it"], lines)


def pools_won(sources: Sources) -> str:
    """Say in how many settings max@m has the least error or cannot be told from it."""
    study, won = sources.lm_pool, 0
    name = _at_defaults(study, "max_at_k")
    settings = [(reward, m, N) for reward in study.rewards for m, N in study.budgets]
    for setting in settings:
        best, _, _, equals = pool_tables.nearest(study, *setting, "scaled_nmse")
        won += name in (best, *equals)
    return (
        f"{name} has the least error, or is not told from it, in {won} of {len(settings)} settings"
    )


def trained(sources: Sources) -> str:
    """Return what training a language model with each estimator gained, for each reward."""
    columns, head = [], ["estimator"]
    for study in (sources.lm_training_equal, sources.lm_training_second):
        (scenario,) = study.scenarios
        for N in (1, study.most):
            head.append(f"{scenario}: {'mean reward' if N == 1 else f'best of {N}'}")
            columns.append(study.gains(scenario, N).apply(_gain, axis=1))
    table = pd.concat(columns, axis=1).fillna("–")
    order = style.ordered(sources.lm_training_equal.options)
    return markdown(head, ([name, *table.loc[name]] for name in order))


def _gain(row: pd.Series) -> str:
    ends = (style.number(row[end], 2) for end in ("low", "high"))
    return f"{row['difference']:+.2f} [{', '.join(ends)}]".replace("-", "−")


def _at_defaults(study: Pools, name: str) -> str:
    """Return what an estimator is called in the pool study, at its defaults."""
    return next(x for x, options in study.options.items() if options == {"name": name})


def names(sources: Sources) -> str:
    """Return what the labels stand for: how each is called."""
    lines = []
    for called, options in {**sources.grid.options, **sources.league.options}.items():
        chosen = {key: value for key, value in options.items() if key != "name"}
        arguments = "".join(f", {key}={value!r}" for key, value in chosen.items())
        page = f"[`{options['name']}`](reference/estimators/{options['name']}.rst)"
        lines.append([called, page, f'`advantages("{options["name"]}", rewards, N{arguments})`'])
    return markdown(["label", "page", "call"], lines)


def markdown(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown.

    Examples
    --------
    >>> print(markdown(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    rows = [list(head), *lines]
    text = [f"| {' | '.join(row)} |" for row in rows]
    found = "\n".join([text[0], "|" + "---|" * len(rows[0]), *text[1:]])
    # a number stays on one line with its standard error, and the ends of an interval together
    return re.sub(
        r"(?<=\d)–(?=[\d>])", "\u2060–\u2060", found.replace(" ± ", "\u00a0±\u00a0")
    ).replace("> ", ">\u00a0")
