r"""Few-valued rewards, each prompt in its own unit: beta-binomial without a common scale.

The unit of a group is its smallest gap, and a reward's level is how many units it lies above the
group's least. Every level is a threshold with a 0/1 reward of its own, as in `beta_binomial`, and
what the other few-valued groups show at the same level says how rare a success is. A group whose
rewards are all equal has no unit: its rollouts all failed or all succeeded, and it counts as such,
log(P(0) + P(m)), at every level; its own advantages are 0. Some prompts may never succeed: each
beta law stands for itself, and mixed with such prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tea_stats.estimators import beta_binomial
from tea_stats.estimators.record import Array

#: rewards closer than this share of a group's range are equal
RESOLUTION = 1e-6
#: distinct rewards of a group up to which it is few-valued, and from which it is not
VALUES = (4, 6)
#: share of its distinct rewards that occur once, up to which it is, and from which it is not
SINGLE = (0.5, 0.75)
#: beta laws whose log likelihood is further below the largest one do not count
NEGLIGIBLE = 60.0
#: share of prompts that never succeed, and how likely each is before the batch is seen
DEAD, DEAD_PRIOR = (0.0, 0.3, 0.6), (0.9, 0.05, 0.05)
#: most levels from one reward of a group to its next
LARGEST_STEP = 4


class Counts(NamedTuple):
    """What each beta law expects: as in `beta_binomial.Counts`, and of a group of equal rewards.

    Each law of p stands there once for each share of `DEAD` prompts, whose p is 0.
    """

    evidence: Array
    tables: Array
    alike: Array
    prior: Array


@lru_cache(maxsize=64)
def counts(m: int, N: int) -> Counts:
    """Return the likelihoods and expectations of each law."""
    tables = beta_binomial.counts(m, N).tables
    a, b = beta_binomial.priors()
    s = np.arange(m + 1)[:, None]
    alive = beta_binomial.log_beta(a + s, b + m - s) - beta_binomial.log_beta(a, b)
    dead = np.array(DEAD)[:, None, None]
    evidence = np.log1p(-dead) + alive
    with np.errstate(divide="ignore"):
        evidence[:, 0] = np.logaddexp(evidence[:, 0], np.log(dead[:, 0]))
    evidence = np.moveaxis(evidence, 1, 0).reshape(m + 1, -1)
    alike = np.logaddexp(evidence[0], evidence[m])
    prior = np.repeat(np.log(DEAD_PRIOR), len(a))
    tables = np.tile(tables, len(DEAD))
    return Counts(
        evidence - evidence.max(axis=1, keepdims=True), tables, alike - alike.max(), prior
    )


def few_valued(gaps: Array) -> Array:
    """Return how far each group is few-valued, 0 to 1, from its own gaps; 1 for equal rewards.

    φ = f(D; 4, 6) · f(S/D; 1/2, 3/4) with D distinct rewards, S of them there once, and f falling
    from 1 to 0 between its two numbers: a verifier has two values, a continuous reward no ties.
    """
    up = gaps > RESOLUTION * gaps.sum(axis=1, keepdims=True)
    distinct = 1 + up.sum(axis=1)
    edges = np.pad(up, ((0, 0), (1, 1)), constant_values=True)
    single = (edges[:, 1:] & edges[:, :-1]).sum(axis=1) / distinct
    return _fall(distinct, *VALUES) * _fall(single, *SINGLE)


def _fall(x: Array, start: float, stop: float) -> Array:
    """Return 1 up to start, 0 from stop, and a straight line between."""
    return np.clip((stop - x) / (stop - start), 0.0, 1.0)


def levels(gaps: Array) -> NDArray[np.intp]:
    """Return the level of each sorted reward of groups whose rewards differ, shape (G, m)."""
    up = gaps > RESOLUTION * gaps.sum(axis=1, keepdims=True)
    unit = np.where(up, gaps, np.inf).min(axis=1, keepdims=True)
    steps = np.where(up, np.minimum(np.rint(gaps / unit), LARGEST_STEP), 0.0).astype(np.intp)
    return np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))


class Seen(NamedTuple):
    """Groups of one size, some of them few-valued.

    Attributes
    ----------
    gaps : ndarray, shape (G, m − 1)
        Gaps between the sorted rewards of each group.
    weight : ndarray, shape (G,)
        How much each group counts, from 0 to 1: times how far it is few-valued.
    asked : int
        The first so many groups want a design.
    known : Counts
        As `counts` returns them.
    """

    gaps: Array
    weight: Array
    asked: int
    known: Counts


def designs(parts: Sequence[Seen]) -> list[tuple[Array, Array]]:
    """Return base and slopes of each group's advantage, as `_kernels.gap_linear_each` takes them.

    Parameters
    ----------
    parts : sequence of Seen
        The groups of each size: all of them show how rare a success is at each level.

    Returns
    -------
    list of (base, slopes), shapes (asked, m − 1)
        Zero for groups that are not few-valued, or whose rewards are all equal.
    """
    results = []
    lives, pooled_alike, prior = [], 0.0, parts[0].known.prior
    for part in parts:
        results.append(
            (np.zeros_like(part.gaps[: part.asked]), np.zeros_like(part.gaps[: part.asked]))
        )
        live = part.gaps.any(axis=1)
        pooled_alike = pooled_alike + part.weight[~live].sum() * part.known.alike
        rows = np.flatnonzero(live & (part.weight > 0.0))
        lives.append((rows, levels(part.gaps[rows])))
    if not any((rows < part.asked).any() for part, (rows, _) in zip(parts, lives, strict=True)):
        return results
    for level in range(1, max(place.max(initial=0) for _, place in lives) + 1):
        pooled = pooled_alike + prior
        for part, (rows, place) in zip(parts, lives, strict=True):
            m = part.gaps.shape[1] + 1
            successes = (place >= level).sum(axis=1)
            pooled = pooled + np.bincount(successes, part.weight[rows], m + 1) @ part.known.evidence
        near = pooled > pooled.max() - NEGLIGIBLE
        for part, (rows, place), result in zip(parts, lives, results, strict=True):
            _at_level(level, part, rows, place, pooled[near], near, result)
    return results


def _at_level(
    level: int,
    part: Seen,
    rows: NDArray[np.intp],
    place: NDArray[np.intp],
    pooled: Array,
    near: NDArray[np.bool_],
    result: tuple[Array, Array],
) -> None:
    """Add one level's part of the groups' base and slopes to the result."""
    base, slopes = result
    m = part.gaps.shape[1] + 1
    evidence, tables = part.known.evidence[:, near], part.known.tables[..., near]
    successes = (place >= level).sum(axis=1)
    some = np.flatnonzero((successes > 0) & (rows < part.asked))
    if len(some) == 0:
        return
    kinds, kind = np.unique(part.weight[rows[some]], return_inverse=True)
    # groups with the same count and weight have the same others
    code, inverse = np.unique(successes[some] * len(kinds) + kind, return_inverse=True)
    s, own = code // len(kinds), kinds[code % len(kinds)]
    others = pooled - own[:, None] * evidence[s]
    passed, baseline = beta_binomial._expected(others + tables[:, s - 1])
    passed = passed * (1.0 - np.where(s == 1, 0.0, baseline))
    failed, baseline = beta_binomial._expected(others + tables[:, s])
    failed = -failed * np.where(s == m - 1, 1.0, baseline)
    # several levels may share a gap
    gap = m - 1 - successes[some]
    share = 1.0 / (place[some, gap + 1] - place[some, gap])
    base[rows[some], gap] += share * failed[inverse]
    slopes[rows[some], gap] += share * (passed - failed)[inverse]
