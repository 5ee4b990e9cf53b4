"""Which column is what: by the options, by a format that is known, or by the usual names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tea_stats.reward_log import names as usual
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.errors import LogError, listing
from tea_stats.reward_log.formats import FORMATS, Format, numeric
from tea_stats.reward_log.values import condition, number

OTHERWISE = (
    "Name the right one ({option}), or give --wide if each row is a prompt and each column a rollout"
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


@dataclass(frozen=True)
class Choice:
    """What each column is taken for.

    Attributes
    ----------
    format : str
        A format that is known, or "" for another.
    prompt : tuple of str
        Columns that identify the prompt together; without one each row is a prompt.
    rewards : tuple of (str, float)
        Columns of rewards and their weights in the sum; with `wide` the columns of rollouts, with
        `counts` the columns of trials and of successes.
    step, rollout, completion : str or None
        Columns of training step, rollout's number and text.
    where : tuple of (str, str)
        Columns and the values, as text, of the rows that are kept.
    wide, counts : bool
        Whether each reward column is a rollout; whether there are counts in place of rewards.
    notes : tuple of str
        What a reader of the result has to know.
    """

    format: str
    prompt: tuple[str, ...]
    rewards: tuple[tuple[str, float], ...]
    step: str | None = None
    rollout: str | None = None
    completion: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    wide: bool = False
    counts: bool = False
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Every column that is read."""
        extra = [name for name in (self.step, self.rollout, self.completion) if name]
        filters = [name for name, _ in self.where]
        return [*self.prompt, *(name for name, _ in self.rewards), *extra, *filters]


def choose(chunk: Chunk, options: Options, files: int, format_name: str | None) -> Choice:
    """Return what each column of a log is, from its first rows and the options."""
    known = None if options.wide else next((f for f in FORMATS if _matches(chunk, f)), None)
    notes: list[str] = []
    where = [condition(text) for text in options.where]
    for column, _ in where:
        _known(chunk, column, "--where")
    wide, counts = options.wide, False
    if options.wide:
        rewards = _rollouts(chunk, options)
    elif options.reward is not None:
        rewards = _terms(chunk, options.reward)
    else:
        rewards, wide, counts = _rewards(chunk, known, options, notes)
    taken = {name for name, _ in rewards}
    prompt = _prompt(chunk, known, options, taken, files, wide)
    if counts and not _one_row_each(chunk, prompt):
        counts, rewards = False, ((rewards[1][0], 1.0),)  # correct: 0 or 1 of each rollout
    if known is not None and known.name == "lm-eval samples" and "filter" in chunk.names:
        where += _first_filter(chunk, where, notes)
    taken |= set(prompt)
    return Choice(
        format_name or (known.name if known else "counts of successes" if counts else ""),
        prompt,
        rewards,
        _step(chunk, known, options, taken),
        _rollout(chunk, known, options, taken),
        _completion(chunk, known, taken),
        tuple(where),
        wide,
        counts,
        tuple(notes),
    )


def _matches(chunk: Chunk, known: Format) -> bool:
    own = set(chunk.names)
    if not known.columns <= own or known.absent & own:
        return False
    return isinstance(known.reward, str) or bool(known.reward(chunk))


def _known(chunk: Chunk, path: str, option: str) -> str:
    """Return the path of a column that the user names; LogError if there is no such thing."""
    root = chunk.root(path)
    if root is None:
        raise LogError(_no_column(chunk, path, option))
    if root != path and all(cell is None for cell in chunk.column(path)):
        holder = path.rpartition(".")[0]
        keys = {key: 0 for cell in _cells(chunk, holder) if isinstance(cell, dict) for key in cell}
        raise LogError(
            f"{chunk.file} has nothing at {path!r}; {holder} holds: {listing(keys)}. Name the right "
            f"one ({option})"
        )
    return path


def _no_column(chunk: Chunk, name: str, option: str) -> str:
    cure = f"Name the right one ({option})"
    if option in ("--prompt", "--reward"):
        cure = OTHERWISE.format(option=option)
    return f"{chunk.file} has no column {name!r}; it has: {listing(chunk.names)}. {cure}"


# --- rewards -------------------------------------------------------------------------------------


def _terms(chunk: Chunk, text: str) -> tuple[tuple[str, float], ...]:
    """Return columns and weights of "correct", "a.b", "format+correct" or "format=.1,correct=1"."""
    if text in chunk.names or not re.search("[,+=]", text):
        return ((_known(chunk, text, "--reward"), 1.0),)
    terms = []
    for part in re.split(r"[,+]", text):
        name, equals, weight = part.strip().rpartition("=")
        if not equals:
            name, weight = part.strip(), "1"
        _known(chunk, name, "--reward")
        factor = number(weight)
        if factor is None or factor != factor or factor in (float("inf"), -float("inf")):
            raise LogError(
                f"reward is {text!r}: the weight {weight!r} is not a number; give column=weight, "
                "such as 'format=.1,correct=1'"
            )
        terms.append((name, factor))
    return tuple(terms)


def _rewards(
    chunk: Chunk, known: Format | None, options: Options, notes: list[str]
) -> tuple[tuple[tuple[str, float], ...], bool, bool]:
    """Return the columns of rewards, and whether they are rollouts, or counts."""
    if known is not None:
        named = (known.reward,) if isinstance(known.reward, str) else known.reward(chunk)
        if len(named) > 1:
            notes.append(f"the reward is the sum of {', '.join(named)}, as TRL's is by default")
        return tuple((name, 1.0) for name in named), False, False
    lower = _by_name(chunk)
    if not {"reward", "score"} & set(lower):
        for trials, successes in usual.COUNTS:
            if trials in lower and successes in lower:
                pair = (lower[trials], lower[successes])
                if all(_whole(chunk, name) for name in pair) and options.prompt not in pair:
                    return tuple((name, 1.0) for name in pair), False, True
    present = [lower[name] for name in usual.REWARD if name in lower]
    present = [name for name in present if name != options.prompt]
    usable = [name for name in present if _holds_rewards(chunk, name)]
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
        raise LogError(_no_column(chunk, "reward", "--reward"))
    return ((_inside(chunk, usable[0]), 1.0),), False, False


def _by_name(chunk: Chunk) -> dict[str, str]:
    """Return the columns by their names in small letters."""
    return {name.lower(): name for name in reversed(chunk.names)}


def _cells(chunk: Chunk, name: str) -> list[Any]:
    """Return the first values of a column, without those missing."""
    return [cell for cell in chunk.column(name)[:1000] if cell is not None and not (isinstance(cell, str) and not cell)]


def _whole(chunk: Chunk, name: str) -> bool:
    cells = _cells(chunk, name)
    if chunk.is_text:
        return bool(cells) and all(cell.strip().isdigit() for cell in cells)
    return bool(cells) and all(
        isinstance(cell, int | float) and not isinstance(cell, bool) and cell == int(cell)
        for cell in cells
        if cell == cell and abs(cell) != float("inf")
    )


def _holds_rewards(chunk: Chunk, name: str) -> bool:
    """Whether a column holds numbers, also as text, lists of them, or rewards by name."""
    cells = _cells(chunk, name)
    return any(
        isinstance(cell, list | dict) or (cell == cell and number(cell) is not None)
        for cell in cells
    )


def _called_reward(name: str) -> bool:
    parts = re.split(r"[_./ -]+", name.lower())
    return bool({"reward", "rewards", "score"} & set(parts))


def _inside(chunk: Chunk, name: str) -> str:
    """Return the path to the reward inside a column that holds several by name."""
    cells = _cells(chunk, name)
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


def _rollouts(chunk: Chunk, options: Options) -> tuple[tuple[str, float], ...]:
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
            "no column of numbers" if options.reward is None else f"no column like {options.reward!r}"
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


# --- the other columns ---------------------------------------------------------------------------


def _prompt(
    chunk: Chunk,
    known: Format | None,
    options: Options,
    taken: set[str],
    files: int,
    wide: bool,
) -> tuple[str, ...]:
    if options.prompt is not None:
        if options.wide and chunk.root(options.prompt) is None:
            return ()
        named = (options.prompt,)
        if chunk.root(options.prompt) is None:
            named = tuple(part.strip() for part in options.prompt.split(","))
        return tuple(_known(chunk, name, "--prompt") for name in named)
    if known is not None:
        if known.name == "lm-eval samples" and files > 1 and "doc_hash" in chunk.names:
            return (*known.prompt, "doc_hash")  # files of other tasks count their own documents
        if known.name == "prime-rl rollouts" and "task" in chunk.names:
            return ("task", *known.prompt)
        if chunk.root(known.prompt[0]) is not None:
            return known.prompt
    lower = _by_name(chunk)
    for name in ("prompt",) if options.wide else usual.PROMPT:
        if name in lower and lower[name] not in taken and _cells(chunk, lower[name]):
            if name == "task" and "env" in lower:
                return (lower["env"], lower[name]) if _cells(chunk, lower["env"]) else (lower[name],)
            return (lower[name],)
    if "prompt" in lower and not wide:
        return (lower["prompt"],)  # all missing: the error names the first row
    lists = any(
        isinstance(cell, list) for name in taken for cell in _cells(chunk, name)[:100]
    )
    if wide or lists:
        return ()
    raise LogError(_no_column(chunk, "prompt", "--prompt"))


def _one_row_each(chunk: Chunk, prompt: Sequence[str]) -> bool:
    """Whether no prompt has two rows, in the first chunk: counts have one for each prompt."""
    rows = list(zip(*(map(str, chunk.column(name)) for name in prompt), strict=True))
    steps = [name for name in chunk.names if name.lower() in usual.STEP]
    if steps:
        rows = list(zip(rows, map(str, chunk.column(steps[0])), strict=True))
    return len(set(rows)) == len(rows)


def _axis(
    chunk: Chunk, known: str | None, candidates: Sequence[str], taken: set[str]
) -> str | None:
    """Return a column by its usual names, if it holds something."""
    if known is not None:
        return known
    lower = _by_name(chunk)
    for name in candidates:
        if name in lower and lower[name] not in taken and _cells(chunk, lower[name]):
            return lower[name]
    return None


def _step(chunk: Chunk, known: Format | None, options: Options, taken: set[str]) -> str | None:
    if options.by is not None and options.by != "step":
        return _known(chunk, options.by, "--by")
    return _axis(chunk, known.step if known else None, usual.STEP, taken)


def _rollout(
    chunk: Chunk, known: Format | None, options: Options, taken: set[str]
) -> str | None:
    if options.rollout is not None:
        if options.rollout.lower() == "none":
            return None
        return _known(chunk, options.rollout, "--rollout")
    for name in ("trace_id", "uuid"):  # prime-rl's, and inspect_ai's: a retried log repeats them
        if name in chunk.names and (known is None or known.rollout):
            return name
    return _axis(chunk, known.rollout if known else None, usual.ROLLOUT, taken)


def _completion(chunk: Chunk, known: Format | None, taken: set[str]) -> str | None:
    return _axis(chunk, known.completion if known else None, usual.COMPLETION, taken)


def _first_filter(
    chunk: Chunk, where: list[tuple[str, str]], notes: list[str]
) -> list[tuple[str, str]]:
    """Return the first filter of lm-eval: each repeats the same responses."""
    if any(column == "filter" for column, _ in where):
        return []
    filters = list(dict.fromkeys(str(cell) for cell in _cells(chunk, "filter")))
    if len(filters) < 2:
        return []
    notes.append(
        f"of the filters {', '.join(filters)}, which repeat the same responses, the first is used "
        "(--where filter=...)"
    )
    return [("filter", filters[0])]
