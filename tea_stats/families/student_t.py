"""Student's t: power tails on both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from tea_stats._validation import as_real
from tea_stats.families.law import Array, Shape
from tea_stats.families.location_scale import LocationScale, Standard

_FAR = 1e9  # |w|/√df beyond which 1 + df/w² is 1


@dataclass(frozen=True)
class StudentT(LocationScale):
    r"""Student's t law: power tails, so that only moments of order below df exist.

    Parameters
    ----------
    df : float
        Degrees of freedom > 1, fixed (not a parameter of the score): 1/df is the tail index.
    loc, scale : float
        Centre, and scale > 0, in reward units.

    Notes
    -----
    With w = (r − loc)/scale and ν = df, the density and the score in (loc, scale) are

    .. math::

        f(r) = \frac{(1 + w^2/ν)^{−(ν + 1)/2}}{\text{scale} \, \sqrt{ν} \, B(ν/2, 1/2)},
        \quad S = \frac{1}{\text{scale}}
        \Bigl(\frac{(ν + 1) w}{ν + w^2}, \; \frac{(ν + 1) w^2}{ν + w^2} − 1\Bigr).

    Johnson, Kotz and Balakrishnan (1995), Continuous Univariate Distributions 2, chapter 28.
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

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return self.loc + self.scale * rng.standard_t(self.df, size)

    @property
    def standard(self) -> Standard:
        """The law of W."""
        functions = self._cdf_w, self._sf_w, self._ppf_w, self._isf_w, self._logpdf_w, self._slope_w
        return Standard(*functions)

    # Far out the library's functions fail (its inverse at p < 1e-200 for df = 3). There the first
    # term of the tail's series, P(W > w) = (w/√df)^{−df} / (df · B(df/2, 1/2)), is exact.

    @cached_property
    def _log_tail(self) -> float:
        """Log of df · B(df/2, 1/2)."""
        return math.log(self.df) + float(special.betaln(0.5 * self.df, 0.5))

    def _cdf_w(self, w: Array) -> Array:
        x = -w / math.sqrt(self.df)
        tail = np.exp(-self.df * np.log(x) - self._log_tail)
        return np.where(x > _FAR, tail, special.stdtr(self.df, w))

    def _sf_w(self, w: Array) -> Array:
        return self._cdf_w(-w)

    def _ppf_w(self, u: Array) -> Array:
        return -self._isf_w(u)

    def _isf_w(self, p: Array) -> Array:
        x = np.exp(-(np.log(p) + self._log_tail) / self.df)
        return np.where(x > _FAR, math.sqrt(self.df) * x, -special.stdtrit(self.df, p))

    def _logpdf_w(self, w: Array) -> Array:
        x = np.abs(w) / math.sqrt(self.df)
        log_square = np.where(x < 1e100, np.log1p(x * x), 2.0 * np.log(x))
        constant = special.betaln(0.5 * self.df, 0.5) + 0.5 * math.log(self.df)
        return -0.5 * (self.df + 1.0) * log_square - constant

    def _slope_w(self, w: Array) -> Array:
        # (df + 1) w/(df + w²), without the square that overflows
        radius = np.hypot(w, math.sqrt(self.df))
        return (self.df + 1.0) * (w / radius) / radius
