"""Jobs: files that other processes compute, each written as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from simulations.core import store

#: jobs handed out at a time, per process: enough to keep all busy
AHEAD = 3


@dataclass(frozen=True, eq=False)
class Job:
    """A table that another process computes.

    Attributes
    ----------
    path : Path
        Its Parquet file.
    marks : mapping
        What the file must carry to be accepted, as in `store.once`.
    function, arguments, settings
        The call, positional and by keyword. Workers of a cluster need nothing but its modules.
    table : callable
        From the call's result to the table; runs in this process.
    """

    path: Path
    marks: Mapping[str, str]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    table: Callable[[Any], pd.DataFrame] = lambda result: result

    def kept(self) -> bool:
        """Return whether an earlier run did this job; a damaged file is reported."""
        return store.kept(self.path, **self.marks) is not None

    def read(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Return the table of a finished job."""
        return store.read(self.path, columns, **self.marks)


def compute(jobs: list[Job], executor: Executor, parallel: int) -> Iterator[Job]:
    """Compute jobs, write each table as it is done, and yield its job.

    Jobs are taken from the list, to which others may be added meanwhile.
    """
    running: dict[Future[Any], Job] = {}
    while jobs or running:
        while jobs and len(running) < AHEAD * parallel:
            job = jobs.pop(0)
            running[executor.submit(job.function, *job.arguments, **job.settings)] = job
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            try:
                result = future.result()
            except ModuleNotFoundError as error:
                raise ValueError(
                    f"a worker lacks the module {error.name}; pip install this project there, and "
                    "start the worker again"
                ) from None
            store.write(job.table(result), job.path, **job.marks)
            yield job
