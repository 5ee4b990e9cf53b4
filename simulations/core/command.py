"""What the studies' commands share: messages, the progress bar, where to compute, how to end."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from simulations.core import engines

console = Console(stderr=True)


class Engine(enum.StrEnum):
    """Where a study is computed."""

    local = "local"
    dask = "dask"


def tell(message: str) -> None:
    """Print a line that is not part of the progress bar."""
    console.print(message, soft_wrap=True, markup=False, highlight=False)


def progress_bar() -> Progress:
    """Return a bar with counts and an estimate of the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def machine(
    engine: Engine, workers: int, address: str | None
) -> AbstractContextManager[tuple[Executor, int]]:
    """Return where to compute; ValueError if an address is given to the local engine."""
    if engine is Engine.dask:
        return engines.dask(workers, address)
    if address is not None:
        raise ValueError(f"address is {address!r} and engine is 'local'; add --engine dask")
    return engines.local(workers)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line for what a user can put right."""
    try:
        yield
    except ValueError as error:
        tell(f"error: {error}")
        raise typer.Exit(2) from None
    except BrokenProcessPool:
        tell("error: a worker process died (out of memory?); run the same command to go on")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        tell("interrupted; run the same command to go on")
        raise typer.Exit(130) from None
