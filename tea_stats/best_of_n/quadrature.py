"""Best-of-N integrals of a continuous law by quadrature on the panels of `mesh`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.polynomial import legendre

from tea_stats.best_of_n.mesh import ORDER, POINTS, WEIGHTS, Mesh, RewardMesh, mesh
from tea_stats.families.law import Array, ContinuousLaw, quiet

# values at the points -> Legendre coefficients of the polynomial through them
_TO_LEGENDRE = (legendre.legvander(POINTS, ORDER - 1) * WEIGHTS[:, None]).T * (
    np.arange(ORDER)[:, None] + 0.5
)
# -> those of its antiderivative that is 0 at −1 -> its values at the points
_TO_ANTIDERIVATIVE = legendre.legint(np.eye(ORDER), lbnd=-1.0) @ _TO_LEGENDRE
_CUMULATIVE = legendre.legvander(POINTS, ORDER) @ _TO_ANTIDERIVATIVE


@lru_cache(maxsize=4096)
@quiet
def value(law: ContinuousLaw, N: int) -> float:
    """V_N = ∫ r dF^N."""
    panels = mesh(law, N)
    inside = panels.integrate(panels.power(N) * panels.mass * panels.reward)
    return float(_checked(law, N, inside + panels.beyond(N)[0]))


@lru_cache(maxsize=4096)
@quiet
def gradient(law: ContinuousLaw, N: int) -> Array:
    """∇V_N = ∫ ∂_θQ dF^N where ∂_θQ is known, −N ∫ F^{N−1} ∂_θF dr or E[ψ_N S] elsewhere."""
    panels = mesh(law, N)
    if isinstance(panels, RewardMesh):
        columns = np.stack(law._cdf_gradient(panels.reward))
        return _checked(law, N, -panels.integrate(panels.power(N) * columns))
    quantile_gradient = law._quantile_gradient(panels.reward)
    if quantile_gradient is not None:
        columns = np.stack(quantile_gradient)
        return _checked(law, N, panels.integrate(panels.power(N) * panels.mass * columns))
    # E S = 0, so that any constant may be added to ψ_N
    psi = panels.reward if N == 1 else response(law, N).at_points
    return _checked(law, N, panels.integrate(panels.mass * psi * panels.scores))


@quiet
def advantage(law: ContinuousLaw, N: int, r: Array) -> Array:
    """ψ_N(r) for N ≥ 2."""
    integral = response(law, N)
    return _checked(law, N, integral(r) - integral.mean)


@lru_cache(maxsize=256)
@quiet
def fisher_information(law: ContinuousLaw) -> Array:
    """E[S Sᵀ]."""
    panels = mesh(law, 1)
    return _checked(law, 1, panels.integrate(panels.mass * panels.scores[:, None] * panels.scores))


def _checked(law: ContinuousLaw, N: int, result: Array) -> Array:
    if not np.isfinite(result).all():
        raise ValueError(
            f"law is {law!r} and N is {N}: rewards that count exceed 1e308; give a narrower law"
        )
    return result


@dataclass(frozen=True)
class Response:
    """N ∫_{−∞}^r F^{N−1} dt as a function of r, for N ≥ 2.

    Up to the peak, where N (1 − F) is about 1, F^{N−1} is integrated; above it F^{N−1} − 1, which
    soon vanishes, and N times the distance from the peak is added: a heavy tail keeps its digits.
    Where the support is bounded all of it lies below the split, and no digit of 1 − r is lost.
    """

    mesh: Mesh
    N: int

    @cached_property
    def _integrand(self) -> Array:
        exponent = (self.N - 1.0) * self.mesh.log_u
        above = np.arange(len(exponent))[:, None] >= self.mesh.split
        power = np.where(above, np.expm1(exponent), np.exp(exponent))
        return np.asarray(self.N * power * self.mesh.length * self._half[:, None])

    @cached_property
    def _half(self) -> Array:
        return 0.5 * np.diff(self.mesh.edges)

    @cached_property
    def _starts(self) -> Array:
        """The integral up to each edge."""
        return np.concatenate([[0.0], np.cumsum(self._integrand @ WEIGHTS)])

    def _line(self, r: Array) -> Array:
        return np.asarray(self.N * np.maximum(r - self.mesh.reward_at_split, 0.0))

    @cached_property
    def at_points(self) -> Array:
        """Values at the mesh's points."""
        inside = self._integrand @ _CUMULATIVE.T
        return self._starts[:-1, None] + inside + self._line(self.mesh.reward)

    @cached_property
    def mean(self) -> float:
        """Its expectation, N ∫ F^{N−1} (1 − F) dt = N (V_N − V_{N−1}), without the difference."""
        panels = self.mesh
        inside = panels.integrate(panels.power(self.N) * panels.length * panels.p)
        return float(inside) + panels.beyond(self.N)[1]

    def __call__(self, r: Array) -> Array:
        """Return the values at rewards r, shape (n,)."""
        edges, x = self.mesh.edges, self.mesh.position(r)
        panel = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
        local = np.clip((x - edges[panel]) / self._half[panel] - 1.0, -1.0, 1.0)
        coefficients = (self._integrand @ _TO_ANTIDERIVATIVE.T)[panel]
        inside = np.einsum("nk,nk->n", legendre.legvander(local, ORDER), coefficients)
        return np.asarray(self._starts[panel] + inside + self._line(r))


@lru_cache(maxsize=32)
def response(law: ContinuousLaw, N: int) -> Response:
    """Return N ∫ F^{N−1} dt of a law, for N ≥ 2."""
    return Response(mesh(law, N), N)


#: functions that keep their last results
CACHED = (value, gradient, fisher_information, response, mesh)
