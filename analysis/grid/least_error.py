"""Which estimator has the least error of a batch in which cell; for a figure and the report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.core.panels import shown
from analysis.core.read import Results

#: bands of m/N: name, lower and upper end (inclusive)
BANDS = (("m ≤ N/8", 0.0, 0.125), ("N/8 < m < N", 0.126, 0.999), ("m ≥ N", 1.0, np.inf))


def winners(results: Results) -> pd.DataFrame:
    """Return one row per (law, m, N): the estimator with least error, and whether it is clear.

    `clear` means that the runner-up's error is larger by more than two standard errors of the
    difference. `status` is that of the cell: "", "saturated", or "infinite" where no estimator has
    a finite second moment. Columns: law, m, N, ratio, estimator, error, error_mcse, clear, status.
    """
    rows = shown(results.cells).dropna(subset="batch_nmse")
    rows = rows.sort_values("batch_nmse", kind="stable")
    key = ["law", "m", "N"]
    best = rows.groupby(key, sort=False).nth(0).set_index(key)
    second = rows.groupby(key, sort=False).nth(1).set_index(key).reindex(best.index)
    # as if independent: on common rollouts the difference is known better than that
    reach = 2.0 * np.hypot(best["batch_nmse_mcse"], second["batch_nmse_mcse"])
    gap = second["batch_nmse"] - best["batch_nmse"]
    every = results.cells[key].drop_duplicates().reset_index(drop=True)
    found = pd.DataFrame(
        {
            "estimator": best["estimator"],
            "error": best["batch_nmse"],
            "error_mcse": best["batch_nmse_mcse"],
            "clear": second["estimator"].isna() | (gap > reach),
            "status": best["status"],
        }
    )
    found = every.merge(found, how="left", left_on=key, right_index=True)
    found["clear"] = found["clear"].eq(True)
    found["ratio"] = found["m"] / found["N"]
    saturated = results.cells.groupby(key)["status"].agg(lambda x: (x == "saturated").any())
    lost = np.where(pd.MultiIndex.from_frame(found[key]).map(saturated), "saturated", "infinite")
    return found.assign(status=found["status"].where(found["status"].notna(), lost))


def by_band(found: pd.DataFrame) -> dict[str, pd.Series]:
    """Return, for each band of m/N, how many unsaturated cells each estimator wins."""
    usable = found[found["status"] == ""]
    counts = {}
    for name, low, high in BANDS:
        wins = usable.loc[usable["ratio"].between(low, high), "estimator"].value_counts()
        if len(wins):
            counts[name] = wins
    return counts
