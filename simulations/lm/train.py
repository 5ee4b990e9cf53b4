"""Train a language model for best-of-N: sample, reward, advantages, one step of Adam.

python -m simulations.lm.train                                # a tiny random model, seconds
python -m simulations.lm.train --model smollm2 --reward tone --estimator linear_tea --rate 0.0005

Of each of a few prompts, m rollouts are drawn and rated; an estimator of `tea_stats` turns the
rewards into advantages, and this is the only place where N enters. The arms of a study differ in
the estimator alone: prompts, their order and the uniform numbers that choose tokens (common random
numbers) are functions of the seed and the step. So a run that was killed continues from its last
checkpoint to the same digits.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from torch import Tensor

from simulations.core import progress, store
from simulations.core.command import one_line_errors
from simulations.lm import engine, first_line, models, prompts, rewards
from simulations.lm.policies import Policy
from simulations.lm.prompts import Prompt
from simulations.lm.rewards import Reward
from simulations.lm.schema import Adapter
from tea_stats import torch_bridge

#: first part of the key of uniform numbers: what they are for
TRAIN, EVALUATE, TUNE, ORACLE = range(4)
#: columns of the log that differ from run to run
TIMES = ["seconds_sample", "seconds_reward", "seconds_advantage", "seconds_update"]
#: called with numbers of rollouts and tokens just drawn; 0 tokens for what an earlier run did
After = Callable[[int, int], None]


@dataclass(frozen=True)
class Arm:
    """An estimator with its budget, and a step size.

    Attributes
    ----------
    estimator : str
        A name of `tea_stats.ESTIMATORS`.
    options : mapping
        The estimator's options.
    m, N : int
        Rollouts per prompt, and the N of the best-of-N that is to be improved.
    rate : float
        Step size of Adam.
    kl : float
        Weight of the divergence from the start, per token.
    """

    estimator: str
    options: Mapping[str, Any]
    m: int
    N: int
    rate: float
    kl: float = 0.0


@dataclass(frozen=True)
class Course:
    """What all arms have in common: prompts, how many a step, steps, random numbers, sizes.

    `rows` and `train_rows` are rollouts computed side by side, in sampling and in training.
    """

    prompts: Sequence[Prompt]
    batch: int
    steps: int
    new_tokens: int
    seed: int
    key: tuple[int, ...]
    rows: int
    train_rows: int
    save_every: int = 5

    def chosen(self, step: int) -> list[str]:
        """Return the prompts of a step: all of them come before any comes again."""
        count = len(self.prompts)
        places = range(step * self.batch, (step + 1) * self.batch)
        return [self.prompts[self._order(i // count)[i % count]].text for i in places]

    def _order(self, lap: int) -> list[int]:
        spawn = np.random.SeedSequence(self.seed, spawn_key=(*self.key, 1, lap))
        return np.random.default_rng(spawn).permutation(len(self.prompts)).tolist()

    def draws(self, step: int, m: int) -> Tensor:
        """Return the uniform numbers of a step."""
        return engine.uniforms(self.seed, (*self.key, 0, step), (self.batch, m, self.new_tokens))


def train(
    policy: Policy,
    arm: Arm,
    course: Course,
    reward: Reward,
    folder: Path | None = None,
    after: After = lambda rollouts, tokens: None,
) -> pd.DataFrame:
    """Train a policy in place, from its start or from the checkpoint in `folder`.

    Returns
    -------
    DataFrame
        One row per step; all columns but `TIMES` are the same however often it was interrupted.
    """
    weights = policy.trainable()
    adam = torch.optim.Adam(weights, lr=arm.rate)
    job, log = job_of(policy, arm, course, reward), []
    if folder and (state := read_state(folder / "state.pt", job)):
        put(weights, state["weights"])
        adam.load_state_dict(state["optimiser"])
        log = list(state["log"])
    after(len(log) * course.batch * arm.m, 0)
    for step in range(len(log), course.steps):
        clock = Clock()

        # m rollouts of each prompt, prompt by prompt
        texts = course.chosen(step)
        encoded = policy.encode(texts, course.new_tokens)
        rollouts = engine.sample(
            policy, encoded, course.draws(step, arm.m), rows=course.rows, entering=True
        )
        completions = policy.decode(rollouts.tokens, rollouts.mask)
        clock.lap("seconds_sample")

        questions = [text for text in texts for _ in range(arm.m)]
        rated = torch.from_numpy(reward(questions, completions)).view(-1, arm.m)
        clock.lap("seconds_reward")

        A, row = scaled_advantages(arm, rated)
        clock.lap("seconds_advantage")

        adam.zero_grad(set_to_none=True)
        row |= backward(policy, rollouts, A, arm.kl, course.train_rows)
        row["gradient"] = float(torch.linalg.vector_norm(flat_gradient(weights)))
        adam.step()
        clock.lap("seconds_update")

        tokens = int(rollouts.mask.sum())
        row |= {
            "reward": float(rated.mean()),
            "best": float(rated.amax(dim=1).mean()),
            "length": tokens / len(completions),
            "entropy": -float(rollouts.logprobs.sum()) / tokens,
            "tokens": tokens,
        }
        log.append({"step": step, **row, **clock.laps})
        after(len(completions), tokens)
        if folder and ((step + 1) % course.save_every == 0 or step + 1 == course.steps):
            values = [weight.detach().cpu() for weight in weights]
            state = {"weights": values, "optimiser": adam.state_dict(), "log": log}
            write_state(folder / "state.pt", state, job)
    return pd.DataFrame(log)


def scaled_advantages(arm: Arm, rated: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Return advantages of rewards (prompts, m), scaled to a root mean square of 1 over the batch.

    A single factor for the batch leaves all directions within and between groups alone, and makes
    step sizes comparable between estimators whose advantages have other units. Beside them: the
    root mean square before, and how many groups have no advantage but 0.
    """
    A = torch_bridge.advantages(arm.estimator, rated, arm.N, **arm.options)
    size = float(A.square().mean().sqrt())
    degenerate = int((A == 0.0).all(dim=1).sum())
    return A / size if size > 0.0 else A, {"size": size, "degenerate": degenerate}


def backward(
    policy: Policy, rollouts: engine.Rollouts, A: Tensor, kl: float, rows: int
) -> dict[str, float]:
    """Add the gradient of the loss to the parameters' own, `rows` rollouts at a time.

    The rollouts are those of the policy itself, which has not changed since it drew them.
    The loss is −mean(A_i Σ_t log π(y_t)) + kl · mean(Σ_t ½ (log π(y_t) − log π₀(y_t))²), means over
    rollouts. On rollouts of the policy itself, the gradient of the second term has the expectation
    of that of Σ_t KL(π ‖ π₀) given the tokens before; the mean of Σ_t log π − log π₀ estimates the
    divergence itself, which is returned.
    """
    total, divergence = len(rollouts.tokens), 0.0
    A = A.to(device=rollouts.tokens.device, dtype=torch.float32).reshape(-1)
    for piece, place in rollouts.pieces(rows):
        with engine.memory_errors_explained():
            logprobs = engine.score_drawn(policy, piece)
            share = len(piece.tokens) / total
            loss = share * torch_bridge.policy_gradient_loss(
                logprobs[None], A[None, place], piece.mask[None]
            )
            if kl > 0.0:
                with torch.no_grad(), policy.as_loaded() as start:
                    before = engine.score(start, piece)
                gap = logprobs - before
                loss = loss + kl * 0.5 * gap.square().sum() / total
                divergence += float(gap.detach().sum()) / total
            loss.backward()
    return {"kl": divergence if kl > 0.0 else float("nan")}


def flat_gradient(weights: Sequence[Tensor]) -> Tensor:
    """Return the gradient of all trainable parameters as one vector."""
    return torch.cat(
        [(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in weights]
    )


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


def job_of(policy: Policy, arm: Arm, course: Course, reward: Reward) -> str:
    """Return a hash of what a checkpoint depends on, but for the number of steps."""
    shapes = [tuple(weight.shape) for weight in policy.trainable()]
    sizes = (course.batch, course.new_tokens, course.rows, course.train_rows)
    return store.digest(
        [policy.name, shapes, asdict(arm), reward.name, course.seed, course.key, sizes]
        + [prompt.text for prompt in course.prompts]
    )


def write_state(path: Path, state: Mapping[str, Any], job: str) -> None:
    """Write a checkpoint: the hash of what follows, a line break, and torch's own format."""
    data = io.BytesIO()
    torch.save({**state, "job": job}, data)
    with data.getbuffer() as view, store.whole(path) as partial, partial.open("wb") as file:
        file.write(hashlib.sha256(view).hexdigest().encode() + b"\n")
        file.write(view)


def read_state(path: Path, job: str) -> dict[str, Any] | None:
    """Read a checkpoint; None if it is missing or (with a message) damaged or another job's."""
    if not path.exists():
        return None
    sha256, _, data = path.read_bytes().partition(b"\n")
    # nothing is unpickled that is not what was written
    if sha256.decode(errors="replace") != hashlib.sha256(data).hexdigest():
        reason = "its content is not that of its hash"
    else:
        try:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            if state["job"] == job:
                return state
            reason = "it is of another job"
        except Exception as error:  # pickle and zip have no common kind of error
            reason = first_line(error)
    progress.tell(f"{path} is damaged ({reason}): computing it again")
    return None


def put(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Set parameters to values."""
    with torch.no_grad():
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)


# --- the command ----------------------------------------------------------------------------------


def main(
    model: Annotated[str, typer.Option(help="Hub name, folder or .gguf file.")] = models.TINY,
    reward: Annotated[str, typer.Option(help="A reward's name, or hf:MODEL.")] = "letters",
    estimator: Annotated[str, typer.Option(help="A name of tea_stats.ESTIMATORS.")] = "tea",
    m: Annotated[int, typer.Option(help="Rollouts per prompt.")] = 16,
    N: Annotated[int, typer.Option("--N", help="Of best-of-N.")] = 64,
    rate: Annotated[float, typer.Option(help="Step size of Adam.")] = 0.01,
    steps: Annotated[int, typer.Option(help="Steps.")] = 20,
    new_tokens: Annotated[int, typer.Option(help="Most tokens of a completion.")] = 24,
) -> None:
    """Train one arm with four prompts a step, and print its log."""
    with one_line_errors():
        policy = models.load(model)
        function = rewards.load(reward, policy)
        models.adapt(policy, **Adapter().model_dump(), seed=0)
        course = Course(prompts.read("train"), 4, steps, new_tokens, 0, (TRAIN, 0), 128, 32)
        arm = Arm(estimator, {}, m, N, rate)
        with progress.bar(steps * course.batch * m, f"{estimator}, N = {N}") as account:
            log = train(policy, arm, course, function, after=account.after)
    columns = ["step", "reward", "best", "size", "degenerate", "gradient", "length", "entropy"]
    typer.echo(log[columns].round(4).to_string(index=False))


if __name__ == "__main__":
    typer.run(main)
