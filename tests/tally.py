"""An account of a study's work without a bar, which can interrupt it."""

from __future__ import annotations


class Killed(KeyboardInterrupt):
    """Stands for the signal that ends a run."""


class Tally:
    """Counts as `simulations.core.progress.Account` does; Killed after `stop` pieces of work."""

    def __init__(self, stop: int | None = None):
        self.total, self.stop = 0, stop
        self.pieces: list[int] = []
        self.skipped: list[int] = []

    def done(self, count: int = 1, tokens: int = 0) -> None:
        self.pieces.append(count)
        self.total += count
        if len(self.pieces) == self.stop:
            raise Killed

    def kept(self, count: int = 1) -> None:
        self.skipped.append(count)
        self.total += count

    def after(self, rollouts: int, tokens: int) -> None:
        if tokens:
            self.done(rollouts, tokens)
        else:
            self.kept(rollouts)

    def more(self, count: int) -> None:
        """Expect more work."""

    def doing(self, text: str) -> None:
        """Show nothing."""
