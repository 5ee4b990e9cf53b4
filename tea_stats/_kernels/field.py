"""The rest of the field: estimators linear in the gaps between rewards, z-scores, and others."""

from __future__ import annotations

import numpy as np

from tea_stats._kernels._compiler import compiled

# --- linear in the gaps: max@k, RLOO, Dr.GRPO, leave-one-out maximum, CVaR, TailRL, linear TEA ----


@compiled
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


@compiled
def gap_linear_each(r, base, slopes, out):
    """`gap_linear` with coefficients of its own for each group, and independent of the location."""
    for g in range(len(r)):
        gap_linear(r[g : g + 1], 0.0, base[g], slopes[g], out[g : g + 1])


@compiled
def raw(r, out):
    """A_i = r_i."""
    out[:] = r


# --- z-scores: GRPO, CAT-BoN ---------------------------------------------------------------------


@compiled
def z_scores(group, out):
    """(r_i − mean) / sd (ddof 1) of one sorted group; zeros where all rewards are equal.

    Computed in units of the group's range, so that rewards of 1e±150 neither overflow nor vanish.
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


@compiled
def grpo(r, out):
    """Advantages of GRPO for sorted groups."""
    for g in range(r.shape[0]):
        z_scores(r[g], out[g])


@compiled
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


# --- others --------------------------------------------------------------------------------------


@compiled
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


@compiled
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


@compiled
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
