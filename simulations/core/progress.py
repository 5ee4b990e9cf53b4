"""A bar that shows what is being done, the time left, and tokens per second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

#: seconds over which the speed, and so the time left, is estimated
WINDOW = 600.0


class Told(NamedTuple):
    """What tells the bar of progress.

    Attributes
    ----------
    after : callable
        (rollouts, tokens) just drawn; tokens 0 for rollouts that were there already, which leave
        the estimate of the time left alone.
    doing : callable
        What is being done now, in a few words.
    tokens : callable
        () → tokens drawn so far.
    """

    after: Callable[[int, int], None]
    doing: Callable[[str], None]
    tokens: Callable[[], int]


@contextmanager
def bar(console: Console, total: int, description: str = "") -> Iterator[Told]:
    """Show a bar for `total` rollouts."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    begun, tokens, left = time.monotonic(), 0, total
    with Progress(*columns, console=console, speed_estimate_period=WINDOW) as progress:
        task = progress.add_task(description, total=total, speed="")

        def after(rollouts: int, drawn: int) -> None:
            nonlocal tokens, left
            if drawn == 0:
                left -= rollouts
                return progress.update(task, total=left)
            tokens += drawn
            speed = f"{tokens / (time.monotonic() - begun):.0f} tokens/s"
            return progress.update(task, advance=rollouts, speed=speed)

        yield Told(after, lambda text: progress.update(task, description=text), lambda: tokens)
