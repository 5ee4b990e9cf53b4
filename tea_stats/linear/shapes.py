r"""The shape of a group's sorted rewards, free of unit and location, and which laws expect it.

Best-of-N beyond m rollouts has to be extrapolated by a law, and a batch of groups shows which laws
come into question, or that none does. With gaps g_1 … g_{m−1} between the sorted rewards and their
scale σ = V̂_2 − V̂_1, half of Gini's mean difference, the shape of a group is

* log((V̂_l − V̂_k)/σ) for neighbours k < l of 2, 3, 4, 6, 8, …: how the curve k ↦ V̂_k goes on;
* the concentration log Σ g² / (Σ g)² of all gaps, of the lower half, and of the upper half without
  the topmost: about the same under every smooth law, and near 0 where one wide gap, as between
  two kinds of answers, stands for all;
* z²/4 of the last rise and of the concentration of all gaps, z standardised over the library:
  in a mixture, groups with a far reward and groups without one average to a harmless shape.

Logs, within bounds, keep a single odd group from moving the mean of a batch by much. The mean shape
of n groups is compared with each law's expectation by a Gaussian likelihood, with covariance
Σ_L/n + ε² I: ε is by how much a law may miss. Expectations and covariances are those of draws with
one fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special

from tea_stats.best_of_n import order_statistics
from tea_stats.families.law import Array
from tea_stats.linear.library import CURVE, LIBRARY

#: how far the expected shape of a law of the library may be off: .04 is 4 % of a rise
MISFIT = 0.04
#: the same for the far modes, which stand for every batch like them
FAR_MISFIT = 0.08
#: the same for "none of these": any shape that a smooth law could have, and many more
ANY_MISFIT = 0.5
#: what the library has in all, at most, before the batch is seen; the far modes have half the rest
LIBRARY_SHARE = 0.1
#: other groups at which the library has half of that; without any it has nothing
FEW_GROUPS = 16
#: share of the better mode, and how many standard deviations it lies above the other
FAR_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
FAR_GAPS = (7.0, 12.0, 30.0)
#: a law is ruled out for a group whose own shape is further from it than this, squared
LARGEST_DISTANCE = 100.0
#: shapes further outside the library's than this count as at that distance
MARGIN = 1.0
#: rewards drawn for the expectations under each law, in at least so many groups
DRAWS, LEAST_GROUPS = 32_768, 512
#: rises below this share of the scale count as this: the rewards tie
LEAST_RISE = 1e-6
#: z beyond this counts as this
LARGEST_Z = 4.0


class Shapes(NamedTuple):
    """What each hypothesis expects of the mean shape: K laws, the far modes, none of these.

    Attributes
    ----------
    centre, spread : ndarray, shape (2,)
        Of the last rise and of the concentration: mean and standard deviation over the library.
    low, high : ndarray, shape (q,)
        Bounds at which the other groups' shapes are clipped.
    mean : ndarray, shape (H, q)
        Expected shape under each of the H hypotheses.
    axes, variance : ndarray, shapes (H, q, q) and (H, q)
        Principal axes of a group's shape, in columns, and its variances along them.
    misfit : ndarray, shape (H, 1)
        ε² of each hypothesis.
    """

    centre: Array
    spread: Array
    low: Array
    high: Array
    mean: Array
    axes: Array
    variance: Array
    misfit: Array


@lru_cache(maxsize=128)
def scale_weights(m: int) -> Array:
    """Return what makes the gaps of a group its scale V̂_2 − V̂_1, shape (m − 1,)."""
    below = np.arange(1, m)
    return below * (m - below) / (m * (m - 1))


@lru_cache(maxsize=128)
def _rises(m: int) -> Array:
    """Return what makes the gaps the rises of the curve from V̂_2 on, shape (m − 1, rises)."""
    sizes = [k for k in CURVE if 2 <= k <= m]
    chances = [[math.comb(b, k) / math.comb(m, k) for b in range(1, m)] for k in sizes]
    return -np.diff(np.array(chances), axis=0).T


def _plain(gaps: Array) -> Array:
    """Return logs of the rises and the concentrations, shape (G, q − 2); that of all gaps last."""
    m = gaps.shape[1] + 1
    scale = gaps @ scale_weights(m)
    gaps = gaps / np.where(scale > 0.0, scale, 1.0)[:, None]
    logs = [np.log(np.maximum(gaps @ _rises(m), LEAST_RISE))]
    half = (m - 1) // 2
    for part in (gaps[:, :half], gaps[:, half:-1], gaps):
        total = part.sum(axis=1, keepdims=True)
        parts = part / np.where(total > 0.0, total, 1.0)
        squares = (parts**2).sum(axis=1, keepdims=True)
        logs.append(np.log(np.where(total > 0.0, squares, 1.0)))
    return np.concatenate(logs, axis=1)


def _with_squares(plain: Array, m: int, centre: Array, spread: Array) -> Array:
    """Append z²/4 of the last rise and of the concentration of all gaps."""
    z = (plain[:, [_rises(m).shape[1] - 1, -1]] - centre) / spread
    return np.concatenate([plain, np.minimum(np.abs(z), LARGEST_Z) ** 2 / 4.0], axis=1)


def shapes(gaps: Array, known: Shapes) -> Array:
    """Return the shape of each group from its gaps (G, m − 1), shape (G, q)."""
    return _with_squares(_plain(gaps), gaps.shape[1] + 1, known.centre, known.spread)


@lru_cache(maxsize=1)
def _quantiles() -> tuple[Array, Array]:
    """Return logits of probabilities, and each law's quantiles there, shape (K, …)."""
    far = np.arange(17.0, 61.0)
    x = np.concatenate([-far[::-1], np.linspace(-16.0, 16.0, 801), far])
    u, p = special.expit(x), special.expit(-x)
    return x, np.array([order_statistics._quantile(law, u, p) for law in LIBRARY.values()])


@lru_cache(maxsize=32)
def expected(m: int) -> Shapes:
    """Return what each hypothesis expects of groups of m ≥ 3, from draws with one fixed seed."""
    rng = np.random.default_rng(m)
    groups = max(DRAWS // m, LEAST_GROUPS)
    u = np.sort(rng.random((groups, m)), axis=1)
    logits, (x, quantiles) = np.log(u) - np.log1p(-u), _quantiles()
    drawn = [_plain(np.diff(np.interp(logits, x, q), axis=1)) for q in quantiles]
    noise, chance = rng.standard_normal((groups, m)), rng.random((groups, m))
    for share in FAR_SHARES:
        for gap in FAR_GAPS:
            rewards = np.sort(noise + gap * (chance < share), axis=1)
            drawn.append(_plain(np.diff(rewards, axis=1)))
    library = np.array(drawn[: len(LIBRARY)])[:, :, [_rises(m).shape[1] - 1, -1]]
    centre, spread = library.mean(axis=(0, 1)), np.sqrt(library.var(axis=1).mean(axis=0))
    full = [_with_squares(plain, m, centre, spread) for plain in drawn]
    mean = np.array([shape.mean(axis=0) for shape in full])
    covariance = np.array([np.cov(shape.T) for shape in full])
    of_library = mean[: len(LIBRARY)]
    mean = np.vstack([mean, of_library.mean(axis=0)])
    covariance = np.append(covariance, covariance[: len(LIBRARY)].mean(axis=0)[None], axis=0)
    variance, axes = np.linalg.eigh(covariance)
    far = len(mean) - len(LIBRARY) - 1
    misfit = np.repeat([MISFIT, FAR_MISFIT, ANY_MISFIT], [len(LIBRARY), far, 1]) ** 2
    return Shapes(
        centre,
        spread,
        of_library.min(axis=0) - MARGIN,
        of_library.max(axis=0) + MARGIN,
        mean,
        axes,
        np.maximum(variance, 0.0),
        misfit[:, None],
    )


class Seen(NamedTuple):
    """Groups of one size that show the shape of their law.

    Attributes
    ----------
    gaps : ndarray, shape (G, m − 1)
        Gaps between the sorted rewards of each group.
    weight : ndarray, shape (G,)
        How much each group counts, from 0 to 1.
    asked : int
        The first so many groups want to know what the others show.
    """

    gaps: Array
    weight: Array
    asked: int


def posterior(gaps: Array, weight: Array) -> Array:
    """Return what `posteriors` does for groups of one size."""
    return posteriors([Seen(gaps, weight, len(gaps))])[0]


def posteriors(parts: Sequence[Seen]) -> list[Array]:
    """Return how far each law is believed, given each group's others of all sizes.

    Parameters
    ----------
    parts : sequence of Seen
        The groups of each size.

    Returns
    -------
    list of ndarray, shapes (asked, K + 1)
        Posterior probabilities of the laws of the library; last, that of none of them. A group's
        own shape has no say in them, unless it is far from a law's, at a squared distance d² > 100
        where about 10 are expected: then that law's likelihood is multiplied by exp((100 − d²)/2).
        Groups of weight 0 believe in none. Likelihoods of several sizes multiply.
    """
    laws = len(LIBRARY)
    results = [np.eye(laws + 1)[np.full(part.asked, laws)] for part in parts]
    sizes = [part.gaps.shape[1] + 1 for part in parts]
    # two rewards have no shape
    shaped = [c for c, m in enumerate(sizes) if m >= 3 and parts[c].weight.any()]
    if not shaped:
        return results
    known = {c: expected(sizes[c]) for c in shaped}
    own = {c: shapes(parts[c].gaps, known[c]) for c in shaped}
    sums = {c: parts[c].weight @ np.clip(own[c], known[c].low, known[c].high) for c in shaped}
    counts = {c: float(parts[c].weight.sum()) for c in shaped}
    whole = {}
    if len(parts) > 1:
        for c in shaped:
            whole[c] = _log_likelihood(known[c], sums[c][None] / counts[c], np.array([counts[c]]))
    for c, part in enumerate(parts):
        weight = part.weight[: part.asked]
        elsewhere = sum(counts[d] for d in shaped if d != c)
        count = np.maximum(counts[c] - weight, 0.0) if c in known else np.zeros(len(weight))
        rows = np.flatnonzero((weight > 0.0) & (count + elsewhere > 0.0))
        if len(rows) == 0:
            continue
        logs = np.zeros((len(rows), len(next(iter(known.values())).mean)))
        for d in shaped:
            if d != c:
                logs += whole[d]
        if c in known:
            some = np.flatnonzero(count[rows] > 0.0)
            left, number = rows[some], count[rows[some]]
            clipped = np.clip(own[c][left], known[c].low, known[c].high)
            mean = (sums[c] - clipped * weight[left, None]) / number[:, None]
            logs[some] += _log_likelihood(known[c], mean, number)
            off = _deviations(known[c], own[c][rows])[:laws]
            distance = _distances(off, (known[c].variance + known[c].misfit)[:laws])
            logs[:, :laws] += 0.5 * np.minimum(LARGEST_DISTANCE - distance, 0.0)
        logs += np.log(prior(logs.shape[1], count[rows] + elsewhere))
        likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
        likelihood /= likelihood.sum(axis=1, keepdims=True)
        results[c][rows, :-1] = likelihood[:, :laws]
        results[c][rows, -1] = likelihood[:, laws:].sum(axis=1)
    return results


def _log_likelihood(known: Shapes, mean: Array, count: Array) -> Array:
    """Return that of each hypothesis for the mean shapes (G, q) of so many groups, (G, H)."""
    logs = np.empty((len(mean), len(known.mean)))
    off = _deviations(known, mean)
    # groups that count the same have the same number of others, and there are few such numbers
    for number in np.unique(count):
        same = count == number
        variance = known.variance / number + known.misfit
        logs[same] = -0.5 * _distances(off[:, same], variance)
        logs[same] -= 0.5 * np.log(variance).sum(axis=1)
    return logs


def prior(hypotheses: int, others: Array) -> Array:
    """Return the prior probabilities (G, H): n/(n + 16) of .1 for the library, half the rest far.

    n are the other groups, shape (G,).
    """
    share = (LIBRARY_SHARE * others / (others + FEW_GROUPS))[:, None]
    laws, far = len(LIBRARY), hypotheses - len(LIBRARY) - 1
    rest = (1.0 - share) / 2.0
    parts = np.concatenate([share / laws, rest / far, rest], axis=1)
    return np.repeat(parts, [laws, far, 1], axis=1)


def _deviations(known: Shapes, x: Array) -> Array:
    """Return the squared deviations of x (G, q) from each mean along its axes, (H, G, q)."""
    # from an origin amid the hypotheses, so that the difference loses few digits
    origin = known.mean[-1]
    centre = (known.mean - origin)[:, None] @ known.axes
    return np.asarray(((x - origin) @ known.axes - centre) ** 2)


def _distances(squares: Array, variance: Array) -> Array:
    """Return (x − μ)ᵀ Σ⁻¹ (x − μ) for each hypothesis, (G, H), from squares along its axes."""
    return np.asarray((squares @ (1.0 / variance)[..., None])[..., 0].T)
