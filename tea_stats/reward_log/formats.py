"""The formats of trainers and evaluations, recognised by their columns; and those to unfold."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tea_stats.reward_log import chunks, names as usual
from tea_stats.reward_log.chunks import Chunk, nested


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
    """Return the columns of TRL's reward functions: the numbers but step and advantage."""
    other = {"step", "advantage", "prompt", "completion"}
    return tuple(name for name in chunk.names if name not in other and numeric(chunk, name))


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


# --- rows that hold several rollouts -------------------------------------------------------------


def unfold(chunk: Chunk) -> tuple[str | None, Chunk]:
    """Return the chunk with a row for each rollout, and the name of its format if it had none."""
    own = set(chunk.names)
    if {"traces", "task"} <= own or {"nodes", "rewards", "task"} <= own:
        return "prime-rl episodes", _episodes(chunk)
    numbered = _numbered(chunk.names)
    if numbered and "input_1" in chunk.names:
        return "verl's table of validation samples", _validation(chunk, numbered)
    if (holder := _holder(chunk)) is not None:
        return f"rollouts in {holder}", _rollouts(chunk, holder)
    return None, chunk


def _holder(chunk: Chunk) -> str | None:
    """Return the column that lists a prompt's rollouts, an object with a reward each."""
    lower = {name.lower(): name for name in reversed(chunk.names)}
    if chunk.is_text or {"reward", "rewards", "score", "scores"} & set(lower):
        return None
    for name in usual.ROLLOUTS:
        if name not in lower:
            continue
        cells = (cell for cell in chunk.column(lower[name]) if isinstance(cell, list) and cell)
        first = next(cells, [None])
        if isinstance(first[0], dict):
            keys = {key.lower() for one in first if isinstance(one, dict) for key in one}
            if keys & {*usual.REWARD, *usual.HOLDERS}:
                return lower[name]
    return None


def _rollouts(chunk: Chunk, holder: str) -> Chunk:
    """Return a row for each rollout: what its object holds, and beside it the row's columns."""
    records, places = [], []
    columns = {name: chunk.column(name) for name in chunk.names if name != holder}
    for row, cell in enumerate(chunk.column(holder)):
        if cell is not None and not isinstance(cell, list):
            chunk.fail(row, f"{holder} holds what is no list of rollouts; copy the log again")
        shared = {name: column[row] for name, column in columns.items()}
        for one in cell or []:
            if not isinstance(one, dict):
                chunk.fail(row, f"{holder} holds what is no object; copy the log again")
            # the prompt is the row's: an id of the object numbers rollouts
            records.append({**one, **shared})
            places.append(chunk.places[row])
    return chunks.of_records(chunk.file, records, places, chunk.unit)


def _episodes(chunk: Chunk) -> Chunk:
    """Return a row for each trace of prime-rl's episodes, its rewards with their weights."""
    records, places = [], []
    names = ("id", "task", "env", "traces", "nodes", "rewards")
    own = {name: chunk.column(name) for name in names}
    for row in range(len(chunk)):
        episode = {name: column[row] for name, column in own.items()}
        # for some months there was one trace in each line
        traces = episode["traces"] if "traces" in chunk.names else [episode]
        for trace in traces if isinstance(traces, list) else []:
            if not isinstance(trace, dict):
                chunk.fail(row, "traces holds what is no object; copy the log again")
            rewards = trace.get("rewards")
            record = {
                "task": _task(trace.get("task") or episode["task"]),
                "env": nested(episode["env"], ["id"]),
                "trace_id": trace.get("id"),
                "reward": _weighted(rewards),
                "rewards": _scores(rewards),
                "completion": _replies(trace),
            }
            records.append(record)
            places.append(chunk.places[row])
    return chunks.of_records(chunk.file, records, places, chunk.unit)


def _task(task: Any) -> Any:
    """Return what identifies a task: its key or hash, an id of its data, or the data."""
    for path in (("key",), ("hash",), ("data", "id"), ("data", "idx"), ("data", "prompt"), ("id",)):
        found = nested(task, path)
        if found is not None:
            return found
    return task


def _weighted(rewards: Any) -> float | None:
    """Return the sum of the scores times their weights; None where one is missing."""
    if not isinstance(rewards, dict) or not rewards:
        return None
    total = 0.0
    for entry in rewards.values():
        score = entry.get("score") if isinstance(entry, dict) else entry
        weight = entry.get("weight", 1.0) if isinstance(entry, dict) else 1.0
        if not (isinstance(score, int | float) and isinstance(weight, int | float)):
            return None  # scoring did not run
        total += score * weight
    return total


def _scores(rewards: Any) -> Any:
    """Return the scores by name, so that one can be named: rewards.correct."""
    if not isinstance(rewards, dict):
        return rewards
    return {
        name: entry.get("score") if isinstance(entry, dict) else entry
        for name, entry in rewards.items()
    }


def _replies(trace: dict[str, Any]) -> Any:
    """Return the text of a trace: what the model wrote in all turns."""
    nodes = trace.get("nodes")
    replies = [
        nested(node, ["message", "content"])
        for node in (nodes if isinstance(nodes, list) else [])
        if nested(node, ["message", "role"]) == "assistant"
    ]
    return replies or None


def _numbered(names: list[str]) -> list[str]:
    """Return the numbers of columns such as input_3, output_3, score_3."""
    found = [match[1] for name in names if (match := re.fullmatch(r"score_(\d+)", name))]
    return [one for one in found if {f"input_{one}", f"output_{one}"} <= set(names)]


def _validation(chunk: Chunk, numbered: list[str]) -> Chunk:
    """Return a row for each sample of verl's validation table, which has a row for each step."""
    records, places = [], []
    columns = {name: chunk.column(name) for name in chunk.names}
    for row in range(len(chunk)):
        for one in numbered:
            record = {name: columns[f"{name}_{one}"][row] for name in ("input", "output", "score")}
            if all(cell is None or cell == "" for cell in record.values()):
                continue  # tables of later steps may have more samples
            record["step"] = columns["step"][row] if "step" in columns else None
            records.append(record)
            places.append(chunk.places[row])
    unfolded = chunks.of_records(chunk.file, records, places, chunk.unit)
    unfolded.is_text, unfolded.decimal_comma = chunk.is_text, chunk.decimal_comma
    return unfolded
