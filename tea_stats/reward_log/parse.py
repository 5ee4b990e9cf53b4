"""Reading a log: files, their rows, the choice of columns, and the rewards by prompt."""

from __future__ import annotations

import gc
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tea_stats._validation import as_flag
from tea_stats.reward_log import readers
from tea_stats.reward_log.choice import Choice, choose
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.errors import LogError, listing
from tea_stats.reward_log.gather import Gathered
from tea_stats.reward_log.log import RewardLog
from tea_stats.reward_log.mixtures import Mixtures
from tea_stats.reward_log.reading import Reading
from tea_stats.reward_log.reward_columns import Options
from tea_stats.reward_log.selection import Rollouts, rollouts, select, step_number
from tea_stats.reward_log.sources import Source, resolve
from tea_stats.reward_log.unfolding import unfold
from tea_stats.reward_log.values import Success

Paths = str | Path | Sequence[str | Path]


def read(
    path: Paths,
    *,
    prompt: str | None = None,
    reward: str | None = None,
    step: str | int | float | None = None,
    rollout: str | None = None,
    where: str | Sequence[str] = (),
    success: str | None = None,
    wide: bool = False,
    drop_missing: bool = False,
) -> RewardLog:
    """Read the rewards of a log, grouped by prompt.

    Parameters
    ----------
    path : str or Path, or a sequence of them
        Files, globs, folders of files, or "-" for standard input. Each is CSV (also separated by
        tabs, semicolons or bars), JSON lines, JSON, Parquet, Arrow, a saved dataset of `datasets`,
        a log of inspect_ai or an array of NumPy, plain or compressed by gzip, bzip2, xz or zstd;
        its first bytes say which.
    prompt : str, optional
        Column that identifies the prompt ("a.b" for what is nested, "a,b" for several together);
        by default the first of the usual names. Text, numbers or lists of messages; two spellings
        are two prompts (1.1 and 1.10, and in JSON 1 and true).
    reward : str, optional
        Column of the rewards, or a sum with weights ("format=.1,correct=1"); by default the first
        of the usual names. A row may hold one reward, or a list of those of all rollouts of its
        prompt. With `wide`, the pattern of the columns of rewards ("r_*").
    step : str or number, optional
        Training step; "all" takes all together. By default the last one.
    rollout : str, optional
        Column that numbers the rollouts of a prompt: what comes twice, as in the log of a resumed
        run, counts once. By default one of the usual names; "none" for none.
    where : str or sequence of str
        Conditions on the rows that are read ("split=test").
    success : str, optional
        What makes a reward 1, and 0 otherwise (">= .5", "== pass").
    wide : bool
        Whether each row is a prompt and each column a rollout.
    drop_missing : bool
        Whether to leave out rewards that are missing, NaN or infinite instead of refusing them.

    Returns
    -------
    RewardLog
        The rewards, booleans as 0 and 1; `reading` has what was taken for what.

    Raises
    ------
    TypeError, ValueError
        If a file cannot be read, a column is missing, a reward is not a finite number, no prompt
        has two rollouts, or an argument is of the wrong type; the message names file, line, value
        and cure.
    ModuleNotFoundError
        If a Parquet, Arrow or zstd file is read without pyarrow.
    """
    found, reading, file = _gathered(
        path, prompt, reward, rollout, where, success, wide, drop_missing, by=None
    )
    return select(found, step_number(found, step), reading, file)


def read_steps(
    path: Paths,
    *,
    by: str = "step",
    prompt: str | None = None,
    reward: str | None = None,
    rollout: str | None = None,
    where: str | Sequence[str] = (),
    success: str | None = None,
    wide: bool = False,
    drop_missing: bool = False,
) -> dict[Any, RewardLog]:
    """Read the rewards of a log, by training step.

    Parameters
    ----------
    by : str
        "step" for the column that is taken for the training step, or the name of another column.
    path, prompt, reward, rollout, where, success, wide, drop_missing
        As for `read`.

    Returns
    -------
    dict
        The log of each step, in the order of the steps; without those at which no prompt has two
        rollouts, which the notes of each name.

    Raises
    ------
    TypeError, ValueError, ModuleNotFoundError
        As for `read`; also if the log has no steps.
    """
    found, reading, file = _gathered(
        path, prompt, reward, rollout, where, success, wide, drop_missing, by=_name("by", by)
    )
    if not found.order:
        raise LogError(
            f"{file} has no column of steps; it has: {listing(reading.others)}. Name it (--by "
            "COLUMN), or leave --by out"
        )
    logs, problem = {}, None
    for number, step in enumerate(found.order):
        try:
            logs[step] = select(found, number, reading, file)
        except LogError as error:
            problem = error
    if not logs and problem is not None:
        raise problem
    return logs


def _gathered(
    path: Paths,
    prompt: str | None,
    reward: str | None,
    rollout: str | None,
    where: str | Sequence[str],
    success: str | None,
    wide: bool,
    drop_missing: bool,
    by: str | None,
) -> tuple[Rollouts, Reading, str]:
    """Return all rollouts, what was read, and the name of the file in messages."""
    options = Options(
        _name("prompt", prompt),
        _name("reward", reward),
        by,
        _name("rollout", rollout),
        tuple(_name("where", one) or "" for one in ([where] if isinstance(where, str) else where)),
        as_flag("wide", wide),
    )
    condition = None if success is None else Success.parse(_name("success", success) or "")
    drop_missing = as_flag("drop_missing", drop_missing)
    sources = resolve(path)
    gathered, kinds, names = None, [], []
    file_steps = _steps_of(sources)
    choice: Choice | None = None
    unfolded = False

    def needed() -> list[str] | None:
        # names of what was unfolded are no columns of the file
        return None if choice is None or unfolded else choice.paths

    with _without_collection():
        for source, file_step in zip(sources, file_steps, strict=True):
            kind = readers.kind_of(source)
            kinds.append(kind)
            fresh = True
            for chunk in readers.read(source, kind, _columns(needed)):
                format_name, chunk = unfold(chunk)
                unfolded = unfolded or format_name is not None
                if not len(chunk):
                    continue
                if gathered is None:
                    choice = choose(chunk, options, len(sources), format_name)
                    _sensible(choice, condition, success)
                    gathered = Gathered(choice, condition, drop_missing)
                    mixtures = Mixtures(choice, by)
                    names = chunk.names
                elif fresh:
                    _same_columns(chunk, gathered.choice, sources[0].name)
                if fresh:
                    mixtures.add(chunk)
                fresh = False
                gathered.add(chunk, file_step if gathered.choice.step is None else None)
    file = sources[0].name if len(sources) == 1 else f"{sources[0].name} … {sources[-1].name}"
    if gathered is None or choice is None:
        raise LogError(f"{file} is empty; give a file with a row for each rollout")
    if not gathered.rows:
        raise LogError(f"{file} has no row where {' and '.join(options.where)}; check the values")
    if not any(map(len, gathered.rewards)):
        raise LogError(f"{file} has no reward that is a finite number; repair the file")
    found = rollouts(gathered, explicit=options.rollout is not None)
    found = replace(found, notes=(*found.notes, *mixtures.notes()))
    return found, _reading(gathered, choice, sources, kinds, names, condition), file


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python from looking for cycles in a million small lists, where there are none.

    It would take longer than the parsing of a CSV file.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _name(argument: str, value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{argument} is {value!r}; give the name of a column, as text")
    return value


def _columns(needed: Any) -> Any:
    """Return the columns, without what is nested in them."""

    def roots() -> set[str] | None:
        paths = needed()
        if paths is None:
            return None
        every = set()
        for path in paths:
            parts = path.split(".")
            every |= {".".join(parts[: i + 1]) for i in range(len(parts))}
        return every

    return roots


def _sensible(choice: Choice, condition: Success | None, text: str | None) -> None:
    if condition is None:
        return
    if choice.counts:
        raise LogError(
            f"success is {text!r}, but {choice.rewards[1][0]} counts successes already; leave "
            "--success out, or name a column of rewards (--reward)"
        )
    if isinstance(condition.bound, str) and len(choice.rewards) > 1 and not choice.wide:
        raise LogError(
            f"success is {text!r}, but a sum of columns is a number; compare it with a number"
        )


def _same_columns(chunk: Chunk, choice: Choice, first: str) -> None:
    """Refuse a file that lacks a column; JSON may leave out one that is optional."""
    required = [*choice.prompt, *(name for name, _ in choice.rewards)]
    if choice.step is not None:
        required.append(choice.step)
    for name in required:
        if chunk.root(name) is None:
            raise LogError(
                f"{chunk.file} has no column {name!r}, as {first} has; it has: "
                f"{listing(chunk.names)}. Read it by itself, or leave it out"
            )


def _steps_of(sources: Iterable[Source]) -> list[Hashable | None]:
    """Return the step that each path names, as step_12/ does; None for all if one names none."""
    found: list[Hashable | None] = []
    for source in sources:
        matches = re.findall(r"(?:step|checkpoint|ckpt|iter)s?[_\-=]?(\d+)", source.path.lower())
        found.append(int(matches[-1]) if matches else None)
    return found if None not in found and len(set(found)) > 1 else [None] * len(found)


def _reading(
    gathered: Gathered,
    choice: Choice,
    sources: list[Source],
    kinds: list[str],
    names: list[str],
    condition: Success | None,
) -> Reading:
    kind = " and ".join(dict.fromkeys(kinds))
    kind = {"delimited": "CSV", "zip": "archive"}.get(kind, kind)
    if choice.counts:
        (trials, _), (successes, _) = choice.rewards
        reward = f"{successes} of {trials}"
    elif choice.wide:
        columns = [name for name, _ in choice.rewards]
        reward = f"{len(columns)} columns {listing(columns, 3)}"
        reward = f"{columns[0]} … {columns[-1]}" if len(columns) > 3 else ", ".join(columns)
        reward += f" ({len(columns)} columns)"
    else:
        reward = " + ".join(
            name if weight == 1.0 else f"{weight:g} × {name}" for name, weight in choice.rewards
        )
    if condition is not None:
        reward += f" {condition}"
    used = {path for path in choice.paths} | {path.split(".")[0] for path in choice.paths}
    step = choice.step or ("name of the file" if gathered.steps else None)
    return Reading(
        files=tuple(source.name for source in sources),
        format=f"{kind}, {choice.format}" if choice.format else kind,
        prompt=" / ".join(choice.prompt) or "each row",
        reward=reward,
        completion=choice.completion,
        step=step,
        rollout=choice.rollout,
        rows=gathered.rows,
        dropped=gathered.dropped,
        others=tuple(name for name in names if name not in used and name),
    )
