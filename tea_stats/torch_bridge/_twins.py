"""Torch twins of the kernels: the same formulas on whole batches, without a loop over groups.

`TWINS` has a twin for each kernel of the registry, which takes the same constants, so that every
number is prepared once for both. A twin gets the sorted rewards of shape (G, m) and returns their
advantages. It never looks at a value on the host: no branch, no shape and no index depends on one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from tea_stats.estimators.auto_tea import REPEATS
from tea_stats.estimators.beta_binomial import MOST_VALUES
from tea_stats.linear.library import MISFIT

#: tails narrower than this, or than this share of their group's range, count as equal rewards
TINY, NARROW = 1e-300, 1e-100
#: subsets of a group that Prefix-TEA evaluates at a time; bounds its memory
SUBSETS_AT_ONCE = 32


# --- TEA: a hinge and a bend, the coefficients of the influences on μ_α and on σ_α ----------------

#: κ, coefficients of the influences on μ_α and σ_α/κ in the base, and those in the slope
Coefficients = tuple[float, float, float, float, float]


def at(c: float, coefficients: Coefficients) -> tuple[float, float]:
    """Return hinge and bend at c = c_N."""
    kappa, hinge, bend, hinge_slope, bend_slope = coefficients
    return hinge + c * hinge_slope, (bend + c * bend_slope) / kappa


def tail_excess(tail: Tensor, narrow: float | Tensor) -> tuple[Tensor, Tensor]:
    """Mean excess over the least element and standard deviation (ddof 0), last axis kept.

    In units of the tail's range; a range of at most `narrow` counts as none.
    """
    span = tail[..., -1:] - tail[..., :1]
    span = torch.where(span > narrow, span, 0.0)
    unit = (tail - tail[..., :1]) / torch.where(span > 0.0, span, 1.0)
    mean = unit.mean(-1, keepdim=True)
    variance = (unit - mean).square().mean(-1, keepdim=True)
    return span * mean, span * variance.sqrt()


def influence(excess: Tensor, mean: Tensor, sd: Tensor, hinge: float, bend: float) -> Tensor:
    """Influence of a reward r ≥ r̂ on hinge μ_α + bend σ_α, times α'; 0 where σ̂ = 0."""
    lever = (excess - 2.0 * mean) / torch.where(sd > 0.0, sd, 1.0)
    return torch.where(sd > 0.0, excess * (hinge + 0.5 * bend * lever), 0.0)


def mean_influence(mean: Tensor, sd: Tensor, hinge: float, bend: float) -> Tensor:
    """Mean of TEA's advantages over the group that the tail belongs to; 0 where σ̂ = 0."""
    spread = sd - mean * (mean / torch.where(sd > 0.0, sd, 1.0))
    return torch.where(sd > 0.0, hinge * mean + 0.5 * bend * spread, 0.0)


def mean_of_others(
    r: Tensor, tail_count: int, hinge: float, bend: float, narrow: float | Tensor
) -> Tensor:
    """Mean that TEA has on the other m − 1 rollouts, for each rollout."""
    m = r.shape[-1]
    count = min(tail_count, m - 1)
    first = m - count
    below = mean_influence(*tail_excess(r[..., first:], narrow), hinge, bend)
    # the tail of the others is what remains of the top k + 1
    top = r[..., first - 1 :]
    mean, sd = tail_excess(top, narrow)
    deviation = (top[..., 1:-1] - top[..., :1] - mean) / torch.where(sd > 0.0, sd, 1.0)
    rest = (1.0 - deviation.square() / count).clamp(min=0.0) * ((count + 1) / count)
    inner = mean_influence(mean - sd * deviation / count, sd * rest.sqrt(), hinge, bend)
    # the largest alone may leave others without spread: a difference of squares would lose that
    last_mean, last_sd = tail_excess(top[..., :-1], narrow)
    last_sd = torch.where(last_sd > 1e-6 * sd, last_sd, 0.0)
    last = mean_influence(last_mean, last_sd, hinge, bend)
    within = torch.cat([inner, last], -1)
    # tied rollouts leave the same others: equal to the last bit
    within = torch.where(top[..., 1:] == top[..., -1:], last, within)
    within = torch.where(top[..., 1:] == top[..., :1], below, within)
    return torch.cat([below.expand(*r.shape[:-1], first), within], -1)


def tea(r: Tensor, tail_count: int, coefficients: Coefficients, centred: bool, c: float) -> Tensor:
    """Twin of `_kernels.tea`, at c = c_N."""
    return tea_of_all(r, tail_count, *at(c, coefficients), centred, TINY)


def tea_of_all(
    r: Tensor, tail_count: int, hinge: float, bend: float, centred: bool, narrow: float | Tensor
) -> Tensor:
    """TEA's advantages of sorted groups, or of sorted subsets of them."""
    m = r.shape[-1]
    tail = r[..., m - tail_count :]
    found = influence(tail - tail[..., :1], *tail_excess(tail, narrow), hinge, bend)
    found = pad(found * (m / tail_count), (m - tail_count, 0))
    return found - mean_of_others(r, tail_count, hinge, bend, narrow) if centred else found


# --- gap-linear estimators ----------------------------------------------------------------------


def gap_linear(r: Tensor, level: float, base: Tensor, slopes: Tensor) -> Tensor:
    """Twin of `_kernels.gap_linear`: max@k, RLOO, Dr.GRPO, CVaR, TailRL, linear TEA.

    A running sum rather than a matrix product: products on a GPU may be rounded to TensorFloat-32.
    """
    gaps = r.diff(dim=-1)
    start = level * r[..., :1] + (base * gaps).sum(-1, keepdim=True)
    return start + pad((slopes * gaps).cumsum(-1), (1, 0))


def adaptive(
    r: Tensor,
    contrasts: Tensor,
    mean: Tensor,
    axes: Tensor,
    spread: Tensor,
    scale_weights: Tensor,
    scale_square: Tensor,
    coefficients: Tensor,
    risk: Tensor,
) -> Tensor:
    """Twin of `adaptive_tea.adaptive`; a group with an invalid reward tells the others nothing."""
    m = r.shape[-1]
    gaps = r.diff(dim=-1)
    seen = gaps.nan_to_num(0.0, 0.0, 0.0)
    unit = seen.amax()
    seen = seen / torch.where(unit > 0.0, unit, 1.0)
    scale = (seen * scale_weights).sum(-1)
    columns = torch.cat(
        [(seen[:, None] * contrasts).sum(-1), torch.stack([scale, scale.square()], -1)], -1
    )
    shifted = pad(columns, (0, 0, 1, 0))[:-1].cumsum(0)
    pooled = shifted + pad(columns.flip(0), (0, 0, 1, 0))[:-1].cumsum(0).flip(0)
    rises, total, squares = pooled[:, :-2], pooled[:, -2:-1], pooled[:, -1:]
    told = total > 0.0
    count = max(r.shape[0] - 1, 1)
    unevenness = count * squares / torch.where(told, total.square(), 1.0)
    effective = count * (scale_square / torch.where(told, unevenness, 1.0)).clamp(max=1.0)
    variance = spread / effective[..., None] + MISFIT**2
    safe = torch.where(told, rises, 1.0)
    data = (axes * (safe[:, None] / mean)[..., None]).sum(-2)
    ones = axes.sum(-2)
    a = (data.square() / variance).sum(-1)
    b = (data * ones / variance).sum(-1)
    c = (ones.square() / variance).sum(-1)
    q = rises.shape[-1]
    peak = (b + (b.square() + 4.0 * (q - 1) * a).sqrt()) / (2.0 * a)
    logs = (q - 1) * peak.log() - 0.5 * ((a * peak - 2.0 * b) * peak + c)
    logs = logs - 0.5 * (a + (q - 1) / peak.square()).log()
    logs = logs - 0.5 * variance.log().sum(-1) - mean.log().sum(-1)
    weights = torch.where(told, logs, 0.0).softmax(-1) / risk
    weights = weights / weights.sum(-1, keepdim=True)
    mixed = (weights[..., None] * coefficients).sum(-2)
    slopes, top = mixed[:, :-1], mixed[:, -1:]
    above = torch.arange(m - 1, 0, -1, device=r.device, dtype=r.dtype) / m
    start = -(above * slopes * gaps).sum(-1, keepdim=True)
    rising = torch.cat([slopes[:, :-1], slopes[:, -1:] + m * top], -1)
    return start + pad((rising * gaps).cumsum(-1), (1, 0))


def raw(r: Tensor) -> Tensor:
    """Twin of `_kernels.raw`."""
    return r


# --- few-valued rewards -------------------------------------------------------------------------


def few_valued(r: Tensor, evidence: Tensor, tables: Tensor) -> Tensor:
    """Twin of `beta_binomial.few_valued`; a group with an invalid reward tells the others nothing.

    How many values a batch has may not be looked at: there is room for `MOST_VALUES`, and with more
    of them all advantages are NaN.
    """
    m = r.shape[-1]
    known = ~r.isnan().any(-1, keepdim=True)
    # room that is not needed holds the largest value, above which there is no gap
    largest = torch.where(known, r, -torch.inf).amax()
    r = torch.where(known, r, largest).contiguous()
    ordered = r.flatten().sort().values
    number = pad(ordered[1:] != ordered[:-1], (1, 0)).cumsum(0)
    values = largest.expand(MOST_VALUES + 1).scatter(0, number.clamp(max=MOST_VALUES), ordered)
    values = torch.where(number[-1] < MOST_VALUES, values[:-1], torch.nan)
    counts = m - torch.searchsorted(r, values[1:].expand(len(r), -1).contiguous())
    # groups with s successes; a group that is not known has more than there are
    every = torch.arange(m + 1, device=r.device).expand(MOST_VALUES - 1, -1).contiguous()
    tally = torch.where(known, counts, m + 1).mT.contiguous().sort().values
    histogram = pad(torch.searchsorted(tally, every, right=True), (1, 0)).diff()
    successes, rollouts = (histogram * every).sum(-1, keepdim=True), m * known.sum()
    # a threshold at a time in the registry, all of them here: shape (thresholds, s, laws)
    others = (histogram[..., None] * evidence).sum(-2)[:, None] - evidence
    weight, baseline = expected(others[:, 1:], tables)
    success = pad(torch.where(successes > 1, weight * (1.0 - baseline), weight), (1, 0))
    weight, baseline = expected(others[:, :-1], tables)
    failure = pad(torch.where(successes < rollouts - 1, -weight * baseline, -weight), (0, 1))
    gaps, threshold = values.diff(), torch.arange(MOST_VALUES - 1, device=r.device)
    falling = gaps * failure[threshold, counts]
    rise = pad((gaps * success[threshold, counts] - falling).cumsum(-1), (1, 0))
    place = torch.searchsorted(values, r).clamp(max=MOST_VALUES - 1)
    return falling.sum(-1, keepdim=True) + rise.gather(-1, place)


def expected(others: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    """W and b from what the other groups say of each law, and what the own group's others say."""
    chance, success, square, steep = ((others + table).logsumexp(-1) for table in tables)
    return (steep - square).exp(), (success - chance).exp()


def automatic(r: Tensor, *constants: Tensor) -> Tensor:
    """Twin of `auto_tea.automatic`: both results are computed, and one of them is taken."""
    *by_library, evidence, tables = constants
    known = ~r.isnan().any(-1, keepdim=True)
    ordered = (
        torch.where(known, r, torch.where(known, r, -torch.inf).amax()).flatten().sort().values
    )
    distinct = (ordered[1:] != ordered[:-1]).sum() + 1
    few = (distinct <= MOST_VALUES) & (REPEATS * distinct <= r.shape[-1] * known.sum())
    return torch.where(few, few_valued(r, evidence, tables), adaptive(r, *by_library))


# --- z-scores -----------------------------------------------------------------------------------


def grpo(r: Tensor) -> Tensor:
    """Twin of `_kernels.grpo`: zeros where all rewards are equal."""
    m = r.shape[-1]
    span = r[..., -1:] - r[..., :1]
    unit = (r - r[..., :1]) / torch.where(span > 0, span, 1.0)
    deviation = unit - unit.mean(-1, keepdim=True)
    variance = deviation.square().sum(-1, keepdim=True) / (m - 1)
    return torch.where(span > 0, deviation / torch.where(span > 0, variance, 1.0).sqrt(), 0.0)


def cat_bon(r: Tensor, weights: Tensor) -> Tensor:
    """Twin of `_kernels.cat_bon`."""
    r = r.contiguous()
    below = torch.searchsorted(r, r)
    return grpo(r) * weights[below]


# --- the rest of the field ----------------------------------------------------------------------


def bon_max_mean(r: Tensor) -> Tensor:
    """Twin of `_kernels.bon_max_mean`."""
    top = r[..., -1:]
    excess = (top - r).mean(-1, keepdim=True)
    best = r == top
    return torch.where(best, excess / best.sum(-1, keepdim=True), 0.0)


def rs_grpo(r: Tensor, beta: float) -> Tensor:
    """Twin of `_kernels.rs_grpo`."""
    # against the reward with the largest exponent, every e^{β(r − best)} lies in [0, 1]
    distance = r - (r[..., -1:] if beta >= 0.0 else r[..., :1])
    utility = torch.expm1(beta * distance) / beta if beta != 0.0 else distance
    mean = utility.mean(-1, keepdim=True)
    return (utility - mean) / (1.0 + beta * mean)


def by_success_count(r: Tensor, success: Tensor, failure: Tensor) -> Tensor:
    """Twin of `_kernels.by_success_count`."""
    passed = r > 0.0
    count = passed.sum(-1, keepdim=True)
    return torch.where(passed, success[count], failure[count])


# --- Prefix-TEA ---------------------------------------------------------------------------------


def by_subset_size(
    masks: NDArray[np.int64],
    sizes: NDArray[np.int64],
    tail_counts: NDArray[np.int64],
    table: NDArray[np.float64],
    factors: NDArray[np.float64],
    crossfit: bool,
    centred: bool,
) -> tuple[Any, ...]:
    """Arrange the subsets in batches of one size, tail count and coefficients.

    A size becomes a tensor's shape, so it has to be known on the host.
    """
    columns = (sizes.tolist(), tail_counts.tolist(), map(tuple, table.tolist()))
    kinds = list(zip(*columns, strict=True))
    batches = []
    for kind in dict.fromkeys(kinds):
        rows = np.array([t for t, other in enumerate(kinds) if other == kind])
        for chosen in np.split(rows, range(SUBSETS_AT_ONCE, len(rows), SUBSETS_AT_ONCE)):
            members = masks[chosen // 64] >> (chosen % 64)[:, None] & 1 == 1
            batches.append((members, factors[chosen], *kind))
    return tuple(batches), crossfit, centred


def prefix_tea(
    r: Tensor, order: Tensor, batches: tuple[Any, ...], crossfit: bool, centred: bool, c: float
) -> Tensor:
    """Twin of `_kernels.prefix_tea`, at c = c_N; T subsets of one size form a leading axis."""
    narrow = (NARROW * (r[..., -1:] - r[..., :1])).clamp(min=TINY)
    out = torch.zeros_like(r)
    for members, factors, n, tail_count, coefficients in batches:
        hinge, bend = at(c, coefficients)
        inside = members[:, order]
        # each subset's sorted rewards, and a last column for all that lies outside it
        slot = torch.where(inside, inside.cumsum(-1) - 1, n)
        packed = r.new_zeros(*slot.shape[:-1], n + 1).scatter(-1, slot, r.expand(slot.shape))
        subset = packed[..., :n]
        if crossfit:
            found = tea_outside(r, inside, subset, tail_count, hinge, bend, centred, narrow)
        else:
            found = tea_of_all(subset, tail_count, hinge, bend, centred, narrow)
            found = pad(found, (0, 1)).gather(-1, slot)
        out = out + (factors[:, None, None] * found).sum(0)
    return out


def tea_outside(
    r: Tensor,
    inside: Tensor,
    subset: Tensor,
    tail_count: int,
    hinge: float,
    bend: float,
    centred: bool,
    narrow: Tensor,
) -> Tensor:
    """TEA of the rollouts outside each subset, with the subset's tail statistics."""
    n = subset.shape[-1]
    tail = subset[..., n - tail_count :]
    mean, sd = tail_excess(tail, narrow)
    excess = r - tail[..., :1]
    found = influence(excess, mean, sd, hinge, bend) * (n / tail_count)
    found = torch.where(excess >= 0.0, found, 0.0)
    if centred:
        found = found - mean_influence(mean, sd, hinge, bend)
    return torch.where(inside, 0.0, found)


#: twin of each kernel, by the kernel's name (a compiler follows a name, not a Numba function)
TWINS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "tea": tea,
        "prefix_tea": prefix_tea,
        "gap_linear": gap_linear,
        "adaptive": adaptive,
        "few_valued": few_valued,
        "automatic": automatic,
        "raw": raw,
        "grpo": grpo,
        "cat_bon": cat_bon,
        "bon_max_mean": bon_max_mean,
        "rs_grpo": rs_grpo,
        "by_success_count": by_success_count,
    }
)

#: how a kernel's constants are laid out for its twin, where they are not taken as they are
ARRANGED: Mapping[str, Callable[..., tuple[Any, ...]]] = MappingProxyType(
    {"prefix_tea": by_subset_size}
)
