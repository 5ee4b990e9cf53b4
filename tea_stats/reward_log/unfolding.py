"""Rows that hold several rollouts, made into a row for each."""

from __future__ import annotations

import re
from typing import Any

from tea_stats.reward_log import chunks, names as usual
from tea_stats.reward_log.chunks import Chunk, nested


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
    if batch := _batch(chunk):
        return "batches by column", _rows(chunk, batch)
    return None, chunk


def _batch(chunk: Chunk) -> list[str]:
    """Return the columns of lists where each row is a batch: prompts and numbers, one length."""
    lower = {name.lower(): name for name in reversed(chunk.names)}
    prompt = next((lower[name] for name in usual.PROMPT if name in lower), None)
    if chunk.is_text or prompt is None:
        return []
    prompts = chunk.column(prompt)
    # a list of texts alone may be one prompt; among them some come again, or come with each batch
    if not all(isinstance(cell, list) and cell and isinstance(cell[0], str) for cell in prompts):
        return []
    if len(prompts) == 1 and len(set(map(str, prompts[0]))) == len(prompts[0]):
        return []
    lists = [
        name
        for name in chunk.names
        if all(
            isinstance(cell, list) and len(cell) == len(own)
            for cell, own in zip(chunk.column(name), prompts, strict=True)
        )
    ]
    numbers = [
        name
        for name in lists
        if all(isinstance(one, int | float) for cell in chunk.column(name) for one in cell)
    ]
    return lists if numbers else []


def _rows(chunk: Chunk, lists: list[str]) -> Chunk:
    """Return a row for each entry of the lists, beside what the batch has once."""
    records, places = [], []
    columns = {name: chunk.column(name) for name in chunk.names}
    for row in range(len(chunk)):
        for place in range(len(columns[lists[0]][row])):
            records.append(
                {
                    name: column[row][place] if name in lists else column[row]
                    for name, column in columns.items()
                }
            )
            places.append(chunk.places[row])
    return chunks.of_records(chunk.file, records, places, chunk.unit)


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
