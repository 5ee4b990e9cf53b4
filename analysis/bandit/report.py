"""Results of bandit training: `python -m analysis.bandit results/bandit --out figures/bandit`.

Draws the figures of `analysis.bandit.figures`, prints lost shares and rollouts needed and, with
--summary, writes a small copy of the tables from which all of that can be made again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure

from analysis.bandit import figures
from analysis.bandit.read import CURVES, Scenario, Study, load
from analysis.core import style
from analysis.core.read import read_manifest
from analysis.core.write import one_line_errors, save, single, write_summary

#: the summary keeps every so many steps
THINNED = 5
#: significant bits of its numbers: four digits
BITS = 13
#: ratios of rollouts from here to 1 count as equal
ALIKE = 0.999
EDGES = {"lowest": "↓", "highest": "↑"}


# --- tables -------------------------------------------------------------------------------------


def report(study: Study) -> str:
    """Return tables of lost shares and of rollouts needed by scenario, and counts of laws."""
    parts = ["Lost share of the exact path's gain, % ± Monte Carlo standard error"]
    for scenario in study.scenarios:
        parts += ["", str(scenario), _by_law(study, scenario, "share", 100.0, 1)]
    parts += ["", "↓ ↑ the tuned step size is the smallest or the largest of its grid"]
    for name, target in study.targets.items():
        parts += ["", "", f"Rollouts until {target}, over those of {study.reference}"]
        for scenario in study.scenarios:
            parts += ["", str(scenario), _by_law(study, scenario, f"ratio_{name}", 1.0, 2)]
    parts += ["", "inf: never; 0: the reference never; –: neither", "", fewer(study)]
    return "\n".join(parts)


def _by_law(study: Study, scenario: Scenario, name: str, scale: float, digits: int) -> str:
    """Write a measure and its standard error, estimators by laws."""
    rows = study.rows(scenario)
    if rows[name].isna().all():
        return "no estimator reaches it"
    marks = rows["edge"].map(EDGES).fillna(" ") if name == "share" else [""] * len(rows)
    text = [
        _plus_minus(scale * value, scale * se, digits) + mark
        for value, se, mark in zip(rows[name], rows[f"{name}_se"], marks, strict=True)
    ]
    table = rows.assign(text=text).pivot(index="estimator", columns="law", values="text")
    return _text(study, table[[law for law in study.laws if law in table]])


def _plus_minus(value: float, se: float, digits: int) -> str:
    if np.isnan(value):
        return "–"
    if not np.isfinite(value) or np.isnan(se):
        return f"{value:.{digits}f}" if np.isfinite(value) and value else f"{value:.0f}"
    return f"{value:.{digits}f} ± {se:.{digits}f}"


def fewer(study: Study) -> str:
    """Count the laws on which each estimator needs fewer rollouts than the reference."""
    parts = [
        f"Laws on which an estimator needs fewer rollouts than {study.reference}, of those on",
        "which it is defined and either reaches the target (in brackets: significant at 2 s.e.)",
    ]
    for name, target in study.targets.items():
        parts += ["", f"until {target}", _text(study, wins(study, name))]
    return "\n".join(parts)


def wins(study: Study, target: str) -> pd.DataFrame:
    """Return a row for each estimator but the reference and a column for each scenario.

    Its text is the number of laws with fewer rollouts than the reference until the target, a key
    of `study.targets` (see `fewer`).
    """
    columns = {}
    for scenario in study.scenarios:
        rows = study.rows(scenario)
        ratio, se = rows[f"ratio_{target}"], rows[f"ratio_{target}_se"].fillna(np.inf)
        counts = pd.DataFrame(
            {
                "estimator": rows["estimator"],
                "less": ratio < ALIKE,
                "clear": ratio + 2.0 * se < ALIKE,
                "all": ratio.notna(),
            }
        )
        counts = counts.groupby("estimator")[["less", "clear", "all"]].sum()
        columns[str(scenario)] = [
            f"{row.less} of {row.all} ({row.clear})" for row in counts.itertuples()
        ]
    return pd.DataFrame(columns, index=counts.index).drop(index=study.reference)


def _text(study: Study, table: pd.DataFrame) -> str:
    order = [label for label in style.ordered(study.options) if label in table.index]
    return table.loc[order].fillna("").rename_axis(None).rename_axis(None, axis=1).to_string()


# --- the command --------------------------------------------------------------------------------


def summarise(study: Study, results: Path, out: Path) -> None:
    """Write a small copy of the tables and the manifest into `out`; print its files' sizes."""
    steps = study.curves["step"]
    kept = study.curves.loc[(steps % THINNED == 0) | (steps == steps.max()), CURVES]
    tables = {"curves": single(kept), "finals": single(study.finals)}
    write_summary(tables, read_manifest(results / "manifest.json"), out, BITS)


def all_figures(study: Study) -> dict[str, Callable[[], Figure]]:
    """Return what draws each figure, by the name of its files."""
    drawn = {"quality": partial(figures.quality, study), "shares": partial(figures.shares, study)}
    for scenario in study.scenarios:
        name = f"regret_{scenario.policy}_m{scenario.m}_N{scenario.N}".replace(" ", "-")
        drawn[name] = partial(figures.regret, study, scenario)
    return drawn


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.bandit.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/bandit"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of a bandit study and print its tables."""
    with one_line_errors():
        study = load(results)
    drawn = all_figures(study)
    save(drawn, out)
    typer.echo(report(study))
    typer.echo(f"\n{len(drawn)} figures, PNG and PDF: {out}")
    if summary:
        summarise(study, results, summary)
