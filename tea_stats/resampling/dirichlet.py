"""Probabilities of few-valued rewards on each prompt of a log: draws from their posterior.

Prompts of a verifier differ in how often they succeed, from never to always; one law for all of
them would be another problem. So the prompts are those of the log. The probabilities of prompt g
are drawn once, from a Dirichlet law with the parameters counts_g + c f̄: f̄ are the frequencies of
the whole log, and 1/(1 + c) is how much likelier two rollouts of one prompt are to agree than two
of different ones, as a share of what is possible.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tea_stats.families.law import Array
from tea_stats.reward_log.log import RewardLog

#: prompts of a log that are used
MOST_PROMPTS = 512
#: the least probability of a value, relative to the sum of all
LEAST_CHANCE = 1e-9


def posterior(log: RewardLog, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the K values, and probabilities drawn for the log's prompts, shape (P, K)."""
    values, counts = counted(log)
    concentration, frequencies = dirichlet_prior(counts)
    counts = _some(counts, rng)
    drawn = rng.standard_gamma(counts + concentration * frequencies)
    drawn += LEAST_CHANCE * drawn.sum(axis=1, keepdims=True) + np.finfo(float).tiny
    return values, drawn / drawn.sum(axis=1, keepdims=True)


def shares(log: RewardLog, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the K values, and how often the log's prompts have each, shape (P, K)."""
    values, counts = counted(log)
    counts = _some(counts, rng)
    return values, counts / counts.sum(axis=1, keepdims=True)


def _some(counts: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the counts of all prompts, or of as many as may be, drawn at random."""
    if len(counts) <= MOST_PROMPTS:
        return counts
    return rng.choice(counts, MOST_PROMPTS, replace=False, shuffle=False)


def counted(log: RewardLog) -> tuple[Array, NDArray[np.intp]]:
    """Return the K values, and the counts of the log's prompts, shape (P, K)."""
    values, codes = np.unique(log.rewards, return_inverse=True)
    owner = np.repeat(np.arange(len(log)), log.sizes)
    shape = (len(log), len(values))
    counts = np.bincount(owner * len(values) + codes, minlength=np.prod(shape)).reshape(shape)
    return values, counts


def dirichlet_prior(counts: NDArray[np.intp]) -> tuple[float, Array]:
    """Return c and f̄ from counts[P, K], by the method of moments.

    Examples
    --------
    >>> c, frequencies = dirichlet_prior(np.array([[4, 0], [0, 4], [2, 2]]))
    >>> round(c, 3), frequencies.tolist()  # rollouts of a prompt agree in 7/9, others in 1/2
    (0.8, [0.5, 0.5])
    """
    sizes = counts.sum(axis=1)
    several = sizes >= 2
    pairs = (sizes * (sizes - 1))[several].sum()
    frequencies = counts.sum(axis=0) / counts.sum()
    agree = (counts * (counts - 1))[several].sum() / pairs
    by_chance = float((frequencies**2).sum())
    # between prompts that are all alike, and prompts that always give the same reward
    correlation = np.clip((agree - by_chance) / (1.0 - by_chance), 1e-3, 0.999)
    return float(1.0 / correlation - 1.0), frequencies
