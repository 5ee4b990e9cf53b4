"""Laws of a prompt's success probability p, and what counts of successes say about them.

Two families, each with a part of prompts that no rollout ever solves or without: beta laws, and
logit-normal laws (log(p/(1 − p)) normal), whose small p thin out more slowly. All that is needed of
a law is E[p^s (1 − p)^f]: the chance of s successes and f failures, and with N failures more, by
division, the chance that N further rollouts all fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special

from tea_stats.estimators.beta_binomial import log_beta
from tea_stats.families.law import Array
from tea_stats.prediction.fit import Counts

#: points of a grid of laws in each direction, and how often it is narrowed
POINTS, UNSOLVED, ROUNDS = 32, 16, 3
#: grid points whose log posterior lies farther below the best one are neglected
NEGLIGIBLE = 12.0
#: log odds between which a logit-normal law is summed, and the widest distance of two nodes
LOWEST, HIGHEST, STEP = np.log(1e-13), np.log(1e4), 0.25
Box = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Family:
    """Laws with two parameters, on a box of which the prior is uniform but for `log_prior`.

    Attributes
    ----------
    name : str
        "beta" or "logit-normal".
    box : tuple
        Ends of the two parameters.
    log_prior : callable
        Log density of the prior at parameters x and y, up to a constant.
    log_chance : callable
        log E[p^s (1 − p)^f] at parameters x and y, shape (laws, kinds) for s, f of shape (kinds,).
    """

    name: str
    box: Box
    log_prior: Callable[[Array, Array], Array]
    log_chance: Callable[[Array, Array, Array, Array], Array]


def beta_parameters(x: Array, y: Array) -> tuple[Array, Array]:
    """Return a and b from the log odds of the mean and log((a + b) · mean · (1 − mean))."""
    mean, rest, evenness = special.expit(x), special.expit(-x), np.exp(y)
    return evenness / rest, evenness / mean


def _beta_prior(x: Array, y: Array) -> Array:
    # Jeffreys: the mean of a beta law of (½, ½), per unit of its log odds
    return 0.5 * special.log_expit(x) + 0.5 * special.log_expit(-x)


def _beta_chance(x: Array, y: Array, s: Array, f: Array) -> Array:
    a, b = (part[:, None] for part in beta_parameters(x, y))
    return np.asarray(log_beta(a + s, b + f) - log_beta(a, b))


def _normal_chance(x: Array, y: Array, s: Array, f: Array) -> Array:
    # the binomial likelihood is a bump of width 1/√min(s, f) or more: the rectangle rule is as good
    # as exact with nodes that close, the law's own mass around each of them being exact
    step = max(min(STEP, 1.0 / np.sqrt(np.max(np.minimum(s, f), initial=1.0))), 0.01)
    nodes = np.arange(LOWEST, HIGHEST, step)
    cuts = np.concatenate([[-np.inf], nodes[1:] - 0.5 * step, [np.inf]])
    mass = np.diff(special.ndtr((cuts - x[:, None]) / np.exp(y)[:, None]))
    logs = s * special.log_expit(nodes)[:, None] + f * special.log_expit(-nodes)[:, None]
    top = logs.max(axis=0)
    return np.asarray(np.log(np.maximum(mass @ np.exp(logs - top), 1e-300)) + top)


BETA = Family(
    "beta",
    ((np.log(1e-6), np.log(1e4)), (np.log(0.002), np.log(50.0))),
    _beta_prior,
    _beta_chance,
)
LOGIT_NORMAL = Family(
    "logit-normal",
    ((-16.0, 8.0), (np.log(0.1), np.log(8.0))),
    _beta_prior,
    _normal_chance,
)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Laws of one family, with or without prompts that are never solved, and their weights.

    Attributes
    ----------
    family : Family
        What x and y are parameters of.
    x, y, unsolved, weight : ndarray, shape (L,)
        Parameters, share of prompts with p = 0, and posterior weights that sum to 1.
    log_evidence : float
        Log of the likelihood averaged over the prior, up to a constant shared by all families.
    """

    family: Family
    x: Array
    y: Array
    unsolved: Array
    weight: Array
    log_evidence: float

    def best(self) -> Posterior:
        """Return the law of largest weight alone."""
        return self.at(np.array([np.argmax(self.weight)]))

    def at(self, places: Any) -> Posterior:
        """Return some of the laws, their weights made equal."""
        parts = (self.x[places], self.y[places], self.unsolved[places])
        equal = np.full(len(parts[0]), 1.0 / len(parts[0]))
        return Posterior(self.family, *parts, equal, self.log_evidence)

    def population(self, grid: Counts) -> Array:
        """Return the chance that one of N rollouts of a new prompt succeeds, shape (L, K)."""
        N = np.asarray(grid, dtype=float)
        fail = np.exp(self.family.log_chance(self.x, self.y, np.zeros(len(N)), N))
        return np.asarray((1.0 - self.unsolved[:, None]) * (1.0 - fail))

    def solvable(self, s: Array, f: Array) -> Array:
        """Return the chance that a prompt of these counts has p > 0, shape (L, kinds)."""
        can = (1.0 - self.unsolved[:, None]) * np.exp(self.family.log_chance(self.x, self.y, s, f))
        never = self.unsolved[:, None] * (s == 0)
        return np.asarray(can / np.maximum(can + never, 1e-300))

    def fails(self, s: Array, f: Array, N: Array | Counts) -> Array:
        """Return the chance that N rollouts more fail all, given p > 0, shape (L, kinds, K)."""
        more = np.add.outer(f, np.asarray(N, dtype=float))
        both = self.family.log_chance(
            self.x, self.y, np.repeat(s, len(N)), more.ravel()
        ) - np.repeat(self.family.log_chance(self.x, self.y, s, f), len(N), axis=1)
        return np.exp(np.minimum(both, 0.0)).reshape(len(self.x), len(s), len(N))


def posterior(family: Family, inflated: bool, s: Array, f: Array, number: Array) -> Posterior:
    """Return the posterior over a family's laws; the last ones computed are kept.

    Parameters
    ----------
    family : Family
        Beta or logit-normal laws.
    inflated : bool
        Whether a share of the prompts, uniform between 0 and 1 before, is never solved.
    s, f, number : ndarray, shape (kinds,)
        Successes and failures of each kind of prompt, and how many prompts are of that kind.
    """
    return _posterior(family, inflated, *(tuple(part.tolist()) for part in (s, f, number)))


@lru_cache(maxsize=256)
def _posterior(
    family: Family,
    inflated: bool,
    successes: tuple[float, ...],
    failures: tuple[float, ...],
    numbers: tuple[float, ...],
) -> Posterior:
    """Return the posterior, on a grid narrowed around the likely laws."""
    s, f, number = (np.array(part) for part in (successes, failures, numbers))
    box: list[tuple[float, float]] = [*family.box, (0.0, 1.0)]
    none = s == 0
    solved = number[~none].sum()
    for _ in range(ROUNDS):
        x, y = (np.linspace(*ends, POINTS) for ends in box[:2])
        # midpoints: 0 and 1 themselves are laws of their own
        share = (np.arange(UNSOLVED) + 0.5) / UNSOLVED
        pi = box[2][0] + (box[2][1] - box[2][0]) * share if inflated else np.zeros(1)
        X, Y = (axis.ravel() for axis in np.meshgrid(x, y, indexing="ij"))
        chance = family.log_chance(X, Y, s, f)
        logs = (family.log_prior(X, Y) + chance[:, ~none] @ number[~none])[:, None] + np.zeros(
            len(pi)
        )
        with np.errstate(divide="ignore"):
            logs += solved * np.log1p(-pi)
            for place in np.flatnonzero(none):
                dead = np.logaddexp(
                    np.log(pi), np.log1p(-pi) + np.minimum(chance[:, place], 0.0)[:, None]
                )
                logs += number[place] * dead
        top = logs.max()
        likely = (logs > top - NEGLIGIBLE).reshape(POINTS, POINTS, len(pi))
        cell = np.prod([(high - low) for low, high in box[: 2 + inflated]])
        whole = np.prod([high - low for low, high in family.box])
        evidence = top + np.log(np.exp(logs - top).mean() * cell / whole)
        box = [
            _around(axis, likely.any(axis=others)) for axis, others in ((x, (1, 2)), (y, (0, 2)))
        ] + [_part(box[2], likely.any(axis=(0, 1))) if inflated else box[2]]
    weight = np.exp(logs - top)
    rows, columns = np.nonzero(weight > np.exp(-NEGLIGIBLE))
    kept = weight[rows, columns]
    return Posterior(family, X[rows], Y[rows], pi[columns], kept / kept.sum(), float(evidence))


def _around(axis: Array, likely: Any) -> tuple[float, float]:
    """Return the ends of the likely part of an axis, one step farther out where it goes on."""
    first, last = np.flatnonzero(likely)[[0, -1]]
    return float(axis[max(first - 1, 0)]), float(axis[min(last + 1, len(axis) - 1)])


def _part(ends: tuple[float, float], likely: Any) -> tuple[float, float]:
    """Return the part of an interval cut into cells that holds the likely ones and a neighbour."""
    first, last = np.flatnonzero(likely)[[0, -1]]
    low, width = ends[0], (ends[1] - ends[0]) / len(likely)
    return max(ends[0], low + (first - 1) * width), min(ends[1], low + (last + 2) * width)
