"""Location-scale laws: R = loc + scale · W with W of a fixed standard law."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from tea_stats.families.law import POSITIVE, REAL, Array, ContinuousLaw, Shape


class LocationScale(ContinuousLaw):
    """Base of the location-scale laws; a subclass describes the law of W = (R − loc)/scale.

    Subclasses are frozen dataclasses with fields `loc` and `scale`. Their density is positive and
    absolutely continuous on the whole line, which is what makes E[score] = 0.
    """

    loc: float
    scale: float

    RANGES = {"loc": REAL, "scale": POSITIVE}

    def _cdf(self, r: Array) -> Array:
        return self._cdf_w(self._standard(r))

    def _sf(self, r: Array) -> Array:
        return self._sf_w(self._standard(r))

    def _ppf(self, u: Array) -> Array:
        return self.loc + self.scale * self._ppf_w(u)

    def _isf(self, p: Array) -> Array:
        return self.loc + self.scale * self._isf_w(p)

    def _logpdf(self, r: Array) -> Array:
        return self._logpdf_w(self._standard(r)) - math.log(self.scale)

    def _standard(self, r: Array) -> Array:
        return (r - self.loc) / self.scale

    @abstractmethod
    def _cdf_w(self, w: Array) -> Array:
        """P(W ≤ w)."""

    @abstractmethod
    def _sf_w(self, w: Array) -> Array:
        """P(W > w)."""

    @abstractmethod
    def _ppf_w(self, u: Array) -> Array:
        """Quantile of W at u."""

    @abstractmethod
    def _isf_w(self, p: Array) -> Array:
        """Quantile of W at 1 − p."""

    @abstractmethod
    def _logpdf_w(self, w: Array) -> Array:
        """Log density log f_W(w)."""

    @abstractmethod
    def _slope_w(self, w: Array) -> Array:
        """−d log f_W(w)/dw."""

    def _score_columns(self, r: Array) -> Sequence[Array]:
        # log f = log f_W(w) − log scale, w = (r − loc)/scale
        w = self._standard(r)
        slope = self._slope_w(w)
        return slope / self.scale, (w * slope - 1.0) / self.scale

    def _quantile_gradient(self, r: Array) -> Sequence[Array]:
        # Q(u) = loc + scale · Q_W(u)
        return np.ones_like(r), self._standard(r)


@dataclass(frozen=True)
class Normal(LocationScale):
    r"""Normal law, the paper's ideal case: the whole curve, not only its tail, is Gaussian.

    Parameters
    ----------
    loc, scale : float
        Mean and standard deviation, in reward units; scale > 0.

    Notes
    -----
    With w = (r − loc)/scale, the density and the score in (loc, scale) are

    .. math::

        f(r) = \frac{1}{\sqrt{2 π} \, \text{scale}} e^{−w^2/2},
        \quad S = \frac{1}{\text{scale}} \bigl(w, \; w^2 − 1\bigr).

    Johnson, Kotz and Balakrishnan (1994), Continuous Univariate Distributions 1, chapter 13.

    Examples
    --------
    >>> from tea_stats import Normal, best_of_n
    >>> round(best_of_n.value(Normal(), 128), 6)
    2.594597
    """

    loc: float = 0.0
    scale: float = 1.0

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return rng.normal(self.loc, self.scale, size)

    def _cdf_w(self, w: Array) -> Array:
        return special.ndtr(w)

    def _sf_w(self, w: Array) -> Array:
        return special.ndtr(-w)

    def _ppf_w(self, u: Array) -> Array:
        return special.ndtri(u)

    def _isf_w(self, p: Array) -> Array:
        return -special.ndtri(p)

    def _logpdf_w(self, w: Array) -> Array:
        return -0.5 * w * w - 0.5 * math.log(2.0 * math.pi)

    def _slope_w(self, w: Array) -> Array:
        return w


@dataclass(frozen=True)
class Logistic(LocationScale):
    r"""Logistic law: exponential tails on both sides.

    Parameters
    ----------
    loc, scale : float
        Mean, and scale > 0 (standard deviation π/√3 · scale), in reward units.

    Notes
    -----
    With w = (r − loc)/scale, the distribution function and the score in (loc, scale) are

    .. math::

        F(r) = \frac{1}{1 + e^{−w}},
        \quad S = \frac{1}{\text{scale}}
        \Bigl(\tanh \frac{w}{2}, \; w \tanh \frac{w}{2} − 1\Bigr).

    Johnson, Kotz and Balakrishnan (1995), Continuous Univariate Distributions 2, chapter 23.

    Examples
    --------
    The mean of the best of N is loc + scale · H_{N−1}, a harmonic number.

    >>> from tea_stats import Logistic, best_of_n
    >>> round(best_of_n.value(Logistic(), 3), 6)
    1.5
    """

    loc: float = 0.0
    scale: float = 1.0

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return rng.logistic(self.loc, self.scale, size)

    def _cdf_w(self, w: Array) -> Array:
        return special.expit(w)

    def _sf_w(self, w: Array) -> Array:
        return special.expit(-w)

    def _ppf_w(self, u: Array) -> Array:
        return special.logit(u)

    def _isf_w(self, p: Array) -> Array:
        return -special.logit(p)

    def _logpdf_w(self, w: Array) -> Array:
        return -np.abs(w) - 2.0 * np.log1p(np.exp(-np.abs(w)))

    def _slope_w(self, w: Array) -> Array:
        return np.tanh(0.5 * w)


@dataclass(frozen=True)
class Gumbel(LocationScale):
    r"""Gumbel law of maxima: exponential tail, skewed to the right.

    Parameters
    ----------
    loc, scale : float
        Mode, and scale > 0 (standard deviation π/√6 · scale), in reward units.

    Notes
    -----
    With w = (r − loc)/scale, the distribution function and the score in (loc, scale) are

    .. math::

        F(r) = \exp(−e^{−w}),
        \quad S = \frac{1}{\text{scale}}
        \bigl(1 − e^{−w}, \; w (1 − e^{−w}) − 1\bigr).

    Johnson, Kotz and Balakrishnan (1995), Continuous Univariate Distributions 2, chapter 22.

    Examples
    --------
    The best of N is again Gumbel, shifted by scale · log N.

    >>> from tea_stats import Gumbel, best_of_n
    >>> round(best_of_n.value(Gumbel(), 100) - best_of_n.value(Gumbel(), 1), 6)
    4.60517
    """

    loc: float = 0.0
    scale: float = 1.0

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return rng.gumbel(self.loc, self.scale, size)

    def _cdf_w(self, w: Array) -> Array:
        return np.exp(-np.exp(-w))

    def _sf_w(self, w: Array) -> Array:
        return -np.expm1(-np.exp(-w))

    def _ppf_w(self, u: Array) -> Array:
        return -np.log(-np.log(u))

    def _isf_w(self, p: Array) -> Array:
        return -np.log(-np.log1p(-p))

    def _logpdf_w(self, w: Array) -> Array:
        return -w - np.exp(-w)

    def _slope_w(self, w: Array) -> Array:
        return -np.expm1(-w)


@dataclass(frozen=True)
class GumbelMin(LocationScale):
    r"""Gumbel law of minima: a short upper tail, skewed to the left.

    Parameters
    ----------
    loc, scale : float
        Mode, and scale > 0 (standard deviation π/√6 · scale), in reward units.

    Notes
    -----
    With w = (r − loc)/scale, the upper tail and the score in (loc, scale) are

    .. math::

        P(R > r) = \exp(−e^w),
        \quad S = \frac{1}{\text{scale}} \bigl(e^w − 1, \; w (e^w − 1) − 1\bigr).

    Johnson, Kotz and Balakrishnan (1995), Continuous Univariate Distributions 2, chapter 22.
    """

    loc: float = 0.0
    scale: float = 1.0

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return -rng.gumbel(-self.loc, self.scale, size)

    def _cdf_w(self, w: Array) -> Array:
        return -np.expm1(-np.exp(w))

    def _sf_w(self, w: Array) -> Array:
        return np.exp(-np.exp(w))

    def _ppf_w(self, u: Array) -> Array:
        return np.log(-np.log1p(-u))

    def _isf_w(self, p: Array) -> Array:
        return np.log(-np.log(p))

    def _logpdf_w(self, w: Array) -> Array:
        return w - np.exp(w)

    def _slope_w(self, w: Array) -> Array:
        return np.expm1(w)
