"""What the studies' commands share: options, where to compute, how to end."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from simulations.core import engines
from simulations.core.progress import tell
from simulations.core.store import Damaged


class Engine(enum.StrEnum):
    """Where a study is computed."""

    local = "local"
    dask = "dask"


Config = Annotated[
    Path,
    typer.Argument(
        help="A TOML file, or the name of one that comes with tea_stats, such as quick."
    ),
]
Out = Annotated[Path | None, typer.Option(help="Default: results/<name of CONFIG>.")]
Workers = Annotated[int, typer.Option(min=1, help="Worker processes.")]
Where = Annotated[Engine, typer.Option(help="Where jobs are computed.")]
Address = Annotated[
    str | None,
    typer.Option(
        help="Dask scheduler, tcp://host:port, whose workers have tea-stats of this version (for a "
        "bandit, tea-stats[sim]); default: this machine."
    ),
]
#: an executor, and how many jobs it computes at a time
Machine = AbstractContextManager[tuple[Executor, int]]


def machine(engine: Engine, workers: int, address: str | None) -> Machine:
    """Return where to compute; ValueError if an address is given to the local engine."""
    if engine is Engine.dask:
        return engines.dask(workers, address)
    if address is not None:
        raise ValueError(f"address is {address!r} and engine is 'local'; add --engine dask")
    return engines.local(workers)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line for an error that the user can correct."""
    try:
        yield
    except (ValueError, Damaged) as error:
        tell(f"error: {error}")
        raise typer.Exit(2) from None
    except BrokenProcessPool:
        tell("error: a worker process died (out of memory?); run the same command to go on")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        tell("interrupted; run the same command to go on")
        raise typer.Exit(130) from None
