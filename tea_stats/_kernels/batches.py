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
