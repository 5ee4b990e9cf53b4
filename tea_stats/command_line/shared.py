"""What the commands share: how a log is named, how errors end, tables and JSON.

@shared.one_line_errors
def command(file: shared.File, prompt: shared.Prompt = None) -> None: ...
"""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tea_stats.command_line import terminal
from tea_stats.reward_log import RewardLog

Arguments = ParamSpec("Arguments")

#: columns of a table that no terminal limits
PIPE_WIDTH = 160
#: what a command prints, and its report shows: text, a line with colours, a table
Part = str | Text | Table

# --- options that have the same name and meaning everywhere --------------------------------------

KINDS = (
    "CSV, JSON lines, JSON, Parquet, Arrow, inspect_ai, also compressed; a folder, a glob, or - "
    "for standard input."
)
File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        show_default=False,
        help=f"Rewards: {KINDS}",
    ),
]
Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        show_default=False,
        help=f"Rewards, in one file or several: {KINDS}",
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="COLUMN",
        help="Column that identifies the prompt; 'a.b' is nested, 'a,b' are two together "
        "(default: recognised).",
        show_default=False,
    ),
]
Reward = Annotated[
    str | None,
    typer.Option(
        "--reward",
        metavar="COLUMN",
        help="Column of rewards, or a sum with weights: 'format=.1,correct=1' (default: "
        "recognised); with --wide a pattern of columns, such as 'r_*' (default: all columns of "
        "numbers).",
        show_default=False,
    ),
]
Step = Annotated[
    str | None,
    typer.Option(
        "--step",
        metavar="STEP",
        help="Training step, or all together: all (default: the last).",
        show_default=False,
    ),
]
Rollout = Annotated[
    str | None,
    typer.Option(
        "--rollout",
        metavar="COLUMN",
        help="Column that numbers a prompt's rollouts, so that those that come twice count once; "
        "none for none (default: recognised).",
        show_default=False,
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="COLUMN=VALUE",
        help="Only rows with this value; may be repeated.",
        show_default=False,
    ),
]
Success = Annotated[
    str | None,
    typer.Option(
        "--success",
        metavar="CONDITION",
        help="What makes a reward 1, and 0 otherwise: '>= .5', '== pass'.",
        show_default=False,
    ),
]
Wide = Annotated[bool, typer.Option("--wide", help="Each row is a prompt, each column a rollout.")]
DropMissing = Annotated[
    bool, typer.Option("--drop-missing", help="Leave out rewards that are missing or infinite.")
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print everything as JSON, no table; tea-stats schema describes it."
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="PATH",
        show_default=False,
        help="Write everything, figure included, into one HTML file (.html).",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of all random numbers.")]

# --- output --------------------------------------------------------------------------------------


class PlainConsole(Console):
    """A console that knows, before it lays out a table, what its stream cannot encode."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text with signs that the stream has."""
        return super().render_str(terminal.plain(text, self.encoding), **options)


def console() -> Console:
    """Return where tables go; made at each call, so that tests can capture them."""
    terminal_console = PlainConsole(highlight=False)
    # in a pipe or a file nothing need be cut
    if terminal_console.is_terminal:
        return terminal_console
    return PlainConsole(highlight=False, width=PIPE_WIDTH)


def show(parts: Iterable[Part], indent: int = 0) -> None:
    """Print parts one below the other; text is no markup."""
    out = console()
    for part in parts:
        out.print(Padding(part, (0, 0, 0, indent)) if indent else part, markup=False)


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table: the first column to the left, numbers to the right."""
    empty = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for place, column in enumerate(columns):
        empty.add_column(column, justify="right" if place else "left", no_wrap=True)
    return empty


def printable(text: object) -> str:
    """Return text with a question mark for half a character, as no stream can encode it."""
    return str(text).encode("utf-8", "replace").decode("utf-8")


def many(count: int, what: str) -> str:
    """Return "1 prompt" or "2 prompts"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def called(files: Sequence[str]) -> str:
    """Return the name of a log in headlines."""
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


def columns(
    prompt: str | None,
    reward: str | None,
    rollout: str | None,
    where: list[str] | None,
    success: str | None,
    wide: bool,
    drop_missing: bool,
) -> dict[str, Any]:
    """Return the options that say what the columns of a log are, as `reward_log.read` has them."""
    return {
        "prompt": prompt,
        "reward": reward,
        "rollout": rollout,
        "where": where or (),
        "success": success,
        "wide": wide,
        "drop_missing": drop_missing,
    }


def read_lines(log: RewardLog) -> list[Part]:
    """Return what was read and for what it was taken, where the log knows."""
    return [] if log.reading is None else [printable(line) for line in log.reading.lines()]


def read_content(log: RewardLog) -> dict[str, Any] | None:
    """Return what was read, for JSON."""
    return None if log.reading is None else log.reading.content()


def written(**paths: Path | None) -> list[Part]:
    """Return a line for each file written."""
    return [f"{name}: {path}" for name, path in paths.items() if path is not None]


def print_json(kind: str | None, content: Mapping[str, Any]) -> None:
    """Print as JSON; arrays become lists, NaN and infinities null.

    `kind` is a key of `schemas.SCHEMAS`, which has the version and the description of what is
    printed; None where that is no more than a list of records.
    """
    from tea_stats.command_line.schemas import identifier

    whole = content if kind is None else {"schema": identifier(kind), **content}
    text = json.dumps(_plain(whole), ensure_ascii=False, indent=2, allow_nan=False)
    if not terminal.encodes(text):
        text = json.dumps(_plain(whole), ensure_ascii=True, indent=2, allow_nan=False)
    typer.echo(text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {printable(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | bool | None) else printable(value)


# --- errors --------------------------------------------------------------------------------------


def fail(message: object) -> NoReturn:
    """End with one line on standard error and exit code 2."""
    text = "error: " + " ".join(str(message).split())
    # click writes UTF-8 into streams that say they are ASCII
    typer.echo(terminal.plain(text, getattr(sys.stderr, "encoding", None)), err=True)
    raise typer.Exit(2)


def one_line_errors(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Make a command end in one line, without a traceback, for errors that a user can mend."""

    @functools.wraps(command)
    def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, TypeError) as error:
            fail(error)
        except ModuleNotFoundError as missing:
            fail(f"{missing}; pip install 'tea-stats[cli]'")

    return guarded
