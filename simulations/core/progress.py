"""Messages of a running study, on standard error: lines, and a bar with the time left."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")

#: seconds over which the speed, and so the time left, is estimated
WINDOW = 600.0

console = Console(stderr=True)


def tell(message: str) -> None:
    """Print a line that is not part of the bar."""
    console.print(message, soft_wrap=True, markup=False, highlight=False)


class Account:
    """How much of a known amount of work is done; what was there already leaves the total.

    So the time left is estimated from the speed of this run alone. Tokens are counted where there
    are any, and their number per second is shown.
    """

    def __init__(self, progress: Progress, task: TaskID, total: int) -> None:
        self.begun, self.total, self.drawn = time.monotonic(), total, 0
        self._progress, self._task = progress, task

    def done(self, count: int = 1, tokens: int = 0) -> None:
        """Count work that was just done."""
        self.drawn += tokens
        speed = f"{self.drawn / (time.monotonic() - self.begun):.0f} tokens/s" if self.drawn else ""
        self._progress.update(self._task, advance=count, speed=speed)

    def kept(self, count: int = 1) -> None:
        """Take off work that an earlier run had done."""
        self.more(-count)

    def more(self, count: int) -> None:
        """Add to the work there is to do."""
        self.total += count
        self._progress.update(self._task, total=self.total)

    def doing(self, text: str) -> None:
        """Show what is being done, in a few words."""
        self._progress.update(self._task, description=text)

    def after(self, rollouts: int, tokens: int) -> None:
        """Count rollouts: as done, or with 0 tokens as kept. The callback of training loops."""
        if tokens == 0:
            self.kept(rollouts)
        else:
            self.done(rollouts, tokens)


@contextmanager
def bar(total: int, description: str = "") -> Iterator[Account]:
    """Show a bar for some work."""
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
        TextColumn("{task.fields[speed]}"),
    )
    with Progress(*columns, console=console, speed_estimate_period=WINDOW) as progress:
        yield Account(progress, progress.add_task(description, total=total, speed=""), total)


def track(items: Collection[Item], description: str) -> Iterator[Item]:
    """Yield items, with a bar that counts those that are done."""
    with bar(len(items), description) as account:
        for item in items:
            yield item
            account.done()
