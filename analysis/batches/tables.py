"""Tables of the league of batches: each estimator by part, and where it is far off."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from rich.table import Table

from analysis.batches.read import CLEAN, GAINS, LEAST, MOST, NOISE, PARTS, League
from analysis.core.style import size, size_and_error
from analysis.core.write import text_table

#: settings that are listed as an estimator's worst
WORST = 12


def standings(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each estimator, least geometric mean of the error's ratio first.

    Columns: estimator, settings; mean, the geometric mean of its error over that of the better
    reference; within, the share of settings where that is at most `MOST`; worst, worst_mcse and
    worst_at; and for each noise near_…, the share of settings where its gain is at least `LEAST` of
    the largest, and least_…, the smallest such share of the gain.
    """
    lines = []
    for label, own in rows.groupby("estimator", sort=False):
        ratio = own["error_ratio"]
        worst = own.loc[ratio.fillna(-1.0).idxmax()]
        line = {
            "estimator": label,
            "settings": len(own),
            "mean": float(np.exp(np.log(ratio.clip(lower=1e-3)).mean())),
            "within": float((ratio <= MOST).mean()),
            "worst": worst["error_ratio"],
            "worst_mcse": worst["error_ratio_mcse"],
            "worst_at": worst["setting"],
        }
        for name, level in zip(GAINS, NOISE, strict=True):
            share = own[f"{name}_to_best"]
            line[f"near_{level}"] = float((share >= LEAST).mean())
            line[f"least_{level}"] = float(share.min())
        lines.append(line)
    return pd.DataFrame(lines).sort_values("mean", kind="stable", ignore_index=True)


def groups(rows: pd.DataFrame, estimator: str) -> pd.DataFrame:
    """Return one row for each group of batches: an estimator's ratios there."""
    own = rows[rows["estimator"] == estimator]
    return pd.DataFrame(
        [
            {"group": group, **standings(part).iloc[0]}
            for group, part in own.groupby("group", sort=False)
        ]
    )


def worst(rows: pd.DataFrame, estimator: str, count: int = WORST) -> pd.DataFrame:
    """Return the settings where an estimator's error is the largest multiple of the reference's."""
    own = rows[rows["estimator"] == estimator]
    return own.sort_values("error_ratio", ascending=False, kind="stable").head(count)


def against(rows: pd.DataFrame, estimator: str, other: str) -> pd.Series:
    """Return the error of an estimator over another's, by setting of the clean batches."""
    clean = rows[rows["group"] == CLEAN].pivot(index="setting", columns="estimator", values="error")
    return clean[estimator] / clean[other]


def printed(league: League, estimator: str = "auto TEA") -> Iterator[Table | str]:
    """Yield a headline and a table for each part, then the estimator's worst settings."""
    rows = league.live
    better = " and ".join(league.references)
    for part in PARTS:
        own = rows[rows["part"] == part]
        yield (
            f"{part}: {own['setting'].nunique()} settings; error over that of the better of "
            f"{better} (geometric mean, share at most {MOST:g}, worst ± s.e.); share of settings "
            f"with a gain of {LEAST:g} of the largest, by noise"
        )
        table = text_table("estimator", "settings", "mean", f"≤ {MOST:g}", "worst", *NOISE)
        table.add_column("at", justify="left")
        for line in standings(own).to_dict("records"):
            table.add_row(
                line["estimator"],
                str(line["settings"]),
                size(line["mean"]),
                f"{line['within']:.0%}",
                size_and_error(line["worst"], line["worst_mcse"]),
                *(f"{line[f'near_{level}']:.0%}" for level in NOISE),
                line["worst_at"],
            )
        yield table
        yield f"{estimator}, {part}: its worst settings"
        table = text_table("setting", "signal", "error", "ratio", *NOISE)
        for line in worst(own, estimator).to_dict("records"):
            table.add_row(
                line["setting"],
                size(line["signal"]),
                size_and_error(line["error"], line["error_mcse"]),
                size_and_error(line["error_ratio"], line["error_ratio_mcse"]),
                *(size(line[f"{name}_to_best"]) for name in GAINS),
            )
        yield table
