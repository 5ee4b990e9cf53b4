"""Each rollout against the others of its group: GRPO-Z and entropic utility."""

from __future__ import annotations

import numpy as np

from tea_stats._kernels._compiler import compiled
from tea_stats._kernels.tea import NARROW, TINY

#: relative accuracy of β, and steps after which any bracket is as narrow as that
ACCURACY, MOST_STEPS = 1e-14, 200
#: β in units of the group's range: rewards that it does not separate count as tied
LARGEST_BETA = 1e300


@compiled
def standardise(reward, others):
    """(reward − mean) / sd (ddof 1) of the sorted other rewards; 0 where these are all equal.

    Computed in units of the others' range. One below a tiny share of the whole range counts as
    none, so that no advantage overflows.
    """
    count = len(others)
    low = others[0]
    span = others[count - 1] - low
    whole = max(abs(reward - low), abs(reward - others[count - 1]))
    if span <= max(TINY, NARROW * whole):
        return 0.0
    mean = 0.0
    for other in others:
        mean += (other - low) / span / count
    variance = 0.0
    for other in others:
        deviation = (other - low) / span - mean
        variance += deviation * deviation / (count - 1)
    return ((reward - low) / span - mean) / np.sqrt(variance)


@compiled
def grpo_z(r, out):
    """(r_i − mean of the others) / sd of the others (ddof 1), for sorted groups.

    In deviations d from the group's mean, r_i − mean of the others = m d_i / (m − 1) and the
    others' sum of squares is Σ d² − m d_i² / (m − 1). Both ends of the range are among the others
    of a rollout, and nothing cancels, unless it is the only one at its end.
    """
    groups, m = r.shape
    for g in range(groups):
        group, a = r[g], out[g]
        low, span = group[0], group[m - 1] - group[0]
        if span <= 0.0:
            a[:] = 0.0
            continue
        mean = 0.0
        for i in range(m):
            a[i] = (group[i] - low) / span
            mean += a[i] / m
        squares = 0.0
        for i in range(m):
            a[i] -= mean
            squares += a[i] * a[i]
        for i in range(m):
            own = m * a[i] * a[i] / (m - 1)
            a[i] *= m / (m - 1) * np.sqrt((m - 2) / max(squares - own, TINY))
        if group[0] < group[1]:
            a[0] = standardise(group[0], group[1:])
        if group[m - 2] < group[m - 1]:
            a[m - 1] = standardise(group[m - 1], group[: m - 1])


@compiled
def divergence(x, beta):
    """KL of q ∝ e^{βx} from the uniform law, and its derivative in β; x ≤ 0, its largest is 0."""
    m = len(x)
    total, first, second = 0.0, 0.0, 0.0
    for i in range(m):
        weight = np.exp(beta * x[i])
        total += weight
        first += weight * x[i]
        second += weight * x[i] * x[i]
    mean = first / total
    return beta * mean - np.log(total / m), beta * max(second / total - mean * mean, 0.0)


@compiled
def tilt(x, kl):
    """β > 0 at which KL(q ‖ uniform) = kl: Newton's steps, in a bracket that bisection narrows."""
    low, high = 0.0, 1.0
    while divergence(x, high)[0] < kl and high < LARGEST_BETA:
        low, high = high, 2.0 * high
    beta = high
    for _ in range(MOST_STEPS):
        value, slope = divergence(x, beta)
        if value < kl:
            low = beta
        else:
            high = beta
        step = beta - (value - kl) / slope if slope > 0.0 else high
        if not low < step < high:
            step = 0.5 * (low + high)
        if abs(step - beta) <= ACCURACY * beta:
            return step
        beta = step
    return beta


@compiled
def entropic(r, kl, out):
    """e^{βr_i} / mean_{j≠i} e^{βr_j} − 1 for sorted groups, β > 0 from KL(q ‖ uniform) = kl.

    With t rollouts tied at the maximum the divergence stays below log(m/t); where that is no more
    than kl, the limit β → ∞ counts: (m − t)/(t − 1) for these, −1 for the others.
    """
    groups, m = r.shape
    x = np.empty(m)
    for g in range(groups):
        group, weight = r[g], out[g]
        best, span = group[m - 1], group[m - 1] - group[0]
        if span <= 0.0:
            weight[:] = 0.0
            continue
        tied = 0
        for i in range(m):
            x[i] = (group[i] - best) / span
            if x[i] == 0.0:
                tied += 1
        unreachable = tied * np.exp(kl) >= m
        beta = 0.0 if unreachable else tilt(x, kl)
        below = 0.0
        for i in range(m):
            weight[i] = np.exp(beta * x[i])
            if unreachable and x[i] < 0.0:
                weight[i] = 0.0
            if i < m - 1:
                below += weight[i]
        for i in range(m - 1):
            # the best rollout's weight is 1: no sum of others is small but its own
            weight[i] = weight[i] * (m - 1) / (below - weight[i] + 1.0) - 1.0
        weight[m - 1] = (m - 1) / below - 1.0
