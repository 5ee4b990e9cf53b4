"""One setting of the league, measured; and any estimators on the settings of one part, from Python.

from simulations.batches import evaluate
table = evaluate({"mine": ("auto_tea", {"prompts": 64})}, groups=3_200)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulations.batches.schema import League, Setting, read_league
from simulations.core.progress import track
from simulations.core.schema import GRIDS, Request
from tea_stats import monte_carlo
from tea_stats.monte_carlo import Batch
from tea_stats.monte_carlo.batch_measurement import Records
from tea_stats.monte_carlo.batches import CHUNKS

#: the league that comes with the studies
LEAGUE = GRIDS / "batches.toml"


def measured(
    batch: Batch, estimators: Mapping[str, Request], m: int, N: int, groups: int, seed: int
) -> pd.DataFrame:
    """Return the records of one setting as a table: estimator, kind, chunk, entry, value."""
    batches = max(2 * CHUNKS, groups // batch.prompts)
    records = monte_carlo.batch_records(batch, estimators, m, (N,), batches, seed)
    parts = []
    for (label, _), kinds in records.items():
        for k, values in enumerate(kinds):
            chunk, entry = np.indices(values.shape)
            columns = {"kind": k, "chunk": chunk.ravel(), "entry": entry.ravel()}
            parts.append(pd.DataFrame({"estimator": label, **columns, "value": values.ravel()}))
    return pd.concat(parts, ignore_index=True)


def records_of(table: pd.DataFrame, N: int) -> Records:
    """Rebuild the records from `measured`'s table."""
    records: dict[tuple[str, int], list[np.ndarray]] = {}
    for (label, _), own in table.groupby(["estimator", "kind"], sort=False):
        values = own["value"].to_numpy().reshape(own["chunk"].nunique(), -1)
        records.setdefault((str(label), N), []).append(values)
    return records


def rows(league: League, setting: Setting, table: pd.DataFrame) -> pd.DataFrame:
    """Return a setting's figures from its records, estimators in the order of the table."""
    batch, names = league.batch(setting.label, setting.prompts)
    figures = monte_carlo.summarize_batch(
        batch, names, records_of(table, setting.N), setting.m, references=league.references
    )
    figures.insert(0, "part", setting.part)
    figures.insert(0, "group", league.batches[setting.label].group)
    figures.insert(0, "batch", setting.label)
    figures.insert(0, "setting", setting.name)
    return figures


def evaluate(
    estimators: Mapping[str, Request],
    *,
    part: str = "development",
    config: Path = LEAGUE,
    groups: int | None = None,
    only: Collection[str] | Callable[[Setting], bool] | None = None,
    kinds: bool = False,
) -> pd.DataFrame:
    """Measure estimators, and the league's references, on the settings of one part.

    Parameters
    ----------
    estimators : mapping
        `{label: (name, options)}`.
    part : {"development", "held out"}
        Design on the first alone.
    config : Path
        A league.
    groups : int, optional
        Groups of each setting; by default the league's.
    only : collection of str or callable, optional
        Labels of batches, or which settings.
    kinds : bool
        Keep the rows of kinds of prompts; by default those of whole batches.

    Returns
    -------
    DataFrame
        Rows of `monte_carlo.measure_batch` with setting, batch and part; `error_ratio` and
        `gain_…_ratio` are over the better of the references.
    """
    league = read_league(config)
    asked = {
        x: (league.estimators[x].name, league.estimators[x].options) for x in league.references
    }
    chosen = [s for s in league.settings if s.part == part and _included(s, only)]
    if not chosen:
        raise ValueError(f"part is {part!r} and only leaves no setting of it; give others")
    tables = []
    for setting in track(chosen, "settings"):
        batch, _ = league.batch(setting.label, setting.prompts)
        given: dict[str, Any] = {**asked, **estimators}
        count = league.groups_of(setting, groups)
        table = measured(batch, given, setting.m, setting.N, count, league.seed)
        figures = rows(league, setting, table)
        tables.append(figures if kinds else figures[figures["kind"].str.startswith("all")])
    return pd.concat(tables, ignore_index=True)


def _included(setting: Setting, only: Collection[str] | Callable[[Setting], bool] | None) -> bool:
    if only is None:
        return True
    return bool(only(setting)) if callable(only) else setting.label in only
