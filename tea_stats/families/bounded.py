"""Laws of bounded rewards: Beta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tea_stats._validation import as_real
from tea_stats.families._law import Array, ContinuousLaw, Shape, quiet

#: draws are kept off 0 and 1, where the score is infinite
SMALLEST, LARGEST = float(np.finfo(np.float64).tiny), float(np.nextafter(1.0, 0.0))


@dataclass(frozen=True)
class Beta(ContinuousLaw):
    """Beta law on (0, 1), density ∝ r^{a − 1} (1 − r)^{b − 1}.

    Parameters
    ----------
    a, b : float
        Exponents > 0; the upper tail ends at 1 like (1 − r)^b.
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", as_real("a", self.a, above=0.0))
        object.__setattr__(self, "b", as_real("b", self.b, above=0.0))

    @property
    def parameters(self) -> tuple[str, ...]:
        """`("a", "b")`."""
        return ("a", "b")

    def sample(self, size: Shape, rng: np.random.Generator) -> Array:
        """Draw independent rewards of shape `size`."""
        return np.clip(rng.beta(self.a, self.b, size), SMALLEST, LARGEST)

    @quiet
    def cdf(self, r: ArrayLike) -> Array:
        """P(R ≤ r)."""
        return special.betainc(self.a, self.b, np.clip(r, 0.0, 1.0))

    @quiet
    def sf(self, r: ArrayLike) -> Array:
        """P(R > r)."""
        return special.betaincc(self.a, self.b, np.clip(r, 0.0, 1.0))

    @quiet
    def ppf(self, u: ArrayLike) -> Array:
        """Quantile Q(u)."""
        near_0 = _first_term(self.a, self.b, u)
        return np.where(near_0 < _NEAR, near_0, special.betaincinv(self.a, self.b, u))

    @quiet
    def isf(self, p: ArrayLike) -> Array:
        """Quantile Q(1 − p)."""
        near_1 = _first_term(self.b, self.a, p)
        return np.where(near_1 < _NEAR, 1.0 - near_1, special.betainccinv(self.a, self.b, p))

    @quiet
    def logpdf(self, r: ArrayLike) -> Array:
        """Log density."""
        x = np.clip(r, 0.0, 1.0)
        log_density = special.xlogy(self.a - 1.0, x) + special.xlog1py(self.b - 1.0, -x)
        outside = np.less(r, 0.0) | np.greater(r, 1.0)
        return np.where(outside, -np.inf, log_density - special.betaln(self.a, self.b))

    def _score_columns(self, r: Array) -> Sequence[Array]:
        both = special.digamma(self.a + self.b)
        return (
            np.log(r) + (both - special.digamma(self.a)),
            np.log1p(-r) + (both - special.digamma(self.b)),
        )

    def _upper_tail(self, p: Array) -> tuple[Array, Sequence[Array]]:
        # Q(1 − p) may be 1 to rounding; the mirrored law knows its distance y from there
        mirrored = Beta(self.b, self.a)
        y = np.maximum(mirrored.ppf(p), SMALLEST)
        by_b, by_a = mirrored._score_columns(y)
        return mirrored.logpdf(y), (by_a, by_b)


# the library's inverse fails for u < 1e-200; the series' next term is u-independent times _NEAR
_NEAR = 1e-20


def _first_term(a: float, b: float, u: ArrayLike) -> Array:
    """Solve r^a/(a B(a, b)) = u, the first term of the distribution function's series at 0."""
    log_u = np.log(np.asarray(u, dtype=np.float64))
    return np.exp((log_u + np.log(a) + special.betaln(a, b)) / a)
