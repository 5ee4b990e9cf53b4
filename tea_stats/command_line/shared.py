"""What the commands share: how a log is named, how errors end, tables and JSON.

@shared.one_line_errors
def command(file: shared.File, prompt: shared.Prompt = "prompt") -> None: ...
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn, ParamSpec

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Arguments = ParamSpec("Arguments")

#: columns of a table that no terminal limits
PIPE_WIDTH = 160

# --- options that have the same name and meaning everywhere --------------------------------------

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        show_default=False,
        help="Rewards: .csv, .jsonl or .parquet; - reads JSON lines from standard input.",
    ),
]
Prompt = Annotated[
    str,
    typer.Option("--prompt", metavar="COLUMN", help="Column that identifies the prompt."),
]
Reward = Annotated[
    str | None,
    typer.Option(
        "--reward",
        metavar="COLUMN",
        help="Column of rewards (default: reward); with --wide a pattern of columns, such as "
        "'r_*' (default: all columns of numbers).",
        show_default=False,
    ),
]
Wide = Annotated[bool, typer.Option("--wide", help="Each row is a prompt, each column a rollout.")]
DropMissing = Annotated[
    bool, typer.Option("--drop-missing", help="Leave out rewards that are missing or infinite.")
]
Json = Annotated[bool, typer.Option("--json", help="Print everything as JSON, no table.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of all random numbers.")]

# --- output --------------------------------------------------------------------------------------


def console() -> Console:
    """Return where tables go; made at each call, so that tests can capture them."""
    terminal = Console(highlight=False)
    # in a pipe or a file nothing need be cut
    return terminal if terminal.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table: the first column to the left, numbers to the right."""
    empty = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for place, column in enumerate(columns):
        empty.add_column(column, justify="right" if place else "left", no_wrap=True)
    return empty


def print_json(content: Mapping[str, Any]) -> None:
    """Print as JSON; arrays become lists, NaN and infinities null."""
    typer.echo(json.dumps(_plain(content), ensure_ascii=False, indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)


# --- errors --------------------------------------------------------------------------------------


def fail(message: object) -> NoReturn:
    """End with one line on standard error and exit code 2."""
    typer.echo("error: " + " ".join(str(message).split()), err=True)
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
