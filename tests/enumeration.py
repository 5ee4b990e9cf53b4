"""Every group of a small discrete law, with its probability: expectations without randomness.

Nothing here comes from tea_stats. Outcome y has probability p_y = softmax(logits)_y, so its score
function with respect to the logits is e_y − p, written out by hand.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]


@dataclass(frozen=True)
class SmallLaw:
    """Finitely many outcomes, each with a reward and a probability."""

    name: str
    rewards: tuple[float, ...]
    probabilities: tuple[float, ...]

    @property
    def scores(self) -> Array:
        """Score vectors e_y − p, one row per outcome."""
        return np.eye(len(self.rewards)) - np.array(self.probabilities)

    def __str__(self) -> str:
        return self.name


BINARY = (
    SmallLaw("coin", (0.0, 1.0), (0.7, 0.3)),
    SmallLaw("rare success", (1.0, 0.0), (0.04, 0.96)),
    SmallLaw("two ways to succeed", (1.0, 0.0, 1.0), (0.1, 0.65, 0.25)),
)
VALUED = (
    SmallLaw("three values", (0.0, 2.5, 1.0), (0.5, 0.15, 0.35)),
    SmallLaw("four outcomes, two tied", (-1.0, 0.5, 0.5, 2.0), (0.4, 0.2, 0.3, 0.1)),
    SmallLaw("rare best", (10.0, 9.0, 12.0, 9.5), (0.3, 0.5, 0.02, 0.18)),
)
LAWS = BINARY + VALUED


def tuples(law: SmallLaw, m: int) -> tuple[Array, Array, Array]:
    """Return all K^m ordered groups: rewards (G, m), scores (G, m, d) and probabilities (G,)."""
    outcomes = np.array(list(itertools.product(range(len(law.rewards)), repeat=m)))
    probability = np.array(law.probabilities)[outcomes].prod(axis=1)
    return np.array(law.rewards)[outcomes], law.scores[outcomes], probability


def expected_gradient(law: SmallLaw, m: int, advantages: Statistic) -> Array:
    """Return E[(1/m) Σ A_i S_i] over every group of m."""
    rewards, scores, probability = tuples(law, m)
    return np.einsum("g,gi,gid->d", probability, advantages(rewards), scores) / m


def gradient_of_expectation(law: SmallLaw, n: int, statistic: Statistic) -> Array:
    """Return ∇E[statistic of n draws] = E[statistic · Σ S_i], by listing every n-tuple."""
    rewards, scores, probability = tuples(law, n)
    return np.einsum("g,g,gid->d", probability, statistic(rewards), scores)


def few_valued(rewards: Array, most_values: int | None) -> Array:
    """Return rewards that an estimator of few-valued rewards accepts: a sixteenth of its values.

    Each reward goes down to the next level, and levels are rewards themselves: no rounding at any
    magnitude. Where any number of values is accepted (None), nothing changes.
    """
    if most_values is None:
        return rewards
    values = np.unique(rewards)
    levels = values[:: -(-16 * len(values) // most_values)]
    return levels[np.searchsorted(levels, rewards, side="right") - 1]


def best_of(law: SmallLaw, n: int) -> Array:
    """Return ∇V_n, the gradient of the expected best of n draws."""
    return gradient_of_expectation(law, n, lambda r: r.max(axis=1))
