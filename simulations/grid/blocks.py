"""The work of a grid: laws by group sizes, each a row of blocks, one file per finished block.

A block is a pure function of (configuration, law, m, block number). Blocks of one law and m are
added up in the order of their numbers, so that neither the order in which they were finished nor
who computed them changes a bit of the result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulations.core import schema, store
from simulations.grid.schema import Grid
from tea_stats import best_of_n, monte_carlo
from tea_stats.families import FiniteLaw, Law
from tea_stats.monte_carlo import summary
from tea_stats.monte_carlo.moments import Moments

#: a gradient below this share of ∇V_1's norm is that of a policy with nothing left to learn
SATURATED = 0.1
#: the next round is planned with so much in hand: the variance is itself estimated
MARGIN = 1.05

Report = Callable[[str], None]
#: the estimators that take part in a block
Labels = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """One law and one group size: what is measured there, and where its blocks are.

    Attributes
    ----------
    grid : Grid
        The configuration.
    label : str
        The law's label.
    m : int
        Rollouts per group.
    folder : Path
        Where the blocks of this pair are kept.
    """

    grid: Grid
    label: str
    m: int
    folder: Path

    @property
    def law(self) -> Law:
        """The law."""
        return self.grid.built[self.label]

    @property
    def budgets(self) -> tuple[int, ...]:
        """The deployment budgets."""
        return self.grid.budgets(self.m)

    @cached_property
    def _sorted_out(self) -> tuple[dict[str, tuple[str, dict[str, Any]]], dict[str, str]]:
        """Estimators that exist here, and why the others do not."""
        exist, undefined = {}, {}
        for label, table in self.grid.estimators.items():
            if not table.wanted(self.label, self.m):
                continue
            reason = schema.undefined(table, self.m, self.budgets)
            if reason:
                undefined[label] = f"undefined: {reason}"
            elif not table.record().binary or _binary(self.law):
                exist[label] = (table.name, table.options)
        return exist, undefined

    @property
    def estimators(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Estimators that exist here, as `{label: (name, options)}`."""
        return self._sorted_out[0]

    @property
    def undefined(self) -> dict[str, str]:
        """Why each of the others does not; estimators of 0/1 rewards on other laws are not told."""
        return self._sorted_out[1]

    # --- blocks ---------------------------------------------------------------------------------

    def groups(self, block: int) -> int:
        """Return the groups in a block; with `reps`, the last one holds the rest."""
        size = self.grid.groups_per_block(self.m)
        if self.grid.reps is None:
            return size
        return min(size, max(map(self._reps, self.estimators)) - block * size)

    def _reps(self, label: str) -> int:
        """Return the groups that an estimator is given."""
        reps = self.grid.estimators[label].reps or self.grid.reps
        assert reps is not None  # or there would be a precision to plan for
        return reps[self.m]

    def file(self, block: int) -> Path:
        """Return where a block is kept."""
        return self.folder / f"{block:05d}.parquet"

    def job(self, block: int, labels: Labels) -> tuple[Any, ...]:
        """Return the arguments of `monte_carlo.simulate_block`."""
        estimators = {label: self.estimators[label] for label in labels}
        groups, seed = self.groups(block), self.grid.seed
        return self.law, estimators, self.m, self.budgets, groups, seed, block

    @property
    def batches(self) -> dict[str, int]:
        """Its keywords: the size of a batch, where batches are measured."""
        return {} if self.grid.prompts == 1 else {"prompts": self.grid.prompts}

    def marks(self, block: int, labels: Labels) -> dict[str, str]:
        """Return what a block's file must say of itself."""
        law, *rest = self.job(block, labels)
        return {"block": store.digest([law.key, *rest, *self.batches.values()])}

    def present(self, block: int, labels: Labels, report: Report) -> bool:
        """Return whether a block is there; a damaged file is named and removed."""
        path = self.file(block)
        if not path.exists():
            return False
        try:
            store.read(path, **self.marks(block, labels))
        except store.Damaged as problem:
            report(f"{path} is damaged ({problem}): computing it again")
            path.unlink()
            return False
        return True

    def save(self, block: int, labels: Labels, moments: Moments) -> None:
        """Write a finished block."""
        store.write(moments.to_frame(), self.file(block), **self.marks(block, labels))

    def total(self, plan: Sequence[Labels]) -> Moments:
        """Add up blocks; the first one has every estimator."""
        frame = store.read(self.file(0), **self.marks(0, plan[0]))
        value = frame["value"].to_numpy().copy()
        of_estimator = {
            labels: np.flatnonzero(frame["estimator"].isin(labels)) for labels in set(plan)
        }
        for block, labels in enumerate(plan[1:], start=1):
            part = store.read(self.file(block), ["value"], **self.marks(block, labels))
            value[of_estimator[labels]] += part["value"].to_numpy()
        return Moments.from_frame(frame.assign(value=value))

    # --- how many -------------------------------------------------------------------------------

    def first_round(self) -> list[Labels]:
        """Return the estimators of the blocks to begin with: all blocks, or one to plan from."""
        if self.grid.reps is None:
            return [tuple(self.estimators)]
        size = self.grid.groups_per_block(self.m)
        starts = range(0, max(map(self._reps, self.estimators)), size)
        return [tuple(x for x in self.estimators if self._reps(x) > start) for start in starts]

    def next_round(self, plan: Sequence[Labels]) -> list[Labels]:
        """Return the estimators of the blocks to go on with, none where all is precise enough.

        An estimator has no part in blocks that it does not need. The plan looks at variances
        alone, so that no estimate decides how long it is averaged.
        """
        precision = self.grid.precision
        if precision is None:
            return []
        rows = self.table(plan)
        worst = rows[live(rows)].groupby("estimator", sort=False)["relative_se"].max()
        most = max(1, precision.max_reps // self.grid.groups_per_block(self.m))
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
        """Return the rows of this pair, from the blocks of a plan."""
        rows = monte_carlo.summarize(
            self.law, self.estimators, self.m, self.budgets, self.total(plan)
        )
        rows["note"] = rows["N"].map(self._saturation)
        absent = [
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
                "note": note,
            }
            for label, note in self.undefined.items()
            for N in self.budgets
        ]
        if absent:
            # only the columns they have, or pandas would guess the types of the others
            extra = pd.DataFrame(absent)
            rows = pd.concat([rows, extra.reindex(columns=rows.columns).astype(rows.dtypes)])
        return rows.assign(law=self.label, family=repr(self.law)).reset_index(drop=True)

    @cached_property
    def _saturation(self) -> Mapping[int, str]:
        first = np.linalg.norm(best_of_n.gradient(self.law, 1))
        shares = {N: np.linalg.norm(best_of_n.gradient(self.law, N)) / first for N in self.budgets}
        return {
            N: f"saturated: the gradient's norm is {share:.2g} of that at N = 1"
            if share < SATURATED
            else ""
            for N, share in shares.items()
        }


def live(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are cells that a standard error can be asked of."""
    return (
        (rows["parameter"] == "all")
        & rows["finite_second_moment"].astype(bool)
        & (rows["note"] == "")
    )


def pairs(grid: Grid, out: Path) -> Iterator[Pair]:
    """Yield every law and m, largest m first: the dearest blocks must not come last."""
    for m in sorted(grid.m, reverse=True):
        for label in grid.laws:
            yield Pair(grid, label, m, out / "blocks" / slug(label) / f"m{m:04d}")


def slug(label: str) -> str:
    """Return a label as a file name, unlike that of any other label.

    Examples
    --------
    >>> slug("Student t(5)")
    'Student-t-5-8589'
    """
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', label).strip('-')}-{store.digest(label)[:4]}"


def _binary(law: Law) -> bool:
    return isinstance(law, FiniteLaw) and bool(np.isin(law.rewards_sorted, (0.0, 1.0)).all())
