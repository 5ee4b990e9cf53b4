"""What the article says of the league: regrets, standings, and what a rollout is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.benchmark.ratios import CELL, MUCH, regrets, standings
from analysis.core.read import Results
from analysis.grid import sample_efficiency
from analysis.paper.latex import count, decimal, ends, name, number, percent, pm, row, size, span
from analysis.paper.studies import Studies, held, one

FILE = "sections/league.tex"
TEA, AUTO, FIXED = "TEA .25", "auto TEA", "linear TEA"
#: parts of the league, as the grid file names them, and as keys of the text
PARTS = {"chosen on": "chosen", "held out": "held", "far off": "far"}
#: what is told of auto TEA on each
TOLD = {
    "chosen": ("mean", "worst", "worst regret"),
    "held": ("mean", "worst", "worst regret", "worse"),
    "far": ("mean", "worse"),
}
#: rows of the table, the others are in the league that the command prints
SHOWN = (
    *("auto TEA", "linear TEA", "linear TEA, k ≥ 1", "linear TEA, 3 tails"),
    *("TEA .25", "TEA .5", "TEA 1", "TEA .25 calibrated", "TEA .5 calibrated", "Prefix-TEA"),
    *("max@m", "BoN max-mean", "RLOO", "GRPO", "CAT-BoN", "RS-GRPO", "CVaR", "TailRL"),
)
#: estimators whose need of rollouts is told
NEEDS = ("TEA .25", "TEA .5", "Prefix-TEA", "max@m")
ADAPTIVE, WHOLE, GROUP = "adaptive TEA", "linear TEA, k ≥ 1", 16


def numbers(studies: Studies) -> dict[str, str]:
    """Return the league's numbers by key."""
    results, found = studies.league, regrets(studies.league)
    told = {
        "league/laws": count(len(results.laws)),
        "league/m": ends(results.m),
        "league/batches": count(results.cells["reps"].max()),
        "league/time": span(sum(run["seconds"] for run in results.manifest["runs"])),
        "much": decimal(MUCH, 1),
    }
    for part, key in PARTS.items():
        own = found[found["part"] == part]
        cells = len(own[CELL].drop_duplicates())
        table = standings(own)
        told[f"{key}/laws"] = count(own["law"].nunique())
        texts = _standing(one(table, results.folder, estimator=AUTO))
        told |= {f"{key}/{x}": texts[x] for x in TOLD[key]}
        if key == "far":
            told |= {"far/cells": count(cells)} | _worst(own, results)
            continue
        held(table.iloc[0]["estimator"] == AUTO, f"{part}: least worst regret", FILE)
        least = table.loc[table["mean_versus"].idxmin(), "estimator"]
        held(least == AUTO, f"{part}: least mean error", FILE)
        common = table[(table["cells"] == cells) & (table["estimator"] != AUTO)]
        told[f"{key}/next"] = size(common["worst_regret"].min())
    return told | _held_out(found) | _designs(found) | _verifiers(found) | _worth(studies.rollouts)


def _held_out(found: pd.DataFrame) -> dict[str, str]:
    """Return the shares of held-out cells within twice the least error."""
    own = found[found["part"] == "held out"]
    cells = len(own[CELL].drop_duplicates())
    close = own[own["regret"] <= 2.0].groupby("estimator").size() / cells
    return {
        "held/cells": count(cells),
        "held/close": percent(close[AUTO]),
        "held/close/next": percent(close.drop(AUTO).max()),
    }


def _designs(found: pd.DataFrame) -> dict[str, str]:
    """Return the worst regret of the best fixed linear design."""
    table = standings(found[found["part"] == "chosen on"])
    table = table[table["estimator"].str.startswith("linear TEA")]
    held(table.iloc[0]["estimator"] == FIXED, f"of linear designs {FIXED} is the safest", FILE)
    return {"chosen/linear": _standing(table.iloc[0])["worst regret"]}


def _standing(line: pd.Series) -> dict[str, str]:
    return {
        "mean": size(line["mean_versus"]),
        "worst": pm(line["worst_versus"], line["worst_versus_mcse"]),
        "worst regret": _rounded(line["worst_regret"], line["worst_regret_mcse"]),
        "worse": count(line["much_worse"]),
    }


def _rounded(value: float, se: float) -> str:
    return size(value) if se == 0.0 or not np.isfinite(value) else pm(value, se)


def _worst(own: pd.DataFrame, results: Results) -> dict[str, str]:
    """Return where auto TEA loses most to TEA, on verifiers (rewards 0 and 1) and elsewhere."""
    versus = own[own["estimator"] == AUTO]
    verifiers = [x for x, law in results.law_parameters.items() if law.get("values") == [0.0, 1.0]]
    verifier = versus["law"].isin(verifiers)
    shaped, binary = versus[~verifier], versus[verifier]
    worst = shaped.loc[shaped["versus"].idxmax()]
    held(binary["versus"].max() > 1, "auto TEA loses to TEA on some verifier", FILE)
    return {
        "far/shape/worst": number(f"{worst['versus']:.0f}"),
        "far/shape/law": name(worst["law"]),
        "far/verifier/worst": number(f"{binary['versus'].max():.0f}"),
    }


def _verifiers(found: pd.DataFrame) -> dict[str, str]:
    own = found[found["estimator"] == "beta-binomial"]
    return {"beta/mean": size(float(np.exp(np.log(own["versus"]).mean())))}


def _worth(results: Results) -> dict[str, str]:
    """Return how many rollouts others need for the error that ours have with 16."""
    told = {"rollouts/m": count(GROUP), "rollouts/most": count(max(results.m))}
    whole = sample_efficiency.table(results, WHOLE, GROUP)
    for label in NEEDS:
        line = one(whole, results.folder, law="Normal", N=128, estimator=label)
        told[f"worth/Normal/{label}"] = needed(line)
    never = whole.loc[whole["estimator"].isin(["RLOO", "GRPO"]), "m"]
    held(bool(np.isinf(never).all()), "RLOO and GRPO never reach the error of ours", FILE)
    adaptive = sample_efficiency.table(results, ADAPTIVE, GROUP)
    tea = adaptive[adaptive["estimator"] == TEA]["m"]
    held(bool(np.isfinite(tea).all()), "TEA reaches adaptive TEA's error on every law", FILE)
    told["worth/least"], told["worth/most"] = count(tea.min()), count(tea.max())
    return told


def needed(line: pd.Series) -> str:
    """Write a number of rollouts, or that the grid has too few."""
    return rf"$>${count(line['most'])}" if np.isinf(line["m"]) else count(line["m"])


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the tables of standings and of rollouts needed."""
    return {"standings": _standing_rows(studies.league), "rollouts": _need_rows(studies.rollouts)}


def _standing_rows(results: Results) -> list[str]:
    found = regrets(results)
    tables = [standings(found[found["part"] == part]).set_index("estimator") for part in PARTS]
    lines = []
    for label in SHOWN:
        # the mark of a method that is not defined in every cell
        partly = any(table.loc[label, "cells"] < table["cells"].max() for table in tables)
        cells = [name(label) + r"$^\dagger$" * partly]
        for table in tables:
            line = table.loc[label]
            cells += [size(line["mean_versus"]), size(line["worst_versus"])]
            cells += [size(line["worst_regret"])]
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
    """Write the range that two standard errors leave open."""
    if np.isinf(line["m"]):
        return ""
    low, high = (needed(pd.Series({"m": m, "most": line["most"]})) for m in line[["low", "high"]])
    return f"({low}--{high})"
