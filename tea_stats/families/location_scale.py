"""Location-scale laws: R = loc + scale · W with W of a fixed standard law."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from tea_stats.families.law import POSITIVE, REAL, Array, ContinuousLaw, Shape

Function = Callable[[Array], Array]


class Standard(NamedTuple):
    """The law of W = (R − loc)/scale: F, 1 − F, their inverses, log f and −d log f/dw."""

    cdf: Function
    sf: Function
    ppf: Function
    isf: Function
    logpdf: Function
    slope: Function


class LocationScale(ContinuousLaw):
    """Base of the location-scale laws; a subclass describes the law of W = (R − loc)/scale.

    Subclasses are frozen dataclasses with fields `loc` and `scale`. Their density is positive and
    absolutely continuous on the whole line, which is what makes E[score] = 0.
    """

    loc: float
    scale: float

    RANGES = {"loc": REAL, "scale": POSITIVE}

    @property
    @abstractmethod
    def standard(self) -> Standard:
        """The law of W; an attribute of the class where W has no parameters."""

    def _cdf(self, r: Array) -> Array:
        return self.standard.cdf(self._w(r))

    def _sf(self, r: Array) -> Array:
        return self.standard.sf(self._w(r))

    def _ppf(self, u: Array) -> Array:
        return self.loc + self.scale * self.standard.ppf(u)

    def _isf(self, p: Array) -> Array:
        return self.loc + self.scale * self.standard.isf(p)

    def _logpdf(self, r: Array) -> Array:
        return self.standard.logpdf(self._w(r)) - math.log(self.scale)

    def _w(self, r: Array) -> Array:
        return (r - self.loc) / self.scale

    def _score_columns(self, r: Array) -> Sequence[Array]:
        # log f = log f_W(w) − log scale, w = (r − loc)/scale
        w = self._w(r)
        slope = self.standard.slope(w)
        return slope / self.scale, (w * slope - 1.0) / self.scale

    def _quantile_gradient(self, r: Array) -> Sequence[Array]:
        # Q(u) = loc + scale · Q_W(u)
        return np.ones_like(r), self._w(r)


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

    standard = Standard(
        cdf=special.ndtr,
        sf=lambda w: special.ndtr(-w),
        ppf=special.ndtri,
        isf=lambda p: -special.ndtri(p),
        logpdf=lambda w: -0.5 * w * w - 0.5 * math.log(2.0 * math.pi),
        slope=lambda w: w,
    )

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return rng.normal(self.loc, self.scale, size)


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

    standard = Standard(
        cdf=special.expit,
        sf=lambda w: special.expit(-w),
        ppf=special.logit,
        isf=lambda p: -special.logit(p),
        logpdf=lambda w: -np.abs(w) - 2.0 * np.log1p(np.exp(-np.abs(w))),
        slope=lambda w: np.tanh(0.5 * w),
    )

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return rng.logistic(self.loc, self.scale, size)


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

    standard = Standard(
        cdf=lambda w: np.exp(-np.exp(-w)),
        sf=lambda w: -np.expm1(-np.exp(-w)),
        ppf=lambda u: -np.log(-np.log(u)),
        isf=lambda p: -np.log(-np.log1p(-p)),
        logpdf=lambda w: -w - np.exp(-w),
        slope=lambda w: -np.expm1(-w),
    )

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return rng.gumbel(self.loc, self.scale, size)


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

    standard = Standard(
        cdf=lambda w: -np.expm1(-np.exp(w)),
        sf=lambda w: np.exp(-np.exp(w)),
        ppf=lambda u: np.log(-np.log1p(-u)),
        isf=lambda p: np.log(-np.log(p)),
        logpdf=lambda w: w - np.exp(w),
        slope=np.expm1,
    )

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return -rng.gumbel(-self.loc, self.scale, size)
