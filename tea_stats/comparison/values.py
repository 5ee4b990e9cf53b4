"""Best-of-N of each prompt and on average, unbiased or extrapolated."""

from __future__ import annotations

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction.fit import Method
from tea_stats.prediction.methods import METHODS
from tea_stats.reward_log.log import RewardLog

#: at most so many distinct rewards are extrapolated threshold by threshold
FEW_VALUES = 12


class Values:
    """The best of N of one log by one method.

    Rewards of few values v_1 < … < v_K are extrapolated by thresholds, each a 0/1 reward:
    V_N = v_1 + Σ_j (v_{j+1} − v_j) P(best of N ≥ v_{j+1}), which never exceeds v_K.
    """

    def __init__(self, log: RewardLog, N: int, method: str, alpha: float) -> None:
        grid = np.array([N], dtype=np.int64)
        self.log, self.N = log, N
        self.parts: list[tuple[float, Method]] = []
        if method != "beta_binomial" or log.is_binary:
            self.base, self.parts = 0.0, [(1.0, METHODS[method](log, grid, alpha))]
            return
        values = np.unique(log.rewards)
        self.base = float(values[0])
        for low, high in zip(values[:-1], values[1:], strict=True):
            passed = RewardLog(log.prompts, (log.rewards >= high).astype(float), log.offsets)
            self.parts.append((float(high - low), METHODS[method](passed, grid, alpha)))

    def prompts(self) -> Array:
        """Return the value of each prompt, NaN where there is none, shape (P,)."""
        values = np.full(len(self.log), self.base)
        for gap, part in self.parts:
            values = values + gap * part.values[:, 0]
        return values

    def average(self, target: str) -> float:
        """Return the average over the population, or over these prompts."""
        return float(self.base + sum(gap * part.average(target)[0] for gap, part in self.parts))

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average, shape (count,)."""
        total = np.full(count, self.base)
        for gap, part in self.parts:
            # thresholds of the same rollouts move together: draws are matched by rank
            total = total + gap * np.sort(part.draws(target, count, rng)[:, 0])
        return rng.permuted(total)


def usual_method(a: RewardLog, b: RewardLog, N: int) -> str:
    """Return max@k where every prompt has N rollouts, else what suits the rewards."""
    if min(a.sizes.min(), b.sizes.min()) >= N:
        return "max_at_k"
    return "beta_binomial" if few_valued(a, b) else "linear"


def few_valued(*logs: RewardLog) -> bool:
    """Whether rewards have so few values that they are extrapolated by thresholds."""
    seen: set[float] = set()
    for log in logs:
        # of a long log of continuous rewards the first ones show it
        seen |= set(np.unique(log.rewards[:1000]).tolist())
        if len(seen) > FEW_VALUES:
            return False
        seen |= set(np.unique(log.rewards).tolist())
    return len(seen) <= FEW_VALUES
