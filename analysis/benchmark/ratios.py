"""Regret: each estimator's error of a batch over that of the best one of the cell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.core.read import Absent, Results

CELL = ["law", "m", "N"]
#: an estimator is "much worse" than TEA where its error is larger by more than this factor
MUCH = 1.1


def reference(results: Results) -> str:
    """Return the label of the paper's TEA at alpha = .25; Absent if the grid has none."""
    for label, options in results.options.items():
        if options["name"] == "tea" and options.get("alpha", 0.25) == 0.25:
            if not options.get("centred") and not options.get("calibrated"):
                return label
    raise Absent("needs TEA at alpha = 0.25, which the others are compared with")


def regrets(results: Results) -> pd.DataFrame:
    """Return one row per cell and estimator, without undefined estimators.

    Saturated cells are left out, and those where no estimator has a second moment.

    Columns: part, law, m, N, estimator; error, the normalised error of a batch (infinite without a
    second moment); regret, over the least one of the cell; versus, over TEA's (NaN where that is
    infinite); regret_mcse and versus_mcse, to first order and as if independent; cosine and
    efficiency, with their _mcse.
    """
    rows = results.cells[~results.cells["status"].isin(["undefined", "saturated"])].copy()
    infinite = rows["status"] == "infinite"
    rows["error"] = rows["batch_nmse"].mask(infinite, np.inf)
    rows = rows[rows["error"].groupby([rows[x] for x in CELL]).transform("min") < np.inf]
    rows["share"] = (rows["batch_nmse_mcse"] / rows["error"]).mask(rows["error"] == np.inf, 0.0)
    best = rows.loc[rows.groupby(CELL)["error"].idxmin()].set_index(CELL)
    tea = rows[rows["estimator"] == reference(results)].set_index(CELL)
    for name, other in (("regret", best), ("versus", tea)):
        held = other.reindex(pd.MultiIndex.from_frame(rows[CELL]))
        # nothing is compared with an infinite error
        finite = held["error"].where(held["error"] < np.inf)
        rows[name] = rows["error"].to_numpy() / finite.to_numpy()
        own = rows["estimator"].to_numpy() == held["estimator"].to_numpy()
        spread = np.hypot(rows["share"].to_numpy(), held["share"].to_numpy())
        rows[f"{name}_mcse"] = np.where(own, 0.0, rows[name] * spread)
    part = {law: name for name, laws in results.parts.items() for law in laws}
    rows["part"] = rows["law"].map(part)
    columns = ["part", *CELL, "estimator", "error", "regret", "regret_mcse"]
    columns += ["versus", "versus_mcse", "cosine", "cosine_mcse", "efficiency", "efficiency_mcse"]
    return rows[columns].dropna(subset="part").reset_index(drop=True)


def standings(found: pd.DataFrame) -> pd.DataFrame:
    """Return one row per estimator, the least worst regret first; of the rows of `regrets`.

    Columns: cells; mean_versus, mean_regret (geometric means); worst_versus, worst_regret with
    their _mcse and the cell where they are, as text; much_worse, the cells where the error is more
    than `MUCH` times TEA's; best, the cells won; cosine and efficiency, means over the cells where
    they are defined, with their _mcse.
    """
    rows = []
    for label, own in found.groupby("estimator", sort=False):
        row = {"estimator": label, "cells": len(own)}
        for name in ("versus", "regret"):
            worst = own.loc[own[name].fillna(0.0).idxmax()]
            row[f"mean_{name}"] = float(np.exp(np.log(own[name]).mean()))
            row[f"worst_{name}"] = worst[name]
            row[f"worst_{name}_mcse"] = worst[f"{name}_mcse"]
            row[f"worst_{name}_at"] = f"{worst['law']}, m = {worst['m']}, N = {worst['N']}"
        for name in ("cosine", "efficiency"):
            told = own.dropna(subset=[name, f"{name}_mcse"])
            row[name] = told[name].mean()
            row[f"{name}_mcse"] = np.sqrt((told[f"{name}_mcse"] ** 2).sum()) / max(len(told), 1)
        row["much_worse"] = int((own["versus"] > MUCH).sum())
        row["best"] = int((own["regret"] == 1.0).sum())
        rows.append(row)
    table = pd.DataFrame(rows).sort_values(["worst_regret", "mean_regret"], kind="stable")
    return table.reset_index(drop=True)


def everywhere(found: pd.DataFrame) -> list[str]:
    """Return the estimators that exist in nine of ten cells, the least mean regret first."""
    cells = found[CELL].drop_duplicates()
    table = standings(found)
    table = table[table["cells"] >= 0.9 * len(cells)]
    return list(table.sort_values(["mean_regret", "worst_regret"], kind="stable")["estimator"])
