"""Laws of positive, skewed rewards: Gamma, Weibull, LogNormal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from tea_stats.families.law import POSITIVE, REAL, Array, ContinuousLaw, Shape

#: a draw of 0 (underflow, at tiny shapes) would have an infinite score
SMALLEST = float(np.finfo(np.float64).tiny)
_NEAR_0 = math.log(1e-17)  # log x below which 1 + x is 1


class ShapeScale(ContinuousLaw):
    """Base of the laws on (0, ∞) with fields `shape` and `scale`: R = scale · X."""

    shape: float
    scale: float

    RANGES = {"shape": POSITIVE, "scale": POSITIVE}

    def _x(self, r: Array) -> Array:
        """Return x = r/scale, at least 0."""
        return np.maximum(r, 0.0) / self.scale


@dataclass(frozen=True)
class Gamma(ShapeScale):
    r"""Gamma law, on r > 0: an exponential tail times a power.

    Parameters
    ----------
    shape : float
        Shape > 0; 1 is the exponential law.
    scale : float
        Scale > 0, in reward units; the mean is shape · scale.

    Notes
    -----
    With x = r/scale, a = shape and ψ the digamma function, the density and the score in
    (shape, scale) are

    .. math::

        f(r) = \frac{x^{a − 1} e^{−x}}{Γ(a) \, \text{scale}},
        \quad S = \Bigl(\log x − ψ(a), \; \frac{x − a}{\text{scale}}\Bigr).

    Johnson, Kotz and Balakrishnan (1994), Continuous Univariate Distributions 1, chapter 17.
    """

    shape: float
    scale: float = 1.0

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return np.maximum(rng.gamma(self.shape, self.scale, size), SMALLEST)

    def _cdf(self, r: Array) -> Array:
        return special.gammainc(self.shape, self._x(r))

    def _sf(self, r: Array) -> Array:
        return special.gammaincc(self.shape, self._x(r))

    def _ppf(self, u: Array) -> Array:
        return self.scale * special.gammaincinv(self.shape, u)

    def _isf(self, p: Array) -> Array:
        return self.scale * special.gammainccinv(self.shape, p)

    def _logpdf(self, r: Array) -> Array:
        x = self._x(r)
        log_density = special.xlogy(self.shape - 1.0, x) - x - self._log_factor
        return np.where(r < 0.0, -np.inf, log_density)

    @property
    def _log_factor(self) -> float:
        return float(special.gammaln(self.shape)) + math.log(self.scale)

    def _score_columns(self, r: Array) -> Sequence[Array]:
        x = r / self.scale
        return np.log(x) - special.digamma(self.shape), (x - self.shape) / self.scale

    def _density_and_score(self, r: Array, u: Array, p: Array) -> tuple[Array, Sequence[Array]]:
        # with a small shape r underflows; its log, by the first term x^shape/Γ(shape + 1) of F, not
        x = r / self.scale
        first = (np.log(u) + special.gammaln(self.shape + 1.0)) / self.shape
        log_x = np.where(first < _NEAR_0, first, np.log(x))
        by_shape = log_x - special.digamma(self.shape)
        log_density = (self.shape - 1.0) * log_x - x - self._log_factor
        return log_density, (by_shape, (x - self.shape) / self.scale)


@dataclass(frozen=True)
class Weibull(ShapeScale):
    r"""Weibull law, on r > 0: from heavier than exponential tails to Gaussian ones and shorter.

    Parameters
    ----------
    shape : float
        Shape > 0; 1 is the exponential law, below 1 the tail is heavier.
    scale : float
        Scale > 0, in reward units.

    Notes
    -----
    With x = r/scale and a = shape, the upper tail and the score in (shape, scale) are

    .. math::

        P(R > r) = e^{−x^a},
        \quad S = \Bigl(\frac{1}{a} − (x^a − 1) \log x, \;
        \frac{a}{\text{scale}} (x^a − 1)\Bigr).

    Johnson, Kotz and Balakrishnan (1994), Continuous Univariate Distributions 1, chapter 21.
    """

    shape: float
    scale: float = 1.0

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return np.maximum(self.scale * rng.weibull(self.shape, size), SMALLEST)

    def _cdf(self, r: Array) -> Array:
        return -np.expm1(-(self._x(r) ** self.shape))

    def _sf(self, r: Array) -> Array:
        return np.exp(-(self._x(r) ** self.shape))

    def _ppf(self, u: Array) -> Array:
        return self.scale * (-np.log1p(-u)) ** (1.0 / self.shape)

    def _isf(self, p: Array) -> Array:
        return self.scale * (-np.log(p)) ** (1.0 / self.shape)

    def _logpdf(self, r: Array) -> Array:
        x = self._x(r)
        log_density = special.xlogy(self.shape - 1.0, x) - x**self.shape
        return np.where(r < 0.0, -np.inf, log_density + math.log(self.shape / self.scale))

    def _score_columns(self, r: Array) -> Sequence[Array]:
        return self._score_at(np.log(r / self.scale))

    def _score_at(self, log_x: Array) -> Sequence[Array]:
        # log f = log(k/λ) + (k − 1) log x − x^k, x = r/λ
        excess = np.expm1(self.shape * log_x)
        return 1.0 / self.shape - log_x * excess, (self.shape / self.scale) * excess

    def _quantile_gradient(self, r: Array) -> Sequence[Array]:
        # log Q = log λ + (1/k) log(−log(1 − u))
        x = r / self.scale
        return -self.scale / self.shape * special.xlogy(x, x), x

    def _density_and_score(self, r: Array, u: Array, p: Array) -> tuple[Array, Sequence[Array]]:
        # with a small shape r underflows; its log does not
        e = np.where(p < 0.5, -np.log(p), -np.log1p(-u))
        log_x = np.log(e) / self.shape
        log_density = (self.shape - 1.0) * log_x - e + math.log(self.shape / self.scale)
        return log_density, self._score_at(log_x)


@dataclass(frozen=True)
class LogNormal(ContinuousLaw):
    r"""Log-normal law: log R is normal.

    Parameters
    ----------
    meanlog, sdlog : float
        Mean and standard deviation of log R; sdlog > 0.

    Notes
    -----
    With z = (log r − meanlog)/sdlog, the density and the score in (meanlog, sdlog) are

    .. math::

        f(r) = \frac{1}{\sqrt{2 π} \, \text{sdlog} \, r} e^{−z^2/2},
        \quad S = \frac{1}{\text{sdlog}} \bigl(z, \; z^2 − 1\bigr).

    Johnson, Kotz and Balakrishnan (1994), Continuous Univariate Distributions 1, chapter 14.
    """

    meanlog: float = 0.0
    sdlog: float = 1.0

    RANGES = {"meanlog": REAL, "sdlog": POSITIVE}

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return rng.lognormal(self.meanlog, self.sdlog, size)

    def _z(self, r: Array) -> Array:
        """Return z = (log r − meanlog)/sdlog."""
        return (np.log(np.maximum(r, 0.0)) - self.meanlog) / self.sdlog

    def _cdf(self, r: Array) -> Array:
        return special.ndtr(self._z(r))

    def _sf(self, r: Array) -> Array:
        return special.ndtr(-self._z(r))

    def _ppf(self, u: Array) -> Array:
        return np.exp(self.meanlog + self.sdlog * special.ndtri(u))

    def _isf(self, p: Array) -> Array:
        return np.exp(self.meanlog - self.sdlog * special.ndtri(p))

    def _logpdf(self, r: Array) -> Array:
        return np.where(r <= 0.0, -np.inf, self._logpdf_at(self._z(r)))

    def _logpdf_at(self, z: Array) -> Array:
        log_r = self.meanlog + self.sdlog * z
        return -0.5 * z * z - log_r - math.log(self.sdlog * math.sqrt(2.0 * math.pi))

    def _score_columns(self, r: Array) -> Sequence[Array]:
        return self._score_at(self._z(r))

    def _score_at(self, z: Array) -> Sequence[Array]:
        return z / self.sdlog, (z * z - 1.0) / self.sdlog

    def _quantile_gradient(self, r: Array) -> Sequence[Array]:
        return r, r * self._z(r)

    def _density_and_score(self, r: Array, u: Array, p: Array) -> tuple[Array, Sequence[Array]]:
        # with a large sdlog r underflows, or overflows, long before z
        z = np.where(p < 0.5, -special.ndtri(p), special.ndtri(u))
        return self._logpdf_at(z), self._score_at(z)
