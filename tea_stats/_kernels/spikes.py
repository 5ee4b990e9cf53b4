"""How much more often rewards tie at one value of a batch than at its neighbours."""

from __future__ import annotations

import math

import numpy as np

from tea_stats._kernels._compiler import compiled

#: most neighbouring values looked at on either side
MOST_NEIGHBOURS = 256
#: prior of the rate of ties, as a number of them, where none is seen elsewhere
LEAST_PRIOR = 0.1
#: sums of weights up to this are none
NONE = 1e-9


@compiled
def log_tail(count, ties, values, prior):
    """Log of a bound on P(X ≥ count), X negative binomial: a Poisson rate seen at other values.

    The rate has the prior Gamma(`prior`, 0), and `ties` were seen at `values` of them. Beyond the
    mode the masses fall at least as fast as a geometric sequence.
    """
    shape = ties + prior
    fall = (shape + count) / ((count + 1.0) * (values + 1.0))
    if count <= 0.0 or fall >= 1.0:
        return 0.0
    mass = math.lgamma(shape + count) - math.lgamma(shape) - math.lgamma(count + 1.0)
    mass += shape * math.log(values / (values + 1.0)) - count * math.log(values + 1.0)
    return min(mass - math.log1p(-fall), 0.0)


@compiled
def walk(place, step, steps, multiplicity, own, rank, own_weight):
    """Pass over `steps` values of the others; return place, rank, values, ties, the last count.

    From `place` on, up (step 1) or down (−1); `rank` is that of the own rewards to be left out.
    """
    values = 0
    ties = last = 0.0
    while values < steps and 0 <= place < len(multiplicity):
        count = multiplicity[place]
        while 0 <= rank < len(own) and own[rank] == place:
            count -= own_weight
            rank += step
        place += step
        if count > NONE:
            values += 1
            ties += max(count - 1.0, 0.0)
            last = count
    return place, rank, values, ties, last


@compiled
def spike(place, multiplicity, own, own_weight):
    """Return how many rewards of the others are at a value, and how likely that is by chance.

    Also how many are at the next value below it, and whether it is the largest of all.
    """
    first, last = np.searchsorted(own, place), np.searchsorted(own, place, side="right")
    at = multiplicity[place] - own_weight * (last - first)
    down, below, _, ties, following = walk(
        place - 1, -1, 1, multiplicity, own, first - 1, own_weight
    )
    up, above, beyond, more, _ = walk(place + 1, 1, 1, multiplicity, own, last, own_weight)
    if at <= 1.0 + NONE:
        return at, 0.0, following, beyond == 0
    _, _, lower, few, _ = walk(
        place - 1, -1, MOST_NEIGHBOURS, multiplicity, own, first - 1, own_weight
    )
    _, _, higher, many, _ = walk(place + 1, 1, MOST_NEIGHBOURS, multiplicity, own, last, own_weight)
    values = beyond + (1 if following > 0.0 else 0)
    if values == 0:
        return at, 0.0, following, True
    # rewards that never tie elsewhere do not tie here by chance
    prior = LEAST_PRIOR + (1.0 - LEAST_PRIOR) * (few + many) / (few + many + lower + higher)
    ties += more
    least = log_tail(at - 1.0, ties, values, prior)
    steps = 1
    while steps < MOST_NEIGHBOURS:
        down, below, lower, more, _ = walk(down, -1, steps, multiplicity, own, below, own_weight)
        ties += more
        up, above, higher, more, _ = walk(up, 1, steps, multiplicity, own, above, own_weight)
        ties += more
        if lower + higher == 0:
            break
        values += lower + higher
        steps *= 2
        least = min(least, log_tail(at - 1.0, ties, values, prior))
    return at, least, following, beyond == 0


@compiled
def spikes(places, start, weight, asked, multiplicity, chosen, at, chance, following, last):
    """Fill, for each of the groups asked and each candidate, what `spike` returns for the others.

    Candidate 0 is the commonest of the other groups' maxima, the largest such if several are;
    candidate 1 is the largest, and −1 if that is the same. What may be the largest by chance of
    several maxima is that much less surprising: the chance of a commonest one that is not the
    largest is multiplied by the number of distinct maxima.

    `places` has the places of a group's rewards among all values, ascending, from start[g] to
    start[g + 1].
    """
    held = np.zeros(len(multiplicity))
    for g in range(len(weight)):
        held[places[start[g + 1] - 1]] += weight[g]
    # the best two by either order: a group takes away from one of them at most
    best = second = largest = next_largest = -1
    distinct = 0
    for v in range(len(multiplicity) - 1, -1, -1):
        if held[v] <= NONE:
            continue
        distinct += 1
        if largest < 0:
            largest = v
        elif next_largest < 0:
            next_largest = v
        if best < 0 or held[v] > held[best]:
            second = best
            best = v
        elif second < 0 or held[v] > held[second]:
            second = v
    for i in range(len(asked)):
        g = asked[i]
        own = places[start[g] : start[g + 1]]
        mode, top, maxima = best, largest, distinct
        if weight[g] > 0.0:
            mine = own[-1]
            left = held[mine] - weight[g]
            if mine == best and (
                left <= NONE
                or (second >= 0 and held[second] > left)
                or (second > best and held[second] == left)
            ):
                mode = second
            if left <= NONE:
                maxima -= 1
                if mine == largest:
                    top = next_largest
        for c in range(2):
            v = mode if c == 0 else top
            chosen[i, c] = -1
            at[i, c] = chance[i, c] = following[i, c] = 0.0
            last[i, c] = False
            if v >= 0 and (c == 0 or v != mode):
                chosen[i, c] = v
                at[i, c], chance[i, c], following[i, c], last[i, c] = spike(
                    v, multiplicity, own, weight[g]
                )
                if v != top:
                    chance[i, c] = min(chance[i, c] + math.log(maxima), 0.0)
