"""The generalized Pareto law: the extreme-value family of upper tails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from tea_stats.families.law import POSITIVE, Array, ContinuousLaw, Shape


@dataclass(frozen=True)
class GenPareto(ContinuousLaw):
    r"""Generalized Pareto law, on r > 0: the family of upper tails.

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

    Notes
    -----
    With x = r/scale and ξ = shape, the upper tail and the score in (shape, scale) are

    .. math::

        P(R > r) = (1 + ξ x)^{−1/ξ},
        \quad S = \Bigl(\frac{1}{ξ^2} \log(1 + ξ x) − \frac{(1 + ξ) x}{ξ (1 + ξ x)}, \;
        \frac{x − 1}{\text{scale} \, (1 + ξ x)}\Bigr),

    and their limits at ξ = 0. Pickands (1975), Annals of Statistics 3, 119–131.
    """

    # With e = −log P(R > r), a standard exponential, all is smooth in ξ: r = σ (e^{ξe} − 1)/ξ.

    shape: float
    scale: float = 1.0

    RANGES = {"shape": {"above": -0.5, "below": 0.5}, "scale": POSITIVE}

    @property
    def moments_below(self) -> float:
        """Moments of order below 1/shape are finite."""
        return 1.0 / self.shape if self.shape > 0.0 else np.inf

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return self._at(rng.standard_exponential(size))

    def _at(self, e: Array) -> Array:
        """Reward at P(R > r) = exp(−e)."""
        return self.scale * e * special.exprel(self.shape * e)

    def _e(self, r: Array) -> Array:
        """Return e = log(1 + ξ r/σ)/ξ, infinite at the end of the support and beyond."""
        x = np.maximum(r, 0.0) / self.scale
        if abs(self.shape) < 1e-200:
            return x
        return np.log1p(np.maximum(self.shape * x, -1.0)) / self.shape

    def _cdf(self, r: Array) -> Array:
        return -np.expm1(-self._e(r))

    def _sf(self, r: Array) -> Array:
        return np.exp(-self._e(r))

    def _ppf(self, u: Array) -> Array:
        return self._quantile(-np.log1p(-u))

    def _isf(self, p: Array) -> Array:
        return self._quantile(-np.log(p))

    def _quantile(self, e: Array) -> Array:
        end = -self.scale / self.shape if self.shape < 0.0 else np.inf
        return np.where(e == np.inf, end, self._at(e))

    def _logpdf(self, r: Array) -> Array:
        return np.where(r < 0.0, -np.inf, self._logpdf_at(self._e(r)))

    def _logpdf_at(self, e: Array) -> Array:
        return -(1.0 + self.shape) * e - math.log(self.scale)

    def _score_columns(self, r: Array) -> Sequence[Array]:
        return self._score_at(self._e(r))

    def _score_at(self, e: Array) -> Sequence[Array]:
        # at fixed r, ∂_ξ e = −e² g(ξe) and ∂_σ e = −(1 − e^{−ξe})/(ξσ)
        t, outer = self.shape * e, 1.0 + self.shape
        by_scale = (outer * e * special.exprel(-t) - 1.0) / self.scale
        return outer * (e * e) * _g(t) - e, by_scale

    def _quantile_gradient(self, r: Array) -> Sequence[Array]:
        # at fixed e, ∂_ξ Q = σ e² e^{ξe} g(ξe), at the end of the support 1/ξ²
        e, x = self._e(r), r / self.scale
        t = self.shape * e
        by_shape = np.where(e == np.inf, x * x, (e * e) * np.exp(t) * _g(t))
        return self.scale * by_shape, x

    def _density_and_score(self, r: Array, u: Array, p: Array) -> tuple[Array, Sequence[Array]]:
        # with a negative shape r rounds to the end of the support
        e = np.where(p < 0.5, -np.log(p), -np.log1p(-u))
        return self._logpdf_at(e), self._score_at(e)


def _g(t: Array) -> Array:
    """g(t) = (e^{−t} − 1 + t)/t² = Σ_n (−t)^n/(n + 2)!; g(0) = 1/2."""
    # from |t| = 1 on the formula loses nothing to cancellation; before, the series ends at 1e-18
    small = np.abs(t) < 1.0
    safe = np.where(small, 1.0, t)
    series = np.polynomial.polynomial.polyval(np.where(small, t, 0.0), _G_SERIES)
    return np.where(small, series, (np.expm1(-safe) + safe) / (safe * safe))


_G_SERIES = np.array([(-1.0) ** n / math.factorial(n + 2) for n in range(18)])
