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
def merge_ties(r, tie):
    """In sorted groups r, set rewards within tie · max |r| of a smaller one to that, in place."""
    groups, m = r.shape
    for g in range(groups):
        width = tie * max(abs(r[g, 0]), abs(r[g, m - 1]))
        first = r[g, 0]
        for i in range(1, m):
            # not the one before it: ties would chain over groups of many rewards
            if r[g, i] - first <= width:
                r[g, i] = first
            else:
                first = r[g, i]


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
