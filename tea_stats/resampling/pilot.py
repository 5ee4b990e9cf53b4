r"""From a log to the laws of its prompts: what was observed, and a tail beyond it.

Few-valued rewards have no tail; their probabilities are drawn from a posterior (`dirichlet`), so
that prompts differ as they do, and not as their counts do.

Continuous rewards: a prompt has its own n rewards, r_(j) around the probability j/(n + 1). Beyond
the largest, where N draws look but n did not, follows a tail by the spacings below it. With p the
probability above, z normal quantiles and a(p) = p/φ(z_{1−p}) = dz/d(−log p),

.. math:: \frac{dQ}{d(−\log p)} = s \, a(p) \, p^{−ξ},

which is Gaussian at ξ = 0, heavier above and lighter below. The normalised spacings
y_j = j (r_(n−j+1) − r_(n−j)) of the best quarter are exponential with the mean s a(p) p^{−ξ} at
p = j/n (Rényi). Each prompt has its own s, by the median of its y_j; ξ is one for all, minus the
slope of the medians over prompts of log(y_j/a) in log p, shrunk by its noise. Medians ignore the
one gap that a mixture of two kinds of completions has. No tail is added where the two best tie.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tea_stats.families.law import Array
from tea_stats.resampling import dirichlet
from tea_stats.resampling.laws import PromptLaws
from tea_stats.reward_log.log import RewardLog

#: the share of a prompt's rollouts that is its tail, and the fewest spacings in it
TAIL, SPACINGS = 0.25, 3
#: bounds of ξ: beyond, rewards of the tail have no variance
STEEPEST = 0.45
#: more rollouts of a prompt are thinned to this many, by rank
MOST_ROLLOUTS = 256
#: rewards beyond the largest: to a probability of 1/(DEPTH · N), so many an octave
DEPTH, OCTAVE = 16, 3
#: fewest rollouts whose tail can be extended
LEAST = 8
#: standard deviation of a median of log-exponential variables, for one of them
LOG_SPREAD = 1.6
#: the mean of the largest of n exponential rewards lies at the upper tail probability e^{−γ}/n
AT_MEAN = math.exp(-np.euler_gamma)


def prompt_laws(
    log: RewardLog,
    N: int,
    *,
    few: bool,
    rng: np.random.Generator,
    extended: bool = True,
    posterior: bool = True,
) -> PromptLaws:
    """Return the laws of a log's prompts; of many prompts some, drawn at random.

    Parameters
    ----------
    log : RewardLog
        Rewards by prompt.
    N : int
        The largest budget that the tail must serve.
    few : bool
        Whether rewards are few-valued.
    rng : numpy.random.Generator
        Source of what is drawn.
    extended : bool
        Whether continuous rewards get a tail beyond the largest one.
    posterior : bool
        Whether probabilities of few-valued rewards are drawn, or the shares of the log.

    Returns
    -------
    PromptLaws
        One law for each prompt, in the units of the rewards.
    """
    if few:
        draw = dirichlet.posterior if posterior else dirichlet.shares
        own, chances = draw(log, rng)
        return PromptLaws.of_values(np.broadcast_to(own, chances.shape), chances)
    groups = [np.sort(group) for group in log]
    if len(groups) > dirichlet.MOST_PROMPTS:
        chosen = np.sort(rng.choice(len(groups), dirichlet.MOST_PROMPTS, replace=False))
        groups = [groups[place] for place in chosen]
    groups = [_thinned(group) for group in groups]
    shape = tail_shape(groups) if extended else math.nan
    rows = [_law(group, N, shape) for group in groups]
    width = max(len(values) for values, _, _ in rows)
    values, masses, widths = np.zeros((3, len(rows), width))
    for place, (own, chances, ties) in enumerate(rows):
        count = len(own)
        values[place, :count], values[place, count:] = own, own[-1]
        masses[place, :count] = chances
        widths[place, :count] = piece_widths(own, ties)
    return PromptLaws(values, masses, widths)


def piece_widths(values: Array, tied: NDArray[np.bool_]) -> Array:
    """Return how wide the piece around each of a prompt's rewards is; 0 where rewards tie.

    Up to the middle of the nearer gap on both sides, but no wider than the median gap: the space
    between two kinds of completions stays empty.

    Examples
    --------
    >>> piece_widths(np.array([0.0, 1.0, 2.0, 9.0, 9.5]), np.zeros(5, dtype=bool)).tolist()
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """
    if len(values) < 2:
        return np.zeros(len(values))
    gaps = np.diff(values)
    nearer = np.minimum(np.append(gaps[0], gaps), np.append(gaps, gaps[-1]))
    return np.where(tied, 0.0, np.minimum(nearer, np.median(gaps)))


def _thinned(group: Array) -> Array:
    """Return at most `MOST_ROLLOUTS` of the sorted rewards, evenly by rank."""
    n = len(group)
    if n <= MOST_ROLLOUTS:
        return group
    ranks = (np.arange(MOST_ROLLOUTS) + 0.5) * n / MOST_ROLLOUTS
    return group[ranks.astype(int)]


def _law(group: Array, N: int, shape: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return values, masses and ties of one sorted group."""
    n = len(group)
    values, counts = np.unique(group, return_counts=True)
    tied = counts > 1
    beyond = None if math.isnan(shape) else tail_beyond(group, N, shape)
    if beyond is None:
        return values, counts / n, tied
    own, chances = beyond
    masses = counts / (n + 1)
    masses[0] += 0.5 / (n + 1)
    return (
        np.append(values[:-1], own),
        np.append(masses[:-1], chances),
        np.append(tied[:-1], np.zeros(len(own), dtype=bool)),
    )


def spacings(group: Array) -> tuple[Array, Array]:
    """Return p = j/n and y_j/a(p) of the best quarter of a sorted group."""
    n = len(group)
    j = np.arange(1, max(SPACINGS, math.ceil(TAIL * n)) + 1)
    return j / n, j * (group[n - j] - group[n - j - 1]) / normal_slope(j / n)


def normal_slope(p: Array) -> Array:
    """Return a(p) = dz/d(−log p), z the upper quantile of the Normal law at probability p."""
    z = special.ndtri(p)
    return np.asarray(p * math.sqrt(2.0 * math.pi) * np.exp(0.5 * z * z))


def tail_shape(groups: list[Array]) -> float:
    """Return ξ of sorted groups, NaN where none has a tail of `SPACINGS` different rewards."""
    logs: dict[int, list[Array]] = {}
    for group in groups:
        if len(group) >= LEAST:
            _, y = spacings(group)
            if y.min() > 0.0:
                logs.setdefault(len(group), []).append(np.log(y) - np.median(np.log(y)))
    if not logs:
        return math.nan
    covariance = size = 0.0
    for n, own in logs.items():
        x = np.log(np.arange(1, own[0].size + 1) / n)
        x -= x.mean()
        covariance -= len(own) * float(x @ np.median(own, axis=0))
        size += len(own) * float(x @ x)
    shape, noise = covariance / size, LOG_SPREAD**2 / size
    if noise >= shape**2:
        return 0.0
    return float(np.clip(shape * (1.0 - noise / shape**2), -STEEPEST, STEEPEST))


def tail_beyond(group: Array, N: int, shape: float) -> tuple[Array, Array] | None:
    """Return rewards and probabilities around and beyond the largest reward of a sorted group.

    They share the probability 1.5/(n + 1); the largest reward lies where it does on average. None
    where there is no such tail.
    """
    n = len(group)
    if n < LEAST or group[-1] == group[-2]:
        return None
    p, y = spacings(group)
    scale = float(np.median(y * p**shape)) / _median_of_exponentials(len(p))
    whole = 1.5 / (n + 1)
    octaves = math.log2(max(2.0, whole * DEPTH * N))
    edges = whole * 2.0 ** (-np.arange(math.ceil(OCTAVE * octaves) + 1) / OCTAVE)
    chances = -np.diff(np.append(edges, 0.0))
    middle = np.append(np.sqrt(edges[:-1] * edges[1:]), 0.5 * edges[-1])
    slope = normal_slope(middle) * middle**-shape
    rise = np.cumsum(np.append(0.0, 0.5 * (slope[1:] + slope[:-1]) * -np.diff(np.log(middle))))
    at = np.interp(-math.log(AT_MEAN / n), -np.log(middle), rise)
    values = np.maximum(group[-1] + scale * (rise - at), group[-2])
    return values, chances


def _median_of_exponentials(count: int) -> float:
    """Return the mean of the median of independent standard exponential variables."""
    means = np.cumsum(1.0 / np.arange(count, 0, -1))
    return float(np.median(means))
