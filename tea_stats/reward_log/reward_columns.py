"""Which columns hold the rewards: by name, by option, by what they hold; rollouts, counts, sums."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tea_stats.reward_log import names as usual
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.errors import LogError, listing
from tea_stats.reward_log.formats import Format, alternatives, numeric, trl_notes, trl_rewards
from tea_stats.reward_log.values import number

OTHERWISE = (
    "Name the right one ({option}), or give --wide if each row is a prompt and each column a "
    "rollout"
)


@dataclass(frozen=True)
class Options:
    """What the caller says of the columns; None is what the reader recognises itself."""

    prompt: str | None = None
    reward: str | None = None
    by: str | None = None
    rollout: str | None = None
    where: tuple[str, ...] = ()
    wide: bool = False


def required(chunk: Chunk, path: str, option: str) -> str:
    """Return the path of a column that the user names; LogError if there is no such thing."""
    root = chunk.root(path)
    if root is None:
        raise LogError(no_column(chunk, path, option))
    if root != path and all(cell is None for cell in chunk.column(path)):
        holder = path.rpartition(".")[0]
        keys = {
            key: 0
            for cell in present_cells(chunk, holder)
            if isinstance(cell, dict)
            for key in cell
        }
        raise LogError(
            f"{chunk.file} has nothing at {path!r}; {holder} holds: {listing(keys)}. Name the "
            f"right one ({option})"
        )
    return path


def no_column(chunk: Chunk, name: str, option: str) -> str:
    """Return the message for a column that is not there."""
    cure = f"Name the right one ({option})"
    if option in ("--prompt", "--reward"):
        cure = OTHERWISE.format(option=option)
    return f"{chunk.file} has no column {name!r}; it has: {listing(chunk.names)}. {cure}"


def terms(chunk: Chunk, text: str) -> tuple[tuple[str, float], ...]:
    """Return columns and weights of "correct", "a.b", "format+correct" or "format=.1,correct=1"."""
    if text in chunk.names or not re.search("[,+=]", text):
        return ((required(chunk, text, "--reward"), 1.0),)
    terms = []
    for part in re.split(r"[,+]", text):
        name, equals, weight = part.strip().rpartition("=")
        if not equals:
            name, weight = part.strip(), "1"
        required(chunk, name, "--reward")
        factor = number(weight)
        if factor is None or factor != factor or factor in (float("inf"), -float("inf")):
            raise LogError(
                f"reward is {text!r}: the weight {weight!r} is not a number; give column=weight, "
                "such as 'format=.1,correct=1'"
            )
        terms.append((name, factor))
    return tuple(terms)


def recognised(
    chunk: Chunk, known: Format | None, options: Options, notes: list[str]
) -> tuple[tuple[tuple[str, float], ...], bool, bool]:
    """Return the columns of rewards, and whether they are rollouts, or counts."""
    if known is not None:
        named = (known.reward,) if isinstance(known.reward, str) else known.reward(chunk)
        if known.reward is trl_rewards:
            notes.extend(trl_notes(chunk, named))
        elif len(others := alternatives(chunk, known)) > 1:
            notes.append(f"of {listing(others)} the first is the reward (--reward {others[1]})")
        return tuple((name, 1.0) for name in named), False, False
    lower = by_name(chunk)
    if not {"reward", "score"} & set(lower):
        for trials, successes in usual.COUNTS:
            if trials in lower and successes in lower:
                pair = (lower[trials], lower[successes])
                if all(_whole(chunk, name) for name in pair) and options.prompt not in pair:
                    return tuple((name, 1.0) for name in pair), False, True
    present = [lower[name] for name in usual.REWARD if name in lower]
    present = [name for name in present if name != options.prompt]
    usable = [name for name in present if _holds_rewards(chunk, name)]
    if not usable and (inside := held(chunk, usual.REWARD)) and inside != options.prompt:
        usable = [inside]
    if not usable and (only := _only_metric(chunk)) is not None:
        usable = [only]
    if not usable:
        similar = [name for name in chunk.names if _called_reward(name) and numeric(chunk, name)]
        if len(similar) > 1:
            raise LogError(
                f"{chunk.file} has no column 'reward', but {listing(similar)}; name one (--reward "
                f"{similar[0]}) or a sum with weights (--reward '{similar[0]}=1,{similar[1]}=.5')"
            )
        usable = similar or present
    if not usable:
        rollouts = _numbered(chunk, options.prompt)
        if rollouts:
            return tuple((name, 1.0) for name in rollouts), True, False
        raise LogError(no_column(chunk, "reward", "--reward"))
    return ((_inside(chunk, usable[0]), 1.0),), False, False


def by_name(chunk: Chunk) -> dict[str, str]:
    """Return the columns by their names in small letters."""
    return {name.lower(): name for name in reversed(chunk.names)}


def present_cells(chunk: Chunk, name: str) -> list[Any]:
    """Return the first values of a column, without those missing."""
    return [
        cell
        for cell in chunk.column(name)[:1000]
        if cell is not None and not (isinstance(cell, str) and not cell)
    ]


def held(chunk: Chunk, wanted: Sequence[str]) -> str | None:
    """Return the path of the first of these names inside a column of objects: metrics.score."""
    lower = by_name(chunk)
    for holder in usual.HOLDERS:
        if holder not in lower:
            continue
        cells = present_cells(chunk, lower[holder])
        keys = {key.lower(): key for cell in cells if isinstance(cell, dict) for key in cell}
        for name in wanted:
            if name in keys:
                return f"{lower[holder]}.{keys[name]}"
    return None


def _only_metric(chunk: Chunk) -> str | None:
    """Return the path of the one number in a column of metrics by name, as lighteval has it."""
    for name in ("metric", "metrics"):
        cells = present_cells(chunk, name) if name in chunk.names else []
        keys = {key for cell in cells if isinstance(cell, dict) for key in cell}
        if len(keys) == 1 and numeric(chunk, f"{name}.{next(iter(keys))}"):
            return f"{name}.{next(iter(keys))}"
    return None


def _whole(chunk: Chunk, name: str) -> bool:
    cells = present_cells(chunk, name)
    if chunk.is_text:  # pandas writes 4.0 where another count is missing
        digits = (cell.strip().removesuffix(".0") for cell in cells)
        return bool(cells) and all(cell.isdigit() for cell in digits)
    return bool(cells) and all(
        isinstance(cell, int | float) and not isinstance(cell, bool) and cell == int(cell)
        for cell in cells
        if cell == cell and abs(cell) != float("inf")
    )


def _holds_rewards(chunk: Chunk, name: str) -> bool:
    """Whether a column holds numbers, also as text, lists of them, or rewards by name."""
    cells = present_cells(chunk, name)
    return any(
        isinstance(cell, list | dict) or (cell == cell and number(cell) is not None)
        for cell in cells
    )


def _called_reward(name: str) -> bool:
    parts = re.split(r"[_./ -]+", name.lower())
    return bool({"reward", "rewards", "score"} & set(parts))


def _inside(chunk: Chunk, name: str) -> str:
    """Return the path to the reward inside a column that holds several by name."""
    cells = present_cells(chunk, name)
    if not cells or not isinstance(cells[0], dict):
        return name
    keys = list(dict.fromkeys(key for cell in cells if isinstance(cell, dict) for key in cell))
    found = [key for key in usual.TOTAL if key in keys] or (keys if len(keys) == 1 else [])
    if not found:
        both = ",".join(f"{name}.{key}=1" for key in keys[:2])
        raise LogError(
            f"{chunk.file}: {name} holds {listing(keys)}; name one (--reward {name}.{keys[0]}) or "
            f"a sum with weights (--reward '{both}')"
            if keys
            else f"{chunk.file}: {name} is an empty object; name the column of rewards (--reward)"
        )
    return _inside(chunk, f"{name}.{found[0]}")


def rollouts(chunk: Chunk, options: Options) -> tuple[tuple[str, float], ...]:
    """Return the columns of rollouts, where each row is a prompt."""
    prompt = options.prompt or "prompt"
    others = [name for name in chunk.names if name != prompt]
    if options.reward is not None:
        chosen = [name for name in others if fnmatchcase(name, options.reward)]
    else:
        chosen = [
            name
            for name in others
            if not _no_rollout(name) and name.lower() not in usual.PROMPT and numeric(chunk, name)
        ]
    if not chosen:
        what = (
            "no column of numbers"
            if options.reward is None
            else f"no column like {options.reward!r}"
        )
        raise LogError(
            f"{chunk.file} has {what} beside {prompt!r}; it has: {listing(chunk.names)}. Give "
            "the pattern of the columns of rewards (--reward 'r_*')"
        )
    return tuple((name, 1.0) for name in chosen)


def _no_rollout(name: str) -> bool:
    """Whether a column is pandas' index or another number that is no reward."""
    return (
        not name
        or re.fullmatch(r"Unnamed: \d+(\.\d+)*|__index_level_\d+__", name) is not None
        or name.lower() in usual.NO_ROLLOUT
    )


def _numbered(chunk: Chunk, prompt: str | None) -> list[str]:
    """Return columns of numbers called r0, r1 … or 0, 1 …: rollouts of the prompt in each row."""
    stems: dict[str, list[str]] = {}
    for name in chunk.names:
        match = re.fullmatch(r"(.*?)\d+", name)
        if match and name != prompt and not _no_rollout(name) and numeric(chunk, name):
            stems.setdefault(match[1], []).append(name)
    groups = [group for group in stems.values() if len(group) > 1]
    return groups[0] if len(groups) == 1 else []
