"""Between the order of the input and sorted order."""

from __future__ import annotations

from tea_stats._kernels._compiler import compiled


@compiled
def gather(x, order, out):
    """out[g, i] = x[g, order[g, i]]."""
    groups, m = x.shape
    for g in range(groups):
        for i in range(m):
            out[g, i] = x[g, order[g, i]]


@compiled
def merge_ties(r, tie, hole):
    """In sorted groups r, set rewards that differ by rounding to the smallest of them, in place.

    A gap is one of rounding up to tie · max(|r|, |r'|). A group with a wider one up to
    hole · max(|r|, |r'|), or with narrow ones that add up to more than one, stays as it is.
    """
    groups, m = r.shape
    for g in range(groups):
        group = r[g]
        rounded, spread = False, False
        first = 0
        for i in range(1, m):
            gap = group[i] - group[i - 1]
            size = max(abs(group[i]), abs(group[i - 1]))
            if gap > tie * size:
                first = i
                spread = spread or gap <= hole * size
            elif gap > 0.0:
                rounded = True
                spread = spread or group[i] - group[first] > tie * size
        if not rounded or spread:
            continue
        for i in range(1, m):
            size = max(abs(group[i]), abs(group[i - 1]))
            if group[i] - group[i - 1] <= tie * size:
                group[i] = group[i - 1]


@compiled
def scatter(x, order, out):
    """out[g, order[g, i]] = x[g, i], with −0 turned into 0."""
    groups, m = x.shape
    for g in range(groups):
        for i in range(m):
            out[g, order[g, i]] = x[g, i] + 0.0


@compiled
def scatter_parts(base, slope, c, order, out):
    """out[g, order[g, i]] = base[g, i] + c · slope[g, i], with −0 turned into 0."""
    groups, m = base.shape
    for g in range(groups):
        for i in range(m):
            out[g, order[g, i]] = base[g, i] + c * slope[g, i] + 0.0
