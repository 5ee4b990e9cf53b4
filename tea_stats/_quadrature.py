"""Best-of-N integrals of a continuous law, on panels that follow the best of N draws.

With u = F(r), every integral of section "exact truth" has the weight dF^N = N u^{N−1} dF. In the
coordinate x = log(u/(1 − u)) this weight peaks near log N, has width one, and dies exponentially to
the right and faster to the left, while u and p = 1 − u keep full relative precision at both ends.
So the panels start at log N and widen outwards; Gauss–Legendre points on each, 16 of them, give 13
digits for the smooth quantiles of `tea_stats.families`. A law whose quantile is nearly singular
gives panel edges in reward space instead (`ContinuousLaw._reward_edges`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.polynomial import legendre

from tea_stats.families import ContinuousLaw
from tea_stats.families._law import Array

ORDER = 16
_POINTS, _WEIGHTS = legendre.leggauss(ORDER)
_WEIGHTS.setflags(write=False)

# values at the points -> Legendre coefficients of the polynomial through them
_TO_LEGENDRE = (legendre.legvander(_POINTS, ORDER - 1) * _WEIGHTS[:, None]).T * (
    np.arange(ORDER)[:, None] + 0.5
)
# -> those of its antiderivative that is 0 at −1 -> its values at the points
_TO_ANTIDERIVATIVE = legendre.legint(np.eye(ORDER), lbnd=-1.0) @ _TO_LEGENDRE
_CUMULATIVE = legendre.legvander(_POINTS, ORDER) @ _TO_ANTIDERIVATIVE

#: integrands are followed until they are this small (e^−46 = 1e-20)
_DECADES = 46.0
#: 1/(1 + e^x) is a normal number up to here
_FARTHEST = 690.0
#: panel edges on either side of the peak; beyond about 40 only heavy tails still count
_FAR = [5.5, 7.5, 10, 13.5, 18, 24, 32, 43, 58, 78, 105, 140, 190, 260, 350, 470, 640]
_RIGHT = np.array([0, 1, 2, 3, 4, *_FAR])
#: to the left F^N rises doubly exponentially
_LEFT = np.array([0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, *_FAR])
#: around a break, whose other branch may be singular close by
_NEAR_BREAK = np.array([-0.8, -0.4, -0.15, 0, 0.15, 0.4, 0.8])


@dataclass(frozen=True)
class Mesh:
    """Panels over the support of a law; all arrays but `edges` have shape (panels, ORDER).

    Attributes
    ----------
    law : ContinuousLaw
        The law.
    edges : ndarray, shape (panels + 1,)
        Panel edges in the coordinate x: the logit of u, or the reward itself.
    log_u, p, reward : ndarray
        log F, 1 − F and r at the points.
    """

    law: ContinuousLaw
    edges: Array
    log_u: Array
    p: Array
    reward: Array

    @property
    def mass(self) -> Array:
        """dF/dx."""
        raise NotImplementedError

    @property
    def length(self) -> Array:
        """dr/dx."""
        raise NotImplementedError

    @property
    def scores(self) -> Array:
        """Score function at the points, shape (d, panels, ORDER)."""
        raise NotImplementedError

    def position(self, r: Array) -> Array:
        """Return the coordinate x of rewards."""
        raise NotImplementedError

    def last(self, N: int) -> int:
        """Return the number of an edge beyond which N (1 − F) is below rounding error."""
        raise NotImplementedError

    def integrate(self, integrand: Array) -> Array:
        """∫ dx over all panels, for integrands of shape (..., panels, ORDER)."""
        half = 0.5 * np.diff(self.edges)
        return np.asarray((integrand @ _WEIGHTS) @ half)

    def power(self, N: int) -> Array:
        """N F^{N−1}."""
        return np.asarray(N * np.exp((N - 1.0) * self.log_u))


class LogitMesh(Mesh):
    """Panels in x = log(F/(1 − F))."""

    @property
    def mass(self) -> Array:
        """dF/dx = F (1 − F)."""
        return np.asarray(np.exp(self.log_u) * self.p)

    @property
    def length(self) -> Array:
        """dr/dx = F (1 − F)/f."""
        return _finite(self.mass * np.exp(-self._density_and_score[0]))

    @property
    def scores(self) -> Array:
        """Score function at the points, shape (d, panels, ORDER)."""
        return self._density_and_score[1]

    @cached_property
    def _density_and_score(self) -> tuple[Array, Array]:
        upper = self.p <= 0.5
        log_density = np.empty_like(self.p)
        scores = np.empty((len(self.law.parameters), *self.p.shape))
        with np.errstate(all="ignore"):  # at e^±690 a support may end or a density underflow
            below = self.reward[~upper]
            log_density[~upper] = self.law.logpdf(below)
            scores[:, ~upper] = self.law._score_columns(below)
            log_density[upper], scores[:, upper] = self.law._upper_tail(self.p[upper])
        return log_density, _finite(scores)

    def position(self, r: Array) -> Array:
        """Return the coordinate x of rewards."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.law.cdf(r)) - np.log(self.law.sf(r)))

    def last(self, N: int) -> int:
        """Return the number of an edge beyond which N (1 − F) is below rounding error."""
        return int(np.searchsorted(self.edges, math.log(N) + 40.0))


class RewardMesh(Mesh):
    """Panels in x = r."""

    @cached_property
    def mass(self) -> Array:
        """dF/dx = f."""
        return np.asarray(np.exp(self.law.logpdf(self.reward)))

    @property
    def length(self) -> Array:
        """dr/dx = 1."""
        return np.ones_like(self.p)

    @cached_property
    def scores(self) -> Array:
        """Score function at the points, shape (d, panels, ORDER)."""
        return np.stack(self.law._score_columns(self.reward))

    def position(self, r: Array) -> Array:
        """Return the coordinate x of rewards."""
        return r

    def last(self, N: int) -> int:
        """Return the number of an edge beyond which N (1 − F) is below rounding error."""
        return len(self.edges) - 1


@lru_cache(maxsize=32)
def mesh(law: ContinuousLaw, N: int) -> Mesh:
    """Return the panels for the best of N draws of a law."""
    edges = law._reward_edges()
    if edges is not None:
        reward = _points(edges)
        p = law.sf(reward)
        with np.errstate(divide="ignore"):
            log_u = np.where(p < 0.5, np.log1p(-p), np.log(law.cdf(reward)))
        return RewardMesh(law, edges, log_u, p, reward)
    # a moment of order > 1 bounds the tails: |Q| < C p^−index
    index = 1.0 / min(law.moments_below, 1.2)
    edges, log_u, p = _logit_points(N, index, law.breaks)
    upper = p <= 0.5
    reward = np.empty_like(p)
    reward[upper] = law.isf(p[upper])
    reward[~upper] = law.ppf(np.exp(log_u[~upper]))
    return LogitMesh(law, edges, log_u, p, reward)


@lru_cache(maxsize=128)
def _logit_points(N: int, index: float, breaks: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """Return edges, log u and p of the panels in x for N and tails bounded by p^−index."""
    peak, depth = math.log(N), _DECADES + math.log(N)
    # where N u^{N−1−index} has died; for N = 1 the weight is dF and the integrand |Q|
    decay = max(N - 1, 1) - index
    left = max(-math.log(math.expm1(min(depth / decay, _FARTHEST))), -_FARTHEST)
    right = min(peak + _DECADES / (1.0 - index), _FARTHEST)
    inner = np.concatenate(
        [
            peak - _LEFT,
            peak + _RIGHT,
            *(math.log1p(-q) - math.log(q) + _NEAR_BREAK for q in breaks),
        ]
    )
    inner = inner[(inner > left) & (inner < right)]
    edges = np.unique(np.concatenate([[left], inner, [right]]))
    x = _points(edges)
    small = np.exp(-np.abs(x))
    log_u = np.minimum(x, 0.0) - np.log1p(small)
    p = np.where(x > 0.0, small, 1.0) / (1.0 + small)
    for array in (edges, log_u, p):
        array.setflags(write=False)
    return edges, log_u, p


def _points(edges: Array) -> Array:
    """Return the Gauss–Legendre points of each panel, shape (panels, ORDER)."""
    half = 0.5 * np.diff(edges)
    return np.asarray(edges[:-1, None] + half[:, None] * (1.0 + _POINTS))


def _finite(values: Array) -> Array:
    """Replace by 0 what overflowed where a support ends; its weight is below e^−100."""
    return np.where(np.isfinite(values), values, 0.0)


@dataclass(frozen=True)
class Response:
    """N ∫_{−∞}^r F^{N−1} dt as a function of r, for N ≥ 2."""

    mesh: Mesh
    N: int

    @cached_property
    def _panels(self) -> tuple[Array, Array]:
        """Antiderivative's value at each edge, and its Legendre coefficients on each panel."""
        half = 0.5 * np.diff(self.mesh.edges)
        rise = self.mesh.power(self.N) * self.mesh.length
        coefficients = (rise @ _TO_ANTIDERIVATIVE.T) * half[:, None]
        starts = np.concatenate([[0.0], np.cumsum((rise @ _WEIGHTS) * half)])
        return starts, coefficients

    @cached_property
    def at_points(self) -> Array:
        """Values at the mesh's points."""
        half = 0.5 * np.diff(self.mesh.edges)
        rise = self.mesh.power(self.N) * self.mesh.length
        return self._panels[0][:-1, None] + (rise @ _CUMULATIVE.T) * half[:, None]

    @cached_property
    def mean(self) -> float:
        """Its expectation, N ∫ F^{N−1} (1 − F) dt = N (V_N − V_{N−1}), without the difference."""
        return float(self.mesh.integrate(self.mesh.power(self.N) * self.mesh.length * self.mesh.p))

    def __call__(self, r: Array) -> Array:
        """Return the values at rewards r, shape (n,)."""
        edges, last = self.mesh.edges, self.mesh.last(self.N)
        x = self.mesh.position(r)
        starts, coefficients = self._panels
        panel = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
        # beyond the last panel F^{N−1} is 1, before the first it is 0
        half = 0.5 * (edges[panel + 1] - edges[panel])
        local = np.clip((x - edges[panel]) / half - 1.0, -1.0, 1.0)
        inside = starts[panel] + np.einsum(
            "nk,nk->n", legendre.legvander(local, ORDER), coefficients[panel]
        )
        r_last = self._reward_at(last)
        return np.where(x > edges[last], starts[last] + self.N * (r - r_last), inside)

    def _reward_at(self, edge: int) -> float:
        x = self.mesh.edges[edge]
        if isinstance(self.mesh, RewardMesh):
            return float(x)
        return float(self.mesh.law.isf(1.0 / (1.0 + math.exp(x))))


@lru_cache(maxsize=32)
def response(law: ContinuousLaw, N: int) -> Response:
    """Return N ∫ F^{N−1} dt of a law, for N ≥ 2."""
    return Response(mesh(law, N), N)


def value(law: ContinuousLaw, N: int) -> float:
    """V_N = ∫ r dF^N."""
    panels = mesh(law, N)
    return float(panels.integrate(panels.power(N) * panels.mass * panels.reward))


def gradient(law: ContinuousLaw, N: int) -> Array:
    """∇V_N = ∫ ∂_θQ dF^N where ∂_θQ is known, E[ψ_N S] elsewhere."""
    panels = mesh(law, N)
    if isinstance(panels, LogitMesh):
        with np.errstate(all="ignore"):  # as in LogitMesh
            columns = law._quantile_gradient(panels.reward)
        if columns is not None:
            return panels.integrate(panels.power(N) * panels.mass * _finite(np.stack(columns)))
    return panels.integrate(panels.mass * response_at_points(law, N) * panels.scores)


def response_at_points(law: ContinuousLaw, N: int) -> Array:
    """ψ_N at the points of the mesh, up to a constant."""
    return mesh(law, 1).reward - value(law, 1) if N == 1 else response(law, N).at_points


def advantage(law: ContinuousLaw, N: int, r: Array) -> Array:
    """ψ_N(r)."""
    if N == 1:
        return r - value(law, 1)
    known = response(law, N)
    return known(r) - known.mean


def fisher_information(law: ContinuousLaw) -> Array:
    """E[S Sᵀ]."""
    panels = mesh(law, 1)
    return panels.integrate(panels.mass * panels.scores[:, None] * panels.scores)
