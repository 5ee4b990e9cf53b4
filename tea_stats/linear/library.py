"""A library of reward laws, the best linear design for each, and which of them fit a batch.

How m rollouts extrapolate to best-of-N depends on how the tail continues beyond them. One group is
too small to show that; a batch of prompts is not. Its pooled curve k ↦ V̂_k, k ≤ m, is linear in the
gaps of the sorted rewards, so that its mean and its covariance under each law of the library are
exact, up to a scale; a Gaussian likelihood with the scale integrated out weighs the laws. Location
and scale of a prompt do not affect the shape of its own part of the curve: prompts with a wider
spread of rewards count for more, as they do in the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tea_stats.best_of_n import exact, order_statistics
from tea_stats.families.bounded import Beta
from tea_stats.families.gen_pareto import GenPareto
from tea_stats.families.law import Array, ContinuousLaw
from tea_stats.families.location_scale import Gumbel, GumbelMin, LocationScale, Logistic, Normal
from tea_stats.families.mixture import NormalMixture
from tea_stats.families.skewed import Weibull
from tea_stats.families.student_t import StudentT
from tea_stats.linear import design

#: light, exponential and heavy tails, skew to either side, bounded rewards, a rare good mode
LIBRARY: Mapping[str, ContinuousLaw] = MappingProxyType(
    {
        "normal": Normal(),
        "logistic": Logistic(),
        "gumbel": Gumbel(),
        "gumbel_min": GumbelMin(),
        "student_t4": StudentT(4.0),
        "uniform": Beta(1.0, 1.0),
        **{f"gen_pareto({xi})": GenPareto(xi) for xi in (-0.45, -0.3, -0.15, 0.1, 0.2, 0.3, 0.4)},
        **{f"weibull({k})": Weibull(k) for k in (5.0, 2.5, 1.5, 1.0, 0.8, 0.65)},
        **{
            f"rare_mode({weight}, {loc})": NormalMixture(weight, 0.0, 1.0, loc, scale)
            for weight in (0.01, 0.03, 0.08, 0.2)
            for loc, scale in ((2.5, 0.6), (3.5, 0.7), (4.5, 1.0))
        },
    }
)

#: relative standard deviation by which a law's curve may miss, beyond sampling noise
MISFIT = 0.02
#: share of all other laws in the risk that a law's design minimises
HEDGE = 1e-4
#: designs leave out the best of fewer than this share of the group: lower tails mislead
LEAST_SHARE = 1 / 8
#: E‖S‖² of location and log scale; that of the Normal law
SCORE_SQUARE = 3.0
#: points per panel for second moments; 4 digits are plenty for a variance
COARSE = 8
#: best-of-k values whose differences make up the curve
CURVE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class Curves(NamedTuple):
    """Mean and covariance of a group's curve under the K laws, each in units of its mean.

    Attributes
    ----------
    contrasts : ndarray, shape (q, m − 1)
        The curve's q rises V̂_l − V̂_k, k < l neighbours in `CURVE`, as functions of the gaps.
    mean : ndarray, shape (K, q)
        Expected rises at scale 1, all positive.
    axes : ndarray, shape (K, q, q)
        Columns: principal axes of the rises divided by their means.
    spread : ndarray, shape (K, q)
        Variances along the axes, of one group.
    scale_weights : ndarray, shape (m − 1,)
        Half of Gini's mean difference, a group's scale, as a function of the gaps.
    scale_square : ndarray, shape (K,)
        E[scale²]/(E scale)² of one group.
    """

    contrasts: Array
    mean: Array
    axes: Array
    spread: Array
    scale_weights: Array
    scale_square: Array


@lru_cache(maxsize=16)
def curves(m: int) -> Curves:
    """Return mean and covariance of the curve of groups of m under each law."""
    below = np.arange(1, m)
    sizes = [k for k in CURVE if k <= m]
    # V̂_k = r_(1) + the gaps, each with the chance that the best of k lies above it
    choose = [[math.comb(j, k) / math.comb(m, k) for j in below] for k in sizes]
    contrasts = -np.diff(np.array(choose), axis=0)
    scale_weights = below * (m - below) / (m * (m - 1))
    means, axes, spreads, squares = [], [], [], []
    for law in LIBRARY.values():
        gaps = np.diff(order_statistics.means(law, m))
        products = order_statistics.gap_second_moments(law, m, COARSE)
        mean = contrasts @ gaps
        covariance = contrasts @ (products - np.outer(gaps, gaps)) @ contrasts.T
        spread, axis = np.linalg.eigh(covariance / np.outer(mean, mean))
        means.append(mean)
        axes.append(axis)
        spreads.append(np.maximum(spread, 0.0))
        squares.append(scale_weights @ products @ scale_weights / (scale_weights @ gaps) ** 2)
    return Curves(
        contrasts,
        np.array(means),
        np.array(axes),
        np.array(spreads),
        scale_weights,
        np.array(squares),
    )


def log_likelihood(known: Curves, rises: Array, scale: Array, groups: Array) -> Array:
    """Return the log likelihood of each law, up to a constant of the batch.

    Parameters
    ----------
    known : Curves
        As `curves` returns them.
    rises : ndarray, shape (B, q)
        Rises of B pooled curves, in any one unit each; not all zero.
    scale : ndarray, shape (B,)
        Mean square of the pooled groups' scales over their squared mean.
    groups : ndarray, shape (B,)
        Number of groups in each curve.

    Returns
    -------
    ndarray, shape (B, K)
        log ∫ N(rises; σ mean, σ² covariance) dσ/σ, by Laplace's method in 1/σ.
    """
    q = rises.shape[1]
    # groups of unequal scales count for fewer; their scales vary by chance, too
    effective = groups[:, None] * np.minimum(1.0, known.scale_square / scale[:, None])
    variance = known.spread / effective[..., None] + MISFIT**2
    data = np.einsum("kij,bki->bkj", known.axes, rises[:, None] / known.mean)
    ones = known.axes.sum(axis=1)
    a = (data**2 / variance).sum(axis=-1)
    b = (data * ones / variance).sum(axis=-1)
    c = (ones**2 / variance).sum(axis=-1)
    peak = (b + np.sqrt(b * b + 4.0 * (q - 1) * a)) / (2.0 * a)
    exponent = (q - 1) * np.log(peak) - 0.5 * ((a * peak - 2.0 * b) * peak + c)
    curvature = a + (q - 1) / peak**2
    determinant = np.log(variance).sum(axis=-1) + 2.0 * np.log(known.mean).sum(axis=-1)
    return np.asarray(exponent - 0.5 * np.log(curvature) - 0.5 * determinant)


class Designs(NamedTuple):
    """The linear design of each law for groups of m and a budget N.

    Attributes
    ----------
    coefficients : ndarray, shape (K, m)
        m − 1 centred slopes and the weight of max@m, as in `LinearDesign`.
    risk : ndarray, shape (K,)
        Risk of linear TEA at its defaults under each law.
    """

    coefficients: Array
    risk: Array


@lru_cache(maxsize=64)
def designs(m: int, N: int, prompts: int) -> Designs:
    """Return the designs of least risk, (‖bias‖² + variance/prompts) / ‖∇V_N‖².

    With coefficients x, the risk under a law is 1 − 2qᵀx + xᵀPx. Relative to that of linear TEA, a
    design minimises its own law's, and to a share `HEDGE` the mean of all: a law whose lower tail
    is short must not let the design lean on lower gaps without bound.
    """
    squares, lines = zip(*(_risk(law, m, N, prompts) for law in LIBRARY.values()), strict=True)
    P, q = np.array(squares), np.array(lines)
    plain = design.linear_tea_design(m, N)
    x = np.append(plain.slopes, plain.top)
    risk = 1.0 - 2.0 * q @ x + np.einsum("i,kij,j->k", x, P, x)
    P, q = P / risk[:, None, None], q / risk[:, None]
    P = (1.0 - HEDGE) * P + HEDGE * P.mean(axis=0)
    q = (1.0 - HEDGE) * q + HEDGE * q.mean(axis=0)
    # slopes below the smallest max@k used are zero, as in linear TEA
    first = min(math.ceil(LEAST_SHARE * m) - 1, m - 2)
    P, q = P[:, first:, first:], q[:, first:]
    # unit diagonals, as the gaps of a law can differ by orders of magnitude
    scale = 1.0 / np.sqrt(np.einsum("kii->ki", P))
    solved = np.linalg.solve(P * scale[:, :, None] * scale[:, None, :], (q * scale)[..., None])
    return Designs(np.pad(solved[..., 0] * scale, ((0, 0), (first, 0))), risk)


def _risk(law: ContinuousLaw, m: int, N: int, prompts: int) -> tuple[Array, Array]:
    """Return P and q of a law, averaged over the parameters that a policy may move.

    These are location and log scale and, where they are others and the quantile's derivative is
    known, the law's own. The variance is E[A²] E‖S‖²/m.
    """
    mean = exact.value(law, 1)
    sd = math.sqrt(order_statistics.expectation(law, lambda r: (r - mean) ** 2))
    location = design.location(m)
    square = design.advantage_square(law, m, COARSE) / (m * prompts)
    # rewards in standard deviations from the mean
    moved = np.vstack([location, (design.value(law, m) - mean * location) / sd])
    truth = np.array([1.0, (exact.value(law, N) - mean) / sd])
    views = [(moved, truth, SCORE_SQUARE * square / sd**2)]
    if not isinstance(law, LocationScale):
        moved_by_own = design.gradient(law, m)
        if moved_by_own is not None:
            information = np.trace(exact.fisher_information(law))
            views.append((moved_by_own, exact.gradient(law, N), information * square))
    P = sum((D.T @ D + V) / (t @ t) for D, t, V in views) / len(views)
    q = sum(t @ D / (t @ t) for D, t, _ in views) / len(views)
    return np.asarray(P), np.asarray(q)
