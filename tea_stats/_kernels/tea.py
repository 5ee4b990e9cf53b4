"""TEA and Prefix-TEA.

TEA is a multiple of the hinge, the influence on μ_α, plus a multiple of the spread, that on σ_α/κ.
Both multiples are linear in c_N, and so is any sum of such influences: the kernels return the two
parts of A = base + c_N · slope, neither of which depends on N. `coefficients` are κ, those of hinge
and spread in the base, then in the slope. Which rollouts belong to a subset of the group is a bit
of `words[rank]`.
"""

from __future__ import annotations

import numpy as np

from tea_stats._kernels._compiler import compiled

#: tails narrower than this count as equal rewards: the inverse of their spread would overflow
TINY = 1e-300
#: so do tails of this share of their group's range: e²/σ̂ of a rollout outside them would overflow
NARROW = 1e-100
#: and so do tails for which e²/σ̂ exceeds this: times its coefficients it would overflow
LARGEST = 1e302


@compiled
def tail_excess(tail, narrow):
    """Mean excess over tail[0], the least element, and standard deviation (ddof 0) of a tail.

    Computed in units of the tail's range, so that rewards of 1e±150 neither overflow nor vanish
    and a large location costs no digits. A range of at most `narrow` counts as none.
    """
    count = len(tail)
    span = tail[count - 1] - tail[0]
    if span <= narrow:
        return 0.0, 0.0
    inverse = 1.0 / span
    mean = 0.0
    for i in range(count):
        mean += (tail[i] - tail[0]) * inverse
    mean /= count
    variance = 0.0
    for i in range(count):
        deviation = (tail[i] - tail[0]) * inverse - mean
        variance += deviation * deviation
    return span * mean, span * np.sqrt(variance / count)


@compiled
def add_influence(above, words, bit, side, mean, sd, coefficients, weight, base, slope):
    """Add weight times α' times the influence of the rewards from r̂ = above[0] upwards.

    With e = r − r̂ it is e for μ_α and [(r − μ̂)² − (r̂ − μ̂)²] / 2σ̂ = e (e − 2(μ̂ − r̂)) / 2σ̂ for
    σ_α. Only rollouts on one side of a subset get it: its members (1) or the others (0).
    """
    kappa, hinge, bend, hinge_slope, bend_slope = coefficients
    steepness = 0.5 / (sd * kappa)
    for i in range(len(above)):
        excess = above[i] - above[0]
        spread = excess * ((excess - 2.0 * mean) * steepness)
        share = weight if (words[i] >> bit) & 1 == side else 0.0
        base[i] += share * (hinge * excess + bend * spread)
        slope[i] += share * (hinge_slope * excess + bend_slope * spread)


@compiled
def tea(r, tail_count, coefficients, base, slope):
    """TEA's parts for sorted groups."""
    groups, m = r.shape
    everyone = np.ones(m, np.int64)
    first = m - tail_count
    weight = m / tail_count
    for g in range(groups):
        base[g] = 0.0
        slope[g] = 0.0
        tail = r[g, first:]
        mean, sd = tail_excess(tail, TINY)
        if sd > 0.0:
            add_influence(
                tail, everyone, 0, 1, mean, sd, coefficients, weight,
                base[g, first:], slope[g, first:],
            )  # fmt: skip


@compiled
def top_of_subset(group, words, bit, count, tail):
    """Fill `tail` with the `count` largest rewards of a subset, ascending; return the last's rank.

    Every rollout is written where the next member goes, and stays there if it is one: on random
    subsets a branch would be guessed wrong every other time.
    """
    rank = len(group)
    missing = count
    while missing > 0:
        rank -= 1
        tail[missing - 1] = group[rank]
        missing -= (words[rank] >> bit) & 1
    return rank


@compiled
def prefix_tea(r, order, masks, sizes, tail_counts, table, factors, crossfit, base, slope):
    """Prefix-TEA's parts: a weighted sum of TEAs, each on its own subset of the group.

    Subset t is bit t % 64 of masks[t // 64, position]; it has the coefficients table[t] and enters
    with weight factors[t]. Cross-fitted, its tail statistics are evaluated on the rollouts outside
    it, otherwise on its own.
    """
    groups, m = r.shape
    words = np.empty(m, np.int64)
    tail = np.empty(m + 1)
    side = 0 if crossfit else 1
    for g in range(groups):
        group = r[g]
        base[g] = 0.0
        slope[g] = 0.0
        narrow = max(TINY, NARROW * (group[m - 1] - group[0]))
        for t in range(len(factors)):
            bit = t % 64
            if bit == 0:
                for rank in range(m):
                    words[rank] = masks[t // 64, order[g, rank]]
            count = tail_counts[t]
            coefficients = table[t, 0], table[t, 1], table[t, 2], table[t, 3], table[t, 4]
            first = top_of_subset(group, words, bit, count, tail)
            mean, sd = tail_excess(tail[:count], narrow)
            reach = group[m - 1] - group[first]
            if sd > 0.0 and reach * (reach / sd) < LARGEST:
                weight = factors[t] * sizes[t] / count
                add_influence(
                    group[first:], words[first:], bit, side, mean, sd, coefficients, weight,
                    base[g, first:], slope[g, first:],
                )  # fmt: skip
