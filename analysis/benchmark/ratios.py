"""Performance ratios: an estimator's error of a batch over that of the best one of the cell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.core.read import Absent, Results

CELL = ["law", "m", "N"]
PLAIN_TEA = {"name": "tea", "alpha": 0.25, "calibrated": False}


def reference(results: Results) -> str:
    """Return the label of the paper's TEA at alpha = .25; Absent if the grid has none."""
    for label, options in results.options.items():
        if {"alpha": 0.25, "calibrated": False, **options} == PLAIN_TEA:
            return label
    raise Absent("needs TEA at alpha = 0.25, the reference of the other estimators")


def performance_ratios(results: Results) -> pd.DataFrame:
    """Return one row per cell and estimator that is defined there.

    Saturated cells are left out, and those where no estimator has a second moment.

    Columns: part, law, m, N, estimator; error, the normalised error of a batch (infinite without a
    second moment); to_best, the error over the least one of the cell; to_tea, over TEA's (NaN where
    that is infinite); to_best_mcse and to_tea_mcse, to first order and as if independent; cosine
    and efficiency, with their _mcse.
    """
    rows = results.cells[~results.cells["status"].isin(["undefined", "saturated"])].copy()
    infinite = rows["status"] == "infinite"
    rows["error"] = rows["batch_nmse"].mask(infinite, np.inf)
    rows = rows[rows["error"].groupby([rows[x] for x in CELL]).transform("min") < np.inf]
    rows["share"] = (rows["batch_nmse_mcse"] / rows["error"]).mask(rows["error"] == np.inf, 0.0)
    best = rows.loc[rows.groupby(CELL)["error"].idxmin()].set_index(CELL)
    tea = rows[rows["estimator"] == reference(results)].set_index(CELL)
    for name, others in (("to_best", best), ("to_tea", tea)):
        other = others.reindex(pd.MultiIndex.from_frame(rows[CELL]))
        # nothing is compared with an infinite error
        finite = other["error"].where(other["error"] < np.inf)
        rows[name] = rows["error"].to_numpy() / finite.to_numpy()
        own = rows["estimator"].to_numpy() == other["estimator"].to_numpy()
        spread = np.hypot(rows["share"].to_numpy(), other["share"].to_numpy())
        rows[f"{name}_mcse"] = np.where(own, 0.0, rows[name] * spread)
    part = {law: name for name, laws in results.parts.items() for law in laws}
    rows["part"] = rows["law"].map(part)
    columns = ["part", *CELL, "estimator", "error", "to_best", "to_best_mcse"]
    columns += ["to_tea", "to_tea_mcse", "cosine", "cosine_mcse", "efficiency", "efficiency_mcse"]
    return rows[columns].dropna(subset="part").reset_index(drop=True)
