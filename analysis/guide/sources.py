"""The summaries behind the guide "Which estimator when"."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import pandas as pd

from analysis.benchmark.ratios import performance_ratios, reference
from analysis.core.read import Absent
from analysis.guide.situations import Situation
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
