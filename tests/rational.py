"""Discrete laws in rational arithmetic: every group listed, every expectation a fraction.

Nothing here comes from tea_stats. Outcome y has probability p_y = softmax(logits)_y, so its score
function with respect to the logits is e_y − p. Arrays hold `Fraction`s, so that == means equality.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

#: of fractions
Array = Any
Polynomial = Callable[[Fraction], Fraction]


def fractions(values: Any) -> Array:
    """Return an array of fractions.

    Examples
    --------
    >>> fractions([1, 0.5]) @ fractions([2, 3])
    Fraction(7, 2)
    """
    array = np.asarray(values, dtype=object)
    return np.vectorize(Fraction, otypes=[object])(array)


@dataclass(frozen=True)
class RationalLaw:
    """Finitely many outcomes, each with a reward and a probability."""

    name: str
    rewards: tuple[int, ...]
    probabilities: tuple[Fraction, ...]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def scores(self) -> Array:
        """Score vectors e_y − p, one row per outcome."""
        return fractions(np.eye(len(self.rewards), dtype=int)) - fractions(self.probabilities)

    def mean(self, m: int, statistic: Callable[[Array, Array], Any]) -> Any:
        """Return E f(rewards, scores) over every ordered group of m outcomes."""
        total: Any = Fraction(0)
        rewards = fractions(self.rewards)
        for group in itertools.product(range(len(rewards)), repeat=m):
            y = list(group)
            chance = np.prod(fractions(self.probabilities)[y])
            total = total + chance * statistic(rewards[y], self.scores[y])
        return total

    # --- the reward axis: F is constant from one level to the next --------------------------------

    @cached_property
    def levels(self) -> list[int]:
        """The distinct rewards, in order."""
        return sorted(set(self.rewards))

    @cached_property
    def cells(self) -> list[tuple[int, int, Fraction]]:
        """Where F takes which value: (start, end, F), beyond the smallest and largest reward 0."""
        return [(t, end, self.cdf(t)) for t, end in itertools.pairwise(self.levels)]

    def cdf(self, t: int) -> Fraction:
        """Return F(t)."""
        pairs = zip(self.rewards, self.probabilities, strict=True)
        return sum((p for r, p in pairs if r <= t), Fraction(0))

    def cdf_gradient(self, t: int) -> Array:
        """Return ∇F(t) in the logits: p_y (1{r_y ≤ t} − F(t)), from the softmax's derivative."""
        below = fractions([int(r <= t) for r in self.rewards])
        return fractions(self.probabilities) * (below - self.cdf(t))

    def integral(self, integrand: Callable[[int, Fraction], Any]) -> Any:
        """Return ∫ h(t, F(t)) dt, for an h that is constant in each cell and zero beyond them."""
        return sum((end - start) * integrand(start, F) for start, end, F in self.cells)

    # --- the functionals ∫ Q p du and their gradients ---------------------------------------------

    def value(self, antiderivative: Polynomial) -> Fraction:
        """Return ∫ Q p du = Σ_v v [P(F(v)) − P(F(v⁻))], P an antiderivative of p."""
        total, below = Fraction(0), Fraction(0)
        for v in self.levels:
            total += v * (antiderivative(self.cdf(v)) - antiderivative(below))
            below = self.cdf(v)
        return total

    def gradient(self, p: Polynomial) -> Array:
        """Return ∇ ∫ Q p du, the derivative of the sum in `value`."""
        total: Any = Fraction(0)
        below: Any = Fraction(0)
        for v in self.levels:
            here = p(self.cdf(v)) * self.cdf_gradient(v)
            total = total + v * (here - below)
            below = here
        return total

    def best_of(self, k: int) -> Fraction:
        """Return V_k."""
        return self.value(lambda u: u**k)

    def best_of_gradient(self, k: int) -> Array:
        """Return ∇V_k."""
        return self.gradient(lambda u: k * u ** (k - 1))


def law(name: str, **outcomes: tuple[int, str]) -> RationalLaw:
    """Return a law from its outcomes, each a reward and a probability."""
    rewards, chances = zip(*outcomes.values(), strict=True)
    return RationalLaw(name, rewards, tuple(map(Fraction, chances)))


COIN = law("coin", no=(0, "3/5"), yes=(1, "2/5"))
TIED = law("two outcomes tied", a=(-1, "3/10"), b=(1, "1/5"), c=(1, "2/5"), d=(4, "1/10"))
SPREAD = law("three values", a=(0, "1/2"), b=(3, "1/3"), c=(5, "1/6"))
LAWS = (COIN, TIED, SPREAD)


def solve(matrix: Array, right: Array) -> Array:
    """Return x with matrix @ x = right, by elimination without rounding.

    Examples
    --------
    >>> solve(fractions([[0, 2], [3, 1]]), fractions([1, 2])).tolist()
    [Fraction(1, 2), Fraction(1, 2)]
    """
    n = len(matrix)
    work = np.hstack([matrix, right.reshape(n, -1)])
    for column in range(n):
        pivot = next(row for row in range(column, n) if work[row, column] != 0)
        work[[column, pivot]] = work[[pivot, column]]
        work[column] = work[column] / work[column, column]
        for row in range(n):
            if row != column:
                work[row] = work[row] - work[row, column] * work[column]
    return work[:, n:].reshape(right.shape)
