"""Laws of positive, skewed rewards: Gamma, Weibull, LogNormal, GenPareto."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tea_stats._validation import as_real
from tea_stats.families._law import Array, ContinuousLaw, Shape, quiet

#: a draw of 0 (underflow, at tiny shapes) would have an infinite score
SMALLEST = float(np.finfo(np.float64).tiny)


class ShapeScale(ContinuousLaw):
    """Base of the laws on (0, ∞) with fields `shape` and `scale`."""

    shape: float
    scale: float

    @property
    def parameters(self) -> tuple[str, ...]:
        """`("shape", "scale")`."""
        return ("shape", "scale")

    def _unit(self, r: ArrayLike) -> Array:
        """r/scale, at least 0."""
        return np.maximum(np.asarray(r, dtype=np.float64), 0.0) / self.scale


@dataclass(frozen=True)
class Gamma(ShapeScale):
    """Gamma law, density ∝ r^{shape − 1} e^{−r/scale} on r > 0.

    Parameters
    ----------
    shape : float
        Shape > 0; 1 is the exponential law.
    scale : float
        Scale > 0, in reward units; the mean is shape · scale.
    """

    shape: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_real("shape", self.shape, above=0.0))
        object.__setattr__(self, "scale", as_real("scale", self.scale, above=0.0))

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return np.maximum(rng.gamma(self.shape, self.scale, size), SMALLEST)

    @quiet
    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r)."""
        return special.gammainc(self.shape, self._unit(r))

    @quiet
    def sf(self, r: ArrayLike) -> Array:
        """P(R > r)."""
        return special.gammaincc(self.shape, self._unit(r))

    @quiet
    def ppf(self, u: ArrayLike) -> Array:
        """Quantile Q(u)."""
        return self.scale * special.gammaincinv(self.shape, u)

    @quiet
    def isf(self, p: ArrayLike) -> Array:
        """Quantile Q(1 − p)."""
        return self.scale * special.gammainccinv(self.shape, p)

    @quiet
    def logpdf(self, r: ArrayLike) -> Array:
        """Log density."""
        x = self._unit(r)
        log_density = special.xlogy(self.shape - 1.0, x) - x
        log_density = log_density - special.gammaln(self.shape) - math.log(self.scale)
        return np.where(np.less(r, 0.0), -np.inf, log_density)

    def _score_columns(self, r: Array) -> Sequence[Array]:
        x = r / self.scale
        return np.log(x) - special.digamma(self.shape), (x - self.shape) / self.scale


@dataclass(frozen=True)
class Weibull(ShapeScale):
    """Weibull law, P(R > r) = exp(−(r/scale)^shape) on r > 0.

    Parameters
    ----------
    shape : float
        Shape > 0; 1 is the exponential law, below 1 the tail is heavier.
    scale : float
        Scale > 0, in reward units.
    """

    shape: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_real("shape", self.shape, above=0.0))
        object.__setattr__(self, "scale", as_real("scale", self.scale, above=0.0))

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return np.maximum(self.scale * rng.weibull(self.shape, size), SMALLEST)

    @quiet
    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r)."""
        return -np.expm1(-(self._unit(r) ** self.shape))

    @quiet
    def sf(self, r: ArrayLike) -> Array:
        """P(R > r)."""
        return np.exp(-(self._unit(r) ** self.shape))

    @quiet
    def ppf(self, u: ArrayLike) -> Array:
        """Quantile Q(u)."""
        return self.scale * (-np.log1p(-np.asarray(u, dtype=np.float64))) ** (1.0 / self.shape)

    @quiet
    def isf(self, p: ArrayLike) -> Array:
        """Quantile Q(1 − p)."""
        return self.scale * (-np.log(np.asarray(p, dtype=np.float64))) ** (1.0 / self.shape)

    @quiet
    def logpdf(self, r: ArrayLike) -> Array:
        """Log density."""
        x = self._unit(r)
        log_density = special.xlogy(self.shape - 1.0, x) - x**self.shape
        log_density = log_density + math.log(self.shape / self.scale)
        return np.where(np.less(r, 0.0), -np.inf, log_density)

    def _score_columns(self, r: Array) -> Sequence[Array]:
        # log f = log(k/λ) + (k − 1) log x − x^k, x = r/λ
        log_x = np.log(r / self.scale)
        excess = np.expm1(self.shape * log_x)
        return 1.0 / self.shape - log_x * excess, (self.shape / self.scale) * excess

    def _quantile_gradient(self, r: Array) -> Sequence[Array]:
        # log Q = log λ + (1/k) log(−log(1 − u))
        x = r / self.scale
        return -self.scale / self.shape * special.xlogy(x, x), x


@dataclass(frozen=True)
class LogNormal(ContinuousLaw):
    """Log-normal law: log R is normal.

    Parameters
    ----------
    meanlog, sdlog : float
        Mean and standard deviation of log R; sdlog > 0.
    """

    meanlog: float = 0.0
    sdlog: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "meanlog", as_real("meanlog", self.meanlog))
        object.__setattr__(self, "sdlog", as_real("sdlog", self.sdlog, above=0.0))

    @property
    def parameters(self) -> tuple[str, ...]:
        """`("meanlog", "sdlog")`."""
        return ("meanlog", "sdlog")

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return rng.lognormal(self.meanlog, self.sdlog, size)

    def _standard(self, r: ArrayLike) -> Array:
        log_r = np.log(np.maximum(np.asarray(r, dtype=np.float64), 0.0))
        return (log_r - self.meanlog) / self.sdlog

    @quiet
    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r)."""
        return special.ndtr(self._standard(r))

    @quiet
    def sf(self, r: ArrayLike) -> Array:
        """P(R > r)."""
        return special.ndtr(-self._standard(r))

    @quiet
    def ppf(self, u: ArrayLike) -> Array:
        """Quantile Q(u)."""
        return np.exp(self.meanlog + self.sdlog * special.ndtri(u))

    @quiet
    def isf(self, p: ArrayLike) -> Array:
        """Quantile Q(1 − p)."""
        return np.exp(self.meanlog - self.sdlog * special.ndtri(p))

    @quiet
    def logpdf(self, r: ArrayLike) -> Array:
        """Log density."""
        z = self._standard(r)
        log_r = self.meanlog + self.sdlog * z
        log_density = -0.5 * z * z - log_r - math.log(self.sdlog * math.sqrt(2.0 * math.pi))
        return np.where(np.less_equal(r, 0.0), -np.inf, log_density)

    def _score_columns(self, r: Array) -> Sequence[Array]:
        z = (np.log(r) - self.meanlog) / self.sdlog
        return z / self.sdlog, (z * z - 1.0) / self.sdlog

    def _quantile_gradient(self, r: Array) -> Sequence[Array]:
        return r, r * self._standard(r)


@dataclass(frozen=True)
class GenPareto(ShapeScale):
    """Generalized Pareto law, P(R > r) = (1 + shape · r/scale)^{−1/shape} on r > 0.

    Every upper tail that has an extreme-value limit looks like this one far enough out. Negative
    shapes end at −scale/shape; shape 0 is the exponential law, and everything here is smooth
    through it.

    Parameters
    ----------
    shape : float
        Tail index ξ in (−0.5, 0.5): below 0.5 the variance is finite, above −0.5 the Fisher
        information is.
    scale : float
        Scale > 0, in reward units.
    """

    shape: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_real("shape", self.shape, above=-0.5, below=0.5))
        object.__setattr__(self, "scale", as_real("scale", self.scale, above=0.0))

    @property
    def moments_below(self) -> float:
        """Moments of order below 1/shape are finite."""
        return 1.0 / self.shape if self.shape > 0.0 else np.inf

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return self._from_exponential(rng.standard_exponential(size))

    def _from_exponential(self, e: Array) -> Array:
        """Quantile at P(R > r) = e^{−e}: scale · (exp(shape · e) − 1)/shape."""
        return self.scale * e * special.exprel(self.shape * e)

    def _log_sf(self, x: Array) -> Array:
        """−ℓ(x) = −log(1 + ξx)/ξ."""
        if abs(self.shape) < 1e-200:
            return -x
        return -np.log1p(np.maximum(self.shape * x, -1.0)) / self.shape

    @quiet
    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r)."""
        return -np.expm1(self._log_sf(self._unit(r)))

    @quiet
    def sf(self, r: ArrayLike) -> Array:
        """P(R > r)."""
        return np.exp(self._log_sf(self._unit(r)))

    @quiet
    def ppf(self, u: ArrayLike) -> Array:
        """Quantile Q(u)."""
        return self._at(-np.log1p(-np.asarray(u, dtype=np.float64)))

    @quiet
    def isf(self, p: ArrayLike) -> Array:
        """Quantile Q(1 − p)."""
        return self._at(-np.log(np.asarray(p, dtype=np.float64)))

    def _at(self, e: Array) -> Array:
        end = -self.scale / self.shape if self.shape < 0.0 else np.inf
        return np.where(e == np.inf, end, self._from_exponential(e))

    @quiet
    def logpdf(self, r: ArrayLike) -> Array:
        """Log density."""
        # log f = −log σ − (1 + ξ) ℓ(x)
        log_density = (1.0 + self.shape) * self._log_sf(self._unit(r)) - math.log(self.scale)
        return np.where(np.less(r, 0.0), -np.inf, log_density)

    def _score_columns(self, r: Array) -> Sequence[Array]:
        x = r / self.scale
        y = self.shape * x
        outer = 1.0 + self.shape
        # ∂_ξ ℓ = −x² κ(ξx) and ∂_σ ℓ = −(x/σ)/(1 + ξx)
        by_shape = self._log_sf(x) + outer * x * (x * _kappa(y))
        return by_shape, (outer * x / (1.0 + y) - 1.0) / self.scale

    @quiet
    def _quantile_gradient(self, r: Array) -> Sequence[Array]:
        # at fixed ℓ: ∂_ξ Q = −∂_ξ ℓ/∂_r ℓ = σx² κ(y)(1 + y), with κ(y)(1 + y) → 1 at the end y = −1
        x = r / self.scale
        y = self.shape * x
        factor = np.where(y > -1.0, _kappa(y) * (1.0 + y), 1.0)
        return self.scale * x * (x * factor), x


def _kappa(y: Array) -> Array:
    """κ(y) = [log(1 + y) − y/(1 + y)]/y² = Σ_n (−y)^n (n + 1)/(n + 2); κ(0) = 1/2."""
    # below 1/32 the series; above, what the formula loses to cancellation is under 1e-14
    small = np.abs(y) < 1.0 / 32.0
    safe = np.where(small, 1.0, y)
    value = np.asarray((np.log1p(safe) - safe / (1.0 + safe)) / (safe * safe))
    value[small] = np.polynomial.polynomial.polyval(np.asarray(y)[small], _KAPPA_SERIES)
    return value


_KAPPA_SERIES = np.array([(-1.0) ** n * (n + 1.0) / (n + 2.0) for n in range(11)])
