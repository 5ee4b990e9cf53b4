"""The summaries that the guide "Which estimator when" is made from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import pandas as pd

from analysis.benchmark.ratios import reference, regrets
from analysis.core.read import Absent, Results
from analysis.guide.situations import Situation
from analysis.studies import Studies
from tea_stats import RECOMMENDED


class Sources(Studies):
    """The summaries that the page is made from, and what it derives from them."""

    @cached_property
    def regrets(self) -> Mapping[str, pd.DataFrame]:
        """Rows of `analysis.benchmark.ratios.regrets`, by grid, with `law_parameters`."""
        found = {}
        for name, results in (("league", self.league), ("paper", self.grid)):
            laws = results.table.drop_duplicates("law").set_index("law")
            rows = regrets(results)
            found[name] = rows.assign(law_parameters=rows["law"].map(laws["law_parameters"]))
        return found

    @cached_property
    def default(self) -> str:
        """Label of the recommended default."""
        return label(self.league, RECOMMENDED)

    @cached_property
    def tea(self) -> str:
        """Label of the paper's TEA, which the others are compared with."""
        return reference(self.league)

    def cells(self, situation: Situation) -> pd.DataFrame:
        """Return the rows of `regrets` that belong to a situation."""
        rows = self.regrets[situation.grid]
        return rows[situation.holds(rows)]


def label(results: Results, name: str) -> str:
    """Return what an estimator is called in a grid, at its defaults; Absent if it is not there."""
    for found, options in results.options.items():
        if options == {"name": name}:
            return found
    raise Absent(f"{results.folder} has no {name} at its defaults")
