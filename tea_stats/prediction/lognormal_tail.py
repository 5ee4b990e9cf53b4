"""Log-normal tail: a Gaussian tail bent up or down, with one skewness for all prompts.

A tail is the image a + b (e^{gz} − 1)/g of a standard normal z, the shifted log-normal law in
Tukey's form: g = 0 is the Gaussian tail, g > 0 is heavier, g < 0 ends at a − b/g. Of the three-
parameter tails it is the one that has the Gaussian tail, TEA's assumption, in its middle: the
generalised Pareto law has the exponential one there, and extrapolates a Gaussian tail too low.
The estimate of g from the pooled ratio l₂/l₁ of the excesses is shrunk toward 0, to ĝ v/(v + s²)
with s its standard error and v = τ² + (ĝ² − s²)₊: an estimate far from 0 is evidence that the
prior spread is wide.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import special

from tea_stats.families.law import Array
from tea_stats.prediction.pooled_tail import PooledTail

#: least prior standard deviation τ of g: language models' rewards had |g| of .1 to 1.1, median .35
PRIOR_SPREAD = 0.25
#: values of g at which expectations are tabulated
SKEWNESS = np.linspace(-3.0, 3.0, 241)
#: nodes and weights of the integrals over z: the trapezoid rule, exact for analytic integrands
NODES = np.arange(-9.5, 17.0, 0.01)
LOG_WEIGHTS = np.log(0.01) - 0.5 * NODES**2 - 0.5 * np.log(2.0 * np.pi)


class LogNormalTail(PooledTail):
    """V̂_N = u + A(g) l₁; the excesses are those over the (k + 1)-th largest reward."""

    title = "log-normal tail"
    colour = "#009E73"
    unbiased_on = "shifted log-normal laws of either skewness, as the number of prompts grows"
    formula = "V̂_N = u + A(ĝ) l₁ over the best αm rollouts, ĝ shrunk toward 0, the Gaussian tail"
    reference = (
        "the g law of Tukey, Hoaglin (1985); pooled as in Hosking and Wallis (1997); shrinkage ours"
    )

    def shapes(self, ratios: Array) -> Array:
        """Return g with E l₂/E l₁ the given ratios, for this log's mix of group sizes."""
        whole = sum(part for _, part in self.parts)
        curve = np.zeros(len(SKEWNESS))
        for m, excess in self.parts:
            _, first, second = expected_moments(m, self.count(m)).T
            curve += (excess / whole if whole > 0.0 else 1.0 / len(self.parts)) * second / first
        # the ratio rises with g
        return np.where(np.isnan(ratios), np.nan, np.interp(ratios, curve, SKEWNESS))

    def chosen(self, estimated: float) -> float:
        """Return the shrunk estimate."""
        self.estimated, self.shape = estimated, float(np.nan_to_num(estimated))
        self.spread = self._standard_error()
        return self._weight() * estimated

    def drawn(self, shapes: Array, rng: np.random.Generator) -> Array:
        """Return draws of the posterior: estimate and prior mean both perturbed, then combined.

        For a normal estimate and a normal prior this is the posterior exactly, and it keeps the
        estimate's dependence on the excesses.
        """
        weight, prior = self._weight(), np.sqrt(self._prior_variance())
        return weight * shapes + (1.0 - weight) * prior * rng.standard_normal(shapes.shape)

    def factors(self, m: int, k: int, shapes: Array) -> Array:
        """Return A, interpolated between tabulated g."""
        threshold, first, _ = expected_moments(m, k).T
        table = (expected_best(tuple(self.grid.tolist())) - threshold[:, None]) / first[:, None]
        g = np.nan_to_num(shapes[..., 0] if shapes.ndim else shapes)
        place = np.clip((g - SKEWNESS[0]) / (SKEWNESS[1] - SKEWNESS[0]), 0.0, len(SKEWNESS) - 1.0)
        low = np.minimum(place.astype(int), len(SKEWNESS) - 2)
        share = (place - low)[..., None]
        factors = (1.0 - share) * table[low] + share * table[low + 1]
        return np.where(np.isnan(shapes), np.nan, factors)

    def reference_groups(self, m: int, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return sorted groups of the fitted law, and their true V_N."""
        g = float(np.nan_to_num(self.shape))
        groups = np.sort(bent(rng.standard_normal((count, m)), g), axis=1)
        truth = expected_best(tuple(self.grid.tolist()))
        return groups, np.array([np.interp(g, SKEWNESS, column) for column in truth.T])

    def _weight(self) -> float:
        prior = self._prior_variance()
        return float(prior / (prior + self.spread**2)) if np.isfinite(self.spread) else 0.0

    def _prior_variance(self) -> float:
        beyond = np.nan_to_num(self.estimated) ** 2 - self.spread**2
        return float(PRIOR_SPREAD**2 + max(beyond, 0.0))

    def _standard_error(self) -> float:
        """Return the standard error of ĝ, by the delta method from the simulated l₁ and l₂."""
        variance, slope, whole = 0.0, 0.0, sum(part for _, part in self.parts)
        if not whole > 0.0:
            return np.inf
        sums = {m: 0.0 for m, _ in self.parts}
        for ascending in self._sizes():
            sums[ascending.shape[1]] += float((self._moments(ascending)[:, 1] ** 2).sum())
        for m, excess in self.parts:
            _, first, second = expected_moments(m, self.count(m)).T
            curve = second / first
            ratio = np.interp(self.shape, SKEWNESS, curve)
            slope += excess / whole * np.interp(self.shape, SKEWNESS, np.gradient(curve, SKEWNESS))
            contrast = np.array([0.0, -ratio, 1.0])
            variance += sums[m] * float(contrast @ self.unit_covariance(m) @ contrast)
        return float(np.sqrt(variance) / whole / slope)


def bent(z: Array, g: float) -> Array:
    """Return (e^{gz} − 1)/g.

    Examples
    --------
    >>> bent(np.array([-1.0, 0.0, 2.0]), 0.5).round(4).tolist()
    [-0.7869, 0.0, 3.4366]
    """
    return np.asarray(z * special.exprel(g * z))


@lru_cache(maxsize=1)
def _images() -> Array:
    """Return (e^{gz} − 1)/g at every tabulated g and node, shape (G, Z)."""
    return np.stack([bent(NODES, float(g)) for g in SKEWNESS])


@lru_cache(maxsize=256)
def expected_moments(m: int, k: int) -> Array:
    """Return E u, E l₁ and E l₂ at every tabulated g, shape (G, 3).

    The r-th largest of m has the density m φ(z) Pr(B = r − 1), B binomial with m − 1 trials and
    chance 1 − Φ(z); sums over the best k are distribution functions of B.
    """
    above = special.ndtr(-NODES)
    density = m * np.exp(LOG_WEIGHTS)
    # Pr(B ≤ k − 1) and E[B; B ≤ k − 1]
    among = special.bdtr(k - 1, m - 1, above)
    rank = (m - 1) * above * (special.bdtr(k - 2, m - 2, above) if m > 2 else 1.0)
    # the threshold is the (k + 1)-th largest
    threshold = special.bdtr(k, m - 1, above) - among
    top = among / k
    half_distance = ((k - 1) * among - 2.0 * rank) / (k * (k - 1))
    images = _images()
    u = images @ (density * threshold)
    return np.stack([u, images @ (density * top) - u, images @ (density * half_distance)], axis=1)


@lru_cache(maxsize=64)
def expected_best(grid: tuple[int, ...]) -> Array:
    """Return V_N of the standard laws at every tabulated g, shape (G, K)."""
    N = np.array(grid, dtype=float)[:, None]
    logs = np.log(N) + (N - 1.0) * special.log_ndtr(NODES) + LOG_WEIGHTS
    return np.asarray(_images() @ np.exp(logs).T)
