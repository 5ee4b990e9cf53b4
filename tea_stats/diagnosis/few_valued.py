"""Simulated batches of prompts with few-valued rewards, and the errors of estimators on them.

Prompts of a verifier differ in how often they succeed, from never to always; one law for all of
them would be another problem. So the prompts are those of the log. The probabilities of prompt g
are drawn once, from a Dirichlet law with the parameters counts_g + c f̄: f̄ are the frequencies of
the whole log, and 1/(1 + c) is how much likelier two rollouts of one prompt are to agree than two
of different ones, as a share of what is possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tea_stats.best_of_n.exact import gradient
from tea_stats.estimators import lookup
from tea_stats.families.finite import Discrete
from tea_stats.families.law import Array
from tea_stats.reward_log.log import RewardLog

#: prompts of the log that batches are made of
MOST_PROMPTS = 512
#: the least probability of a value, relative to the sum of all
LEAST_CHANCE = 1e-9


def prompt_laws(log: RewardLog, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the K values, and the probabilities of the log's prompts, shape (P, K)."""
    values, codes = np.unique(log.rewards, return_inverse=True)
    owner = np.repeat(np.arange(len(log)), log.sizes)
    shape = (len(log), len(values))
    counts = np.bincount(owner * len(values) + codes, minlength=np.prod(shape)).reshape(shape)
    concentration, frequencies = dirichlet_prior(counts)
    if len(counts) > MOST_PROMPTS:
        counts = rng.choice(counts, MOST_PROMPTS, replace=False, shuffle=False)
    drawn = rng.standard_gamma(counts + concentration * frequencies)
    drawn += LEAST_CHANCE * drawn.sum(axis=1, keepdims=True) + np.finfo(float).tiny
    return values, drawn / drawn.sum(axis=1, keepdims=True)


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


def truths(values: Array, probabilities: Array, N: int) -> Array:
    """Return ∇V_N of each prompt in the logits of the values, shape (P, K)."""
    return np.array([gradient(Discrete(values, np.log(row)), N) for row in probabilities])


def measure(
    values: Array,
    probabilities: Array,
    exact: Array,
    estimators: Mapping[str, tuple[str, Mapping[str, Any]]],
    m: int,
    N: int,
    *,
    prompts: int,
    batches: int,
    rng: np.random.Generator,
) -> dict[str, tuple[Array, Array]]:
    """Return, for each estimator, the squared error of each batch's gradient, and its gradient.

    Parameters
    ----------
    values, probabilities, exact
        As `prompt_laws` and `truths` return them.
    estimators : mapping
        `{label: (name, options)}`.
    m, N : int
        Rollouts per prompt, deployment budget.
    prompts, batches : int
        Prompts in a batch, drawn with replacement, and batches.
    rng : numpy.random.Generator
        Source of all draws.

    Returns
    -------
    mapping
        `"exact"`: (‖t‖², t), the mean gradients of the batches' own prompts, shapes (B,) and
        (B, K). Every label: (‖ĝ − t‖², ĝ).
    """
    chosen = rng.integers(len(probabilities), size=(batches, prompts))
    chance = probabilities[chosen]
    uniform = rng.random((batches, prompts, m))
    outcome = np.zeros(uniform.shape, dtype=np.intp)
    for edge in np.moveaxis(np.cumsum(chance, axis=-1)[..., :-1], -1, 0):
        outcome += uniform > edge[..., None]
    rewards = values[outcome]
    truth = exact[chosen].mean(axis=1)
    errors = {"exact": ((truth**2).sum(axis=-1), truth)}
    groups = np.arange(batches * prompts)[:, None]
    places = (groups * len(values) + outcome.reshape(-1, m)).ravel()
    for label, (name, options) in estimators.items():
        estimator = lookup(name, options)
        if estimator.pools:
            A = np.array([estimator.advantages(batch, N) for batch in rewards])
        else:
            A = estimator.advantages(rewards, N)
        taken = np.bincount(places, weights=A.ravel(), minlength=chance.size) / m
        # S = 1{value k} − π_k
        g = taken.reshape(chance.shape) - A.mean(axis=-1, keepdims=True) * chance
        g = g.mean(axis=1)
        errors[label] = (((g - truth) ** 2).sum(axis=-1), g)
    return errors
