r"""The exact variance of a linear advantage's gradient estimate on normal rewards.

With j rollouts below t and U(t) the sum of the scores of the others, T that of all,

.. math:: m \hat g = ∫ (\text{base}_j T + \text{slope}_j U(t)) \, dt.

So E ĝ² is an integral over t < w. Given how many of the m rollouts lie below t, between and above
w, these three cells are independent, and their sums of scores have moments in closed form.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import special

from tea_stats.linear.tableau import Tableau

Array = NDArray[np.float64]

#: in place of the chance of a cell that has none
TINY = 1e-300
#: rewards beyond ±FARTHEST count for nothing; points in w, and in t below each of them
FARTHEST = 9.0
POINTS = (160, 80)


def normal_variance(tableau: Tableau, mean: tuple[float, float]) -> tuple[float, float]:
    """Return the variances of ĝ in location and scale, for one group of standard normal rewards.

    Parameters
    ----------
    tableau : Tableau
        An advantage that does not depend on the location of the rewards, for m up to about 64.
    mean : (float, float)
        E ĝ in location and scale: (1, c_N) for an estimator that is unbiased for V_N there.

    Returns
    -------
    (float, float)
        Variances.

    Examples
    --------
    >>> from tea_stats.estimators import ESTIMATORS
    >>> location, _ = normal_variance(ESTIMATORS["rloo"].prepare(8, 1), (1.0, 0.0))
    >>> round(location, 9)  # the sample variance's: 2/(m − 1)
    0.285714286
    """
    _, base, slopes = tableau
    m = len(base) + 1
    w, dw = _rule(POINTS[0], np.array(-FARTHEST), np.array(FARTHEST))
    t, dt = _rule(POINTS[1], np.full_like(w, -FARTHEST), w)
    edges = np.zeros(5)[:, None, None], _below(t), _below(w[:, None]), _below(np.array([[np.inf]]))
    # of each cell: its chance, then mean and mean square of the two scores within it
    cells = [np.broadcast_arrays(*(high - low)) for low, high in pairwise(edges)]
    chance = [np.maximum(cell[0], TINY) for cell in cells]
    scores = [
        [np.where(cell[0] > 0.0, x / p, 0.0) for x in cell[1:]]
        for cell, p in zip(cells, chance, strict=True)
    ]
    total = np.zeros(2)
    for first in range(1, m):
        for last in range(first, m):
            counts = first, last - first, m - last
            log_ways = math.lgamma(m + 1) - sum(math.lgamma(n + 1) for n in counts)
            logs = sum(n * np.log(p) for n, p in zip(counts, chance, strict=True))
            weight = np.exp(log_ways + logs) * dt
            # the coefficient of each cell's sum of scores, in the factor of t and in that of w
            a, c = base[first - 1], base[last - 1]
            b, d = a + slopes[first - 1], c + slopes[last - 1]
            factors = list(zip(counts, (a, b, b), (c, c, d), strict=True))
            for parameter in (0, 1):
                means = [cell[2 * parameter] for cell in scores]
                squares = [cell[2 * parameter + 1] for cell in scores]
                cell_terms = list(zip(factors, means, squares, strict=True))
                of_t = sum(n * f * x for (n, f, _), x, _ in cell_terms)
                of_w = sum(n * g * x for (n, _, g), x, _ in cell_terms)
                own = sum(n * f * g * (q - x * x) for (n, f, g), x, q in cell_terms)
                # t < w is half of the square
                total[parameter] += 2.0 * (dw @ (weight * (of_t * of_w + own)).sum(axis=1))
    location, scale = total / m**2 - np.square(mean)
    return float(location), float(scale)


def _rule(points: int, start: Array, stop: Array) -> tuple[Array, Array]:
    """Return Gauss–Legendre points and weights between start and stop, along a last axis."""
    x, weight = legendre.leggauss(points)
    half = 0.5 * (stop - start)[..., None]
    return start[..., None] + half * (1.0 + x), half * weight


def _below(z: Array) -> Array:
    """Return P(R < z), then ∫ S dF and ∫ S² dF below z for S = r, the location's, and r² − 1."""
    cdf, density = special.ndtr(z), np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    z = np.where(np.isinf(z), 0.0, z)  # the density is 0 there
    location = -density, cdf - z * density
    scale = -z * density, 2.0 * cdf - (z + z**3) * density
    return np.array([cdf, *location, *scale])
