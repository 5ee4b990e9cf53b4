"""Rewards in units of their own spread, and predictions back in the rewards' units.

Fits and draws then see numbers near 1 whatever the reward's unit, from 1e-300 to 1e300, and a large
common location costs no digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tea_stats.families.law import Array
from tea_stats.reward_log.log import RewardLog

if TYPE_CHECKING:
    from tea_stats.prediction.backtest import Backtest

#: powers of two that scale without rounding on the way there and back
LARGEST_EXPONENT = 1000


@dataclass(frozen=True)
class Units:
    """A location and a scale, a power of two: reward = location + scale · number."""

    location: float
    scale: float

    @classmethod
    def of(cls, log: RewardLog) -> Units:
        """Return units in which rewards spread over about 1; none for rewards near 1 already."""
        middle = float(np.median(log.rewards))
        # halves first: a range may exceed the largest number
        spread = 2.0 * float(np.max(np.abs(log.rewards / 2.0 - middle / 2.0)))
        if spread == 0.0 or (2.0**-20 < spread < 2.0**20 and abs(middle) < 2.0**20 * spread):
            return cls(0.0, 1.0)
        half = np.max(np.abs(log.rewards / 2.0 - middle / 2.0))
        exponent = int(np.clip(np.frexp(half)[1] + 1, -LARGEST_EXPONENT, LARGEST_EXPONENT))
        return cls(middle, float(np.ldexp(1.0, exponent)))

    def numbers(self, log: RewardLog) -> RewardLog:
        """Return the log in these units."""
        if self == Units(0.0, 1.0):
            return log
        halves = log.rewards / 2.0 - self.location / 2.0
        return replace(log, rewards=halves / self.scale * 2.0)

    def rewards(self, numbers: Array) -> Array:
        """Return numbers as rewards."""
        return np.asarray(self.location + self.scale * numbers)

    def sizes(self, numbers: Any) -> Any:
        """Return differences, errors and standard deviations as rewards."""
        return self.scale * numbers

    def backtest(self, test: Backtest | None) -> Backtest | None:
        """Return a backtest in the rewards' units."""
        if test is None or self == Units(0.0, 1.0):
            return test
        return replace(
            test,
            truth=self.rewards(test.truth),
            predicted={name: self.rewards(line) for name, line in test.predicted.items()},
            errors=self._each(test.errors),
            biases=self._each(test.biases),
            standard_errors=self._each(test.standard_errors),
            scales={m: self._each(errors) for m, errors in test.scales.items()},
        )

    def _each(self, sizes: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.sizes(size) for name, size in sizes.items()}


def within(values: tuple[Array, ...], least: float, top: float | None) -> tuple[Array, ...]:
    """Return curves cut off at the least value there is and at a ceiling, NaN staying."""
    above = (np.maximum(value, least) for value in values)
    return tuple(above if top is None else (np.minimum(value, top) for value in above))
