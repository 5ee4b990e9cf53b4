"""The first step's gradient of every arm, beside one estimated from many more rollouts.

Both are gradients in the very parameters that training changes. The oracle is an unbiased estimate
of the best-of-N gradient (max@N of many rollouts) from two independent halves t₁ and t₂. Their
product estimates the squared length of the exact gradient without noise, and so the cosine with it:
ĝ·t / (‖ĝ‖ ‖t‖) with t = (t₁ + t₂)/2 and ‖t‖² = t₁·t₂. The same rollouts give the mean's gradient u,
and with products across halves its cosine with t: where the two point the same way, an estimator of
the mean's gradient serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from simulations.lm import engine
from simulations.lm.evaluation import rated
from simulations.lm.policies import Policy
from simulations.lm.rewards import Reward
from simulations.lm.train import (
    ORACLE,
    After,
    Arm,
    Course,
    flat_gradient,
    job_of,
    read_state,
    scaled_advantages,
    write_state,
)
from tea_stats import torch_bridge

#: two independent estimates of one gradient
Halves = tuple[Tensor, Tensor]
#: cosine of the oracle's halves below which their product is no estimate of its length
RELIABLE = 0.05


def gradients(
    policy: Policy, rollouts: engine.Rollouts, weights: Sequence[Tensor], rows: int
) -> list[Tensor]:
    """Return Σ_i w_i ∇ log π(y_i) for several weightings w of the same rollouts, shape (rollouts,).

    Each gradient is a vector of all trainable parameters, in float64, on the CPU; `rows` rollouts
    are computed side by side.
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
    course: Course,
    count: int,
    N: int,
    reward: Reward,
    folder: Path,
    after: After = lambda rollouts, tokens: None,
) -> tuple[Halves, Halves]:
    """Return unbiased estimates of the gradients of best-of-N and of the mean on the prompts.

    Two independent ones of each, from count/2 rollouts of every prompt, both gradients from the
    same. Sums over finished prompts are kept in `folder`.
    """
    path = folder / "oracle.pt"
    sums = [torch.zeros(sum(w.numel() for w in policy.trainable()), dtype=torch.float64)] * 4
    job, done = job_of(policy, Arm("max_at_k", {}, count, N, 0.0), course, reward), 0
    if state := read_state(path, job):
        sums, done = state["sums"], state["done"]
        after(done * count, 0)
    for p, prompt in enumerate(course.prompts[done:], done):
        draws = engine.uniforms(course.seed, (ORACLE, 0, p), (1, count, course.new_tokens))
        rollouts, _, rewards = rated(policy, [prompt], draws, reward, course.rows)
        half = count // 2
        weights = []
        for k in (N, 1):
            for part in (slice(0, half), slice(half, 2 * half)):
                group = torch.from_numpy(rewards[part])[None]
                A = torch_bridge.advantages("max_at_k", group, k, k=k, form="canonical")
                weights.append(torch.zeros(count, dtype=torch.float64))
                weights[-1][part] = A[0] / (half * len(course.prompts))
        new = gradients(policy, rollouts, weights, course.train_rows)
        sums = [total + part for total, part in zip(sums, new, strict=True)]
        write_state(path, {"sums": sums, "done": p + 1}, job)
        after(count, int(rollouts.mask.sum()))
    return (sums[0], sums[1]), (sums[2], sums[3])


def cosines(
    policy: Policy,
    course: Course,
    arms: Mapping[str, Arm],
    halves: Halves,
    reward: Reward,
    batch: int,
) -> pd.DataFrame:
    """Compare every arm's gradient on the rollouts of one batch with the oracle.

    Returns
    -------
    DataFrame
        One row per arm: cosine with the oracle, cosine corrected for the oracle's own noise (nan
        where its halves agree too little for that), norm of the gradient, tokens of the batch.
    """
    m = next(iter(arms.values())).m
    shape = (len(course.prompts), m, course.new_tokens)
    draws = engine.uniforms(course.seed, (ORACLE, 1, batch), shape)
    rollouts, _, rewards = rated(policy, course.prompts, draws, reward, course.rows)
    groups = torch.from_numpy(rewards).view(-1, m)
    weights = [
        scaled_advantages(arm, groups)[0].reshape(-1) / len(rewards) for arm in arms.values()
    ]
    truth, squared_length = (halves[0] + halves[1]) / 2, float(halves[0] @ halves[1])
    table = []
    own = gradients(policy, rollouts, weights, course.train_rows)
    for label, gradient in zip(arms, own, strict=True):
        norm, along = float(gradient.norm()), float(gradient @ truth)
        row = {"estimator": label, "batch": batch, "norm": norm}
        row["tokens"] = int(rollouts.mask.sum())
        row["cosine"] = along / (norm * float(truth.norm())) if norm > 0.0 else np.nan
        exact = norm > 0.0 and reliability(halves) > RELIABLE
        row["cosine_corrected"] = along / (norm * squared_length**0.5) if exact else np.nan
        table.append(row)
    return pd.DataFrame(table)


def cosine(first: Halves, second: Halves) -> float:
    """Return the cosine of two exact gradients, from halves; NaN where one's are mostly noise.

    The first halves come from the same rollouts, so only products across halves are used.
    """
    if min(reliability(first), reliability(second)) <= RELIABLE:
        return float("nan")
    across = (first[0] @ second[1] + first[1] @ second[0]) / 2
    return float(across / ((first[0] @ first[1]) * (second[0] @ second[1])).sqrt())


def reliability(halves: Halves) -> float:
    """Return the cosine of the oracle's two halves: 1 for an oracle without noise."""
    return float(torch.nn.functional.cosine_similarity(halves[0], halves[1], dim=0))
