"""Power sums of what is measured of a group, and what they say of an estimator.

A group gives one vector x = (ĝ_1, …, ĝ_d, (1/m) Σ A_i², ‖ĝ‖²). Its sums of x, x xᵀ, x³ and x⁴ are
all that a simulation keeps: they add up over blocks, and bias, variance, error, cosine and
efficiency, each with its Monte Carlo standard error, are functions of them and of the exact
gradient.

Plain sums are precise enough: a fourth moment loses a share of about 1e-16 (mean/sd)⁴ of itself,
and the mean of ĝ, an average over m rollouts, is no more than about √m of its standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tea_stats import _kernels

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

#: names of the last two entries of x
EXTRA_COLUMNS = ("advantage_square", "norm_square")


class Key(NamedTuple):
    """Which sums: an estimator's label, the smallest N they serve, and what x is subtracted."""

    estimator: str
    N: int
    minus: str = ""


@dataclass
class PowerSums:
    """Sums over groups of x, x xᵀ, x³, x⁴, and the number of groups without any gradient."""

    reps: int
    degenerate: int
    power1: Array
    power2: Array
    power3: Array
    power4: Array

    @classmethod
    def zeros(cls, columns: int) -> PowerSums:
        """Return the sums over no group."""
        one = np.zeros(columns)
        return cls(0, 0, one, np.zeros((columns, columns)), one.copy(), one.copy())

    def add_groups(self, x: Array, degenerate: int) -> None:
        """Add the groups of x[G, columns]."""
        _kernels.accumulate(x, self.power1, self.power2, self.power3, self.power4)
        self.reps += len(x)
        self.degenerate += degenerate

    def __add__(self, other: PowerSums) -> PowerSums:
        return PowerSums(
            self.reps + other.reps,
            self.degenerate + other.degenerate,
            self.power1 + other.power1,
            self.power2 + other.power2,
            self.power3 + other.power3,
            self.power4 + other.power4,
        )

    @property
    def mean(self) -> Array:
        """Mean of x."""
        return self.power1 / self.reps

    @property
    def covariance(self) -> Array:
        """Covariance matrix of x (unbiased)."""
        mean = self.mean
        return (self.power2 / self.reps - np.outer(mean, mean)) * self.reps / (self.reps - 1)

    @property
    def third(self) -> Array:
        """Third central moment of each entry of x."""
        mu = self.mean
        raw2, raw3 = np.diag(self.power2) / self.reps, self.power3 / self.reps
        return raw3 - 3 * mu * raw2 + 2 * mu**3

    @property
    def fourth(self) -> Array:
        """Fourth central moment of each entry of x."""
        mu = self.mean
        raw2, raw3, raw4 = (
            np.diag(self.power2) / self.reps,
            self.power3 / self.reps,
            self.power4 / self.reps,
        )
        return raw4 - 4 * mu * raw3 + 6 * mu**2 * raw2 - 3 * mu**4

    def mean_se(self, direction: Array) -> float:
        """Return the standard error of the mean of directionᵀ x."""
        variance = float(direction @ self.covariance @ direction)
        return math.sqrt(max(variance, 0.0) / self.reps)


@dataclass(frozen=True)
class Moments:
    """The power sums of one block, or of several added up, by estimator and N."""

    parameters: tuple[str, ...]
    sums: Mapping[Key, PowerSums] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the entries of x."""
        return self.parameters + EXTRA_COLUMNS

    @property
    def reps(self) -> int:
        """Number of groups."""
        return next(iter(self.sums.values())).reps

    @classmethod
    def merge(cls, blocks: Iterable[Moments]) -> Moments:
        """Add up blocks, in the order given (the order fixes the rounding)."""
        blocks = list(blocks)
        total = dict(blocks[0].sums)
        for block in blocks[1:]:
            for key, sums in block.sums.items():
                total[key] = total[key] + sums
        return cls(blocks[0].parameters, total)

    def to_frame(self) -> pd.DataFrame:
        """Return the sums as a tidy table: estimator, N, minus, power, row, column, value.

        Power 0 holds the counts ("reps", "degenerate"), power 2 the upper triangle of Σ x xᵀ.
        """
        import pandas as pd

        names = self.columns
        upper = np.triu_indices(len(names))
        rows_of = ["reps", "degenerate", *names, *(names[i] for i in upper[0]), *names, *names]
        columns_of = ["", "", *names, *(names[j] for j in upper[1]), *names, *names]
        powers = np.repeat([0, 1, 2, 3, 4], [2, len(names), len(upper[0]), len(names), len(names)])
        value = [
            np.concatenate([[s.reps, s.degenerate], s.power1, s.power2[upper], s.power3, s.power4])
            for s in self.sums.values()
        ]
        estimator, N, minus = (np.array(part) for part in zip(*self.sums, strict=True))
        return pd.DataFrame(
            {
                "estimator": np.repeat(estimator, len(powers)),
                "N": np.repeat(N, len(powers)),
                "minus": np.repeat(minus, len(powers)),
                "power": np.tile(powers, len(value)),
                "row": np.tile(rows_of, len(value)),
                "column": np.tile(columns_of, len(value)),
                "value": np.concatenate(value),
            }
        )

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Moments:
        """Rebuild the sums from `to_frame`'s table, whose rows are in its order."""
        keys = frame[list(Key._fields)].drop_duplicates().itertuples(index=False)
        known = [Key(str(estimator), int(N), str(minus)) for estimator, N, minus in keys]
        head = frame.iloc[: len(frame) // len(known)]
        names = tuple(head.loc[head["power"] == 1, "row"])
        upper = np.triu_indices(len(names))
        ends = np.cumsum([2, len(names), len(upper[0]), len(names)])
        total: dict[Key, PowerSums] = {}
        for key, value in zip(
            known, frame["value"].to_numpy().reshape(len(known), -1), strict=True
        ):
            counts, power1, products, power3, power4 = np.split(value, ends)
            power2 = np.zeros((len(names), len(names)))
            power2[upper] = products
            power2.T[upper] = products
            reps, degenerate = (int(count) for count in counts)
            total[key] = PowerSums(reps, degenerate, power1, power2, power3, power4)
        return cls(names[: -len(EXTRA_COLUMNS)], total)
