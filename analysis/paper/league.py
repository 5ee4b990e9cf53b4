"""The article's numbers on the benchmark: performance ratios, ranking, sample efficiency."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.benchmark.ranking import MUCH, ranking
from analysis.benchmark.ratios import CELL, performance_ratios
from analysis.core.read import Results
from analysis.grid import sample_efficiency
from analysis.paper.latex import count, decimal, ends, name, percent, pm, row, size, span
from analysis.paper.studies import Studies, claim, one

FILE = "sections/benchmark.tex"
TEA, AUTO, ADAPTIVE, FIXED = "TEA .25", "auto TEA", "adaptive TEA", "linear TEA"
#: the two that choose a law by the batch: the default, and one that always believes some law
CHOOSING = [AUTO, ADAPTIVE]
#: parts of the benchmark, as the grid file names them, and as keys of the text
PARTS = {"chosen on": "chosen", "held out": "held", "far off": "far"}
#: numbers of auto TEA on each that the text gives
GIVEN = {
    "chosen": ("mean", "worst", "worst regret"),
    "held": ("mean", "worst", "worst regret", "worse"),
    "far": ("mean", "worse"),
}
OF_ADAPTIVE = {"chosen": ("worst regret",), "held": ("mean", "worst regret"), "far": ("mean",)}
#: rows of the table; the command prints all
SHOWN = (
    *("auto TEA", "adaptive TEA", "linear TEA", "linear TEA, k ≥ 1", "linear TEA, 3 tails"),
    *("TEA .25", "TEA .5", "TEA 1", "TEA .25 calibrated", "TEA .5 calibrated", "Prefix-TEA"),
    *("max@m", "BoN max-mean", "RLOO", "GRPO", "CAT-BoN", "RS-GRPO", "CVaR", "TailRL"),
)
#: estimators whose sample efficiency the text and the table give
NEEDS = ("TEA .25", "TEA .5", "Prefix-TEA", "max@m")
WHOLE, GROUP = "linear TEA, k ≥ 1", 16


def numbers(studies: Studies) -> dict[str, str]:
    """Return the benchmark's numbers by key."""
    results, ratios = studies.league, performance_ratios(studies.league)
    values = {
        "league/laws": count(len(results.laws)),
        "league/m": ends(results.m),
        "league/batches": count(results.cells["reps"].max()),
        "league/time": span(sum(run["seconds"] for run in results.manifest["runs"])),
        "much": decimal(MUCH, 1),
    }
    for part, key in PARTS.items():
        own = ratios[ratios["part"] == part]
        cells = len(own[CELL].drop_duplicates())
        table = ranking(own)
        values[f"{key}/laws"] = count(own["law"].nunique())
        texts = _row_numbers(one(table, results.folder, estimator=AUTO))
        values |= {f"{key}/{x}": texts[x] for x in GIVEN[key]}
        texts = _row_numbers(one(table, results.folder, estimator=ADAPTIVE))
        values |= {f"{key}/adaptive/{x}": texts[x] for x in OF_ADAPTIVE[key]}
        if key == "far":
            values |= {"far/cells": count(cells)} | _worst(own, results)
            continue
        first = set(table.head(2)["estimator"])
        claim(first == set(CHOOSING), f"{part}: least worst performance ratios", FILE)
        least = set(table.nsmallest(2, "mean_to_tea")["estimator"])
        claim(least == set(CHOOSING), f"{part}: least mean errors", FILE)
        common = table[(table["cells"] == cells) & ~table["estimator"].isin(CHOOSING)]
        values[f"{key}/next"] = size(common["worst_to_best"].min())
    values |= _held_out(ratios) | _designs(ratios) | _verifiers(ratios)
    return values | _worth(studies.rollouts)


def _held_out(ratios: pd.DataFrame) -> dict[str, str]:
    """Return the shares of held-out cells within twice the least error."""
    own = ratios[ratios["part"] == "held out"]
    cells = len(own[CELL].drop_duplicates())
    close = own[own["to_best"] <= 2.0].groupby("estimator").size() / cells
    return {
        "held/cells": count(cells),
        "held/close": percent(close[AUTO]),
        "held/close/adaptive": percent(close[ADAPTIVE]),
        "held/close/next": percent(close.drop(CHOOSING).max()),
    }


def _designs(ratios: pd.DataFrame) -> dict[str, str]:
    """Return the worst performance ratio of the best fixed linear design."""
    table = ranking(ratios[ratios["part"] == "chosen on"])
    table = table[table["estimator"].str.startswith("linear TEA")]
    claim(table.iloc[0]["estimator"] == FIXED, f"of linear designs {FIXED} is the safest", FILE)
    return {"chosen/linear": _row_numbers(table.iloc[0])["worst regret"]}


def _row_numbers(line: pd.Series) -> dict[str, str]:
    return {
        "mean": size(line["mean_to_tea"]),
        "worst": pm(line["worst_to_tea"], line["worst_to_tea_mcse"]),
        "worst regret": _rounded(line["worst_to_best"], line["worst_to_best_mcse"]),
        "worse": count(line["much_worse"]),
    }


def _rounded(value: float, se: float) -> str:
    return size(value) if se == 0.0 or not np.isfinite(value) else pm(value, se)


def _worst(own: pd.DataFrame, results: Results) -> dict[str, str]:
    """Return auto TEA's largest errors over TEA's, on verifiers and on the other laws."""
    auto = own[own["estimator"] == AUTO]
    verifiers = [x for x, law in results.law_parameters.items() if law.get("values") == [0.0, 1.0]]
    verifier = auto["law"].isin(verifiers)
    shaped, binary = auto[~verifier], auto[verifier]
    worst = shaped.loc[shaped["to_tea"].idxmax()]
    claim(binary["to_tea"].max() > 1, "auto TEA loses to TEA on some verifier", FILE)
    return {
        "far/shape/worst": count(worst["to_tea"]),
        "far/shape/law": name(worst["law"]),
        "far/verifier/worst": count(binary["to_tea"].max()),
    }


def _verifiers(ratios: pd.DataFrame) -> dict[str, str]:
    own = ratios[ratios["estimator"] == "beta-binomial"]
    return {"beta/mean": size(float(np.exp(np.log(own["to_tea"]).mean())))}


def _worth(results: Results) -> dict[str, str]:
    """Return the rollouts that others need for the error of ours with 16."""
    values = {"rollouts/m": count(GROUP), "rollouts/most": count(max(results.m))}
    whole = sample_efficiency.table(results, WHOLE, GROUP)
    for label in NEEDS:
        line = one(whole, results.folder, law="Normal", N=128, estimator=label)
        values[f"worth/Normal/{label}"] = needed(line)
    never = whole.loc[whole["estimator"].isin(["RLOO", "GRPO"]), "m"]
    claim(bool(np.isinf(never).all()), "RLOO and GRPO never reach the error of ours", FILE)
    adaptive = sample_efficiency.table(results, ADAPTIVE, GROUP)
    tea = adaptive[adaptive["estimator"] == TEA]["m"]
    claim(bool(np.isfinite(tea).all()), "TEA reaches adaptive TEA's error on every law", FILE)
    values["worth/least"], values["worth/most"] = count(tea.min()), count(tea.max())
    return values


def needed(line: pd.Series) -> str:
    """Write a number of rollouts, or "> the largest m" where that is too few."""
    return rf"$>${count(line['most'])}" if np.isinf(line["m"]) else count(line["m"])


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the tables of the ranking and of sample efficiency."""
    return {"standings": _ranking_rows(studies.league), "rollouts": _need_rows(studies.rollouts)}


def _ranking_rows(results: Results) -> list[str]:
    ratios = performance_ratios(results)
    tables = [ranking(ratios[ratios["part"] == part]).set_index("estimator") for part in PARTS]
    lines = []
    for label in SHOWN:
        # marked where an estimator is not defined in every cell
        partly = any(table.loc[label, "cells"] < table["cells"].max() for table in tables)
        cells = [name(label) + r"$^\dagger$" * partly]
        for table in tables:
            line = table.loc[label]
            cells += [size(line["mean_to_tea"]), size(line["worst_to_tea"])]
            cells += [size(line["worst_to_best"])]
        lines.append(row(cells))
    return lines


def _need_rows(results: Results) -> list[str]:
    table = sample_efficiency.table(results, ADAPTIVE, GROUP)
    lines = []
    for (law, N), own in table.groupby(["law", "N"], sort=False):
        own = own.set_index("estimator")
        goal = pm(own["goal"].iloc[0], own["goal_mcse"].iloc[0])
        cells = [name(law), f"{N}", goal]
        for label in NEEDS:
            line = own.loc[label]
            cells += [needed(line), _ends(line)]
        lines.append(row(cells))
    return lines


def _ends(line: pd.Series) -> str:
    """Write the range within two standard errors."""
    if np.isinf(line["m"]):
        return ""
    low, high = (needed(pd.Series({"m": m, "most": line["most"]})) for m in line[["low", "high"]])
    return f"({low}--{high})"
