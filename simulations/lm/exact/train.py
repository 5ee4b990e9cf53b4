"""Train an enumerated policy: the loop of `simulations.lm.train`, with exact evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from simulations.lm import tree as trees
from simulations.lm.train import Arm, Course, scaled_advantages
from simulations.lm.tree import Array, Enumerated, Tree
from tea_stats import best_of_n


@dataclass(frozen=True)
class Exact:
    """An arm that follows the exact gradient of V_N, at a step size of Adam."""

    N: int
    rate: float


@dataclass(frozen=True)
class Rated:
    """A tree with the reward of every leaf, and whether its prompt is trained on or held out."""

    id: str
    split: str
    tree: Tree
    rewards: Array


def train(
    model: Enumerated,
    prompts: Sequence[Rated],
    arm: Arm | Exact,
    course: Course,
    N: Sequence[int],
    evaluate: Sequence[int],
) -> pd.DataFrame:
    """Train a policy in place, from where it is.

    Returns
    -------
    DataFrame
        A row for each evaluated step and prompt: see `evaluated`.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    adam = torch.optim.Adam(weights, lr=arm.rate)
    known = {rated.tree.prompt: rated for rated in prompts}
    curve = []
    for step in range(course.steps):
        batch = [known[text] for text in course.chosen(step)]
        adam.zero_grad(set_to_none=True)
        if isinstance(arm, Exact):
            loss = exact_loss(model, batch, arm.N)
        else:
            loss = sampled_loss(model, batch, arm, course.draws(step, arm.m))
        loss.backward()
        adam.step()
        if step + 1 in evaluate:
            curve.append(evaluated(model, prompts, N).assign(step=step + 1))
    return pd.concat(curve, ignore_index=True)


def sampled_loss(model: Enumerated, batch: Sequence[Rated], arm: Arm, draws: Tensor) -> Tensor:
    """Return −mean(A_i log p(y_i)) over m rollouts of each prompt; A has unit RMS."""
    leaves, logprobs = model.draw([rated.tree for rated in batch], draws)
    rewards = [rated.rewards[row] for rated, row in zip(batch, leaves.numpy(), strict=True)]
    A, _ = scaled_advantages(arm, torch.from_numpy(np.stack(rewards)))
    return -(A * logprobs).mean()


def exact_loss(model: Enumerated, batch: Sequence[Rated], N: int) -> Tensor:
    """Return −mean over prompts of Σ_y p ψ_N log p, in the units of unit-RMS advantages."""
    parts, square = [], 0.0
    for rated in batch:
        logprobs = model(rated.tree)
        psi = best_of_n.advantage(trees.law_of(logprobs, rated.rewards), N, rated.rewards)
        weights = logprobs.detach().exp() * torch.from_numpy(psi)
        square += float(weights @ torch.from_numpy(psi)) / len(batch)
        parts.append(weights @ logprobs)
    total = -torch.stack(parts).mean()
    return total / square**0.5 if square > 0.0 else total


@torch.no_grad()
def evaluated(model: Enumerated, prompts: Sequence[Rated], N: Sequence[int]) -> pd.DataFrame:
    """Return exact V_N, divergence from the start and entropy of every prompt, one row each."""
    rows: list[Mapping[str, Any]] = []
    for rated in prompts:
        values = trees.summary(rated.tree, model(rated.tree).numpy(), rated.rewards, N)
        rows.append({"split": rated.split, "prompt": rated.id, **values})
    return pd.DataFrame(rows)


def gradients(model: Enumerated, rated: Rated, N: Sequence[int]) -> Array:
    """Return exact ∇V_N in the trained parameters, shape (len(N), parameters), float64."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    logprobs = model(rated.tree)
    table = []
    for budget in N:
        goal = trees.surrogate(logprobs, rated.rewards, budget)
        parts = torch.autograd.grad(goal, weights, retain_graph=True)
        table.append(torch.cat([part.flatten() for part in parts]).double())
    return torch.stack(table).numpy()
