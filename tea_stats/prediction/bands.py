"""From draws of a curve to intervals: at each point, and for all points at once."""

from __future__ import annotations

import numpy as np

from tea_stats.families.law import Array


def pointwise(draws: Array, level: float) -> tuple[Array, Array]:
    """Return the ends of the central intervals, shape (K,); NaN where draws are.

    Parameters
    ----------
    draws : ndarray, shape (count, K)
        Draws of the curve at K points; infinite ones are large, NaN columns unknown.
    level : float
        Nominal coverage.
    """
    tails = np.full(draws.shape[1], (1.0 - level) / 2.0)
    return _at(np.sort(draws, axis=0), tails)


def simultaneous(draws: Array, level: float) -> tuple[Array, Array]:
    """Return the ends of the quantile-based sup-t band, shape (K,).

    Of all bands that cut the same share off at every point, the narrowest that contains a
    share `level` of the drawn curves whole: Montiel Olea and Plagborg-Møller (2019), Journal of
    Applied Econometrics 34, algorithm 2.
    """
    usable = ~np.isnan(draws).any(axis=0)
    if not usable.any():
        return pointwise(draws, level)
    known = draws[:, usable]
    count = len(known)
    order = np.argsort(known, axis=0)
    ascending = np.take_along_axis(known, order, axis=0)
    # tied draws, such as values at a bound, are as deep as the deepest of them
    place = np.arange(count)[:, None]
    differs = ascending[1:] != ascending[:-1]
    last = np.where(np.vstack([differs, np.ones(known.shape[1], dtype=bool)]), place, count)
    last = np.minimum.accumulate(last[::-1], axis=0)[::-1]
    first = np.where(np.vstack([np.ones(known.shape[1], dtype=bool), differs]), place, -1)
    first = np.maximum.accumulate(first, axis=0)
    deep = np.minimum(last + 1, count - first) / count
    depth = np.full(count, 1.0)
    for own, rows in zip(deep.T, order.T, strict=True):
        depth[rows] = np.minimum(depth[rows], own)
    # where an end is a bound or infinite anyway, the other end stays that of the interval
    cut = min(np.quantile(depth, 1.0 - level), (1.0 - level) / 2.0)
    low, high = np.full((2, draws.shape[1]), np.nan)
    low[usable], high[usable] = _at(ascending, np.full(known.shape[1], cut))
    return low, high


def _at(ascending: Array, tails: Array) -> tuple[Array, Array]:
    """Return lower and upper empirical quantiles that cut off these shares."""
    last = len(ascending) - 1
    rank = np.clip(np.floor(tails * last), 0, last // 2).astype(int)
    columns = np.arange(ascending.shape[1])
    return ascending[rank, columns], ascending[last - rank, columns]
