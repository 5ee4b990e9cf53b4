"""Beta-binomial: best-of-N of 0/1 rewards, each prompt's p a draw from one beta law.

V_N = 1 − E(1 − p)^N = 1 − B(a, b + N)/B(a, b). The laws are those of the estimator
`beta_binomial`, on a grid refined around the likely ones. The prior of the mean is Jeffreys's for a
probability, that of the evenness (a + b) · mean · (1 − mean) uniform in its logarithm between .05
and 50; the posterior over the grid gives value and intervals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from tea_stats.estimators.beta_binomial import EVENNESS, log_beta, priors
from tea_stats.families.law import Array
from tea_stats.prediction import fit
from tea_stats.prediction.fit import Counts, Method, column_means
from tea_stats.reward_log.log import RewardLog

#: support of the prior: log odds of the mean and log evenness
BOX = ((np.log(1e-6), np.log(1e4)), (np.log(EVENNESS[0]), np.log(EVENNESS[-1])))
#: points of the grid in each direction, and how often it is narrowed
POINTS, ROUNDS = 48, 3
#: grid points whose log posterior lies farther below the best one are neglected
NEGLIGIBLE = 12.0
#: most draws of the law where every prompt's p is drawn too
MOST_LAWS = 500


class BetaBinomial(Method):
    """Beta-binomial fit; the value of a prompt is E[1 − (1 − p)^N] given its own successes too."""

    title = "beta-binomial"
    colour = "#00868B"
    unbiased_on = "0/1 rewards with p of a beta law, as the number of prompts grows"
    formula = "V̂_N = E[1 − B(a, b + N)/B(a, b)] over the posterior of (a, b)"
    reference = "conjugate beta-binomial model; for N → ∞ as in SABER, arXiv:2601.22636"
    binary = True

    def __init__(self, log: RewardLog, grid: Counts, alpha: float) -> None:
        self.grid = grid
        sizes = log.sizes
        successes = np.add.reduceat(log.rewards, log.offsets[:-1]).astype(np.int64)
        kinds, self.kind, number = np.unique(
            np.column_stack([successes, sizes]), axis=0, return_inverse=True, return_counts=True
        )
        self.successes, self.sizes, self.number = kinds[:, 0], kinds[:, 1], number
        self.kind = self.kind.ravel()
        self.a, self.b, self.weight = self._posterior()
        best = int(np.argmax(self.weight))
        a, b = self.a[best], self.b[best]
        self.details = {"a": float(a), "b": float(b), "mean": float(a / (a + b))}
        failures = self.sizes - self.successes
        self.own = a + self.successes, b + failures
        self.values = best_of(self.own[0][:, None], self.own[1][:, None], grid)[self.kind]

    def average(self, target: str) -> Array:
        """Return the posterior mean of V_N over laws, or the mean over these prompts."""
        if target == "population":
            return np.asarray(self.weight @ best_of(self.a[:, None], self.b[:, None], self.grid))
        return column_means(self.values)

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return posterior draws of the average, shape (count, K)."""
        law = rng.choice(len(self.weight), count, p=self.weight)
        if target == "population":
            return best_of(self.a[law, None], self.b[law, None], self.grid)
        # given the law, the average over the prompts is nearly normal; its moments are closed forms
        law = law[:MOST_LAWS]
        mean, square = np.zeros((2, len(law), len(self.grid)))
        for s, size, number in zip(self.successes, self.sizes, self.number, strict=True):
            a, b = self.a[law, None] + s, self.b[law, None] + size - s
            first = best_of(a, b, self.grid)
            fail_twice = 1.0 - best_of(a, b, 2 * self.grid)
            mean += number * first
            square += number * np.maximum(fail_twice - (1.0 - first) ** 2, 0.0)
        prompts = self.number.sum()
        which = rng.integers(len(law), size=count)
        noise = fit.t_draws(np.zeros(len(self.grid)), self._correlation(), np.inf, count, rng)
        drawn = (mean[which] + noise * np.sqrt(square[which])) / prompts
        return np.clip(drawn, 0.0, 1.0)

    def _correlation(self) -> Array:
        """Return how the averages at two N vary together as the prompts' p do, shape (K, K)."""
        a, b = (own[:, None, None] for own in self.own)
        fail = 1.0 - best_of(a, b, self.grid[:, None])
        both = 1.0 - best_of(a, b, self.grid[:, None] + self.grid)
        joint = both - fail * fail.transpose(0, 2, 1)
        covariance = np.einsum("s,sij->ij", self.number, joint)
        size = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        return np.asarray(covariance / np.multiply.outer(size, size))

    def prompt_bounds(self, level: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return posterior quantiles of 1 − (1 − p)^N for each prompt."""
        ends = []
        for chance in ((1.0 - level) / 2.0, (1.0 + level) / 2.0):
            p = special.betaincinv(*self.own, chance)[:, None]
            ends.append(-np.expm1(self.grid * np.log1p(-np.minimum(p, 1.0 - 1e-16)))[self.kind])
        return ends[0], ends[1]

    def _posterior(self) -> tuple[Array, Array, Array]:
        """Return a, b and weights of laws on a grid around the likely ones."""
        box = BOX
        for _ in range(ROUNDS):
            odds, even = (np.linspace(*ends, POINTS) for ends in box)
            a, b = priors(odds, np.exp(even))
            # Jeffreys: the mean of a beta law of (½, ½), per unit of its log odds
            likelihood = 0.5 * np.log(a / (a + b)) + 0.5 * np.log(b / (a + b))
            whole = log_beta(a, b)
            for s, size, number in zip(self.successes, self.sizes, self.number, strict=True):
                likelihood += number * (log_beta(a + s, b + (size - s)) - whole)
            likelihood -= likelihood.max()
            likely = np.asarray(likelihood > -NEGLIGIBLE).reshape(POINTS, POINTS)
            box = (_around(odds, likely.any(axis=0)), _around(even, likely.any(axis=1)))
        weight = np.exp(likelihood)
        return a, b, weight / weight.sum()


def best_of(a: Array, b: Array, N: Counts) -> Array:
    """Return 1 − E(1 − p)^N for p of a beta law.

    Examples
    --------
    >>> best_of(np.array(1.0), np.array(1.0), np.array([1, 3])).round(6).tolist()
    [0.5, 0.75]
    """
    return np.asarray(-np.expm1(log_beta(a, b + N) - log_beta(a, np.asarray(b, dtype=float))))


def _around(axis: Array, likely: Any) -> tuple[float, float]:
    """Return the ends of the likely part of an axis, one step farther out where it goes on."""
    first, last = np.flatnonzero(likely)[[0, -1]]
    return float(axis[max(first - 1, 0)]), float(axis[min(last + 1, len(axis) - 1)])
