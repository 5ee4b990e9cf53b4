"""Train a policy toward the best of N: one arm, from its start or from where it was stopped.

A step: m rollouts of each of a few prompts, their rewards, advantages by name, one step of Adam
along the policy gradient. Arms differ in the estimator alone: prompts, their order and the uniform
numbers that choose tokens are functions of the seed and the step.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from simulations.lm import rewards, rollouts
from simulations.lm.policies import Policy
from simulations.lm.prompts import Prompt
from tea_stats import torch_bridge

#: what `uniforms` is told the numbers are for
TRAIN, EVALUATE, TUNE, ORACLE = range(4)
#: columns of a step's record that no two runs have in common
TIMES = ["seconds_sample", "seconds_reward", "seconds_advantage", "seconds_update"]


@dataclass(frozen=True)
class Arm:
    """What is trained how: an estimator with its budget, and a step size.

    Attributes
    ----------
    estimator : str
        A name of `tea_stats.ESTIMATORS`.
    options : mapping
        The estimator's options.
    m, N : int
        Rollouts per prompt, and the budget that they are to prepare for.
    rate : float
        Step size of Adam.
    kl : float
        Price of the divergence from the start, per token.
    """

    estimator: str
    options: Mapping[str, Any]
    m: int
    N: int
    rate: float
    kl: float = 0.0


@dataclass(frozen=True)
class Course:
    """What all arms have in common: prompts, their number per step, steps, seed, sizes."""

    prompts: Sequence[Prompt]
    batch: int
    steps: int
    new_tokens: int
    seed: int
    key: tuple[int, ...]
    rows: int
    train_rows: int
    save_every: int

    def chosen(self, step: int) -> list[Prompt]:
        """Return the prompts of a step: all of them come before any comes again."""
        count = len(self.prompts)
        places = range(step * self.batch, (step + 1) * self.batch)
        return [self.prompts[self._order(i // count)[i % count]] for i in places]

    def _order(self, lap: int) -> list[int]:
        spawn = np.random.SeedSequence(self.seed, spawn_key=(*self.key, 1, lap))
        return np.random.default_rng(spawn).permutation(len(self.prompts)).tolist()

    def draws(self, step: int, m: int) -> Tensor:
        """Return the uniform numbers of a step."""
        return rollouts.uniforms(self.seed, (*self.key, 0, step), (self.batch, m, self.new_tokens))


def train(
    policy: Policy,
    arm: Arm,
    course: Course,
    reward: tuple[str, rewards.Reward],
    folder: Path,
    after: Callable[[int, int], None] = lambda rollouts, tokens: None,
) -> pd.DataFrame:
    """Train a policy in place; what `folder` holds of the same run is not done again.

    Parameters
    ----------
    policy : Policy
        Its trainable parameters at their start.
    arm, course
        What and how.
    reward : (name, function)
        See `simulations.lm.rewards`.
    folder : Path
        Where the checkpoint is kept.
    after : callable
        Told after each step how many rollouts and tokens it had; tokens 0 for what was there.

    Returns
    -------
    DataFrame
        One row per step; all columns but `TIMES` are the same however often it was stopped.
    """
    weights = policy.trainable()
    optimiser = torch.optim.Adam(weights, lr=arm.rate)
    log = _resumed(folder / "state.pt", weights, optimiser)
    after(len(log) * course.batch * arm.m, 0)
    for step in range(len(log), course.steps):
        prompts = course.chosen(step)
        clock = Clock()
        encoded = rollouts.encode(policy, [prompt.text for prompt in prompts], course.new_tokens)
        drawn = rollouts.sample(policy, encoded, course.draws(step, arm.m), rows=course.rows)
        texts = policy.texts(drawn.tokens, drawn.mask)
        clock.lap("seconds_sample")
        asked = [prompt.text for prompt in prompts for _ in range(arm.m)]
        rated = torch.from_numpy(rewards.rate(*reward, asked, texts)).view(-1, arm.m)
        clock.lap("seconds_reward")
        A, row = scaled_advantages(arm, rated)
        clock.lap("seconds_advantage")
        optimiser.zero_grad(set_to_none=True)
        row |= backward(policy, drawn, A, arm.kl, course.train_rows)
        row["gradient"] = float(torch.linalg.vector_norm(flat_gradient(weights)))
        optimiser.step()
        clock.lap("seconds_update")
        tokens = int(drawn.mask.sum())
        row |= {
            "reward": float(rated.mean()),
            "best": float(rated.amax(dim=1).mean()),
            "length": tokens / len(texts),
            "entropy": -float(drawn.logprobs.sum()) / tokens,
            "tokens": tokens,
        }
        log.append({"step": step, **row, **clock.laps})
        after(len(texts), tokens)
        if (step + 1) % course.save_every == 0 or step + 1 == course.steps:
            _save(folder / "state.pt", weights, optimiser, log)
    return pd.DataFrame(log)


def scaled_advantages(arm: Arm, rated: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Return advantages of unit root mean square over the batch, and what they were before.

    One number scales the whole batch, so that directions within and between groups stay; a group
    whose rewards tell nothing has advantages 0 and is counted.
    """
    A = torch_bridge.advantages(arm.estimator, rated, arm.N, **dict(arm.options))
    size = float(A.square().mean().sqrt())
    degenerate = int((A == 0.0).all(dim=1).sum())
    return A / size if size > 0.0 else A, {"size": size, "degenerate": degenerate}


def backward(
    policy: Policy, drawn: rollouts.Rollouts, A: Tensor, kl: float, rows: int
) -> dict[str, float]:
    """Add the gradient of the loss to the parameters, a few rollouts at a time.

    The loss is −mean(A_i Σ_t log π(y_t)) + kl · mean(Σ_t ½ (log π(y_t) − log π₀(y_t))²), means over
    rollouts. On rollouts of the policy itself, the second term's gradient has the expectation of
    that of Σ_t KL(π ‖ π₀) given what went before each token; the estimate of KL itself is the mean
    of Σ_t log π − log π₀.
    """
    total, apart = len(drawn.tokens), 0.0
    A = A.to(device=drawn.tokens.device, dtype=torch.float32).reshape(-1)
    for piece, place in drawn.pieces(rows):
        with rollouts.explained_memory():
            logprobs = rollouts.score(policy, piece)
            share = len(piece.tokens) / total
            loss = share * torch_bridge.policy_gradient_loss(
                logprobs[None], A[None, place], piece.mask[None]
            )
            if kl > 0.0:
                with torch.no_grad(), policy.as_loaded() as start:
                    before = rollouts.score(start, piece)
                gap = logprobs - before
                loss = loss + kl * 0.5 * gap.square().sum() / total
                apart += float(gap.detach().sum()) / total
            loss.backward()
    return {"kl": apart if kl > 0.0 else float("nan")}


def flat_gradient(weights: Sequence[Tensor]) -> Tensor:
    """Return the gradient of all trainable parameters as one vector."""
    found = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    return torch.cat([gradient.flatten() for gradient in found])


class Clock:
    """Seconds of the parts of a step."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a part."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.laps[name], self.last = now - self.last, now


# --- checkpoints ----------------------------------------------------------------------------------


def _save(path: Path, weights: list[Any], optimiser: Any, log: list[dict[str, Any]]) -> None:
    """Keep a run's state, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    held = {"weights": [w.detach().cpu() for w in weights], "optimiser": optimiser.state_dict()}
    torch.save({**held, "log": log}, partial)
    partial.replace(path)


def _resumed(path: Path, weights: list[Any], optimiser: Any) -> list[dict[str, Any]]:
    """Put weights and optimiser as a run was left, and return its log; [] for a new run."""
    if not path.exists():
        return []
    held = read_state(path)
    put(weights, held["weights"])
    optimiser.load_state_dict(held["optimiser"])
    return list(held["log"])


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint; ValueError, with the cure, for a damaged one."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle and zip have no common kind of error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is damaged ({reason}); remove it to train again") from None


def put(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Set parameters to values."""
    with torch.no_grad():
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)
