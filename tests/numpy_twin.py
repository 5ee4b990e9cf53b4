"""A second, vectorised NumPy implementation of every estimator and of the measurement.

Written from the defining formulas, in the way one would without kernels: whole arrays, no sorting
of groups shared between estimators. Tests compare it with the registry, the benchmark races it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from tea_stats import tails
from tea_stats.best_of_n import order_statistics
from tea_stats.estimators.beta_binomial import priors as beta_priors
from tea_stats.estimators.order_statistic import preset
from tea_stats.estimators.prefix_tea import default_prefixes, prefix_weights
from tea_stats.linear import library, shapes
from tea_stats.linear.design import linear_tea_design
from tea_stats.tails.calibration import influence_means


def tea(r, N, alpha=0.25, calibrated=False, ddof=0, extrapolation="expected_maximum"):
    m = r.shape[-1]
    k = tails.tail_count(m, alpha)
    top = np.sort(r, axis=-1)[..., m - k :]
    low = top[..., :1]
    mean, sd = top.mean(-1, keepdims=True), top.std(-1, ddof=ddof, keepdims=True)
    hinge, c = 1.0, tails.tail_coefficient(k / m, N)
    if extrapolation == "quantile":
        _, tail_mean, tail_sd = tails.gaussian_tail_moments(k / m)
        c = (special.ndtri(1.0 - 1.0 / N) - tail_mean) / tail_sd
    if calibrated:
        signal = np.array(influence_means(m, k))
        hinge, c = np.linalg.solve(signal, [1.0, tails.normal_max_mean(N)])
    # 1 where the tail has no spread, so that nothing is divided by zero; it is masked below
    safe = np.where(sd > 0, sd, 1.0)
    bracket = hinge * (r - low) + c / (2 * safe) * ((r - mean) ** 2 - (low - mean) ** 2)
    return np.where((r >= low) & (sd > 0), bracket * m / k, 0.0)


def prefix_tea(r, N, alpha=0.25, order=2, prefixes=None, crossfit=False, orderings=8, seed=0):
    m = r.shape[-1]
    sizes = prefixes or default_prefixes(m, alpha, order, crossfit)
    rng = np.random.default_rng(seed)
    permutations = [np.arange(m)] + [rng.permutation(m) for _ in range(orderings - 1)]
    total = np.zeros_like(r)
    for rank in permutations:
        for n, weight in zip(sizes, prefix_weights(sizes, order), strict=True):
            inside = rank < n
            if not crossfit:
                total[..., inside] += weight * m / n * tea(r[..., inside], N, alpha)
                continue
            k = tails.tail_count(n, alpha)
            top = np.sort(r[..., inside], axis=-1)[..., n - k :]
            low = top[..., :1]
            mean, sd = top.mean(-1, keepdims=True), top.std(-1, keepdims=True)
            c = tails.tail_coefficient(k / n, N)
            x = r[..., ~inside]
            bracket = (x - low) + c / (2 * sd) * ((x - mean) ** 2 - (low - mean) ** 2)
            total[..., ~inside] += weight * m / (m - n) * np.where(x >= low, bracket, 0.0) * n / k
    return total / orderings


def _ranked(r, advantages_of_sorted):
    order = np.argsort(r, axis=-1)
    out = np.empty_like(r)
    np.put_along_axis(out, order, advantages_of_sorted(np.take_along_axis(r, order, -1)), -1)
    return out


def linear_tea(r, N, **options):
    matrix = linear_tea_design(r.shape[-1], N, **options).matrix
    return _ranked(r, lambda x: np.einsum("...j,ij->...i", x, matrix))


def max_at_k(r, N, k=None, form=None):
    m = r.shape[-1]
    k = min(N, m) if k is None else k
    form = form or ("canonical" if k < m else "loo-1")
    j = np.arange(1, m + 1)
    # the lowest rank has no rollout below it: its entry in `above` is never used
    rank_below = np.maximum(j - 2, 0)

    def with_own(x, k):
        """Mean of the maximum over the k-subsets that contain each rollout."""
        own = special.binom(j - 1, k - 1) / special.binom(m - 1, k - 1)
        above = special.binom(rank_below, k - 2) / special.binom(m - 1, k - 1) if k > 1 else 0 * own
        beyond = np.cumsum((above * x)[..., ::-1], -1)[..., ::-1] - above * x
        return own * x + beyond

    def of_others(x, k):
        """Unbiased max@k of the other m − 1 rollouts."""
        below = special.binom(j - 1, k - 1) / special.binom(m - 1, k)
        above = special.binom(rank_below, k - 1) / special.binom(m - 1, k)
        under = np.cumsum(below * x, -1) - below * x
        over = np.cumsum((above * x)[..., ::-1], -1)[..., ::-1] - above * x
        return under + over

    def advantages(x):
        if form == "s":
            return k * with_own(x, k)
        if form == "loo":
            return k * with_own(x, k) - m * k / (m - 1) * of_others(x, k)
        return k * (with_own(x, k) - of_others(x, k - 1 if form == "loo-1" else k))

    return _ranked(r, advantages)


def l_statistic(r, weights):
    """Mean of Σ_j weights_j r_(j:S) over all subsets S of as many rollouts as there are weights."""
    n, k = r.shape[-1], len(weights)
    rank, j = np.arange(1, n + 1)[:, None], np.arange(1, k + 1)
    chance = special.binom(rank - 1, j - 1) * special.binom(n - rank, k - j) / special.binom(n, k)
    return np.sort(r, axis=-1) @ (chance @ weights)


def order_statistic(r, N, k=None, weights="top:2"):
    m = r.shape[-1]
    c = preset(weights, k or max(2, m // 2))
    whole = l_statistic(r, c)
    return m * each_without(r, lambda _, others: whole - l_statistic(others, c))


def bon_rl(r, N):
    m = r.shape[-1]
    weights = np.ones(m - 1)
    if N > 1:
        # the divergence of the density ∝ e^{λu} on (0, 1) from the uniform one, by quadrature
        x, dx = np.polynomial.legendre.leggauss(400)

        def missing(tilt):
            density = np.exp(tilt * (x - 1) / 2)
            density /= dx @ density / 2
            return dx @ special.xlogy(density, density) / 2 - (math.log(N) - 1 + 1 / N)

        weights = np.exp(
            optimize.brentq(missing, 1e-3, 4 * N, xtol=1e-13) * (np.arange(1, m) / (m - 1) - 1)
        )
    return order_statistic(r, N, k=m - 1, weights=weights / weights.sum())


def reinforce(r, N):
    return r.copy()


def dr_grpo(r, N):
    return r - r.mean(-1, keepdims=True)


def rloo(r, N):
    m = r.shape[-1]
    return m / (m - 1) * dr_grpo(r, N)


def grpo(r, N):
    sd = r.std(-1, ddof=1, keepdims=True)
    return np.where(
        np.ptp(r, axis=-1, keepdims=True) > 0, dr_grpo(r, N) / np.where(sd > 0, sd, 1), 0
    )


def each_without(r, statistic):
    """Return statistic(own reward, rewards of the others) of every rollout."""
    parts = [statistic(r[..., i], np.delete(r, i, axis=-1)) for i in range(r.shape[-1])]
    return np.stack(parts, axis=-1)


def grpo_z(r, N):
    def z(own, others):
        sd = others.std(-1, ddof=1)
        some = np.ptp(others, axis=-1) > 0
        return np.where(some, (own - others.mean(-1)) / np.where(some, sd, 1.0), 0.0)

    return each_without(r, z)


def entropic(r, N, kl=0.6931471805599453):
    out = np.zeros_like(r)
    for g, group in enumerate(r):
        m, x = len(group), group - group.max()

        def missing(log_beta, x=x, m=m):
            q = special.softmax(np.exp(log_beta) * x)
            return special.xlogy(q, m * q).sum() - kl

        if not x.any():
            continue
        weight = 1.0 * (x == 0)
        if (x == 0).sum() * math.exp(kl) < m:
            weight = np.exp(np.exp(optimize.brentq(missing, -20, 20, xtol=1e-14)) * x)
        out[g] = each_without(weight, lambda own, others: own / others.mean() - 1.0)
    return out


def leave_one_out_max(r, N):
    top = np.partition(r, -2, axis=-1)[..., -2:]
    return np.where(r == top[..., 1:], top[..., 1:] - top[..., :1], 0.0)


def bon_max_mean(r, N):
    best = r == r.max(-1, keepdims=True)
    return best * dr_grpo(r, N) / best.sum(-1, keepdims=True)


def cat_bon(r, N):
    m = r.shape[-1]
    below = (r[..., None, :] < r[..., :, None]).sum(-1)
    return N * ((below + 1) / (m + 1)) ** (N - 1) * grpo(r, N)


def rs_grpo(r, N, beta=2.0):
    weight = np.exp(beta * (r - r.max(-1, keepdims=True)))
    return (weight / weight.mean(-1, keepdims=True) - 1) / beta


def cvar(r, N, alpha=0.25):
    m = r.shape[-1]
    k = tails.tail_count(m, alpha)
    low = np.sort(r, axis=-1)[..., m - k][..., None]
    return np.maximum(r - low, 0.0) * m / k


def tail_rl(r, N):
    m = r.shape[-1]

    def advantages(x):
        steps = np.diff(x, axis=-1, prepend=x[..., :1]) / (m - np.arange(m))
        return np.cumsum(steps, -1)

    return _ranked(r, advantages)


def max_rl(r, N):
    mean = r.mean(-1, keepdims=True)
    return np.where(mean > 0, (r - mean) / np.where(mean > 0, mean, 1), 0.0)


def pass_at_k(r, N, k=None):
    m = r.shape[-1]
    k = min(N, m) if k is None else k
    failures = (r == 0).sum(-1, keepdims=True)
    mean = 1 - special.binom(failures, k) / math.comb(m, k)
    sd = np.sqrt(mean * (1 - mean))
    of_failure = 1 - mean - special.binom(failures - 1, k - 1) / math.comb(m - 1, k - 1)
    safe = np.where(sd > 0, sd, 1.0)
    return np.where(sd > 0, np.where(r > 0, 1 - mean, of_failure) / safe, 0.0)


def adaptive_tea(r, N, prompts=64):
    """Group by group, with full covariance matrices in place of their axes."""
    m = r.shape[-1]
    designs = library.designs(m, N, prompts)
    sizes = [k for k in library.CURVE if k <= m]
    j = np.arange(1, m + 1)
    best_of = np.array([special.binom(j - 1, k - 1) / special.binom(m, k) for k in sizes])
    rises = np.diff(best_of, axis=0)
    gini = (2 * j - m - 1) / (m * (m - 1))
    x = np.sort(r, axis=-1)
    out = np.empty_like(r)
    for g in range(len(r)):
        others = np.delete(x, g, axis=0)
        scales = others @ gini
        logs = np.zeros(len(library.LIBRARY))
        for place, law in enumerate(library.LIBRARY.values()):
            if scales.max() <= 0:
                break
            order = order_statistics.means(law, m)
            products = order_statistics.gap_second_moments(law, m, library.COARSE)
            # from gaps to rewards: the covariance of r_(i) − r_(1)
            above = np.tri(m, m - 1, -1)
            gaps = np.diff(order)
            covariance = above @ (products - np.outer(gaps, gaps)) @ above.T
            expected = rises @ order
            square = gini @ above @ products @ above.T @ gini / (gini @ order) ** 2
            uneven = (scales**2).mean() / scales.mean() ** 2
            effective = len(others) * min(1.0, square / uneven)
            relative = rises @ covariance @ rises.T / np.outer(expected, expected) / effective
            relative += library.MISFIT**2 * np.eye(len(expected))
            logs[place] = _log_evidence(others.mean(axis=0) @ rises.T, expected, relative)
        weights = special.softmax(logs) / designs.risk
        mixed = weights / weights.sum() @ designs.coefficients
        slopes = mixed[:-1]
        indicator = r[g][:, None] > x[g][:-1]
        # each gap lifts the rollouts above it; centred over the group
        lift = (indicator - indicator.mean(axis=0)) * slopes
        out[g] = lift @ np.diff(x[g])
        out[g, r[g].argmax()] += mixed[-1] * m * (x[g][-1] - x[g][-2])
    return out


def _log_evidence(data, mean, relative):
    """Log ∫ N(data; σ mean, σ² covariance) dσ/σ by Laplace's method in 1/σ, up to a constant."""
    q = len(mean)
    inverse = np.linalg.inv(relative)
    y, one = data / mean, np.ones(q)
    a, b, c = y @ inverse @ y, y @ inverse @ one, one @ inverse @ one
    t = (b + math.sqrt(b * b + 4 * (q - 1) * a)) / (2 * a)
    height = (q - 1) * math.log(t) - 0.5 * (a * t * t - 2 * b * t + c)
    width = -0.5 * math.log(a + (q - 1) / t**2)
    return height + width - 0.5 * np.linalg.slogdet(relative)[1] - np.log(mean).sum()


def beta_binomial(r, N):
    """Group by group, threshold by threshold, with the moments of each beta law's posterior."""
    groups, m = r.shape
    a, b = beta_priors()
    values = np.unique(r)
    out = np.zeros_like(r)
    for low, high in pairwise(values):
        passed = r >= high
        counts = passed.sum(-1)
        for g in range(groups):
            for success in (False, True):
                mine = passed[g] == success
                if not mine.any():
                    continue
                s = counts[g] - success
                others = np.delete(counts, g)[:, None]
                logs = special.betaln(a + others, b + m - others) - special.betaln(a, b)
                alpha, beta = a + s, b + m - 1 - s
                own = special.betaln(alpha, beta) - special.betaln(a, b)
                law = special.softmax(logs.sum(0) + own)
                n = alpha + beta
                w = alpha * beta / (n * (n + 1))
                steep = N * np.exp(
                    special.betaln(alpha + 1, beta + N) - special.betaln(alpha, beta)
                )
                weight = (law * w * steep).sum() / (law * w**2).sum()
                baseline = (law * alpha / n).sum()
                seen = others.sum() + s
                baseline = {0: 0.0, groups * m - 1: 1.0}.get(int(seen), baseline)
                out[g, mine] += (high - low) * weight * (success - baseline)
    return out


def shape(g):
    """Return the shape of one group from its gaps, without the two squares."""
    m = len(g) + 1
    i, j = np.triu_indices(m, 1)
    x = np.append(0.0, np.cumsum(g))
    scale = np.mean(x[j] - x[i]) / 2
    best = {
        k: x @ [special.binom(i, k - 1) / special.binom(m, k) for i in range(m)]
        for k in library.CURVE
        if 2 <= k <= m
    }
    rises = [math.log(max((high - low) / scale, 1e-6)) for low, high in pairwise(best.values())]
    half = (m - 1) // 2
    blocks = (g[:half], g[half:-1], g)
    return [*rises, *(np.log(((h / h.sum()) ** 2).sum()) if h.sum() > 0 else 0.0 for h in blocks)]


def auto_tea(r, N, prompts=64):
    """Group by group; the expected shapes and max@m are the library's own."""
    groups, m = r.shape
    order = np.argsort(r, -1)
    g = np.diff(np.take_along_axis(r, order, -1), axis=-1)
    live = g.sum(-1) > 0
    up = g > 1e-6 * g.sum(-1, keepdims=True)
    few = np.ones(groups)
    for i in np.flatnonzero(live):
        counts = np.diff(np.flatnonzero(np.r_[True, up[i], True]))
        D, single = len(counts), (counts == 1).mean()
        few[i] = np.clip((6 - D) / 2, 0, 1) * np.clip(3 - 4 * single, 0, 1)
    laws = len(library.LIBRARY)
    designs = library.designs(m, N, prompts)
    pi = np.zeros((groups, laws + 1))
    pi[:, -1] = 1
    if m >= 3 and live.any():
        known = shapes.expected(m)
        plain = np.array(
            [shape(x) if alive else shape(np.ones(m - 1)) for x, alive in zip(g, live, strict=True)]
        )
        z = (plain[:, [len(plain[0]) - 4, -1]] - known.centre) / known.spread
        full = np.hstack([plain, np.minimum(abs(z), 4) ** 2 / 4])
        bounded = np.clip(full, known.low, known.high)
        for i in range(groups):
            others = np.delete(np.arange(groups), i)
            w = 1 - few[others]
            if not w.any():
                continue
            mean, n = w @ bounded[others] / w.sum(), w.sum()
            share = 0.1 * n / (n + 16)
            far = len(known.mean) - laws - 1
            logs = np.empty(len(known.mean))
            for h, (mu, axes, v, e) in enumerate(
                zip(known.mean, known.axes, known.variance, known.misfit, strict=True)
            ):
                sigma = axes @ np.diag(v / n + e) @ axes.T
                rest = (1 - share) / 2
                prior = share / laws if h < laws else rest / far if h < laws + far else rest
                logs[h] = math.log(prior) - 0.5 * np.linalg.slogdet(sigma)[1]
                logs[h] -= 0.5 * (mean - mu) @ np.linalg.solve(sigma, mean - mu)
                if h < laws:
                    own = axes @ np.diag(v + e) @ axes.T
                    d = (full[i] - mu) @ np.linalg.solve(own, full[i] - mu)
                    logs[h] += min(0.0, 50 - d / 2)
            posterior = special.softmax(logs)
            pi[i] = [*posterior[:laws], posterior[laws:].sum()]
    out = np.zeros_like(r)
    best = max_at_k(r, N)
    fewest = in_levels(g, few, live, up, N)
    capped = ceilings(np.take_along_axis(r, order, -1), np.where(live, 1 - few, 0.0), N)
    for i in np.flatnonzero(live):
        mixed = pi[i, :-1] / designs.risk
        x = mixed / max(mixed.sum(), 1e-300) * (1 - pi[i, -1]) @ designs.coefficients
        slopes = x[:-1] + 0.0
        level = -(slopes * np.arange(m - 1, 0, -1) / m) @ g[i]
        slopes[-1] += m * x[-1]
        a = level + np.append(0.0, np.cumsum(slopes * g[i]))
        kept, added = capped[i]
        a = kept * (a + pi[i, -1] * best[i, order[i]]) + added * best[i, order[i]]
        a = (1 - few[i]) * a + few[i] * fewest[i]
        out[i, order[i]] = a
    return out


def in_levels(g, few, live, up, N):
    """Beta-binomial on the levels of each group in its own unit; sorted."""
    groups, m = len(g), g.shape[1] + 1
    a, b = beta_priors()
    # each beta law of p three times: some prompts never succeed
    dead = np.repeat([0.0, 0.3, 0.6], len(a))
    start = np.repeat(np.log([0.9, 0.05, 0.05]), len(a))
    a, b = np.tile(a, 3), np.tile(b, 3)
    whole = special.betaln(a, b)

    @cache
    def likely(s):
        alive = (1 - dead) * np.exp(special.betaln(a + s, b + m - s) - whole)
        return np.log(alive + dead * (s == 0))

    alike = np.logaddexp(likely(0), likely(m))
    place = np.zeros((groups, m))
    for i in np.flatnonzero(live):
        steps = np.where(up[i], np.minimum(np.rint(g[i] / g[i][up[i]].min()), 4), 0)
        place[i, 1:] = np.cumsum(steps)
    out = np.zeros((groups, m))
    for i in np.flatnonzero(live & (few > 0)):
        for level in range(1, int(place[i, -1]) + 1):
            s = (place[i] >= level).sum()
            gap = m - 1 - s
            high = g[i, gap] / (place[i, gap + 1] - place[i, gap])
            others = start.copy()
            for j in np.delete(np.arange(groups), i):
                t = int((place[j] >= level).sum())
                others += few[j] * likely(t) if live[j] else alike
            for success in (True, False):
                alpha, beta = a + s - success, b + m - 1 - s + success
                law = special.softmax(others + special.betaln(alpha, beta) - whole)
                n = alpha + beta
                w = alpha * beta / (n * (n + 1))
                steep = N * np.exp(
                    special.betaln(alpha + 1, beta + N) - special.betaln(alpha, beta)
                )
                weight = (law * w * steep).sum() / (law * w**2).sum()
                baseline = {0: 0.0, m - 1: 1.0}.get(int(s - success), (law * alpha / n).sum())
                mine = (place[i] >= level) == success
                out[i, mine] += high * weight * (success - baseline)
    return out


def ceilings(r, w, N):
    """Return what is kept of each sorted group's advantages, and what is added of max@m's."""
    groups, m = r.shape
    half = m // 2
    pairs = [(pi, p) for pi in (0.125, 0.25, 0.5, 0.75, 1.0) for p in np.geomspace(5e-4, 0.7, 20)]
    below = np.array([(1 - p) ** max(N - m, 0) for _, p in pairs])

    @cache
    def hits(s):
        return np.array([pi * stats.binom.pmf(s, m, p) for pi, p in pairs])

    free = np.array([1 - pi for pi, _ in pairs])
    ties = [int((x == x[-1]).sum()) for x in r]
    found = []
    for i in range(groups):
        others = [j for j in range(groups) if j != i and w[j] > 0]
        if not w[i] > 0 or not others:
            found.append((1.0, 0.0))
            continue
        number, tops = Counter(), Counter()
        for j in others:
            tops[r[j, -1]] += w[j]
            for x in r[j]:
                number[x] += w[j]
        highest, common = max(tops), max(tops, key=lambda v: (tops[v], v))
        signs = []
        for v in dict.fromkeys((common, highest)):
            odds = 0.0
            if number[v] > 1 + 1e-9:
                lower = sorted((x for x in number if x < v), reverse=True)
                upper = sorted(x for x in number if x > v)
                reach = [*lower[:256], *upper[:256]]
                excess = {x: max(number[x] - 1, 0.0) for x in reach}
                share = sum(excess.values())
                shape = 0.1 + 0.9 * share / (share + len(reach))
                logs = [0.0]
                for steps in (1, 2, 4, 8, 16, 32, 64, 128, 256):
                    near = [*lower[:steps], *upper[:steps]]
                    logs.append(
                        bound(number[v] - 1, sum(excess[x] for x in near) + shape, len(near))
                    )
                log_chance = min(logs) + (0 if v == highest else math.log(len(tops)))
                odds += 0.005 * (math.exp(min(max(-log_chance, 0), 50)) - 1)
                if v == highest:
                    following = number[lower[0]] if lower else 0.0
                    n = min(number[v], (number[v] + following) / 2)
                    more = (n - 1) * n / (max(following, n) + 1)
                    odds += 0.04 * (math.exp(min(max(more, 0), 50)) - 1)
            signs.append((odds, [int((r[j] == v).sum()) for j in others], True))
        tied = sum(w[j] * (ties[j] > 1) for j in others)
        runs = several = 0.0
        for j in others:
            size = np.diff(np.flatnonzero(np.r_[True, np.diff(r[j]) > 0, True]))
            last = np.cumsum(size) - 1  # where each run of equal rewards ends
            lower = (last[:-1] >= half - 1).nonzero()[0]
            runs += w[j] * len(lower)
            several += w[j] * sum(size[k] > 1 and last[k] >= half for k in lower)
        if tied > 1e-9 and runs > 1e-9:
            log_chance = bound(tied, several + 0.1, runs / sum(w[j] for j in others))
            odds = 0.02 * (math.exp(min(-log_chance, 50)) - 1)
            signs.append((odds, [ties[j] for j in others], False))
        total = sum(odds for odds, *_ in signs)
        kept, added = 1.0, 0.0

        def own_maximum(c):
            return hits(c) + ((hits(0) + free) if c == 1 else 0.0)

        with_it = hits(ties[i]) + (hits(0) if ties[i] == 1 else 0.0)
        for odds, counts, exact in signs:
            if odds <= 0:
                continue
            logs = np.log(own_maximum(ties[i]))
            for j, s in zip(others, counts, strict=True):
                logs += w[j] * np.log(hits(s) + free * (s == 0) if exact else own_maximum(s))
            posterior = special.softmax(logs) * with_it / own_maximum(ties[i])
            kept -= odds / (1 + total) * posterior.sum()
            added += odds / (1 + total) * posterior @ below
        found.append((kept, added))
    return found


def bound(count, shape, values):
    """Log of a bound on P(X ≥ count), X negative binomial; 0 at or below its mode."""
    if values == 0:
        return 0.0
    fall = (shape + count) / (count + 1) / (values + 1)
    if fall >= 1:
        return 0.0
    mass = special.gammaln(shape + count) - special.gammaln(shape) - special.gammaln(count + 1)
    mass += shape * math.log(values / (values + 1)) - count * math.log(values + 1)
    return min(mass - math.log1p(-fall), 0.0)


TWINS: Mapping[str, Callable[..., Any]] = {
    "tea": tea,
    "prefix_tea": prefix_tea,
    "linear_tea": linear_tea,
    "adaptive_tea": adaptive_tea,
    "beta_binomial": beta_binomial,
    "auto_tea": auto_tea,
    "max_at_k": max_at_k,
    "order_statistic": order_statistic,
    "bon_rl": bon_rl,
    "reinforce": reinforce,
    "rloo": rloo,
    "grpo": grpo,
    "grpo_z": grpo_z,
    "dr_grpo": dr_grpo,
    "leave_one_out_max": leave_one_out_max,
    "bon_max_mean": bon_max_mean,
    "cat_bon": cat_bon,
    "rs_grpo": rs_grpo,
    "entropic": entropic,
    "cvar": cvar,
    "tail_rl": tail_rl,
    "max_rl": max_rl,
    "pass_at_k": pass_at_k,
}


def measured(rewards, scores, requests, N):
    """Return {(label, N): x[G, d + 2]} of the same draws, as `simulate_block` sums them."""
    computed = {}
    for label, (name, options) in requests.items():
        for budget in N:
            a = TWINS[name](rewards, budget, **options)
            gradient = np.einsum("gi,dgi->gd", a, scores) / a.shape[-1]
            square = (a**2).mean(-1, keepdims=True)
            computed[label, budget] = np.hstack(
                [gradient, square, (gradient**2).sum(-1, keepdims=True)]
            )
    return computed


def power_sums(x):
    """Return the sums over groups of x, x xᵀ, x³, x⁴."""
    # einsum, because a matrix product of BLAS may start threads
    return x.sum(0), np.einsum("gi,gj->ij", x, x), (x**3).sum(0), (x**4).sum(0)
