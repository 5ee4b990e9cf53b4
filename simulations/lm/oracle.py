"""The first step's gradient of every arm, beside one estimated from many more rollouts.

Both are gradients in the very parameters that training changes. The oracle is an unbiased estimate
of the best-of-N gradient (max@N of many rollouts) from two independent halves t₁ and t₂. Their
product estimates the squared length of the exact gradient without noise, and so the cosine with it:
ĝ·t / (‖ĝ‖ ‖t‖) with t = (t₁ + t₂)/2 and ‖t‖² = t₁·t₂.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from simulations.core import store
from simulations.lm import engine
from simulations.lm.evaluation import rated
from simulations.lm.policies import Policy
from simulations.lm.prompts import Prompt
from simulations.lm.rewards import Reward
from simulations.lm.train import ORACLE, After, Arm, flat_gradient, read_state, scaled_advantages
from tea_stats import torch_bridge

#: cosine of the oracle's halves below which their product is no estimate of its length
RELIABLE = 0.05


def gradients(
    policy: Policy, rollouts: engine.Rollouts, weights: Sequence[Tensor], rows: int
) -> list[Tensor]:
    """Return Σ_i w_i ∇ log π(y_i) for several weightings of the same rollouts.

    Parameters
    ----------
    policy : Policy
        Whose trainable parameters the gradients are in.
    rollouts : Rollouts
        The rollouts.
    weights : sequence of Tensor, each of shape (rollouts,)
        One weight for each rollout.
    rows : int
        Rollouts computed side by side.

    Returns
    -------
    list of Tensor, each of shape (parameters,)
        In float64, on the CPU.
    """
    parameters = policy.trainable()
    sums: list[Tensor] = []
    for piece, place in rollouts.pieces(rows):
        with engine.memory_errors_explained():
            logprobs = engine.score(policy, piece).sum(dim=1)
            for j, weight in enumerate(weights):
                for parameter in parameters:
                    parameter.grad = None
                part = weight[place].to(logprobs)
                logprobs.backward(part, retain_graph=j + 1 < len(weights))
                gradient = flat_gradient(parameters).double().cpu()
                if j == len(sums):
                    sums.append(gradient)
                else:
                    sums[j] += gradient
    for parameter in parameters:
        parameter.grad = None
    return sums


def oracle(
    policy: Policy,
    prompts: Sequence[Prompt],
    count: int,
    N: int,
    reward: Reward,
    seed: int,
    new_tokens: int,
    rows: tuple[int, int],
    folder: Path,
    after: After,
) -> tuple[Tensor, Tensor]:
    """Return two independent unbiased estimates of the best-of-N gradient, count/2 rollouts each.

    The sums over the prompts done are kept in `folder`; `rows` is for sampling and for training.
    """
    path = folder / "oracle.pt"
    halves = [torch.zeros(sum(w.numel() for w in policy.trainable()), dtype=torch.float64)] * 2
    done = 0
    if path.exists():
        state = read_state(path)
        halves, done = state["halves"], state["done"]
        after(done * count, 0)
    for p, prompt in enumerate(prompts[done:], done):
        draws = engine.uniforms(seed, (ORACLE, 0, p), (1, count, new_tokens))
        rollouts, _, rewards = rated(policy, [prompt], draws, reward, rows[0])
        half = count // 2
        weights = []
        for part in (slice(0, half), slice(half, 2 * half)):
            group = torch.from_numpy(rewards[part])[None]
            A = torch_bridge.advantages("max_at_k", group, N, k=N, form="canonical")
            weights.append(torch.zeros(count, dtype=torch.float64))
            weights[-1][part] = A[0] / (half * len(prompts))
        new = gradients(policy, rollouts, weights, rows[1])
        halves = [total + part for total, part in zip(halves, new, strict=True)]
        with store.whole(path) as partial:
            torch.save({"halves": halves, "done": p + 1}, partial)
        after(count, int(rollouts.mask.sum()))
    return halves[0], halves[1]


def cosines(
    policy: Policy,
    arms: Mapping[str, Arm],
    prompts: Sequence[Prompt],
    halves: tuple[Tensor, Tensor],
    reward: Reward,
    seed: int,
    batch: int,
    new_tokens: int,
    rows: tuple[int, int],
) -> pd.DataFrame:
    """Return one batch's gradient of every arm beside the oracle: all arms on the same rollouts.

    Returns
    -------
    DataFrame
        One row per arm: cosine with the oracle, cosine corrected for the oracle's own noise (nan
        where its halves agree too little for that), norm of the gradient, tokens of the batch.
    """
    m = next(iter(arms.values())).m
    draws = engine.uniforms(seed, (ORACLE, 1, batch), (len(prompts), m, new_tokens))
    rollouts, _, rewards = rated(policy, prompts, draws, reward, rows[0])
    groups = torch.from_numpy(rewards).view(-1, m)
    weights = [
        scaled_advantages(arm, groups)[0].reshape(-1) / len(rewards) for arm in arms.values()
    ]
    truth, squared_length = (halves[0] + halves[1]) / 2, float(halves[0] @ halves[1])
    table = []
    for label, gradient in zip(arms, gradients(policy, rollouts, weights, rows[1]), strict=True):
        norm, along = float(gradient.norm()), float(gradient @ truth)
        row = {"estimator": label, "batch": batch, "norm": norm}
        row["tokens"] = int(rollouts.mask.sum())
        row["cosine"] = along / (norm * float(truth.norm())) if norm > 0.0 else np.nan
        exact = norm > 0.0 and reliability(halves) > RELIABLE
        row["cosine_corrected"] = along / (norm * squared_length**0.5) if exact else np.nan
        table.append(row)
    return pd.DataFrame(table)


def reliability(halves: tuple[Tensor, Tensor]) -> float:
    """Return the cosine of the oracle's two halves: 1 for an oracle without noise."""
    return float(torch.nn.functional.cosine_similarity(halves[0], halves[1], dim=0))
