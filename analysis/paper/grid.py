"""The article's numbers on the full grid: its size, the winners, errors on every law."""

from __future__ import annotations

import pandas as pd

from analysis.core.read import BATCH, Results
from analysis.grid.winners import by_band, winners
from analysis.paper.latex import count, decimal, ends, name, percent, row, size, span
from analysis.paper.studies import Studies, claim, one

FILE = "sections/offtail.tex"
FEW, MANY = "m ≤ N/8", "m ≥ N"
#: the estimators whose errors the table lists, on every law, in one cell
SHOWN = ("TEA .25", "TEA .5", "Prefix-TEA", "linear TEA", "max@m", "RLOO")
CELL = (16, 512)
#: no standard error in the table is a larger share of its error
LARGEST = 0.05
#: cells that the text mentions: law, m, N, estimators
MENTIONED = (
    ("Normal", 16, 128, ("linear TEA", "max@m", "TEA .25", "TEA .5", "TEA 1")),
    ("rare good mode", 16, 512, ("linear TEA", "TEA .1")),
    ("Likert 1-5", 16, 512, ("linear TEA", "BoN max-mean")),
    ("Beta(2, 5)", 16, 512, ("linear TEA", "TEA .5")),
    ("GumbelMin", 16, 512, ("linear TEA", "TEA 1")),
)


def numbers(studies: Studies) -> dict[str, str]:
    """Return the grid's numbers by key."""
    results = studies.grid
    states = results.cells["status"].value_counts()
    values = {
        "batch": count(BATCH),
        "grid/laws": count(len(results.laws)),
        "grid/m": ends(results.m),
        "grid/N": ends(results.N),
        "errors/se": percent(LARGEST),
        "grid/estimators": count(len(results.options)),
        "grid/cells": count(len(results.cells)),
        "grid/measured": count(states[""]),
        "grid/infinite": count(states["infinite"]),
        "grid/saturated": count(states["saturated"]),
        "grid/undefined": count(states["undefined"]),
        "grid/precision": percent(results.manifest["configuration"]["precision"]["relative_se"], 1),
        "grid/time": span(sum(run["seconds"] for run in results.manifest["runs"])),
    }
    values |= _wins(results) | _medians(results)
    for law, m, N, labels in MENTIONED:
        cell = _cell(results, law, m, N)
        for label in labels:
            error = one(cell, results.folder, estimator=label)["batch_nmse"]
            values[f"error/{law}/{m}/{N}/{label}"] = _error(error)
        least = cell.loc[cell["batch_nmse"].idxmin(), "estimator"]
        best = labels[0] if law == "Normal" else labels[1]
        claim(least == best, f"on {law} at m = {m}, N = {N} {best} has the least error", FILE)
    pareto = _cell(results, "GenPareto(0.2)", *CELL)
    values["error/GenPareto(0.2)/least"] = _error(pareto["batch_nmse"].min())
    return values


def _wins(results: Results) -> dict[str, str]:
    bands = by_band(winners(results))
    few, many = bands[FEW], bands[MANY]
    claim(few.index[0] == "linear TEA", "linear TEA wins most often at m ≤ N/8", FILE)
    claim(many.index[0] == "max@m", "max@m wins most often at m ≥ N", FILE)
    return {
        "wins/few/settings": count(few.sum()),
        "wins/few/linear": percent(few.iloc[0] / few.sum()),
        "wins/few/second": percent(few.iloc[1] / few.sum()),
        "wins/many/settings": count(many.sum()),
        "wins/many/max": percent(many.iloc[0] / many.sum()),
    }


def _medians(results: Results) -> dict[str, str]:
    cells = results.cells
    few = cells[(cells["ratio"] <= 0.125) & (cells["status"] == "")]
    medians = few.groupby("estimator")["batch_nmse"].median()
    return {f"median/{label}": _error(medians[label]) for label in SHOWN if label != "TEA .5"}


def _cell(results: Results, law: str, m: int, N: int) -> pd.DataFrame:
    cells = results.cells
    here = cells[(cells["law"] == law) & (cells["m"] == m) & (cells["N"] == N)]
    one(here, results.folder, estimator=SHOWN[0])  # raises where the cell is missing
    return here[here["status"] == ""]


def _error(value: float) -> str:
    """Write an error with two decimals, or three below a tenth."""
    return decimal(value, 3) if value < 0.1 else size(value)


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the table of errors at one (m, N): laws by estimators, and the best one."""
    results, lines, largest = studies.grid, [], 0.0
    for law in results.laws:
        cell = _cell(results, law, *CELL).set_index("estimator")
        if cell.empty:  # saturated: no gradient is left to estimate
            continue
        least = cell["batch_nmse"].idxmin()
        errors = [_error(cell.loc[label, "batch_nmse"]) for label in SHOWN]
        errors = [
            rf"\textbf{{{text}}}" if label == least else text
            for label, text in zip(SHOWN, errors, strict=True)
        ]
        largest = max(largest, (cell["batch_nmse_mcse"] / cell["batch_nmse"])[list(SHOWN)].max())
        best = "" if least in SHOWN else f"{name(least)} {_error(cell.loc[least, 'batch_nmse'])}"
        lines.append(row([name(law), *errors, best]))
    claim(largest < LARGEST, f"standard errors are below {LARGEST:.0%} of the errors", FILE)
    return {"errors": lines}
