r"""The errors of estimators on batches drawn from the log itself.

Prompts are drawn from the log's, with replacement, and rollouts from their own rewards
(`resampling.prompt_laws`), so that whatever the log has is in the batch: two kinds of completions,
a ceiling, units that differ, an outlier. A policy moves smoothly in the ranks of a prompt's
rewards: the score of the rollout of mid-rank u is (z, z² − 1), z = Φ⁻¹(u), which for normal rewards
are location and log scale, the same two parameters for all prompts. The exact gradient is a finite
sum,

.. math:: ∇V_N = E[ψ_N(R) S].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from tea_stats.estimators import lookup
from tea_stats.families.law import Array
from tea_stats.resampling import PromptLaws


def rank_scores(laws: PromptLaws) -> Array:
    """Return the score of each reward of each prompt, with mean zero, shape (P, K, 2)."""
    below = np.cumsum(laws.masses, axis=1) - 0.5 * laws.masses
    above = np.cumsum(laws.masses[:, ::-1], axis=1)[:, ::-1] - 0.5 * laws.masses
    tiny = np.finfo(float).tiny
    low = special.ndtri(np.maximum(below, tiny))
    z = np.where(below < 0.5, low, -special.ndtri(np.maximum(above, tiny)))
    z = np.where(laws.masses > 0.0, z, 0.0)
    scores = np.stack([z, z**2], axis=-1)
    return scores - (laws.masses[..., None] * scores).sum(axis=1, keepdims=True)


def truths(laws: PromptLaws, scores: Array, N: int) -> Array:
    """Return ∇V_N of each prompt, shape (P, 2)."""
    return np.einsum("pk,pkd->pd", laws.masses * laws.influence(N), scores)


def measure(
    laws: PromptLaws,
    estimators: Mapping[str, tuple[str, Mapping[str, Any]]],
    m: int,
    N: int,
    *,
    prompts: int,
    batches: int,
    rng: np.random.Generator,
) -> dict[str, tuple[Array, Array, Array]]:
    """Return, for each estimator, error, gradient and squared advantages of each batch.

    Parameters
    ----------
    laws : PromptLaws
        Of the log's prompts.
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
        `"exact"`: ‖t‖², t and zeros, t the mean gradient of each batch's prompts; shapes (B,),
        (B, 2), (B,). Every label: ‖ĝ − t‖², ĝ and the mean of A².
    """
    scores = rank_scores(laws)
    exact = truths(laws, scores, N)
    chosen = rng.integers(len(laws), size=batches * prompts)
    rewards, outcome = laws.draw(m, rng, chosen)
    own = scores[chosen[:, None], outcome]
    truth = exact[chosen].reshape(batches, prompts, 2).mean(axis=1)
    errors = {"exact": ((truth**2).sum(axis=1), truth, np.zeros(batches))}
    for label, (name, options) in estimators.items():
        estimator = lookup(name, options)
        if estimator.pools:
            split = rewards.reshape(batches, prompts, m)
            A = np.concatenate([estimator.advantages(batch, N) for batch in split])
        else:
            A = estimator.advantages(rewards, N)
        g = np.einsum("gi,gid->gd", A, own).reshape(batches, prompts, 2).mean(axis=1) / m
        square = (A**2).mean(axis=1).reshape(batches, prompts).mean(axis=1)
        errors[label] = (((g - truth) ** 2).sum(axis=1), g, square)
    return errors
