"""Best-of-N integrals of a recorded law: those of its base, against the measure dh.

With h what is done to a score X before it is recorded (`tea_stats.families.recorded`),
ψ_N(h(x)) = N ∫_{−∞}^x F^{N−1} dh is a sum over the jumps of h, and the base's own ψ_N where h is
the identity. Expectations are integrals over X, on panels that end at the jumps and kinks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from tea_stats.best_of_n import mesh as meshes, quadrature
from tea_stats.families.law import Array, ContinuousLaw, quiet
from tea_stats.families.recorded import Recorded


def value(law: Recorded, N: int) -> float:
    """V_N = ∫ h dF^N."""
    x, weight = _points(law, N)
    return float(law.record(x) @ (weight * _power(law.base, x, N)))


def gradient(law: Recorded, N: int) -> Array:
    """∇V_N = E[ψ_N(h(X)) S(X)]."""
    x, weight = _points(law, N)
    return np.asarray(law.base._scores_of(x) @ (weight * _response(law, N, x)))


def advantage(law: Recorded, N: int, r: Array) -> Array:
    """ψ_N(r), centred; between two jumps of h it is flat."""
    # the scores recorded as r end before the next jump
    return _response(law, N, law._end(r), side="left") - _mean_response(law, N)


def fisher_information(law: Recorded) -> Array:
    """E[S Sᵀ] of the outcomes, the base's."""
    x, weight = _points(law, 1)
    scores = law.base._scores_of(x)
    return np.asarray((scores * weight) @ scores.T)


@lru_cache(maxsize=256)
def _mean_response(law: Recorded, N: int) -> float:
    x, weight = _points(law, N)
    return float(weight @ _response(law, N, x))


def _response(law: Recorded, N: int, x: Array, side: Literal["left", "right"] = "right") -> Array:
    """N ∫_{−∞}^x F^{N−1} dh up to a constant, a jump at x included (right) or not (left)."""
    places, sizes = law.jumps
    steps = np.concatenate([[0.0], np.cumsum(sizes * _power(law.base, places, N))])
    stepped = steps[np.searchsorted(places, x, side=side)]
    start, end = law.sloped
    if not start < end:
        return np.asarray(stepped)
    ends = np.array([float(law.base.ppf(1e-300)), float(law.base.isf(1e-300))])
    inside = np.clip(x, max(start, ends[0]), max(start, min(end, ends[1])))
    return np.asarray(stepped + (inside if N == 1 else _base_response(law.base, N)(inside)))


def _base_response(law: ContinuousLaw, N: int) -> quadrature.Response:
    return quadrature.response(law, N)


@quiet
def _power(law: ContinuousLaw, x: Array, N: int) -> Array:
    """N F^{N−1}."""
    p = law._sf(x)
    log_u = np.where(p < 0.5, np.log1p(-p), np.log(law._cdf(x)))
    return np.asarray(N * np.exp((N - 1.0) * log_u))


@lru_cache(maxsize=64)
@quiet
def _points(law: Recorded, N: int) -> tuple[Array, Array]:
    """Return scores x and weights w with E g(X) = Σ w g(x), both of shape (n,)."""
    base = law.base
    own = meshes.mesh(base, N)
    cuts = np.array([*law.jumps[0], *(x for x in law.sloped if np.isfinite(x))])
    cuts = own.position(cuts[(base._cdf(cuts) > 0.0) & (base._sf(cuts) > 0.0)])
    edges = np.unique(np.concatenate([own.edges, meshes.mesh(base, 1).edges, cuts]))
    x = meshes._points(edges)
    if isinstance(own, meshes.RewardMesh):
        reward, density = x, np.exp(base._logpdf(x))
    else:
        small = np.exp(-np.abs(x))
        u, p = (np.where(sign * x > 0.0, 1.0, small) / (1.0 + small) for sign in (1.0, -1.0))
        reward, density = np.where(u < 0.5, base._ppf(u), base._isf(p)), u * p
    weight = density * meshes.WEIGHTS * (0.5 * np.diff(edges)[:, None])
    # rewards so far out that they overflow have no weight
    kept = np.isfinite(reward) & (weight > 0.0)
    return reward[kept], weight[kept]
