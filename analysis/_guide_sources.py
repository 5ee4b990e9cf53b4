"""The summaries that the guide "Which estimator when" is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis import _bandit, lm_pool
from analysis._guide_situations import Situation
from analysis._league import reference, regrets
from analysis._load import Absent, Results, load
from analysis.lm_pool_figures import Pools
from tea_stats import RECOMMENDED


@dataclass(frozen=True)
class Sources:
    """The summaries that the page is made from, checked by their loaders."""

    folder: Path

    @cached_property
    def league(self) -> Results:
        """Batches of 64 prompts on 53 laws."""
        return load(self.folder / "league")

    @cached_property
    def paper(self) -> Results:
        """Single groups on 18 laws, m above N included."""
        return load(self.folder / "paper")

    @cached_property
    def rollouts(self) -> Results:
        """Many m at few N."""
        return load(self.folder / "rollouts")

    @cached_property
    def bandit(self) -> _bandit.Study:
        """Policies trained for best-of-N."""
        return _bandit.load(self.folder / "bandit")

    @cached_property
    def pools(self) -> Pools:
        """Rollouts of a language model, taken as laws."""
        return lm_pool.load(self.folder / "lm_pool")

    @cached_property
    def regrets(self) -> Mapping[str, pd.DataFrame]:
        """Rows of `analysis._league.regrets`, by grid, with `family`."""
        found = {}
        for name, results in (("league", self.league), ("paper", self.paper)):
            family = results.table.drop_duplicates("law").set_index("law")["family"]
            rows = regrets(results)
            found[name] = rows.assign(family=rows["law"].map(family))
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
