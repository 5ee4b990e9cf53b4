"""A mixture of two normals: the rare good mode that m rollouts do not see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from tea_stats.families.law import POSITIVE, REAL, Array, ContinuousLaw, Shape

_LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class NormalMixture(ContinuousLaw):
    r"""Mixture of two normals: component 2, of probability `weight`, is the rare good mode.

    Parameters
    ----------
    weight : float
        Probability of component 2, in (0, 1).
    loc1, scale1 : float
        Mean and standard deviation of component 1, in reward units; scale1 > 0.
    loc2, scale2 : float
        The same of component 2.

    Notes
    -----
    With z_j = (r − loc_j)/scale_j, φ the standard normal density and p = weight, the density and
    the score in (weight, loc1, scale1, loc2, scale2) are

    .. math::

        f(r) = f_1 + f_2, \quad
        f_1 = \frac{1 − p}{\text{scale}_1} φ(z_1), \quad
        f_2 = \frac{p}{\text{scale}_2} φ(z_2),

    .. math::

        S = \Bigl(\frac{ρ_2}{p} − \frac{ρ_1}{1 − p}, \;
        \frac{ρ_1 z_1}{\text{scale}_1}, \; \frac{ρ_1 (z_1^2 − 1)}{\text{scale}_1}, \;
        \frac{ρ_2 z_2}{\text{scale}_2}, \; \frac{ρ_2 (z_2^2 − 1)}{\text{scale}_2}\Bigr),
        \quad ρ_j = \frac{f_j}{f_1 + f_2}.

    McLachlan and Peel (2000), Finite Mixture Models.

    Examples
    --------
    >>> from tea_stats import NormalMixture, best_of_n
    >>> law = NormalMixture(0.01, 0.0, 1.0, 5.0, 0.5)
    >>> [round(best_of_n.value(law, N), 2) for N in (16, 1024)]
    [2.25, 5.76]
    """

    weight: float
    loc1: float
    scale1: float
    loc2: float
    scale2: float

    RANGES = {
        "weight": {"above": 0.0, "below": 1.0},
        "loc1": REAL,
        "scale1": POSITIVE,
        "loc2": REAL,
        "scale2": POSITIVE,
    }

    @property
    def breaks(self) -> tuple[float, ...]:
        """Where the upper component is used up: analytic, but steep if the two are far apart."""
        return (self.weight if self.loc2 >= self.loc1 else 1.0 - self.weight,)

    def _reward_edges(self) -> Array:
        # half a standard deviation each, out to sf = 6e-39; between far modes nothing happens
        z = np.linspace(-13.0, 13.0, 53)
        return np.union1d(self.loc1 + self.scale1 * z, self.loc2 + self.scale2 * z)

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        second = rng.random(size) < self.weight
        z = rng.standard_normal(size)
        return np.where(second, self.loc2 + self.scale2 * z, self.loc1 + self.scale1 * z)

    def _standard(self, r: Array) -> tuple[Array, Array]:
        return (r - self.loc1) / self.scale1, (r - self.loc2) / self.scale2

    def _cdf(self, r: Array) -> Array:
        z1, z2 = self._standard(r)
        return (1.0 - self.weight) * special.ndtr(z1) + self.weight * special.ndtr(z2)

    def _sf(self, r: Array) -> Array:
        z1, z2 = self._standard(r)
        return (1.0 - self.weight) * special.ndtr(-z1) + self.weight * special.ndtr(-z2)

    def _ppf(self, u: Array) -> Array:
        return self._quantile(u, lower=True)

    def _isf(self, p: Array) -> Array:
        return self._quantile(p, lower=False)

    def _quantile(self, tail: Array, *, lower: bool) -> Array:
        # 1 − tail is exact for tail in [1/2, 1]: each tail is solved from its own side
        far = tail > 0.5
        upper = far if lower else ~far
        sign = np.where(upper, 1.0, -1.0)
        r = sign * self._solve_upper(np.where(far, 1.0 - tail, tail), sign)
        return np.where(np.isnan(tail), np.nan, r)

    def _solve_upper(self, p: Array, sign: Array) -> Array:
        """Solve P(sign · R > x) = p ≤ 1/2, by Newton steps inside a bracket."""
        w = (1.0 - self.weight, self.weight)
        loc, s = (sign * self.loc1, sign * self.loc2), (self.scale1, self.scale2)

        def component(k: int, p: Array) -> Array:
            return loc[k] - s[k] * special.ndtri(np.minimum(p, 1.0))

        # Q lies between the components' quantiles at p; and w_k sf_k(Q) ≤ p for both k,
        # w_k sf_k(Q) ≥ p/2 for one
        left = np.maximum(
            np.minimum(component(0, p), component(1, p)),
            np.maximum(component(0, p / w[0]), component(1, p / w[1])),
        )
        right = np.minimum(
            np.maximum(component(0, p), component(1, p)),
            np.maximum(component(0, 0.5 * p / w[0]), component(1, 0.5 * p / w[1])),
        )
        x = left
        for _ in range(200):
            z1, z2 = (x - loc[0]) / s[0], (x - loc[1]) / s[1]
            sf = w[0] * special.ndtr(-z1) + w[1] * special.ndtr(-z2)
            density = w[0] / s[0] * np.exp(-0.5 * z1 * z1) + w[1] / s[1] * np.exp(-0.5 * z2 * z2)
            excess = np.log(sf / p)
            left, right = np.where(excess > 0.0, x, left), np.where(excess > 0.0, right, x)
            newton = x + excess * sf * math.sqrt(2.0 * math.pi) / density
            inside = (newton >= left) & (newton <= right)
            following = np.where(inside, newton, 0.5 * (left + right))
            close = np.abs(following - x) <= 2.0 * _EPS * (np.abs(x) + min(s))
            x = np.where(p > 0.0, following, np.inf)
            if (close | (np.abs(excess) <= 2.0 * _EPS) | ~(p > 0.0)).all():
                break
        return x

    def _log_parts(self, z1: Array, z2: Array) -> tuple[Array, Array]:
        """Log of each component's part in the density."""
        return (
            math.log1p(-self.weight) - math.log(self.scale1) - _LOG_ROOT_2PI - 0.5 * z1 * z1,
            math.log(self.weight) - math.log(self.scale2) - _LOG_ROOT_2PI - 0.5 * z2 * z2,
        )

    def _logpdf(self, r: Array) -> Array:
        return np.logaddexp(*self._log_parts(*self._standard(r)))

    def _shares(self, z1: Array, z2: Array) -> tuple[Array, Array]:
        """Posterior probabilities of the two components."""
        part1, part2 = self._log_parts(z1, z2)
        log_odds = part2 - part1
        return special.expit(-log_odds), special.expit(log_odds)

    def _score_columns(self, r: Array) -> Sequence[Array]:
        z1, z2 = self._standard(r)
        share1, share2 = self._shares(z1, z2)
        return (
            share2 / self.weight - share1 / (1.0 - self.weight),
            share1 * z1 / self.scale1,
            share1 * (z1 * z1 - 1.0) / self.scale1,
            share2 * z2 / self.scale2,
            share2 * (z2 * z2 - 1.0) / self.scale2,
        )

    def _cdf_gradient(self, r: Array) -> Sequence[Array]:
        z1, z2 = self._standard(r)
        part1, part2 = map(np.exp, self._log_parts(z1, z2))
        # F₂ − F₁, above both means by their complements
        upper = (z1 > 0.0) & (z2 > 0.0)
        sign = np.where(upper, -1.0, 1.0)
        by_weight = sign * (special.ndtr(sign * z2) - special.ndtr(sign * z1))
        return by_weight, -part1, -part1 * z1, -part2, -part2 * z2
