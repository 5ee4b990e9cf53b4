"""Laws of bounded rewards: Beta."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from tea_stats.families.law import POSITIVE, Array, ContinuousLaw, Shape

#: draws are kept off 0 and 1, where the score is infinite
SMALLEST, LARGEST = float(np.finfo(np.float64).tiny), float(np.nextafter(1.0, 0.0))
# log r below which the first term of F's series at 0 is all of it; the library's inverse fails for
# probabilities below 1e-200, and loses digits long before
_NEAR_0 = math.log(1e-20)


@dataclass(frozen=True)
class Beta(ContinuousLaw):
    r"""Beta law on (0, 1): rewards with a largest value.

    Parameters
    ----------
    a, b : float
        Exponents > 0; the upper tail ends at 1 like (1 − r)^b.

    Notes
    -----
    With ψ the digamma function, the density and the score in (a, b) are

    .. math::

        f(r) = \frac{r^{a − 1} (1 − r)^{b − 1}}{B(a, b)},
        \quad S = \bigl(\log r − ψ(a) + ψ(a + b), \; \log(1 − r) − ψ(b) + ψ(a + b)\bigr).

    Johnson, Kotz and Balakrishnan (1995), Continuous Univariate Distributions 2, chapter 25.
    """

    a: float
    b: float

    RANGES = {"a": POSITIVE, "b": POSITIVE}

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return np.clip(rng.beta(self.a, self.b, size), SMALLEST, LARGEST)

    def _cdf(self, r: Array) -> Array:
        return special.betainc(self.a, self.b, np.clip(r, 0.0, 1.0))

    def _sf(self, r: Array) -> Array:
        return special.betaincc(self.a, self.b, np.clip(r, 0.0, 1.0))

    def _ppf(self, u: Array) -> Array:
        log_r = np.asarray(_log_first_term(self.a, self.b, u))
        r, inside = np.asarray(np.exp(log_r)), ~(log_r < _NEAR_0)
        r[inside] = special.betaincinv(self.a, self.b, u[inside])
        return r

    def _isf(self, p: Array) -> Array:
        log_rest = np.asarray(_log_first_term(self.b, self.a, p))
        r, inside = np.asarray(1.0 - np.exp(log_rest)), ~(log_rest < _NEAR_0)
        r[inside] = special.betainccinv(self.a, self.b, p[inside])
        return r

    def _logpdf(self, r: Array) -> Array:
        x = np.clip(r, 0.0, 1.0)
        log_density = special.xlogy(self.a - 1.0, x) + special.xlog1py(self.b - 1.0, -x)
        outside = (r < 0.0) | (r > 1.0)
        return np.where(outside, -np.inf, log_density - special.betaln(self.a, self.b))

    def _score_columns(self, r: Array) -> Sequence[Array]:
        return self._score_at(np.log(r), np.log1p(-r))

    def _score_at(self, log_r: Array, log_rest: Array) -> Sequence[Array]:
        both = special.digamma(self.a + self.b)
        return (
            log_r + (both - special.digamma(self.a)),
            log_rest + (both - special.digamma(self.b)),
        )

    def _density_and_score(self, r: Array, u: Array, p: Array) -> tuple[Array, Sequence[Array]]:
        # r may be 1 to rounding, or underflow; the logs of r and of 1 − r keep their digits
        upper = (r > 0.5) & (u > 1e-3)  # for smaller u, p has lost what r knows
        log_r, log_rest = np.empty_like(r), np.log1p(-r)
        log_r[~upper] = self._log_quantile(u[~upper], r[~upper])
        mirrored = Beta(self.b, self.a)
        log_rest[upper] = mirrored._log_quantile(p[upper], mirrored._ppf(p[upper]))
        log_r[upper] = np.log1p(-np.exp(log_rest[upper]))
        log_density = (self.a - 1.0) * log_r + (self.b - 1.0) * log_rest
        return log_density - special.betaln(self.a, self.b), self._score_at(log_r, log_rest)

    def _log_quantile(self, u: Array, r: Array) -> Array:
        first = _log_first_term(self.a, self.b, u)
        return np.where(first < _NEAR_0, first, np.log(r))


def _log_first_term(a: float, b: float, u: Array) -> Array:
    """Log of the r with r^a/(a B(a, b)) = u, the first term of F's series at 0."""
    return (np.log(u) + math.log(a) + special.betaln(a, b)) / a
