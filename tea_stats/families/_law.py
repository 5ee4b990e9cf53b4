"""What every reward law offers: draws, scores, and the ingredients of the exact truth.

A law is a frozen dataclass: the distribution of one rollout's reward R together with the score
function S = ∇_θ log π_θ(y) of the parameters θ that the law names. Two kinds exist:
`ContinuousLaw`, described by its distribution function, and `FiniteLaw`, a list of
(reward, probability, score) triples.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Shape = int | tuple[int, ...]

#: Decorator of functions whose infinities are meant: log 0 at the support's ends, overflow far out.
quiet = np.errstate(all="ignore")


class Law(ABC):
    """A distribution of rewards with a score function; immutable."""

    @property
    def moments_below(self) -> float:
        """R has a finite p-th absolute moment for every p below this (`inf`: all of them)."""
        return np.inf

    @property
    @abstractmethod
    def parameters(self) -> tuple[str, ...]:
        """Names of the d parameters that the score has a column for, in order."""

    @property
    def key(self) -> str:
        """Text that identifies the law across processes and sessions; seeds derive from it."""
        return repr(self)

    @property
    def stable_id(self) -> int:
        """A 32-bit integer made from `key`, for `numpy.random.SeedSequence.spawn_key`."""
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:4], "big")

    @abstractmethod
    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r)."""

    @abstractmethod
    def ppf(self, u: ArrayLike) -> Array:
        """Quantile Q(u): the smallest r with P(R ≤ r) ≥ u."""

    @abstractmethod
    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""

    @abstractmethod
    def draw(self, size: Shape, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw rewards of shape `size` and their scores of shape `(d, *size)`."""

    @abstractmethod
    def draw_sorted(
        self, groups: int, m: int, rng: np.random.Generator, *, ordered: bool
    ) -> tuple[Array, Array, NDArray[np.intp] | None]:
        """Draw groups of m rollouts, each sorted by reward.

        Returns
        -------
        rewards : (groups, m)
            Rewards, ascending within each group.
        scores : (d, groups, m)
            Scores of the same rollouts in the same order.
        order : (groups, m) or None
            If `ordered`, the position at which each sorted rollout was drawn (an argsort).
        """


class ContinuousLaw(Law):
    """A law with a density; subclasses give `cdf`, `sf`, `ppf`, `isf`, `logpdf` and the score."""

    @abstractmethod
    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r)."""

    @abstractmethod
    def sf(self, r: ArrayLike) -> Array:
        """P(R > r), accurate in the upper tail."""

    @abstractmethod
    def ppf(self, u: ArrayLike) -> Array:
        """Quantile Q(u), accurate for small u."""

    @abstractmethod
    def isf(self, p: ArrayLike) -> Array:
        """Quantile Q(1 − p), accurate for small p."""

    @abstractmethod
    def logpdf(self, r: ArrayLike) -> Array:
        """Log density at r (−inf outside the support)."""

    @abstractmethod
    def _score_columns(self, r: Array) -> Sequence[Array]:
        """∂_θ log f(r), one array of r's shape per parameter."""

    @property
    def breaks(self) -> tuple[float, ...]:
        """Upper-tail probabilities p = 1 − u in (0, 1) at which the quantile is not analytic."""
        return ()

    def _quantile_gradient(self, r: Array) -> Sequence[Array] | None:
        """∂_θ Q(u) at u = F(r), one array per parameter; None where no closed form exists."""
        return None

    def _reward_edges(self) -> Array | None:
        """Panel edges for quadrature in reward space; None: the quantile is smooth, integrate it."""
        return None

    def _upper_tail(self, p: Array) -> tuple[Array, Sequence[Array]]:
        """Log density and score at Q(1 − p), for laws whose Q rounds to the end of the support."""
        r = self.isf(p)
        return self.logpdf(r), self._score_columns(r)

    def score(self, r: ArrayLike) -> Array:
        """Score function ∂_θ log f(r), shape `(*r.shape, d)`; nan where the density is zero."""
        r = np.asarray(r, dtype=np.float64)
        outside = np.isneginf(self.logpdf(r))
        with np.errstate(all="ignore"):
            columns = self._score_columns(r)
        return np.stack([np.where(outside, np.nan, column) for column in columns], axis=-1)

    def draw(self, size: Shape, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw rewards of shape `size` and their scores of shape `(d, *size)`."""
        rewards = self.sample(size, rng)
        return rewards, np.stack(self._score_columns(rewards))

    def draw_sorted(
        self, groups: int, m: int, rng: np.random.Generator, *, ordered: bool
    ) -> tuple[Array, Array, NDArray[np.intp] | None]:
        """Draw groups of m rollouts, each sorted by reward (see `Law.draw_sorted`)."""
        rewards = self.sample((groups, m), rng)
        order = None
        if ordered:
            order = np.argsort(rewards, axis=-1)
            rewards = np.take_along_axis(rewards, order, axis=-1)
        else:
            rewards.sort(axis=-1)
        return rewards, np.stack(self._score_columns(rewards)), order


class FiniteLaw(Law):
    """Finitely many outcomes, each with a reward, a probability and a score vector.

    Subclasses give the three arrays below, sorted by reward (ties in any order).
    """

    @property
    @abstractmethod
    def rewards_sorted(self) -> Array:
        """Rewards of the K outcomes, ascending, shape (K,)."""

    @property
    @abstractmethod
    def probabilities(self) -> Array:
        """Probabilities of the same outcomes, shape (K,)."""

    @property
    @abstractmethod
    def scores(self) -> Array:
        """Score vectors of the same outcomes, shape (K, d)."""

    @abstractmethod
    def _draw_outcomes(self, size: Shape, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw outcome numbers (indices into `rewards_sorted`)."""

    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r)."""
        count = np.searchsorted(self.rewards_sorted, np.asarray(r, dtype=np.float64), "right")
        return np.concatenate([[0.0], np.cumsum(self.probabilities)])[count].clip(0.0, 1.0)

    def sf(self, r: ArrayLike) -> Array:
        """P(R > r), summed from the top so that a rare best outcome keeps its precision."""
        count = np.searchsorted(self.rewards_sorted, np.asarray(r, dtype=np.float64), "right")
        from_top = np.cumsum(self.probabilities[::-1])[::-1]
        return np.concatenate([from_top, [0.0]])[count].clip(0.0, 1.0)

    def ppf(self, u: ArrayLike) -> Array:
        """Quantile: the smallest reward r with P(R ≤ r) ≥ u."""
        cumulative = np.cumsum(self.probabilities)
        index = np.searchsorted(cumulative, np.asarray(u, dtype=np.float64), "left")
        return self.rewards_sorted[np.minimum(index, len(cumulative) - 1)]

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return self.rewards_sorted[self._draw_outcomes(size, rng)]

    def draw(self, size: Shape, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw rewards of shape `size` and their scores of shape `(d, *size)`."""
        outcomes = self._draw_outcomes(size, rng)
        return self.rewards_sorted[outcomes], self._score_columns_of(outcomes)

    def draw_sorted(
        self, groups: int, m: int, rng: np.random.Generator, *, ordered: bool
    ) -> tuple[Array, Array, NDArray[np.intp] | None]:
        """Draw groups of m rollouts, each sorted by reward (see `Law.draw_sorted`)."""
        outcomes = self._draw_outcomes((groups, m), rng)
        order = None
        if ordered:
            order = np.argsort(outcomes, axis=-1)
            outcomes = np.take_along_axis(outcomes, order, axis=-1)
        else:
            outcomes.sort(axis=-1)
        return self.rewards_sorted[outcomes], self._score_columns_of(outcomes), order

    def _score_columns_of(self, outcomes: NDArray[np.intp]) -> Array:
        return np.take(self._columns, outcomes, axis=1)

    @cached_property
    def _columns(self) -> Array:
        """The scores, one contiguous row per parameter."""
        return np.ascontiguousarray(self.scores.T)


def field_repr(law: Any, **fields: object) -> str:
    """Return `Name(field=value, …)`, for laws whose fields are arrays."""
    inside = ", ".join(f"{name}={value}" for name, value in fields.items())
    return f"{type(law).__name__}({inside})"
