"""The jobs of a grid: for each law and m a row of blocks, one file per finished block.

A block is a pure function of (configuration, law, m, block number). Blocks of one law and m are
added up in the order of their numbers, so that neither the order in which they were finished nor
who computed them changes a bit of the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from simulations.core import schema, store
from simulations.core.jobs import Job
from simulations.grid.schema import Grid
from tea_stats import best_of_n, monte_carlo
from tea_stats.families import Law
from tea_stats.monte_carlo import summary
from tea_stats.monte_carlo.moments import Moments

#: a cell is saturated where the exact gradient's norm is below this share of that at N = 1
SATURATED = 0.1
#: the next round is planned with this margin: the variance is itself estimated
MARGIN = 1.05

#: the estimators that take part in a block
Labels = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """One law and one m, whose blocks serve all N: what is measured, and where its blocks are.

    Attributes
    ----------
    grid : Grid
        The configuration.
    label : str
        The law's label.
    m : int
        Rollouts per group.
    out : Path
        Results folder.
    """

    grid: Grid
    label: str
    m: int
    out: Path

    @property
    def law(self) -> Law:
        """The law."""
        return self.grid.built[self.label]

    @property
    def budgets(self) -> tuple[int, ...]:
        """The deployment budgets."""
        return self.grid.budgets(self.m)

    @cached_property
    def _split(self) -> tuple[dict[str, schema.Request], dict[str, str]]:
        return self.grid.split(self.label, self.m, self.budgets)

    @property
    def estimators(self) -> dict[str, schema.Request]:
        """Estimators that are measured here, by label."""
        return self._split[0]

    @property
    def undefined(self) -> dict[str, str]:
        """Why other estimators of the configuration do not exist here, by label."""
        return self._split[1]

    # --- blocks ---------------------------------------------------------------------------------

    def block(self, number: int, labels: Labels) -> Job:
        """Return the job of a block in which these estimators take part."""
        estimators = {label: self.estimators[label] for label in labels}
        groups, seed = self._groups(number), self.grid.seed
        call = (self.law, estimators, self.m, self.budgets, groups, seed, number)
        prompts = {} if self.grid.prompts == 1 else {"prompts": self.grid.prompts}
        return Job(
            self.out
            / "blocks"
            / store.slug(self.label)
            / f"m{self.m:04d}"
            / f"{number:05d}.parquet",
            {"block": store.digest([self.law.key, *call[1:], *prompts.values()])},
            monte_carlo.simulate_block,
            call,
            prompts,
            Moments.to_frame,
        )

    def _groups(self, block: int) -> int:
        """Return the groups in a block; with `reps`, the last one has the rest."""
        size = self.grid.groups_per_block(self.m)
        if self.grid.reps is None:
            return size
        return min(size, max(map(self._reps, self.estimators)) - block * size)

    def _reps(self, label: str) -> int:
        """Return an estimator's number of groups."""
        reps = self.grid.estimators[label].reps or self.grid.reps
        assert reps is not None  # or there would be a precision to plan for
        return reps[self.m]

    def total(self, plan: Sequence[Labels]) -> Moments:
        """Add up blocks; the first one has every estimator."""
        frame = self.block(0, plan[0]).read()
        value = frame["value"].to_numpy().copy()
        of_estimator = {
            labels: np.flatnonzero(frame["estimator"].isin(labels)) for labels in set(plan)
        }
        for number, labels in enumerate(plan[1:], start=1):
            part = self.block(number, labels).read(["value"])
            value[of_estimator[labels]] += part["value"].to_numpy()
        return Moments.from_frame(frame.assign(value=value))

    # --- how many -------------------------------------------------------------------------------

    def next_round(self, plan: Sequence[Labels]) -> list[Labels]:
        """Return the estimators of the blocks after those of a plan; none when there are enough.

        An estimator takes no part in blocks that it does not need. The first round is all blocks,
        or one to plan from. Later rounds are planned from variances alone, so that no estimate
        decides how long it is averaged.
        """
        precision, size = self.grid.precision, self.grid.groups_per_block(self.m)
        if precision is None and plan:
            return []
        if precision is None:
            starts = range(0, max(map(self._reps, self.estimators)), size)
            return [tuple(x for x in self.estimators if self._reps(x) > start) for start in starts]
        if not plan:
            return [tuple(self.estimators)]
        rows = self.table(plan)
        worst = rows[live(rows)].groupby("estimator", sort=False)["relative_se"].max()
        most = max(1, precision.max_reps // size)
        more = {}
        for label, relative_se in worst[worst > precision.relative_se].items():
            done = sum(label in labels for labels in plan)
            needed = math.ceil(done * (relative_se / precision.relative_se) ** 2 * MARGIN)
            more[label] = min(needed, most) - done
        return [
            tuple(label for label in self.estimators if more.get(label, 0) > block)
            for block in range(max(more.values(), default=0))
        ]

    # --- results --------------------------------------------------------------------------------

    def table(self, plan: Sequence[Labels]) -> pd.DataFrame:
        """Return the rows of this law and m, from the blocks of a plan."""
        rows = monte_carlo.summarize(
            self.law, self.estimators, self.m, self.budgets, self.total(plan)
        )
        rows["note"] = rows["N"].map(self._saturation)
        rows["status"] = np.select(
            [rows["note"] != "", ~rows["finite_second_moment"].astype(bool)],
            ["saturated", "infinite"],
            "",
        )
        undefined = [
            {
                "estimator": label,
                "options": summary.options_text(
                    self.grid.estimators[label].name, self.grid.estimators[label].options
                ),
                "m": self.m,
                "N": N,
                "parameter": "all",
                "exact": float(np.linalg.norm(best_of_n.gradient(self.law, N))),
                "reps": 0,
                "degenerate": 0,
                "finite_second_moment": False,
                "note": f"undefined: {reason}",
                "status": "undefined",
            }
            for label, reason in self.undefined.items()
            for N in self.budgets
        ]
        if undefined:
            # only the columns they have, or pandas would guess the types of the others
            extra = pd.DataFrame(undefined)
            rows = pd.concat([rows, extra.reindex(columns=rows.columns).astype(rows.dtypes)])
        law = {"law": self.label, "family": repr(self.law), **schema.law_columns(self.law)}
        return rows.assign(**law).reset_index(drop=True)

    @cached_property
    def _saturation(self) -> Mapping[int, str]:
        """A note for each saturated N, "" for the others."""
        size = {N: np.linalg.norm(best_of_n.gradient(self.law, N)) for N in (1, *self.budgets)}
        shares = {N: size[N] / size[1] if size[1] > 0.0 else 0.0 for N in self.budgets}
        return {
            N: f"saturated: the gradient's norm is {share:.2g} of that at N = 1"
            if share < SATURATED
            else ""
            for N, share in shares.items()
        }


def live(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are of all parameters together and have a meaningful standard error."""
    return (rows["parameter"] == "all") & (rows["status"] == "")


def pairs(grid: Grid, out: Path) -> Iterator[Pair]:
    """Yield every law and m, largest m first: the most expensive blocks must not come last."""
    for m in sorted(grid.m, reverse=True):
        for label in grid.laws:
            yield Pair(grid, label, m, out)
