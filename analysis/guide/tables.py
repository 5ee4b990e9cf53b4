"""The tables of the guide "Which estimator when", in Markdown, from the committed summaries."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from analysis.bandit import read, report
from analysis.benchmark.ranking import MUCH
from analysis.benchmark.ratios import CELL
from analysis.core import style
from analysis.core.style import plus_minus, size_and_error
from analysis.grid import sample_efficiency
from analysis.guide.situations import SITUATIONS, Situation
from analysis.guide.sources import Sources, label_of, ranking
from analysis.lm import exact_tables, pool_tables
from tea_stats import RECOMMENDED

#: another estimator is advised if its mean performance ratio is below this share of the default's,
#: and the difference is significant at two standard errors
CLEAR = 0.9
#: lines of the table of one situation, and of the default's losses
BEST, WORST = 5, 10
#: in training, rollouts are counted until this target
TARGET = read.OWN


# --- a situation --------------------------------------------------------------------------------


def advised(table: pd.DataFrame, default: str) -> str:
    """Return the estimator to take: the default, unless another is clearly better."""
    first = str(table.index[0])
    if default not in table.index:
        return first
    best, own = table.loc[first], table.loc[default]
    margin = 2.0 * np.hypot(best["mean_to_best_mcse"], own["mean_to_best_mcse"])
    clear = best["mean_to_best"] < min(CLEAR * own["mean_to_best"], own["mean_to_best"] - margin)
    return first if clear else default


def mean_and_worst(table: pd.DataFrame, name: str) -> str:
    """Write an estimator's mean performance ratio in a situation, and the worst in brackets."""
    if name not in table.index:
        return "–"
    row = table.loc[name]
    mean = plus_minus(row["mean_to_best"], row["mean_to_best_mcse"])
    return f"{mean} ({style.size(row['worst_to_best'])})"


# --- the tables of the page ---------------------------------------------------------------------


def decisions(sources: Sources) -> str:
    """Return the table of situations: the estimator to take, and its performance ratio."""
    tea, default, lines = sources.tea, sources.default, []
    for situation in SITUATIONS:
        table = sources.rankings[situation.name]
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
    head = ["if", "take", "its ratio (worst)", f"{default}'s", f"{tea}'s", "cells"]
    return markdown(head, lines)


def leaders(sources: Sources, situation: Situation) -> str:
    """Return the best estimators of a situation, then the default and TEA if not among them."""
    table, tea = sources.rankings[situation.name], sources.tea
    shown = list(table.index[:BEST])
    shown += [x for x in (sources.default, tea) if x in table.index and x not in shown]
    lines = []
    for name in shown:
        row = table.loc[name]
        lines.append(
            [
                name,
                plus_minus(row["mean_to_best"], row["mean_to_best_mcse"]),
                size_and_error(row["worst_to_best"], row["worst_to_best_mcse"]),
                str(row["worst_to_best_at"]),
                plus_minus(row["mean_to_tea"], row["mean_to_tea_mcse"]),
                str(row["wins"]),
            ]
        )
    head = ["estimator", "ratio, mean", "worst", "where", f"error / {tea}'s", "wins"]
    return markdown(head, lines)


def losses(sources: Sources) -> str:
    """Return the cells in which the default's performance ratio is largest, and their winners."""
    rows = sources.ratios["league"]
    best = rows[rows["to_best"] == 1.0].set_index(CELL)
    own = rows[rows["estimator"] == sources.default].nlargest(WORST, "to_best")
    lines = []
    for row in own.itertuples():
        winner = best.loc[(row.law, row.m, row.N)]
        lines.append(
            [
                f"{row.law}, m = {row.m}, N = {row.N}",
                size_and_error(row.to_best, row.to_best_mcse),
                size_and_error(row.to_tea, row.to_tea_mcse),
                str(winner["estimator"]),
            ]
        )
    head = ["cell", "ratio", f"error / {sources.tea}'s", "best estimator"]
    return markdown(head, lines)


def parts(sources: Sources) -> str:
    """Return the default's ratios on the laws it was chosen on, and on the others."""
    tea, default, lines = sources.tea, sources.default, []
    for part, rows in sources.ratios["league"].groupby("part", sort=False):
        table = ranking(rows)
        own, others = table.loc[default], table.drop(index=default)
        safest = others["worst_to_best"].idxmin()
        lines.append(
            [
                str(part),
                str(rows["law"].nunique()),
                plus_minus(own["mean_to_tea"], own["mean_to_tea_mcse"]),
                f"{own['much_worse']} of {own['cells']}",
                plus_minus(own["mean_to_best"], own["mean_to_best_mcse"]),
                size_and_error(own["worst_to_best"], own["worst_to_best_mcse"]),
                f"{safest}: {style.size(others.loc[safest, 'worst_to_best'])}",
            ]
        )
    head = ["laws", "number", f"error / {tea}'s", f"above {MUCH:g}"]
    head += ["ratio, mean", "worst", "least worst of the others"]
    return markdown(head, lines)


def worth(sources: Sources) -> str:
    """Return how many rollouts others need for the error that adaptive TEA has with few."""
    results = sources.rollouts
    reference = label_of(results.options, "adaptive_tea", results.folder)
    needs = sample_efficiency.table(results, reference, sample_efficiency.FEW)
    labels = list(needs["estimator"].unique())
    lines = []
    for (law, N), own in needs.groupby(["law", "N"], sort=False):
        own = own.set_index("estimator")
        lines.append([str(law), str(N), *(sample_efficiency.interval(own.loc[x]) for x in labels)])
    return markdown(["law", "N", *labels], lines)


def training(sources: Sources) -> str:
    """Return the number of laws on which each estimator needs fewer rollouts than TEA."""
    study = sources.bandit
    counts = report.wins(study, TARGET)
    order = [name for name in style.ordered(study.options) if name in counts.index]
    lines = [[name, *counts.loc[name].fillna("–")] for name in order]
    return markdown(["estimator", *counts.columns], lines)


def pools(sources: Sources) -> str:
    """Return the estimator of least error on a language model's pools, beside three others."""
    study = sources.lm_pool
    names = (RECOMMENDED, "tea", "max_at_k")
    shown = [label_of(study.options, name, "the study of pools") for name in names]
    lines = []
    for reward in study.rewards:
        cells = pool_tables.over_prompts(study, reward).set_index(["estimator", "m", "N"])
        for m, N in study.budgets:
            best, value, se, equals = pool_tables.nearest(study, reward, m, N, "scaled_nmse")
            own = (cells.loc[(x, m, N), ["scaled_nmse", "scaled_nmse_se"]] for x in shown)
            errors = [plus_minus(value, se), *(plus_minus(*pair) for pair in own)]
            lines.append([reward, str(m), str(N), best, *errors, ", ".join(equals) or "–"])
    head = ["reward", "m", "N", "least error", "its error", *(f"{x}'s" for x in shown)]
    return markdown([*head, "not significantly different"], lines)


def pools_won(sources: Sources) -> str:
    """Return in how many settings max@m is the best or not significantly worse."""
    study, won = sources.lm_pool, 0
    name = label_of(study.options, "max_at_k", "the study of pools")
    settings = [(reward, m, N) for reward in study.rewards for m, N in study.budgets]
    for setting in settings:
        best, _, _, equals = pool_tables.nearest(study, *setting, "scaled_nmse")
        won += name in (best, *equals)
    return (
        f"{name} has the least error, or one not significantly larger, in {won} of "
        f"{len(settings)} settings"
    )


def trained(sources: Sources) -> str:
    """Return the exact gains from training a language model with each arm, held-out prompts."""
    study = sources.lm_exact
    columns: dict[str, dict[str, str]] = {}
    for scenario, rate in study.stages:
        table = exact_tables.gains(study, scenario, rate)
        head = f"{scenario}, step size {rate:g}"
        columns[head] = dict(table[f"V_{study.budget(scenario)} held out"])
        columns[f"{head}: seeds"] = dict(table["seeds"])
    table = pd.DataFrame(columns).fillna("–")
    return markdown(["arm", *columns], ([name, *table.loc[name]] for name in table.index))


def names(sources: Sources) -> str:
    """Return the call behind each label."""
    lines = []
    for label, options in {**sources.grid.options, **sources.league.options}.items():
        name = options["name"]
        arguments = "".join(f", {key}={value!r}" for key, value in options.items() if key != "name")
        page = f"[`{name}`](reference/estimators/{name}.rst)"
        lines.append([label, page, f'`advantages("{name}", rewards, N{arguments})`'])
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
    # no label can begin a tag or end its cell
    rows = [
        [re.sub(r"<(?=[A-Za-z/!?])", "&lt;", cell).replace("|", r"\|") for cell in row]
        for row in [list(head), *lines]
    ]
    text = [f"| {' | '.join(row)} |" for row in rows]
    table = "\n".join([text[0], "|" + "---|" * len(rows[0]), *text[1:]])
    # a number stays on one line with its standard error, and the ends of an interval together
    table = table.replace(" ± ", "\u00a0±\u00a0").replace("> ", ">\u00a0")
    return re.sub(r"(?<=\d)–(?=[\d>])", "\u2060–\u2060", table)
