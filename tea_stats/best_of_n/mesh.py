"""Panels that follow the best of N draws of a continuous law, with Gauss–Legendre points on each.

With u = F(r), every best-of-N integral has the weight dF^N = N u^{N−1} dF. In the coordinate
x = log(u/(1 − u)) this weight peaks near log N, has width one, and dies exponentially to the right
and faster to the left, while u and p = 1 − u keep full relative precision at both ends. So the
panels start at log N and widen outwards; 16 points on each give 13 digits for the smooth quantiles
of `tea_stats.families`. A law whose quantile is nearly singular gives panel edges in reward space
instead (`ContinuousLaw._reward_edges`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.polynomial import legendre

from tea_stats.families.law import Array, ContinuousLaw, quiet

ORDER = 16
POINTS, WEIGHTS = legendre.leggauss(ORDER)

#: 1/(1 + e^x) is a normal number up to here
_FARTHEST = 690.0
#: the weight is followed to the left until it is e^−46 = 1e-20
_DEPTH = 46.0
#: panel edges on either side of the peak; beyond about 40 only heavy tails still count
_FAR = [5.5, 7.5, 10, 13.5, 18, 24, 32, 43, 58, 78, 105, 140, 190, 260, 350, 470, 640]
_RIGHT = np.array([0, 1, 2, 3, 4, *_FAR])
#: to the left F^N rises doubly exponentially
_LEFT = np.array([0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, *_FAR])
#: around a break, whose other branch may be singular close by
_NEAR_BREAK = np.array([-0.8, -0.4, -0.15, 0, 0.15, 0.4, 0.8])


@dataclass(frozen=True)
class Mesh(ABC):
    """Panels over the support of a law; all arrays but `edges` have shape (panels, ORDER).

    Attributes
    ----------
    law : ContinuousLaw
        The law.
    edges : ndarray, shape (panels + 1,)
        Panel edges in the coordinate x: the logit of u, or the reward itself.
    split : int
        Number of an edge; up to it F^{N−1} is integrated, above it F^{N−1} − 1 (see `Response`).
    u, p, log_u, reward : ndarray
        F, 1 − F, log F and r at the points.
    """

    law: ContinuousLaw
    edges: Array
    split: int
    u: Array
    p: Array
    log_u: Array
    reward: Array

    @property
    @abstractmethod
    def mass(self) -> Array:
        """dF/dx."""

    @property
    @abstractmethod
    def length(self) -> Array:
        """dr/dx."""

    @property
    @abstractmethod
    def scores(self) -> Array:
        """Score function at the points, shape (d, panels, ORDER)."""

    @property
    @abstractmethod
    def reward_at_split(self) -> float:
        """The reward at edge number `split`."""

    @abstractmethod
    def position(self, r: Array) -> Array:
        """Return the coordinate x of rewards."""

    @abstractmethod
    def beyond(self, N: int) -> tuple[float, float]:
        """∫ Q dF^N and N ∫ F^{N−1} (1 − F) dr beyond the last panel."""

    def integrate(self, integrand: Array) -> Array:
        """∫ dx over all panels, for integrands of shape (..., panels, ORDER)."""
        return np.asarray((integrand @ WEIGHTS) @ (0.5 * np.diff(self.edges)))

    def power(self, N: int) -> Array:
        """N F^{N−1}."""
        return np.asarray(N * np.exp((N - 1.0) * self.log_u))


class LogitMesh(Mesh):
    """Panels in x = log(F/(1 − F))."""

    @property
    def mass(self) -> Array:
        """dF/dx = F (1 − F)."""
        return self.u * self.p

    @property
    def length(self) -> Array:
        """dr/dx = F (1 − F)/f."""
        # in logs, because either factor may leave the range of doubles
        return np.asarray(np.exp(self.log_u + np.log(self.p) - self._density_and_score[0]))

    @property
    def scores(self) -> Array:
        """Score function at the points, shape (d, panels, ORDER)."""
        return self._density_and_score[1]

    @cached_property
    @quiet
    def _density_and_score(self) -> tuple[Array, Array]:
        log_density, scores = self.law._density_and_score(self.reward, self.u, self.p)
        return log_density, np.stack(scores)

    @property
    def reward_at_split(self) -> float:
        """The reward at edge number `split`."""
        return float(self.law.isf(1.0 / (1.0 + math.exp(self.edges[self.split]))))

    @quiet
    def position(self, r: Array) -> Array:
        """Return the coordinate x of rewards."""
        return np.asarray(np.log(self.law.cdf(r)) - np.log(self.law.sf(r)))

    def beyond(self, N: int) -> tuple[float, float]:
        """∫ Q dF^N and N ∫ F^{N−1} (1 − F) dr beyond the last panel."""
        index = 1.0 / self.law.moments_below
        p = math.exp(-self.edges[-1])
        # a power tail, Q(1 − p) ∝ p^−index, is exact there; other tails have long died
        end = N * p * float(self.law.isf(p)) / (1.0 - index) if index > 0.0 else 0.0
        # for N = 1 the lower tail has a moment too
        start = p * float(self.law.ppf(p)) / (1.0 - index) if N == 1 and index > 0.0 else 0.0
        return end + start, end * index


class RewardMesh(Mesh):
    """Panels in x = r."""

    @cached_property
    def mass(self) -> Array:
        """dF/dx = f."""
        return np.asarray(np.exp(self.law._logpdf(self.reward)))

    @property
    def length(self) -> Array:
        """dr/dx = 1."""
        return np.ones_like(self.p)

    @cached_property
    def scores(self) -> Array:
        """Score function at the points, shape (d, panels, ORDER)."""
        return np.stack(self.law._score_columns(self.reward))

    @property
    def reward_at_split(self) -> float:
        """The reward at edge number `split`."""
        return float(self.edges[self.split])

    def position(self, r: Array) -> Array:
        """Return the coordinate x of rewards."""
        return r

    def beyond(self, N: int) -> tuple[float, float]:
        """∫ Q dF^N and N ∫ F^{N−1} (1 − F) dr beyond the last panel: nothing."""
        return 0.0, 0.0


@lru_cache(maxsize=32)
def mesh(law: ContinuousLaw, N: int) -> Mesh:
    """Return the panels for the best of N draws of a law."""
    edges = law._reward_edges()
    return _logit_mesh(law, N) if edges is None else _reward_mesh(law, N, edges)


@quiet
def _logit_mesh(law: ContinuousLaw, N: int) -> Mesh:
    edges, u, p, log_u = _logit_points(N, 1.0 / min(law.moments_below, 1.2), law.breaks)
    lower, reward = u < 0.5, np.empty_like(u)
    reward[lower], reward[~lower] = law._ppf(u[lower]), law._isf(p[~lower])
    bounded = law._isf(np.zeros(())) < np.inf
    split = len(edges) - 1 if bounded else int(np.searchsorted(edges, math.log(N)))
    return LogitMesh(law, edges, split, u, p, log_u, reward)


@lru_cache(maxsize=128)
def _logit_points(
    N: int, index: float, breaks: tuple[float, ...]
) -> tuple[Array, Array, Array, Array]:
    """Return edges, u, p and log u of the panels in x for N and |Q| bounded by u^−index."""
    peak = math.log(N)
    # where N u^{N−1−index} has died; for N = 1 the weight is dF and the integrand |Q|
    decay = (_DEPTH + peak) / (max(N - 1, 1) - index)
    left = max(-math.log(math.expm1(min(decay, _FARTHEST))), -_FARTHEST)
    inner = np.concatenate(
        [
            peak - _LEFT,
            peak + _RIGHT,
            *(math.log1p(-q) - math.log(q) + _NEAR_BREAK for q in breaks),
        ]
    )
    inner = inner[(inner > left) & (inner < _FARTHEST)]
    edges = np.unique(np.concatenate([[left], inner, [_FARTHEST]]))
    x = _points(edges)
    small = np.exp(-np.abs(x))
    u, p = (np.where(sign * x > 0.0, 1.0, small) / (1.0 + small) for sign in (1.0, -1.0))
    log_u = np.minimum(x, 0.0) - np.log1p(small)
    for array in (edges, u, p, log_u):
        array.setflags(write=False)
    return edges, u, p, log_u


@quiet
def _reward_mesh(law: ContinuousLaw, N: int, edges: Array) -> Mesh:
    peak = math.log(N)
    x = np.log(law._cdf(edges)) - np.log(law._sf(edges))
    # where F^N rises from 0 to 1 no panel may be wider than 1/2 in the logit
    pieces = np.ceil(2.0 * np.diff(x.clip(peak - 4.5, peak + 4.0))).clip(min=1.0)
    numbers = np.concatenate([[0.0], np.cumsum(pieces)])
    edges = np.interp(np.arange(numbers[-1] + 1.0), numbers, edges)
    reward = _points(edges)
    u, p = law._cdf(reward), law._sf(reward)
    log_u = np.where(p < 0.5, np.log1p(-p), np.log(u))
    split = min(int(np.searchsorted(law._sf(edges) * -N, -1.0)), len(edges) - 1)
    return RewardMesh(law, edges, split, u, p, log_u, reward)


def _points(edges: Array) -> Array:
    """Return the Gauss–Legendre points of each panel, shape (panels, ORDER)."""
    half = 0.5 * np.diff(edges)
    return np.asarray(edges[:-1, None] + half[:, None] * (1.0 + POINTS))
