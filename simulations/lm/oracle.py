"""The first step's gradient of every arm, beside one from a great many rollouts.

Both are gradients in the very parameters that training changes. The oracle is an unbiased estimate
of the best-of-N gradient (max@N of many rollouts) from two halves that share nothing: their product
tells its length without the noise, and so the cosine with the exact gradient,
ĝ·t / (‖ĝ‖ ‖t‖) with t = (t₁ + t₂)/2 and ‖t‖² = t₁·t₂.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from simulations.lm import rewards, rollouts
from simulations.lm.policies import Policy
from simulations.lm.prompts import Prompt
from simulations.lm.train import ORACLE, Arm, flat_gradient, read_state, scaled_advantages
from tea_stats import torch_bridge

After = Callable[[int, int], None]
#: cosine of the oracle's halves below which their product says nothing of its length
AGREED = 0.05


def gradients(
    policy: Policy, drawn: rollouts.Rollouts, weights: Sequence[Tensor], rows: int
) -> list[Tensor]:
    """Return Σ_i w_i ∇ log π(y_i) for several weightings of the same rollouts.

    Parameters
    ----------
    policy : Policy
        Whose trainable parameters the gradients are in.
    drawn : Rollouts
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
    for piece, place in drawn.pieces(rows):
        with rollouts.explained_memory():
            logprobs = rollouts.score(policy, piece).sum(dim=1)
            for j, weight in enumerate(weights):
                for parameter in parameters:
                    parameter.grad = None
                part = weight[place].to(logprobs)
                logprobs.backward(part, retain_graph=j + 1 < len(weights))
                found = flat_gradient(parameters).double().cpu()
                if j == len(sums):
                    sums.append(found)
                else:
                    sums[j] += found
    for parameter in parameters:
        parameter.grad = None
    return sums


def oracle(
    policy: Policy,
    prompts: Sequence[Prompt],
    count: int,
    N: int,
    reward: tuple[str, rewards.Reward],
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
        held = read_state(path)
        halves, done = held["halves"], held["done"]
        after(done * count, 0)
    for p, prompt in enumerate(prompts[done:], done):
        asked = rollouts.encode(policy, [prompt.text], new_tokens)
        draws = rollouts.uniforms(seed, (ORACLE, 0, p), (1, count, new_tokens))
        drawn = rollouts.sample(policy, asked, draws, rows=rows[0])
        texts = policy.texts(drawn.tokens, drawn.mask)
        rated = rewards.rate(*reward, [prompt.text] * count, texts)
        half = count // 2
        weights = []
        for part in (slice(0, half), slice(half, 2 * half)):
            rated_part = torch.from_numpy(rated[part])[None]
            A = torch_bridge.advantages("max_at_k", rated_part, N, k=N, form="canonical")
            weights.append(torch.zeros(count, dtype=torch.float64))
            weights[-1][part] = A[0] / (half * len(prompts))
        found = gradients(policy, drawn, weights, rows[1])
        halves = [held + new for held, new in zip(halves, found, strict=True)]
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        torch.save({"halves": halves, "done": p + 1}, partial)
        partial.replace(path)
        after(count, int(drawn.mask.sum()))
    return halves[0], halves[1]


def cosines(
    policy: Policy,
    arms: Mapping[str, Arm],
    prompts: Sequence[Prompt],
    halves: tuple[Tensor, Tensor],
    reward: tuple[str, rewards.Reward],
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
        where its halves agree too little to say), norm of the gradient, tokens of the batch.
    """
    m = next(iter(arms.values())).m
    asked = rollouts.encode(policy, [prompt.text for prompt in prompts], new_tokens)
    draws = rollouts.uniforms(seed, (ORACLE, 1, batch), (len(prompts), m, new_tokens))
    drawn = rollouts.sample(policy, asked, draws, rows=rows[0])
    texts = [prompt.text for prompt in prompts for _ in range(m)]
    rated = rewards.rate(*reward, texts, policy.texts(drawn.tokens, drawn.mask))
    groups = torch.from_numpy(rated).view(-1, m)
    weights = [scaled_advantages(arm, groups)[0].reshape(-1) / len(rated) for arm in arms.values()]
    found = gradients(policy, drawn, weights, rows[1])
    truth, agreed = (halves[0] + halves[1]) / 2, float(halves[0] @ halves[1])
    table = []
    for label, gradient in zip(arms, found, strict=True):
        norm, along = float(gradient.norm()), float(gradient @ truth)
        row = {"estimator": label, "batch": batch, "norm": norm}
        row["tokens"] = int(drawn.mask.sum())
        row["cosine"] = along / (norm * float(truth.norm())) if norm > 0.0 else np.nan
        exact = norm > 0.0 and reliability(halves) > AGREED
        row["cosine_corrected"] = along / (norm * agreed**0.5) if exact else np.nan
        table.append(row)
    return pd.DataFrame(table)


def reliability(halves: tuple[Tensor, Tensor]) -> float:
    """Return the cosine of the oracle's two halves: 1 for an oracle without noise."""
    return float(torch.nn.functional.cosine_similarity(halves[0], halves[1], dim=0))
