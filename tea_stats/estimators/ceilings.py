r"""Ceilings: rewards pile up at a largest value, beyond which nothing can be extrapolated.

A ceiling shows in two ways: over the other groups, whose maxima are then one and the same value,
and within the other groups, whose best rewards tie while the rest do not. Neither compares a
group's own rewards with another's, so that each prompt keeps a unit and a zero of its own.

*Odds.* Of the other groups' rewards, n_0 are at a value, the largest or the commonest of their
maxima, and n_1 at the next value below. P_0 bounds the chance of so many if they were as many as at
the values around it; if the value is the largest of all, λ is how many a smooth law would have had
beyond it. Within groups, P_1 is the chance of so many ties at the top, by those below the top.

.. math::

    O = .005 (1/P_0 − 1) + .04 (e^λ − 1) + .02 (1/P_1 − 1), \quad
    λ = (\bar n − 1) \frac{\bar n}{1 + \max(n_1, \bar n)}, \quad
    \bar n = \min(n_0, (n_0 + n_1)/2).

*Which groups.* With probability O/(1 + O) a share of the prompts has a ceiling, which a rollout
reaches with chance p; the other groups' hits weigh shares and chances. Whether a group is such a
one depends on how many of its own rewards tie at its top. If it is, the best of N has a gradient
below that of the best of m, about (1 − p)^(N − m) of it, and max@m times this takes the place of
what is extrapolated. Rewards that never tie have O = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tea_stats import _kernels
from tea_stats.estimators.record import Array

#: prior odds of a ceiling: by a spike over groups, by an end of the values, by ties within groups
SPIKE, EDGE, TIES = 0.005, 0.04, 0.02
#: shares of prompts that have the ceiling, and chances of a rollout to reach it
SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
CHANCES = np.geomspace(0.0005, 0.7, 20)
#: logs of odds are cut off here
LARGEST_LOG = 50.0
#: rate of ties, as a number of them, where none is seen below the top
LEAST_PRIOR = 0.1


class Hits(NamedTuple):
    """What each of the H pairs (share, chance) expects of groups of m.

    Attributes
    ----------
    exact : ndarray, shape (m + 1, H)
        Log likelihood of a group with so many rewards at the ceiling.
    tied : ndarray, shape (m + 1, H)
        That of a group with so many rewards at its own maximum, if it is not known whether that is
        the ceiling.
    capped : ndarray, shape (m + 1, H)
        Probability that such a group has the ceiling.
    kept : ndarray, shape (H,)
        (1 − p)^(N − m), 1 for N < m.
    """

    exact: Array
    tied: Array
    capped: Array
    kept: Array


@lru_cache(maxsize=64)
def hits(m: int, N: int) -> Hits:
    """Return what each pair (share, chance) expects of groups of m."""
    share, p = (x.ravel() for x in np.meshgrid(SHARES, CHANCES, indexing="ij"))
    s = np.arange(m + 1)[:, None]
    choices = special.gammaln(m + 1) - special.gammaln(s + 1) - special.gammaln(m - s + 1)
    log_with_it = np.log(share) + choices + s * np.log(p) + (m - s) * np.log1p(-p)
    with_it = share * np.exp(choices + s * np.log(p) + (m - s) * np.log1p(-p))
    exact, tied = with_it.copy(), with_it.copy()
    exact[0] += 1.0 - share
    # a single maximum: at the ceiling, below it, or there is none
    tied[1] += with_it[0]
    capped = tied.copy()
    tied[1] += 1.0 - share
    # most of m = 256 rewards at a ceiling that a rollout seldom reaches: less than the least float
    with np.errstate(divide="ignore", invalid="ignore"):
        capped = np.where(tied > 0.0, capped / tied, 1.0)
        exact, tied = (np.where(x > 0.0, np.log(x), log_with_it) for x in (exact, tied))
    kept = np.exp(max(N - m, 0) * np.log1p(-p))
    return Hits(exact, tied, capped, kept)


class Seen(NamedTuple):
    """Groups of one size.

    Attributes
    ----------
    rewards : ndarray, shape (G, m)
        Rewards of each group, ascending.
    weight : ndarray, shape (G,)
        How much each group counts, from 0 to 1.
    asked : int
        The first so many groups want to know.
    known : Hits
        As `hits` returns them.
    """

    rewards: Array
    weight: Array
    asked: int
    known: Hits


def shares(parts: Sequence[Seen]) -> list[tuple[Array, Array]]:
    """Return what is kept of each group's advantages, and what it gets of max@m's.

    Parameters
    ----------
    parts : sequence of Seen
        The groups of each size.

    Returns
    -------
    list of (kept, capped), shapes (asked,)
        (1, 0) without any sign of a ceiling.
    """
    results = [(np.ones(part.asked), np.zeros(part.asked)) for part in parts]
    weight = np.concatenate([part.weight for part in parts])
    asked = np.concatenate([np.arange(len(part.weight)) < part.asked for part in parts])
    asked = np.flatnonzero(asked & (weight > 0.0))
    if len(asked) == 0:
        return results
    values, places = np.unique(
        np.concatenate([part.rewards.ravel() for part in parts]), return_inverse=True
    )
    sizes = np.concatenate([np.full(len(x.weight), x.rewards.shape[1]) for x in parts])
    each = np.repeat(weight, sizes)
    if np.bincount(places, each > 0.0).max() <= 1:
        return results
    multiplicity = np.bincount(places, each)
    start = np.concatenate([[0], np.cumsum(sizes)])
    chosen, last = np.empty((len(asked), 2), np.intp), np.empty((len(asked), 2), np.bool_)
    at, chance, following = np.empty((3, len(asked), 2))
    _kernels.spikes(places, start, weight, asked, multiplicity, chosen, at, chance, following, last)
    odds = np.zeros((len(asked), 3))
    even = np.minimum(at, 0.5 * (at + following))
    beyond = np.where(last, (even - 1.0) * even / (np.maximum(following, even) + 1.0), 0.0)
    odds[:, :2] = SPIKE * _surplus(-chance) + EDGE * _surplus(beyond)
    tops = np.concatenate([(x.rewards == x.rewards[:, -1:]).sum(axis=1) for x in parts])
    odds[:, 2] = TIES * _surplus(_ties(parts, tops, weight)[asked])
    total = odds.sum(axis=1, keepdims=True)
    kept, capped = np.ones(len(weight)), np.zeros(len(weight))
    likely = odds / (1.0 + total)
    for c in range(3):
        found = odds[:, c] > 0.0
        for value in np.unique(chosen[found, c]) if c < 2 else (-1,):
            mine = found & (chosen[:, c] == value) if c < 2 else found
            counts = np.add.reduceat(places == value, start[:-1]) if c < 2 else tops
            some = asked[mine]
            q, below = _believed(parts, counts, tops, weight, some, exact=c < 2)
            kept[some] -= likely[mine, c] * q
            capped[some] += likely[mine, c] * below
    first = 0
    for part, result in zip(parts, results, strict=True):
        chosen_part = slice(first, first + part.asked)
        result[0][:], result[1][:] = kept[chosen_part], capped[chosen_part]
        first += len(part.weight)
    return results


def _surplus(log_ratio: Array) -> Array:
    """Return exp(x) − 1 for x > 0, and 0 below."""
    return np.asarray(np.expm1(np.clip(log_ratio, 0.0, LARGEST_LOG)))


def _ties(parts: Sequence[Seen], tops: NDArray[np.intp], weight: Array) -> Array:
    """Return −log P_1 of each group's others: ties at the top against those below it."""
    several, distinct = [], []
    for part in parts:
        m = part.rewards.shape[1]
        half = m // 2
        up = np.diff(part.rewards, axis=1) > 0.0
        # a run of equal rewards ends where they go up: in the upper half, below the top
        several.append((up[:, half:] & ~up[:, half - 1 : -1]).sum(axis=1))
        distinct.append(up[:, half - 1 :].sum(axis=1))
    columns = np.array([tops >= 2, np.concatenate(several), np.concatenate(distinct)], float)
    columns = np.vstack([columns, np.ones(len(weight))]) * weight
    # rounding must not turn nothing into something
    tied, tied_below, runs, groups = np.maximum(columns.sum(axis=1) - columns.T, 0.0).T
    result = np.zeros(len(weight))
    for g in np.flatnonzero((tied > 1e-9) & (runs > 1e-9)):
        rate = runs[g] / groups[g]
        result[g] = -_kernels.log_tail(tied[g], tied_below[g], rate, LEAST_PRIOR)
    return result


def _believed(
    parts: Sequence[Seen],
    counts: NDArray[np.intp],
    tops: NDArray[np.intp],
    weight: Array,
    some: NDArray[np.intp],
    *,
    exact: bool,
) -> tuple[Array, Array]:
    """Return E[capped] and E[capped · kept] of some groups, given the hits of their others."""
    size = len(parts[0].known.kept)
    table, own, capped, kept = (np.empty((len(weight), size)) for _ in range(4))
    first = 0
    for part in parts:
        rows = slice(first, first + len(part.weight))
        known = part.known
        table[rows] = (known.exact if exact else known.tied)[counts[rows]]
        own[rows], capped[rows] = known.tied[tops[rows]], known.capped[tops[rows]]
        kept[rows] = known.kept
        first += len(part.weight)
    table *= weight[:, None]
    logs = table.sum(axis=0) - table[some] + own[some]
    posterior = np.exp(logs - logs.max(axis=1, keepdims=True))
    posterior *= capped[some] / posterior.sum(axis=1, keepdims=True)
    return posterior.sum(axis=1), (posterior * kept[some]).sum(axis=1)
