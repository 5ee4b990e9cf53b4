"""Location-scale laws: R = loc + scale · W with W of a fixed standard law."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tea_stats._validation import as_real
from tea_stats.families._law import Array, ContinuousLaw, Shape, quiet

_FAR = 1e9  # in Student's t, |w|/√df beyond which 1 + df/w² is 1


class LocationScale(ContinuousLaw):
    """Base of the location-scale laws; a subclass describes the law of W = (R − loc)/scale.

    Subclasses are frozen dataclasses with fields `loc` and `scale`. Their density is positive and
    absolutely continuous on the whole line, which is what makes E[score] = 0.
    """

    loc: float
    scale: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "loc", as_real("loc", self.loc))
        object.__setattr__(self, "scale", as_real("scale", self.scale, above=0.0))

    @property
    def parameters(self) -> tuple[str, ...]:
        """`("loc", "scale")`."""
        return ("loc", "scale")

    @quiet
    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r)."""
        return self._cdf(self._standard(r))

    @quiet
    def sf(self, r: ArrayLike) -> Array:
        """P(R > r)."""
        return self._sf(self._standard(r))

    @quiet
    def ppf(self, u: ArrayLike) -> Array:
        """Quantile Q(u)."""
        return self.loc + self.scale * self._ppf(np.asarray(u, dtype=np.float64))

    @quiet
    def isf(self, p: ArrayLike) -> Array:
        """Quantile Q(1 − p)."""
        return self.loc + self.scale * self._isf(np.asarray(p, dtype=np.float64))

    @quiet
    def logpdf(self, r: ArrayLike) -> Array:
        """Log density."""
        return self._logpdf(self._standard(r)) - math.log(self.scale)

    def _standard(self, r: ArrayLike) -> Array:
        return (np.asarray(r, dtype=np.float64) - self.loc) / self.scale

    @abstractmethod
    def _cdf(self, w: Array) -> Array:
        """P(W ≤ w)."""

    @abstractmethod
    def _sf(self, w: Array) -> Array:
        """P(W > w)."""

    @abstractmethod
    def _ppf(self, u: Array) -> Array:
        """Quantile of W at u."""

    @abstractmethod
    def _isf(self, p: Array) -> Array:
        """Quantile of W at 1 − p."""

    @abstractmethod
    def _logpdf(self, w: Array) -> Array:
        """Log density log f_W(w)."""

    @abstractmethod
    def _score_standard(self, w: Array) -> Array:
        """−d log f_W(w)/dw."""

    def _score_columns(self, r: Array) -> Sequence[Array]:
        # log f = log f_W(w) − log scale, w = (r − loc)/scale
        w = self._standard(r)
        slope = self._score_standard(w)
        return slope / self.scale, (w * slope - 1.0) / self.scale

    def _quantile_gradient(self, r: Array) -> Sequence[Array]:
        # Q(u) = loc + scale · Q_W(u)
        return np.ones_like(r), self._standard(r)


@dataclass(frozen=True)
class Normal(LocationScale):
    """Normal law, the paper's ideal case: the whole curve, not only its tail, is Gaussian.

    Parameters
    ----------
    loc, scale : float
        Mean and standard deviation, in reward units; scale > 0.

    Examples
    --------
    >>> from tea_stats import Normal, best_of_n
    >>> round(best_of_n.value(Normal(), 128), 6)
    2.594597
    """

    loc: float = 0.0
    scale: float = 1.0

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return rng.normal(self.loc, self.scale, size)

    def _cdf(self, w: Array) -> Array:
        return special.ndtr(w)

    def _sf(self, w: Array) -> Array:
        return special.ndtr(-w)

    def _ppf(self, u: Array) -> Array:
        return special.ndtri(u)

    def _isf(self, p: Array) -> Array:
        return -special.ndtri(p)

    def _logpdf(self, w: Array) -> Array:
        return -0.5 * w * w - 0.5 * math.log(2.0 * math.pi)

    def _score_standard(self, w: Array) -> Array:
        return w


@dataclass(frozen=True)
class Logistic(LocationScale):
    """Logistic law: exponential tails on both sides, P(W ≤ w) = 1/(1 + e^{−w}).

    Parameters
    ----------
    loc, scale : float
        Mean, and scale > 0 (standard deviation π/√3 · scale), in reward units.

    Examples
    --------
    The mean of the best of N is loc + scale · H_{N−1}, a harmonic number.

    >>> from tea_stats import Logistic, best_of_n
    >>> round(best_of_n.value(Logistic(), 3), 6)
    1.5
    """

    loc: float = 0.0
    scale: float = 1.0

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return rng.logistic(self.loc, self.scale, size)

    def _cdf(self, w: Array) -> Array:
        return special.expit(w)

    def _sf(self, w: Array) -> Array:
        return special.expit(-w)

    def _ppf(self, u: Array) -> Array:
        return special.logit(u)

    def _isf(self, p: Array) -> Array:
        return -special.logit(p)

    def _logpdf(self, w: Array) -> Array:
        return -np.abs(w) - 2.0 * np.log1p(np.exp(-np.abs(w)))

    def _score_standard(self, w: Array) -> Array:
        return np.tanh(0.5 * w)


@dataclass(frozen=True)
class Gumbel(LocationScale):
    """Gumbel law of maxima, P(W ≤ w) = exp(−e^{−w}): exponential tail, skewed to the right.

    Parameters
    ----------
    loc, scale : float
        Mode, and scale > 0 (standard deviation π/√6 · scale), in reward units.

    Examples
    --------
    The best of N is again Gumbel, shifted by scale · log N.

    >>> from tea_stats import Gumbel, best_of_n
    >>> round(best_of_n.value(Gumbel(), 100) - best_of_n.value(Gumbel(), 1), 6)
    4.60517
    """

    loc: float = 0.0
    scale: float = 1.0

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return rng.gumbel(self.loc, self.scale, size)

    def _cdf(self, w: Array) -> Array:
        return np.exp(-np.exp(-w))

    def _sf(self, w: Array) -> Array:
        return -np.expm1(-np.exp(-w))

    def _ppf(self, u: Array) -> Array:
        return -np.log(-np.log(u))

    def _isf(self, p: Array) -> Array:
        return -np.log(-np.log1p(-p))

    def _logpdf(self, w: Array) -> Array:
        return -w - np.exp(-w)

    def _score_standard(self, w: Array) -> Array:
        return -np.expm1(-w)


@dataclass(frozen=True)
class GumbelMin(LocationScale):
    """Gumbel law of minima, P(W > w) = exp(−e^w): a short upper tail, skewed to the left.

    Parameters
    ----------
    loc, scale : float
        Mode, and scale > 0 (standard deviation π/√6 · scale), in reward units.
    """

    loc: float = 0.0
    scale: float = 1.0

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return -rng.gumbel(-self.loc, self.scale, size)

    def _cdf(self, w: Array) -> Array:
        return -np.expm1(-np.exp(w))

    def _sf(self, w: Array) -> Array:
        return np.exp(-np.exp(w))

    def _ppf(self, u: Array) -> Array:
        return np.log(-np.log1p(-u))

    def _isf(self, p: Array) -> Array:
        return np.log(-np.log(p))

    def _logpdf(self, w: Array) -> Array:
        return w - np.exp(w)

    def _score_standard(self, w: Array) -> Array:
        return np.expm1(w)


@dataclass(frozen=True)
class StudentT(LocationScale):
    """Student's t law: power tails, so that only moments of order below df exist.

    Parameters
    ----------
    df : float
        Degrees of freedom > 1, fixed (not a parameter of the score): 1/df is the tail index.
    loc, scale : float
        Centre, and scale > 0, in reward units.
    """

    df: float
    loc: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "df", as_real("df", self.df, above=1.0))
        super().__post_init__()

    @property
    def moments_below(self) -> float:
        """Moments of order below df are finite."""
        return self.df

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return self.loc + self.scale * rng.standard_t(self.df, size)

    # Far out the library's functions fail (its inverse at p < 1e-200 for df = 3). There the first
    # term of the tail's series, P(W > w) = (w/√df)^{−df} / (df · B(df/2, 1/2)), is exact.

    @cached_property
    def _log_tail(self) -> float:
        """Log of df · B(df/2, 1/2)."""
        return math.log(self.df) + float(special.betaln(0.5 * self.df, 0.5))

    def _cdf(self, w: Array) -> Array:
        x = -w / math.sqrt(self.df)
        tail = np.exp(-self.df * np.log(x) - self._log_tail)
        return np.where(x > _FAR, tail, special.stdtr(self.df, w))

    def _sf(self, w: Array) -> Array:
        return self._cdf(-w)

    def _ppf(self, u: Array) -> Array:
        return -self._isf(u)

    def _isf(self, p: Array) -> Array:
        x = np.exp(-(np.log(p) + self._log_tail) / self.df)
        return np.where(x > _FAR, math.sqrt(self.df) * x, -special.stdtrit(self.df, p))

    def _logpdf(self, w: Array) -> Array:
        x = np.abs(w) / math.sqrt(self.df)
        log_square = np.where(x < 1e100, np.log1p(x * x), 2.0 * np.log(x))
        constant = special.betaln(0.5 * self.df, 0.5) + 0.5 * math.log(self.df)
        return -0.5 * (self.df + 1.0) * log_square - constant

    def _score_standard(self, w: Array) -> Array:
        # (df + 1) w/(df + w²), without the square that overflows
        radius = np.hypot(w, math.sqrt(self.df))
        return (self.df + 1.0) * (w / radius) / radius
