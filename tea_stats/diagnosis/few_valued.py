"""Simulated batches of prompts with few-valued rewards, and the errors of estimators on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tea_stats.best_of_n.exact import gradient
from tea_stats.estimators import lookup
from tea_stats.families.finite import Discrete
from tea_stats.families.law import Array


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
