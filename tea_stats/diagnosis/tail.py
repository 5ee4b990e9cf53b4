"""The upper tail of many prompts: QQ plot, shape, threshold stability, mean excess.

Prompts have locations and scales of their own, and a group of 16 is too small to standardise by:
divided by its own standard deviation no reward exceeds 3.75, whatever its law. So nothing is
divided here. All estimates are means, over prompts, of linear functions of the order statistics,
and ratios of such means; scales then cancel in expectation, exactly and at every m:

- r_(1) ≤ … ≤ r_(m) of normal rewards have E r_(j) = μ + σ E Z_(j), so that their means over
  prompts lie on a straight line against E Z_(j), of slope σ̄.
- The k rewards above the (k + 1)-th largest are, given that one, k independent draws from what lies
  above it. If that is generalised Pareto of shape ξ and scale β, their excess has the L-moments
  λ₁ = β/(1 − ξ) and λ₂ = λ₁/(2 − ξ) (Hosking and Wallis 1987, Technometrics 29, 339-349), and
  ξ = 2 − Σ λ₁/Σ λ₂ whatever the prompts' β.

Prompts with a wider spread of rewards count for more, as they do in the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from tea_stats.best_of_n import order_statistics
from tea_stats.diagnosis.sets import Sets
from tea_stats.diagnosis.verdicts import LEVEL, UNKNOWN, Interval
from tea_stats.families.law import Array
from tea_stats.families.location_scale import Normal
from tea_stats.prediction import gen_pareto
from tea_stats.prediction.u_statistic import spread
from tea_stats.tails.constants import normal_max_mean, tail_count

#: tail fractions at which the shape is estimated
FRACTIONS = (1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8, 1 / 16, 1 / 32)
#: tail fraction of the verdicts on the shape, and the one further out that it is compared with
TAIL, FURTHER = 1 / 4, 1 / 8
#: a set needs this many rollouts for two doublings, and for a best eighth
TWO_DOUBLINGS, LEAST_FOR_FURTHER = 4, 16
#: fewer sets are too few for a standard error
LEAST_SETS = 4


@dataclass(frozen=True)
class Threshold:
    """What lies above the (k + 1)-th largest of m rewards, on average over prompts.

    Attributes
    ----------
    k : int
        Rewards above the threshold.
    height : float
        Mean of threshold minus mean reward of its set, in reward units.
    mean_excess : Interval
        Mean of what exceeds it, in reward units.
    shape : Interval
        Generalised-Pareto shape ξ.
    scale : Interval
        Modified scale β − ξ · height, in reward units: beyond a threshold from which the tail is
        generalised Pareto, neither ξ nor this changes any more.
    normal_mean_excess, normal_shape : float
        What normal rewards of the same spread have there.
    """

    k: int
    height: float
    mean_excess: Interval
    shape: Interval
    scale: Interval
    normal_mean_excess: float
    normal_shape: float


@dataclass(frozen=True)
class Tail:
    """The upper tail of a log.

    Attributes
    ----------
    m, sets : int
        Rollouts in a set, and sets.
    normal_scores : ndarray, shape (m,)
        E Z_(j), the mean order statistics of m standard normals.
    quantiles, quantile_errors : ndarray, shape (m,)
        Mean order statistics of the log, and their standard errors, in reward units.
    spread : float
        Mean within-prompt scale by Gini's mean difference; normal rewards: mean σ.
    thresholds : tuple of Threshold
        From the best half outwards.
    bend : Interval
        Log of the slope of V_k against c_k from m/2 to m over that from m/4 to m/2: zero for a
        Gaussian upper tail, positive where the plot turns up.
    excess_shape, shape, further_shape : Interval
        The numbers behind the verdicts (`ASSUMPTIONS`).
    widest : float
        Share of the prompt with the widest spread in all spreads; 1/S if they are alike.
    """

    m: int
    sets: int
    normal_scores: Array
    quantiles: Array
    quantile_errors: Array
    spread: float
    thresholds: tuple[Threshold, ...]
    bend: Interval
    excess_shape: Interval
    shape: Interval
    further_shape: Interval
    widest: float


def examine(sets: Sets) -> Tail:
    """Return the estimates of the upper tail of sets."""
    rewards, m = sets.rewards, sets.m
    counts = list(dict.fromkeys(min(tail_count(m, a), m - 1) for a in FRACTIONS))
    height, mean_excess, half_gini, centre = (rewards @ w.T for w in _weights(m, tuple(counts)))
    ideal = [w @ _normal_scores(m) for w in _weights(m, tuple(counts))]
    normal_shape = gen_pareto.shape(ideal[1], ideal[2])
    unit = rewards @ _gini(m)

    def at(k: int) -> int:
        return counts.index(min(k, m - 1))

    def shape(i: int) -> Interval:
        parts = np.column_stack([mean_excess[:, i], half_gini[:, i]])
        return jackknife(lambda x: gen_pareto.shape(x[..., 0], x[..., 1]), parts)

    thresholds = []
    for i, k in enumerate(counts):
        parts = np.column_stack([mean_excess[:, i], half_gini[:, i], height[:, i]])
        thresholds.append(
            Threshold(
                k,
                float(height[:, i].mean()),
                jackknife(lambda x: x[..., 0], parts),
                shape(i),
                jackknife(_modified_scale, parts),
                float(ideal[1][i] * unit.mean()),
                float(normal_shape[i]),
            )
        )
    near = at(tail_count(m, TAIL))
    shape_near = shape(near)
    return Tail(
        m=m,
        sets=len(rewards),
        normal_scores=_normal_scores(m),
        quantiles=rewards.mean(axis=0),
        # of a set's shape, not of its location: prompts may lie anywhere
        quantile_errors=_standard_errors(rewards - centre[:, :1]),
        spread=float(unit.mean()),
        thresholds=tuple(thresholds),
        bend=_bend(rewards),
        excess_shape=Interval(*(value - float(normal_shape[near]) for value in shape_near)),
        shape=shape_near,
        further_shape=_further(mean_excess, half_gini, near, at(tail_count(m, FURTHER)), m),
        widest=float(unit.max() / unit.sum()) if unit.sum() > 0.0 else math.nan,
    )


def _modified_scale(x: Array) -> Array:
    """β − ξ u from the mean excess λ₁, λ₂ and the threshold's height u."""
    excess, half_gini, height = x[..., 0], x[..., 1], x[..., 2]
    shape = gen_pareto.shape(excess, half_gini)
    return excess * (1.0 - shape) - shape * height


def _further(excess: Array, half_gini: Array, near: int, far: int, m: int) -> Interval:
    """Return by how much the shape differs further out."""
    if near == far or m < LEAST_FOR_FURTHER:
        return UNKNOWN
    parts = np.column_stack([excess[:, [near, far]], half_gini[:, [near, far]]])
    return jackknife(lambda x: x[..., 0] / x[..., 2] - x[..., 1] / x[..., 3], parts)


def _bend(rewards: Array) -> Interval:
    """Return the log ratio of slopes of V_k against c_k over the last two doublings."""
    m = rewards.shape[1]
    if m < TWO_DOUBLINGS:
        return UNKNOWN
    sizes = (m // 4, m // 2, m)
    best = np.column_stack([rewards @ spread(np.eye(k)[-1], m) for k in sizes])
    rises = np.diff(best, axis=1) / np.diff([normal_max_mean(k) for k in sizes])
    return jackknife(lambda x: np.log(x[..., 1] / x[..., 0]), rises)


@lru_cache(maxsize=64)
def _normal_scores(m: int) -> Array:
    return order_statistics.means(Normal(), m)


@lru_cache(maxsize=64)
def _weights(m: int, counts: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
    """Return height, mean excess, half Gini difference and mean as functions of order statistics.

    Each has a row for every k in `counts`; the half Gini difference λ₂ of the k best has weights
    (2j − k − 1)/(k (k − 1)), j = 1, …, k.
    """
    height, excess, half_gini = np.zeros((3, len(counts), m))
    mean = np.full((len(counts), m), 1.0 / m)
    for row, k in enumerate(counts):
        threshold = m - k - 1
        height[row, threshold] = 1.0
        excess[row, threshold], excess[row, m - k :] = -1.0, 1.0 / k
        half_gini[row, m - k :] = (2 * np.arange(1, k + 1) - k - 1) / (k * (k - 1))
    return height - mean, excess, half_gini, mean


def _gini(m: int) -> Array:
    """Return the weights of √π times half Gini's mean difference; σ on the Normal law."""
    return math.sqrt(math.pi) * (2 * np.arange(1, m + 1) - m - 1) / (m * (m - 1))


def _standard_errors(x: Array) -> Array:
    """Return the standard errors of the means over rows."""
    if len(x) < LEAST_SETS:
        return np.full(x.shape[1], np.nan)
    return x.std(axis=0, ddof=1) / math.sqrt(len(x))


def jackknife(function: Callable[[Array], Array], x: Array) -> Interval:
    """Return a function of the means of x over its rows, with an interval by leaving out rows.

    Parameters
    ----------
    function : callable
        From means, shape (..., q), to numbers of shape (...).
    x : ndarray, shape (S, q)
        Rows are independent: prompts, or sets of rollouts.

    Returns
    -------
    Interval
        With the jackknife's standard error and Student's t of S − 1 degrees of freedom;
        `UNKNOWN` where a spacing is zero or there are fewer than `LEAST_SETS` rows.

    Examples
    --------
    >>> interval = jackknife(lambda mean: mean[..., 0], np.array([[1.0], [2.0], [3.0], [6.0]]))
    >>> [round(float(value), 3) for value in interval]  # 3 ± t₃ · 2.16/√4
    [3.0, -0.437, 6.437]
    """
    count = len(x)
    if count < LEAST_SETS:
        return UNKNOWN
    total = x.sum(axis=0)
    with np.errstate(all="ignore"):
        estimate = float(function(total / count))
        left = function((total - x) / (count - 1))
        error = math.sqrt((count - 1) / count * float(((left - left.mean()) ** 2).sum()))
    if not math.isfinite(estimate + error):
        return UNKNOWN
    half = float(special.stdtrit(count - 1, 0.5 + 0.5 * LEVEL)) * error
    return Interval(estimate, estimate - half, estimate + half)
