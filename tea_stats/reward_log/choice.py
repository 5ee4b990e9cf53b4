"""Which column is what: by the options, by a format that is known, or by the usual names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tea_stats.reward_log import names as usual, reward_columns as columns
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.errors import LogError
from tea_stats.reward_log.formats import FORMATS, Format
from tea_stats.reward_log.reward_columns import Options
from tea_stats.reward_log.values import condition, number


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
        columns.required(chunk, column, "--where")
    wide, counts = options.wide, False
    if options.wide:
        rewards = columns.rollouts(chunk, options)
    elif options.reward is not None:
        rewards = columns.terms(chunk, options.reward)
    else:
        rewards, wide, counts = columns.recognised(chunk, known, options, notes)
    taken = {name for name, _ in rewards}
    prompt = _prompt(chunk, known, options, taken, files, wide)
    if counts and not _one_row_each(chunk, prompt) and _at_most_one(chunk, rewards[1][0]):
        counts, rewards = False, ((rewards[1][0], 1.0),)  # correct: 0 or 1 of each rollout
    if known is not None and known.name == "lm-eval samples" and "filter" in chunk.names:
        where += _first_filter(chunk, where, notes)
    taken |= set(prompt)
    step = _step(chunk, known, options, taken)
    rollout = _rollout(chunk, known, options, taken)
    return Choice(
        format_name or (known.name if known else "counts of successes" if counts else ""),
        prompt,
        rewards,
        step,
        rollout,
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
        named: tuple[str, ...] = (options.prompt,)
        if chunk.root(options.prompt) is None:
            named = tuple(part.strip() for part in options.prompt.split(","))
        return tuple(columns.required(chunk, name, "--prompt") for name in named)
    if known is not None:
        if known.name == "lm-eval samples" and files > 1 and "doc_hash" in chunk.names:
            return (*known.prompt, "doc_hash")  # files of other tasks count their own documents
        if known.name == "inspect_ai log" and files > 1 and "task" in chunk.names:
            return ("task", *known.prompt)  # samples are numbered in each task
        if known.name == "prime-rl rollouts" and "task" in chunk.names:
            return ("task", *known.prompt)
        if chunk.root(known.prompt[0]) is not None:
            return known.prompt
    lower = columns.by_name(chunk)
    for name in usual.PROMPT:
        if name in lower and lower[name] not in taken and columns.present_cells(chunk, lower[name]):
            env = lower.get("env") if name == "task" else None
            both = env is not None and columns.present_cells(chunk, env)
            return (lower["env"], lower[name]) if both else (lower[name],)
    if "prompt" in lower and not wide:
        return (lower["prompt"],)  # all missing: the error names the first row
    first = [cell for name in taken for cell in columns.present_cells(chunk, name)[:100]]
    if wide or any(isinstance(cell, list) for cell in first):
        return ()
    if (inside := columns.held(chunk, usual.PROMPT)) is not None:
        return (inside,)
    raise LogError(columns.no_column(chunk, "prompt", "--prompt"))


def _one_row_each(chunk: Chunk, prompt: Sequence[str]) -> bool:
    """Whether no prompt has two rows, in the first chunk: counts have one for each prompt."""
    rows = list(zip(*(map(str, chunk.column(name)) for name in prompt), strict=True))
    steps = [name for name in chunk.names if name.lower() in usual.STEP]
    if steps:
        rows = list(zip(rows, map(str, chunk.column(steps[0])), strict=True))
    return len(set(rows)) == len(rows)


def _at_most_one(chunk: Chunk, name: str) -> bool:
    cells = columns.present_cells(chunk, name)
    return all((number(cell) or 0.0) <= 1.0 for cell in cells)


def _axis(
    chunk: Chunk, known: str | None, candidates: Sequence[str], taken: set[str]
) -> str | None:
    """Return a column by its usual names, if it holds something."""
    if known is not None:
        return known
    lower = columns.by_name(chunk)
    for name in candidates:
        if name in lower and lower[name] not in taken and columns.present_cells(chunk, lower[name]):
            return lower[name]
    return None


def _step(chunk: Chunk, known: Format | None, options: Options, taken: set[str]) -> str | None:
    if options.by is not None and options.by != "step":
        return columns.required(chunk, options.by, "--by")
    return _axis(chunk, known.step if known else None, usual.STEP, taken)


def _rollout(chunk: Chunk, known: Format | None, options: Options, taken: set[str]) -> str | None:
    if options.rollout is not None:
        if options.rollout.lower() == "none":
            return None
        return columns.required(chunk, options.rollout, "--rollout")
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
    filters = list(dict.fromkeys(str(cell) for cell in columns.present_cells(chunk, "filter")))
    if len(filters) < 2:
        return []
    notes.append(
        f"of the filters {', '.join(filters)}, which repeat the same responses, the first is used "
        "(--where filter=...)"
    )
    return [("filter", filters[0])]
