"""Pairs of policies whose best-of-N is known exactly, prompt by prompt: what logs are drawn from.

A world draws P prompts from a population, then m rollouts of each by policy a and by policy b. The
population's true best-of-N is a closed form, a quadrature, or a finite sum.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tea_stats import best_of_n
from tea_stats.families import Law
from tea_stats.prediction.beta_binomial import best_of
from tea_stats.resampling import PromptLaws

POOLS = Path(__file__).parents[1] / "pools"
#: kinds of rewards in the pools; "rewards" is tone
KINDS = ("tone", "relevance", "likelihood", "profanity", "sentiment", "helpful")
#: policy b tilts a pool by exp(TILT · rank): the best reply is e^TILT as likely as the worst
TILT = 0.5
Array = NDArray[np.float64]


class World(ABC):
    """A population of prompts, and two policies."""

    name: str

    @abstractmethod
    def draw(self, P: int, m: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return rewards of the two policies on the same P prompts, shape (P, m) each."""

    @abstractmethod
    def truth(self, N: int) -> tuple[float, float]:
        """Return the population's best-of-N of each policy."""


@dataclass(frozen=True)
class Moved(World):
    """Locations N(0, 1) and log scales N(0, .4²) of a law; policy b adds N(shift, shift²)."""

    name: str
    law: Law
    shift: float = 0.2
    log_scale: float = 0.4

    def draw(self, P: int, m: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return rewards of the two policies."""
        place, scale = rng.normal(size=(P, 1)), np.exp(self.log_scale * rng.normal(size=(P, 1)))
        gain = self.shift * (1.0 + rng.normal(size=(P, 1)))
        a, b = (place + scale * self.law.sample((P, m), rng) for _ in range(2))
        return a, b + gain

    def truth(self, N: int) -> tuple[float, float]:
        """Return E scale times the law's own best-of-N."""
        value = math.exp(self.log_scale**2 / 2.0) * best_of_n.value(self.law, N)
        return value, value + self.shift


@dataclass(frozen=True)
class Verifier(World):
    """0/1 rewards: p from Beta(a, b), and policy b succeeds at the odds of Beta(a + more, b)."""

    name: str
    a: float
    b: float
    more: float

    def draw(self, P: int, m: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return rewards of the two policies; their p are ratios of the same gamma variables."""
        wins, extra, losses = (rng.standard_gamma(k, (P, 1)) for k in (self.a, self.more, self.b))
        p, q = wins / (wins + losses), (wins + extra) / (wins + extra + losses)
        return (rng.random((P, m)) < p) * 1.0, (rng.random((P, m)) < q) * 1.0

    def truth(self, N: int) -> tuple[float, float]:
        """Return 1 − E (1 − p)^N."""
        budget = np.array(N)
        first = best_of(np.array(self.a), np.array(self.b), budget)
        second = best_of(np.array(self.a + self.more), np.array(self.b), budget)
        return float(first), float(second)


@dataclass(frozen=True)
class Grades(World):
    """Grades 1 to 5: cuts of a Verifier's p into binomial counts of 4, plus 1."""

    name: str
    base: Verifier

    def draw(self, P: int, m: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return 1 + Binomial(4, p)."""
        wins, extra, losses = (
            rng.standard_gamma(k, (P, 1)) for k in (self.base.a, self.base.more, self.base.b)
        )
        p, q = wins / (wins + losses), (wins + extra) / (wins + extra + losses)
        return 1.0 + rng.binomial(4, p, (P, m)), 1.0 + rng.binomial(4, q, (P, m))

    def truth(self, N: int) -> tuple[float, float]:
        """Return 5 − Σ_k E P(grade ≤ k)^N, by Gauss-Jacobi quadrature over p."""
        both = []
        for a in (self.base.a, self.base.a + self.base.more):
            both.append(_grades(a, self.base.b, N))
        return both[0], both[1]


def _grades(a: float, b: float, N: int) -> float:
    from scipy import special, stats

    x, weight = special.roots_jacobi(400, b - 1.0, a - 1.0)
    p, weight = 0.5 * (1.0 + x), weight / weight.sum()
    below = stats.binom.cdf(np.arange(4)[:, None], 4, p)
    return float(5.0 - (below**N @ weight).sum())


@dataclass(frozen=True)
class Pool(World):
    """Eight prompts' pools of a language model's rewards; policy b tilts each towards its best."""

    name: str

    @cached_property
    def laws(self) -> tuple[PromptLaws, PromptLaws]:
        """The pools as finite laws of the two policies."""
        column = "rewards" if self.name == "tone" else f"rewards_{self.name}"
        values = []
        for path in sorted(POOLS.glob("pool-*.npz")):
            with np.load(path, allow_pickle=False) as pool:
                values.append(np.sort(pool[column].astype(float)))
        ascending = np.array(values)
        count = ascending.shape[1]
        even = np.full(ascending.shape, 1.0 / count)
        tilted = np.exp(TILT * np.arange(count) / count)
        own = np.broadcast_to(tilted / tilted.sum(), ascending.shape)
        return PromptLaws.of_values(ascending, even), PromptLaws.of_values(ascending, own)

    def draw(self, P: int, m: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return rewards of P prompts, each one of the eight."""
        values, tilted = self.laws[0].values, np.cumsum(self.laws[1].masses[0])
        prompts = rng.integers(len(values), size=(P, 1))
        last = values.shape[1] - 1
        even = rng.integers(last + 1, size=(P, m))
        ranks = np.minimum(np.searchsorted(tilted, rng.random((P, m)), side="right"), last)
        return values[prompts, even], values[prompts, ranks]

    def truth(self, N: int) -> tuple[float, float]:
        """Return the mean over the eight prompts, finite sums."""
        first, second = (float(law.value(N).mean()) for law in self.laws)
        return first, second
