"""The numerical kernels: arrays and scalars in, arrays out, no checks, serial, GIL released.

This is the only file with `@njit`. A formula stands here once, as a scalar function; the batch
kernels loop over groups whose rewards are sorted ascending. `fastmath` stays off so that results
do not depend on the machine's vector width.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# --- moving between input order and sorted order ------------------------------------------------


@njit(cache=True, nogil=True)
def gather(x, order, out):
    """out[g, i] = x[g, order[g, i]]."""
    groups, m = x.shape
    for g in range(groups):
        for i in range(m):
            out[g, i] = x[g, order[g, i]]


@njit(cache=True, nogil=True)
def scatter(x, order, out):
    """out[g, order[g, i]] = x[g, i], with −0 turned into 0."""
    groups, m = x.shape
    for g in range(groups):
        for i in range(m):
            out[g, order[g, i]] = x[g, i] + 0.0


# --- TEA (SPEC 4.1) -----------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def tail_excess(tail, count):
    """Mean excess over tail[0] and standard deviation (ddof 0) of tail[:count].

    The least element comes first, the largest last. Computed in units of the tail's range, so that
    rewards of 1e±150 neither overflow nor vanish and a large location costs no digits; a tail of
    equal rewards has standard deviation exactly 0.
    """
    threshold = tail[0]
    span = tail[count - 1] - threshold
    if span <= 0.0:
        return 0.0, 0.0
    mean = 0.0
    for i in range(count):
        mean += (tail[i] - threshold) / span
    mean /= count
    variance = 0.0
    for i in range(count):
        deviation = (tail[i] - threshold) / span - mean
        variance += deviation * deviation
    return span * mean, span * np.sqrt(variance / count)


@njit(cache=True, nogil=True)
def tea_bracket(excess, mean_excess, sd, hinge, curvature):
    """Influence of a reward r ≥ r̂ on hinge · μ_α + curvature · σ_α, times α'.

    hinge (r − r̂) + (curvature / 2σ̂) [(r − μ̂)² − (r̂ − μ̂)²] in terms of r − r̂ and μ̂ − r̂, the
    difference of squares factored. TEA has hinge = 1 and curvature = c̃.
    """
    return excess * (hinge + 0.5 * curvature * (excess - 2.0 * mean_excess) / sd)


@njit(cache=True, nogil=True)
def tea_mean(mean_excess, sd, hinge, curvature):
    """Mean of `tea_bracket` over the tail itself, hence of TEA's advantages over the group."""
    if sd == 0.0:
        return 0.0
    return hinge * mean_excess + 0.5 * curvature * (sd - mean_excess * (mean_excess / sd))


@njit(cache=True, nogil=True)
def tea_group(group, tail_count, hinge, curvature, out):
    """Advantages of TEA for one sorted group."""
    m = len(group)
    first = m - tail_count
    threshold = group[first]
    mean_excess, sd = tail_excess(group[first:], tail_count)
    # rewards tied with the threshold below rank `first` have a bracket of zero as well
    out[:first] = 0.0
    if sd == 0.0:
        out[first:] = 0.0
        return
    for i in range(first, m):
        bracket = tea_bracket(group[i] - threshold, mean_excess, sd, hinge, curvature)
        out[i] = bracket * m / tail_count


@njit(cache=True, nogil=True)
def subtract_mean_of_others(group, tail_count, hinge, curvature, out):
    """Subtract from each advantage the mean that TEA has on the other m − 1 rollouts.

    That mean does not depend on the rollout's own score, so the expectation of ĝ stays. The tail
    of the others is the top k + 1 of the group without the rollout, or the top k if it lies below.
    """
    m = len(group)
    count = min(tail_count, m - 1)
    first = m - count
    mean_excess, sd = tail_excess(group[first:], count)
    below = tea_mean(mean_excess, sd, hinge, curvature)
    for i in range(first):
        out[i] -= below
    threshold = group[first - 1]
    mean_excess, sd = tail_excess(group[first - 1 :], count + 1)
    squares = sd * sd * (count + 1)
    for i in range(first, m):
        deviation = group[i] - threshold - mean_excess
        rest_mean = mean_excess - deviation / count
        rest = squares - deviation * deviation * (count + 1) / count
        # what rounding leaves of tied others is not a spread
        rest_sd = np.sqrt(rest / count) if rest > 1e-12 * squares else 0.0
        out[i] -= tea_mean(rest_mean, rest_sd, hinge, curvature)


@njit(cache=True, nogil=True)
def tea(r, tail_count, hinge, curvature, centred, out):
    """Advantages of TEA for sorted groups."""
    for g in range(r.shape[0]):
        tea_group(r[g], tail_count, hinge, curvature, out[g])
        if centred:
            subtract_mean_of_others(r[g], tail_count, hinge, curvature, out[g])


# --- gap-linear estimators: max@k, RLOO, Dr.GRPO, CVaR, TailRL, … (SPEC 4.3, 4.4) -----------------


@njit(cache=True, nogil=True)
def gap_linear(r, level, base, slopes, out):
    """A_(i) = level · r_(1) + Σ_j base_j gap_j + Σ_{j<i} slopes_j gap_j, gap_j = r_(j+1) − r_(j).

    Written in gaps, tied rewards have equal advantages to the last bit, and a large common
    location costs no digits.
    """
    groups, m = r.shape
    for g in range(groups):
        group = r[g]
        start = level * group[0]
        rise = 0.0
        out[g, 0] = 0.0
        # two running sums that do not wait for each other
        for j in range(m - 1):
            gap = group[j + 1] - group[j]
            start += base[j] * gap
            rise += slopes[j] * gap
            out[g, j + 1] = rise
        for i in range(m):
            out[g, i] += start


@njit(cache=True, nogil=True)
def raw(r, out):
    """A_i = r_i."""
    out[:] = r


# --- z-scores: GRPO, CAT-BoN (SPEC 4.4) ---------------------------------------------------------


@njit(cache=True, nogil=True)
def z_scores(group, out):
    """(r_i − mean) / sd (ddof 1) of one sorted group; zeros where all rewards are equal.

    Computed in units of the group's range, as in `tail_excess`.
    """
    m = group.shape[0]
    span = group[m - 1] - group[0]
    if span <= 0.0:
        out[:] = 0.0
        return
    mean = 0.0
    for i in range(m):
        unit = (group[i] - group[0]) / span
        out[i] = unit
        mean += unit
    mean /= m
    variance = 0.0
    for i in range(m):
        variance += (out[i] - mean) * (out[i] - mean)
    inverse_sd = np.sqrt((m - 1) / variance)
    for i in range(m):
        out[i] = (out[i] - mean) * inverse_sd


@njit(cache=True, nogil=True)
def grpo(r, out):
    """Advantages of GRPO for sorted groups."""
    for g in range(r.shape[0]):
        z_scores(r[g], out[g])


@njit(cache=True, nogil=True)
def cat_bon(r, weights, out):
    """z-scores times weights[number of rollouts strictly below]."""
    groups, m = r.shape
    for g in range(groups):
        z_scores(r[g], out[g])
        below = 0
        for i in range(m):
            if i > 0 and r[g, i] > r[g, i - 1]:
                below = i
            out[g, i] *= weights[below]


# --- the rest of the field (SPEC 4.4) -----------------------------------------------------------


@njit(cache=True, nogil=True)
def bon_max_mean(r, out):
    """Max − mean on the largest reward, shared equally among those tied with it."""
    groups, m = r.shape
    for g in range(groups):
        group = r[g]
        top = group[m - 1]
        excess = 0.0
        first = m - 1
        for i in range(m - 1, -1, -1):
            excess += (top - group[i]) / m
            if group[i] == top:
                first = i
        out[g, :first] = 0.0
        out[g, first:] = excess / (m - first)


@njit(cache=True, nogil=True)
def rs_grpo(r, beta, out):
    """(1/β)(e^{βr_i} / mean_j e^{βr_j} − 1); β = 0 is the limit r_i − mean."""
    groups, m = r.shape
    for g in range(groups):
        group = r[g]
        # the reward with the largest exponent, so that every e^{β(r − best)} lies in [0, 1]
        best = group[m - 1] if beta >= 0.0 else group[0]
        mean = 0.0
        for i in range(m):
            # expm1 keeps the digits when β times the range is small
            u = np.expm1(beta * (group[i] - best)) / beta if beta != 0.0 else group[i] - best
            out[g, i] = u
            mean += u / m
        for i in range(m):
            out[g, i] = (out[g, i] - mean) / (1.0 + beta * mean)


@njit(cache=True, nogil=True)
def by_success_count(r, success, failure, out):
    """success[c] for rewards of 1 and failure[c] for rewards of 0, c the number of ones."""
    groups, m = r.shape
    for g in range(groups):
        count = 0
        for i in range(m):
            if r[g, i] > 0.0:
                count += 1
        out[g, : m - count] = failure[count]
        out[g, m - count :] = success[count]


# --- Prefix-TEA (SPEC 4.2) ----------------------------------------------------------------------


@njit(cache=True, nogil=True)
def add_tea_inside(group, position, inside, tail_count, curvature, factor, centred, work, out):
    """Add factor times the TEA of a subset of the group, to the rollouts in it."""
    values, advantages = work[0], work[1]
    n = 0
    for i in range(len(group)):
        if inside[position[i]]:
            values[n] = group[i]
            n += 1
    subset, found = values[:n], advantages[:n]
    tea_group(subset, tail_count, 1.0, curvature, found)
    if centred:
        subtract_mean_of_others(subset, tail_count, 1.0, curvature, found)
    n = 0
    for i in range(len(group)):
        if inside[position[i]]:
            out[i] += factor * found[n]
            n += 1


@njit(cache=True, nogil=True)
def add_tea_outside(group, position, inside, tail_count, curvature, factor, centred, work, out):
    """Add factor times TEA to the rollouts outside a subset, with the subset's tail statistics.

    Centred, TEA's mean over the subset is taken off: the rollouts outside have no part in it.
    """
    m = len(group)
    tail = work[0]
    size = inside.sum()
    i = m
    found = 0
    while found < tail_count:
        i -= 1
        if inside[position[i]]:
            found += 1
            tail[tail_count - found] = group[i]
    mean_excess, sd = tail_excess(tail, tail_count)
    if sd == 0.0:
        return
    scale = factor * size / tail_count
    for j in range(m - 1, -1, -1):
        if group[j] < tail[0]:
            break
        if not inside[position[j]]:
            out[j] += scale * tea_bracket(group[j] - tail[0], mean_excess, sd, 1.0, curvature)
    if centred:
        mean = tea_mean(mean_excess, sd, 1.0, curvature)
        for j in range(m):
            if not inside[position[j]]:
                out[j] -= factor * mean


@njit(cache=True, nogil=True)
def prefix_tea(r, order, members, tail_counts, curvatures, factors, crossfit, centred, out):
    """Advantages of Prefix-TEA: a weighted sum of TEAs, each on its own subset of the group.

    Subset t holds the positions with `members[t]` and enters with weight `factors[t]`. Cross-fitted,
    its tail statistics are evaluated on the rollouts outside it, otherwise on those inside.
    """
    groups, m = r.shape
    work = np.empty((2, m))
    for g in range(groups):
        out[g, :] = 0.0
        for t in range(len(factors)):
            subset = (r[g], order[g], members[t], tail_counts[t], curvatures[t], factors[t])
            if crossfit:
                add_tea_outside(*subset, centred, work, out[g])
            else:
                add_tea_inside(*subset, centred, work, out[g])


# --- Monte Carlo (SPEC 5) -----------------------------------------------------------------------


@njit(cache=True, nogil=True)
def contract(a, scores, out):
    """Turn advantages into what is measured of each group; return the number of degenerate ones.

    out[g, :d] = ĝ = (1/m) Σ_i a[g, i] scores[:, g, i], out[g, d] = (1/m) Σ_i a[g, i]², and
    out[g, d + 1] = ‖ĝ‖². A group is degenerate when all its advantages are exactly zero.
    """
    groups, m = a.shape
    d = scores.shape[0]
    degenerate = 0
    for g in range(groups):
        squares = 0.0
        for i in range(m):
            squares += a[g, i] * a[g, i]
        norm = 0.0
        for j in range(d):
            # four partial sums, written out: the additions no longer wait for one another
            s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
            full = m - m % 4
            for i in range(0, full, 4):
                s0 += a[g, i] * scores[j, g, i]
                s1 += a[g, i + 1] * scores[j, g, i + 1]
                s2 += a[g, i + 2] * scores[j, g, i + 2]
                s3 += a[g, i + 3] * scores[j, g, i + 3]
            for i in range(full, m):
                s0 += a[g, i] * scores[j, g, i]
            component = ((s0 + s1) + (s2 + s3)) / m
            out[g, j] = component
            norm += component * component
        out[g, d] = squares / m
        out[g, d + 1] = norm
        if squares == 0.0:
            degenerate += 1
    return degenerate


@njit(cache=True, nogil=True)
def accumulate(x, power1, power2, power3, power4):
    """Add the groups' x to the sums of x, of x xᵀ, of x³ and of x⁴ (elementwise)."""
    groups, columns = x.shape
    for g in range(groups):
        for j in range(columns):
            value = x[g, j]
            square = value * value
            power1[j] += value
            power3[j] += square * value
            power4[j] += square * square
            for k in range(columns):
                power2[j, k] += value * x[g, k]
