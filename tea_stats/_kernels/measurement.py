"""From advantages to what a simulation keeps of a group.

That is x = (ĝ_1, …, ĝ_d, (1/m) Σ A_i², ‖ĝ‖²) with ĝ = (1/m) Σ A_i S_i. Sums over a group are
written out as two or four partial sums, so that an addition need not wait for the one before.
"""

from __future__ import annotations

from tea_stats._kernels._compiler import compiled


@compiled
def contract(a, scores, x):
    """Fill x[G, d + 2] from advantages a[G, m] and scores[d, G, m]; return the degenerate groups.

    A group is degenerate when all its advantages are zero.
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
            x[g, j] = component
            norm += component * component
        x[g, d] = squares / m
        x[g, d + 1] = norm
        if squares == 0.0:
            degenerate += 1
    return degenerate


@compiled
def contract_parts(base, slope, scores, parts):
    """Do the same for advantages base + c · slope, whatever c will be; see `extrapolate`.

    parts[g] holds, each divided by m: Σ base S (d numbers), Σ slope S (d), Σ base²,
    Σ base · slope, Σ slope². A group is degenerate when both parts are zero throughout.
    """
    groups, m = base.shape
    d = scores.shape[0]
    degenerate = 0
    for g in range(groups):
        # below the tail there is nothing to add
        first = 0
        while first < m and base[g, first] == 0.0 and slope[g, first] == 0.0:
            first += 1
        if first == m:
            degenerate += 1
        b, s = base[g, first:], slope[g, first:]
        count = m - first
        even = count - count % 2
        for j in range(d):
            score = scores[j, g, first:]
            b0, b1, s0, s1 = 0.0, 0.0, 0.0, 0.0
            for i in range(0, even, 2):
                b0 += b[i] * score[i]
                b1 += b[i + 1] * score[i + 1]
                s0 += s[i] * score[i]
                s1 += s[i + 1] * score[i + 1]
            for i in range(even, count):
                b0 += b[i] * score[i]
                s0 += s[i] * score[i]
            parts[g, j] = (b0 + b1) / m
            parts[g, d + j] = (s0 + s1) / m
        base_square, product, slope_square = 0.0, 0.0, 0.0
        for i in range(count):
            base_square += b[i] * b[i]
            product += b[i] * s[i]
            slope_square += s[i] * s[i]
        parts[g, 2 * d] = base_square / m
        parts[g, 2 * d + 1] = product / m
        parts[g, 2 * d + 2] = slope_square / m
    return degenerate


@compiled
def extrapolate(parts, c, x):
    """Fill x[G, d + 2] for advantages base + c · slope from what `contract_parts` kept."""
    groups, columns = x.shape
    d = columns - 2
    for g in range(groups):
        norm = 0.0
        for j in range(d):
            component = parts[g, j] + c * parts[g, d + j]
            x[g, j] = component
            norm += component * component
        x[g, d] = parts[g, 2 * d] + c * (2.0 * parts[g, 2 * d + 1] + c * parts[g, 2 * d + 2])
        x[g, d + 1] = norm


@compiled
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
