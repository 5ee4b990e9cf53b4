"""Ceilings: rewards that pile up at a largest value, as the other groups show."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special

from tea_stats import _kernels
from tea_stats.estimators.record import Array

SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
CHANCES = np.geomspace(0.0005, 0.7, 20)
SPIKE = 0.005
EDGE = 0.04
TIES = 0.02
DEBUG = False


class Hits(NamedTuple):
    exact: Array   # (m+1, H) log lik of s hits
    tied: Array    # (m+1, H) log lik of multiplicity c of the own maximum
    share: Array   # (H,)
    capped: Array  # (m + 1, H) P(capped | multiplicity)
    keep: Array    # (H,)


@lru_cache(maxsize=64)
def hits(m: int, N: int) -> Hits:
    share, p = (x.ravel() for x in np.meshgrid(SHARES, CHANCES, indexing="ij"))
    s = np.arange(m + 1)[:, None]
    binomial = np.exp(
        special.gammaln(m + 1) - special.gammaln(s + 1) - special.gammaln(m - s + 1)
        + s * np.log(p) + (m - s) * np.log1p(-p)
    )
    exact = share * binomial
    exact[0] += 1.0 - share
    tied = share * binomial
    tied[1] += tied[0]
    capped = tied.copy()
    tied[1] += 1.0 - share
    tied[0] = tied[1]
    capped[0] = capped[1]
    return Hits(np.log(exact), np.log(tied), share, capped / tied,
                np.exp(max(N - m, 0) * np.log1p(-p)))


def weights(r: Array, weight: Array, known: Hits) -> tuple[Array, Array]:
    """Return kept share of the plain advantages and of max@m's."""
    groups, m = r.shape
    stay, top = np.ones(groups), np.zeros(groups)
    live = weight > 0.0
    rows = np.flatnonzero(live)
    if len(rows) < 2:
        return stay, top
    u, places = np.unique(r, return_inverse=True)
    places = places.reshape(r.shape)
    multiplicity = np.bincount(places.ravel(), np.repeat(weight, m), len(u))
    tops = places[:, -1]
    own = (r == r[:, -1:]).sum(axis=1)
    chosen = np.empty((groups, 2), np.intp)
    at, chance, following = np.empty((3, groups, 2))
    last = np.empty((groups, 2), np.bool_)
    _kernels.spikes(places, tops, weight, multiplicity, chosen, at, chance, following, last)
    if not (at > 1.0).any() and not (own >= 2).any():
        return stay, top
    # the commonest maximum is the most conspicuous of many, unless it is the largest
    maxima = len(np.unique(tops[live]))
    chance += np.where(last, 0.0, np.log(maxima))
    odds = SPIKE * np.expm1(np.clip(-chance, 0.0, 50.0))
    even = np.minimum(at, 0.5 * (at + following))
    more = (even - 1.0) * even / (np.maximum(following, even) + 1.0)
    odds += np.where(last & (at > 1.0), EDGE * np.expm1(np.clip(more, 0.0, 50.0)), 0.0)
    odds[:, 1] = np.where(at[:, 1] > 0.0, odds[:, 1], 0.0)
    # ties at the top within groups against those below
    up = np.diff(r, axis=1) > 0.0
    half = m // 2
    distinct = up[:, half - 1:].sum(axis=1)  # runs below the top in the upper half
    edges = np.pad(up, ((0, 0), (1, 0)), constant_values=True)
    multi = (up[:, half:] & ~up[:, half - 1:-1]).sum(axis=1) if m > 3 else np.zeros(groups)
    tied = (own >= 2).astype(float)
    n_tied, n_multi, n_distinct = (
        (weight * x).sum() - weight * x for x in (tied, multi, distinct)
    )
    count = weight.sum() - weight
    inner = np.zeros(groups)
    for j in np.flatnonzero(n_tied > 0.0):
        per = n_distinct[j] / count[j]
        if per > 0:
            inner[j] = TIES * np.expm1(min(50.0, -_kernels.log_tail(n_tied[j], n_multi[j], per, 0.1)))
    if DEBUG: print("spike", np.round((SPIKE*np.expm1(np.clip(-chance,0,50.))).mean(0),3), "edge", np.round((np.where(last & (at > 1.0), EDGE * np.expm1(np.clip(more, 0.0, 50.0)), 0.0)).mean(0),3), "inner", np.round(inner.mean(),3), at[0], following[0])
    total = odds.sum(axis=1) + inner
    for j in np.flatnonzero(total > 1e-3): pass
    kappa = total / (1.0 + total)
    # what the others say of share and chance
    logs = {}
    result_q = np.zeros((groups, 2))
    def combine(table):
        each = weight[:, None] * table
        lo = each.sum(axis=0) - each
        lo -= lo.max(axis=1, keepdims=True)
        post = np.exp(lo + known.tied[own])
        post /= post.sum(axis=1, keepdims=True)
        q = known.capped[own]
        return (post * q).sum(axis=1), (post * q * known.keep).sum(axis=1)
    for c in range(2):
        for v in np.unique(chosen[odds[:, c] > 1e-3, c]):
            mine = (chosen[:, c] == v) & (odds[:, c] > 1e-3)
            q, k = combine(known.exact[(places == v).sum(axis=1)])
            f = (kappa / np.where(total > 0, total, 1) * odds[:, c])
            stay[mine] -= (f * q)[mine]
            top[mine] += (f * k)[mine]
    mine = inner > 1e-3
    if mine.any():
        q, k = combine(known.tied[own])
        f = kappa / np.where(total > 0, total, 1) * inner
        stay[mine] -= (f * q)[mine]
        top[mine] += (f * k)[mine]
    return stay, top
