"""The summaries behind the guide "Which estimator when"."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.benchmark.ranking import ranking as by_worst
from analysis.benchmark.ratios import CELL, performance_ratios, reference
from analysis.core.read import Absent
from analysis.guide.situations import SITUATIONS, Situation
from analysis.studies import Studies
from tea_stats import RECOMMENDED


class Sources(Studies):
    """The summaries, and what the page derives from them."""

    @cached_property
    def ratios(self) -> Mapping[str, pd.DataFrame]:
        """Rows of `benchmark.ratios.performance_ratios`, by grid, with `law_parameters`."""
        by_grid = {}
        for name, results in (("league", self.league), ("paper", self.grid)):
            laws = results.table.drop_duplicates("law").set_index("law")
            rows = performance_ratios(results)
            by_grid[name] = rows.assign(law_parameters=rows["law"].map(laws["law_parameters"]))
        return by_grid

    @cached_property
    def default(self) -> str:
        """Label of the recommended default."""
        return label_of(self.league.options, RECOMMENDED, self.league.folder)

    @cached_property
    def tea(self) -> str:
        """Label of the paper's TEA, the reference of the others."""
        return reference(self.league)

    @cached_property
    def rankings(self) -> Mapping[str, pd.DataFrame]:
        """The `ranking` of each situation by its name."""
        return {situation.name: ranking(self.cells(situation)) for situation in SITUATIONS}

    def cells(self, situation: Situation) -> pd.DataFrame:
        """Return the rows of `ratios` that belong to a situation."""
        rows = self.ratios[situation.grid]
        return rows[situation.holds(rows)]


def label_of(options: Mapping[str, Mapping[str, object]], name: str, where: object) -> str:
    """Return an estimator's label in a study, at its defaults; Absent if it is not there."""
    for label, given in options.items():
        if given == {"name": name}:
            return label
    raise Absent(f"{where} has no {name} at its defaults")


def ranking(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the ranking of estimators defined in every cell, least mean performance ratio first.

    `mean_to_best_mcse` and `mean_to_tea_mcse` are those of the geometric means, as if cells and
    estimators were independent.
    """
    table = by_worst(rows)
    table = table[table["cells"] == len(rows[CELL].drop_duplicates())]
    for name in ("to_best", "to_tea"):
        share = (rows[f"{name}_mcse"] / rows[name]) ** 2
        spread = np.sqrt(share.groupby(rows["estimator"]).sum()) / len(rows[CELL].drop_duplicates())
        table[f"mean_{name}_mcse"] = table[f"mean_{name}"] * table["estimator"].map(spread)
    return table.sort_values(["mean_to_best", "worst_to_best"], kind="stable").set_index(
        "estimator"
    )
