"""The configuration of `simulations.batches`, a TOML file: checked before anything runs.

seed = 12                           # master seed
groups = 12_800                     # groups of each setting, in whole batches, and
most_batches = 2_000                # at most so many of these
references = ["TEA .25", "max@m"]   # estimators whose better one the others are compared with

[laws.normal]                       # as for `simulations.grid`
family = "Normal"

[batches."one prompt × 1000"]       # a kind of batch
group = "one outlier prompt"        # what tables gather it under
part = "held out"                   # or "development": by the label's hash, see `held_out`
cells = [[64, 16, 128]]             # prompts, rollouts per group and N of each setting
[[batches."one prompt × 1000".kinds]]
law = "normal"
prompts = 1                         # without it: an equal share of the prompts that are left
scale = 1000.0                      # rewards are offset + scale · R; a pair is a range over prompts
[[batches."one prompt × 1000".kinds]]
law = "normal"

[estimators."TEA .25"]              # as for `simulations.grid`
name = "tea"
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from simulations.batches.moved import moved
from simulations.core.schema import Configuration, Request, Table, read, undefined
from tea_stats.families import Law
from tea_stats.monte_carlo import Batch
from tea_stats.monte_carlo.batches import CHUNKS

Part = Literal["development", "held out"]
Range = float | tuple[float, float]
Count = Annotated[int, Field(ge=1)]
Cell = tuple[Count, Annotated[int, Field(ge=2)], Count]


def held_out(label: str) -> bool:
    """Return whether a kind of batch is held out: its label's hash, modulo 5, is 0 or 1.

    Examples
    --------
    >>> [held_out(label) for label in ("normal", "gumbel")]
    [True, False]
    """
    return int(hashlib.sha256(label.encode()).hexdigest(), 16) % 5 < 2


class Kind(Table):
    """Prompts of one law; each may have a scale and an offset of its own."""

    law: str
    prompts: int | None = Field(None, ge=1)
    scale: Range = 1.0
    offset: Range = 0.0


class BatchTable(Table):
    """One `[batches."LABEL"]`; `known` ones were measured before there was a league."""

    kinds: tuple[Kind, ...] = Field(min_length=1)
    cells: tuple[Cell, ...] = Field(min_length=1)
    group: str
    part: Part
    known: bool = False


class Setting(NamedTuple):
    """One batch at one m and N."""

    label: str
    part: Part
    prompts: int
    m: int
    N: int

    @property
    def name(self) -> str:
        """The setting in one line."""
        return f"{self.label}; {self.prompts} × {self.m}, N = {self.N}"


class League(Configuration):
    """The whole file."""

    groups: int = Field(ge=2 * CHUNKS)
    most_batches: int = Field(2**53, ge=2 * CHUNKS)
    references: tuple[str, ...] = ()
    batches: dict[str, BatchTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> League:
        assert self.built  # or ValueError
        self.check_estimators({(s.m, s.N) for s in self.settings})
        for label in self.references:
            if label not in self.estimators:
                raise ValueError(
                    f"references has {label!r}, which is not the label of an estimator"
                )
        for label, table in self.batches.items():
            where = f'batches."{label}"'
            part = "held out" if held_out(label) and not table.known else "development"
            if table.part != part:
                raise ValueError(f"{where}: part is {table.part!r}; by its hash it is {part!r}")
            for kind in table.kinds:
                if kind.law not in self.laws:
                    raise ValueError(f"{where}: {kind.law!r} is not the label of a law here")
            for prompts, _, _ in table.cells:
                try:
                    _, names = self.batch(label, prompts)
                    if len(set(names)) < len(names):
                        raise ValueError(f"kinds has {names}; give each law and scale once")
                except ValueError as error:
                    raise ValueError(f"{where}: {error}") from None
        return self

    @property
    def settings(self) -> list[Setting]:
        """All settings, in the order of the file."""
        return [
            Setting(label, table.part, *cell)
            for label, table in self.batches.items()
            for cell in table.cells
        ]

    def batch(self, label: str, prompts: int) -> tuple[Batch, list[str]]:
        """Return the batch of so many prompts, and what its kinds are called."""
        kinds: list[tuple[Law, int]] = []
        names = []
        for kind, count in self._counts(label, prompts):
            law = self.built[kind.law]
            ranges = [np.atleast_1d(x) for x in (kind.scale, kind.offset)]
            if all(len(x) == 1 for x in ranges):
                kinds.append((moved(law, *(float(x[0]) for x in ranges)), count))
                names.append(_named(kind))
                continue
            # one kind for each prompt: scales in equal ratios, offsets in equal steps
            scales = np.geomspace(ranges[0][0], ranges[0][-1], count)
            offsets = np.linspace(ranges[1][0], ranges[1][-1], count)
            # in an order of its own, so that scale and offset do not go together
            offsets = offsets[np.random.default_rng(count).permutation(count)]
            for j in range(count):
                kinds.append((moved(law, float(scales[j]), float(offsets[j])), 1))
                names.append(f"{kind.law} {j + 1}")
        return Batch(tuple(kinds)), names

    def _counts(self, label: str, prompts: int) -> list[tuple[Kind, int]]:
        kinds = self.batches[label].kinds
        open_ = [kind for kind in kinds if kind.prompts is None]
        left = prompts - sum(kind.prompts or 0 for kind in kinds)
        if left < len(open_) or (not open_ and left):
            raise ValueError(f"{prompts} prompts cannot be divided among its kinds")
        shares = [left // max(1, len(open_))] * len(open_)
        for j in range(left % max(1, len(open_))):
            shares[j] += 1
        rest = iter(shares)
        return [(kind, kind.prompts or next(rest)) for kind in kinds]

    def groups_of(self, setting: Setting, most: int | None = None) -> int:
        """Return how many groups a setting gets, of at most so many."""
        return min(most or self.groups, self.most_batches * setting.prompts)

    def requests(self, setting: Setting) -> dict[str, Request]:
        """Return the estimators that exist at a setting, by label."""
        return {
            label: (table.name, table.options)
            for label, table in self.estimators.items()
            if (table.m is None or setting.m in table.m)
            and not undefined(table, setting.m, (setting.N,))
        }


def _named(kind: Kind) -> str:
    scale = "" if kind.scale == 1.0 else f" × {kind.scale:g}"
    offset = "" if kind.offset == 0.0 else f" + {kind.offset:g}"
    return kind.law + scale + offset


def read_league(path: Path) -> League:
    """Read and check a configuration; ValueError with one line: file, key, what, cure."""
    return read(League, path)
