"""What every reward law offers: draws, scores, and the ingredients of the exact truth.

A law is a frozen dataclass: the distribution of one rollout's reward R together with the score
function S = ∇_θ log π_θ(y) of the parameters θ that the law names. Two kinds exist:
`ContinuousLaw`, described by its distribution function, and `FiniteLaw`, a list of
(reward, probability, score) triples.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats._validation import as_generator, as_real, as_reals, as_size

Array = NDArray[np.float64]
Shape = int | tuple[int, ...]

#: ranges of parameters
REAL: Mapping[str, float] = {}
POSITIVE: Mapping[str, float] = {"above": 0.0}

#: decorator of functions whose infinities are intended: at the support's ends, and far out
quiet = np.errstate(all="ignore")


class Law(ABC):
    """A distribution of rewards with a score function; immutable.

    Functions of a reward or a probability take arrays of any shape and return that shape; what is
    not defined (a probability outside [0, 1], a score where the density is zero) is nan.

    The public functions check their argument and treat what is common to all laws: infinite
    rewards, probabilities outside [0, 1]. A subclass gives the kernels behind them, `_cdf`, `_sf`,
    `_ppf`, `_isf`, `_logpdf`, `_draw` and `_scores_of`, which check nothing and may divide by zero
    or overflow where the limit is right.
    """

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

    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r), accurate in the lower tail."""
        return _apply(self._cdf, as_reals("r", r))

    def sf(self, r: ArrayLike) -> Array:
        """P(R > r), accurate in the upper tail."""
        return _apply(self._sf, as_reals("r", r))

    def ppf(self, u: ArrayLike) -> Array:
        """Quantile Q(u), the smallest r with P(R ≤ r) ≥ u; accurate for small u."""
        return _apply(self._ppf, _as_probabilities("u", u))

    def isf(self, p: ArrayLike) -> Array:
        """Quantile Q(1 − p), the smallest r with P(R > r) ≤ p; accurate for small p."""
        return _apply(self._isf, _as_probabilities("p", p))

    def logpdf(self, r: ArrayLike) -> Array:
        """Log of the density, or log P(R = r) for a finite law; −inf outside the support."""
        r = as_reals("r", r)
        return np.where(np.isinf(r), -np.inf, _apply(self._logpdf, r))[()]

    @abstractmethod
    def score(self, r: ArrayLike) -> Array:
        """Score function ∇_θ logpdf(r), shape `(*r.shape, d)`; nan outside the support."""

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return self._rewards_of(self._checked_draw(size, rng))

    def draw(self, size: Shape, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw rewards of shape `size` and their scores of shape `(d, *size)`."""
        outcomes = self._checked_draw(size, rng)
        return self._rewards_of(outcomes), self._scores_of(outcomes)

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
        outcomes = self._checked_draw((groups, m), rng)
        order = None
        if ordered:
            order = np.argsort(outcomes, axis=-1)
            outcomes = np.take_along_axis(outcomes, order, axis=-1)
        else:
            outcomes.sort(axis=-1)
        return self._rewards_of(outcomes), self._scores_of(outcomes), order

    def _checked_draw(self, size: Shape, rng: np.random.Generator) -> NDArray[Any]:
        return self._draw(as_size("size", size), as_generator("rng", rng))

    @abstractmethod
    def _cdf(self, r: Array) -> Array:
        """P(R ≤ r)."""

    @abstractmethod
    def _sf(self, r: Array) -> Array:
        """P(R > r)."""

    @abstractmethod
    def _ppf(self, u: Array) -> Array:
        """Q(u) for u in [0, 1]."""

    @abstractmethod
    def _isf(self, p: Array) -> Array:
        """Q(1 − p) for p in [0, 1]."""

    @abstractmethod
    def _logpdf(self, r: Array) -> Array:
        """Log density or log probability at finite r."""

    @abstractmethod
    def _draw(self, size: Shape, rng: np.random.Generator) -> NDArray[Any]:
        """Draw independent outcomes, numbers that are in the order of their rewards."""

    @abstractmethod
    def _rewards_of(self, outcomes: NDArray[Any]) -> Array:
        """Return the outcomes' rewards."""

    @abstractmethod
    def _scores_of(self, outcomes: NDArray[Any]) -> Array:
        """Return the outcomes' scores, shape `(d, *outcomes.shape)`."""


class ContinuousLaw(Law):
    """A law with a density; an outcome is its reward.

    A subclass is a frozen dataclass whose `RANGES` name the parameters that the score has a column
    for, with the bounds of each (arguments of `as_real`).
    """

    RANGES: ClassVar[Mapping[str, Mapping[str, float]]]

    def __post_init__(self) -> None:
        for name, bounds in self.RANGES.items():
            object.__setattr__(self, name, as_real(name, getattr(self, name), **bounds))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the d parameters that the score has a column for, in order."""
        return tuple(self.RANGES)

    def score(self, r: ArrayLike) -> Array:
        """Score function ∂_θ log f(r), shape `(*r.shape, d)`; nan where the density is zero."""
        r = as_reals("r", r)
        outside = np.isnan(r) | np.isneginf(self.logpdf(r))
        with np.errstate(all="ignore"):
            columns = self._score_columns(r)
        return np.stack([np.where(outside, np.nan, column) for column in columns], axis=-1)

    def _rewards_of(self, outcomes: Array) -> Array:
        return outcomes

    def _scores_of(self, outcomes: Array) -> Array:
        return np.stack(self._score_columns(outcomes))

    @abstractmethod
    def _score_columns(self, r: Array) -> Sequence[Array]:
        """∂_θ log f(r) inside the support, one array of r's shape per parameter."""

    # --- what the exact truth needs besides; all have a default ---------------------------------

    @property
    def breaks(self) -> tuple[float, ...]:
        """Upper-tail probabilities p = 1 − u in (0, 1) at which the quantile is not analytic."""
        return ()

    def _quantile_gradient(self, r: Array) -> Sequence[Array] | None:
        """∂_θ Q(u) at u = F(r), one array per parameter; None where no closed form exists."""
        return None

    def _reward_edges(self) -> Array | None:
        """Panel edges for quadrature in reward space; None where the quantile is smooth."""
        return None

    def _cdf_gradient(self, r: Array) -> Sequence[Array]:
        """∂_θ F(r), one array per parameter, for laws that are integrated in reward space."""
        raise NotImplementedError

    def _density_and_score(self, r: Array, u: Array, p: Array) -> tuple[Array, Sequence[Array]]:
        """Log density and score at r = Q(u), p = 1 − u: for laws whose r rounds or underflows."""
        return self._logpdf(r), self._score_columns(r)


def _as_probabilities(name: str, value: ArrayLike) -> Array:
    """Return probabilities as a float64 array, nan where they are outside [0, 1]."""
    array = as_reals(name, value)
    return np.where((array >= 0.0) & (array <= 1.0), array, np.nan)


@quiet
def _apply(kernel: Callable[[Array], Array], argument: Array) -> Array:
    return np.asarray(kernel(argument))[()]
