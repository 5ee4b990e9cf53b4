"""What was read: which column was taken for what, and what was left out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tea_stats.reward_log.errors import listing


@dataclass(frozen=True)
class Reading:
    """An account of what was read.

    Attributes
    ----------
    files : tuple of str
        Names of the files.
    format : str
        What the files are, in words: "JSON lines, verl rollouts".
    prompt, reward : str
        Columns that were taken for them.
    completion, step, rollout : str or None
        Columns of the text, the training step and the rollout's number.
    rows : int
        Rows read.
    prompts, least, most : int
        Prompts, and the fewest and most rollouts of one.
    steps : tuple
        All steps, in order.
    step_used : object
        The step that the rewards are of; None without steps, or if all are taken together.
    dropped, repeated, duplicates : int
        Rewards left out because they are missing; rollouts that came twice by their number and
        count once; rollouts whose text another rollout of the prompt has, beyond the first.
    notes : tuple of str
        What else a reader of the result has to know.
    others : tuple of str
        Columns that were not used.
    """

    files: tuple[str, ...]
    format: str
    prompt: str
    reward: str
    completion: str | None = None
    step: str | None = None
    rollout: str | None = None
    rows: int = 0
    prompts: int = 0
    least: int = 0
    most: int = 0
    steps: tuple[Any, ...] = ()
    step_used: Any = None
    dropped: int = 0
    repeated: int = 0
    duplicates: int = 0
    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def columns(self) -> str:
        """Return which columns were taken for prompt and reward."""
        return f"prompt = {self.prompt}, reward = {self.reward}"

    def summary(self) -> str:
        """Return what was taken for what, in one line."""
        each = f"{self.most}" if self.least == self.most else f"{self.least} to {self.most}"
        parts = [
            self.columns(),
            f"{_many(self.prompts, 'prompt')} × {each}",
        ]
        if self.rollout is not None:
            parts.append(f"rollout = {self.rollout}")
        if self.dropped:
            parts.append(f"{_many(self.dropped, 'reward')} dropped")
        if self.repeated:
            parts.append(f"{_many(self.repeated, 'rollout')} that came twice counted once")
        if self.duplicates:
            parts.append(f"{_many(self.duplicates, 'duplicate completion')}")
        if len(self.steps) > 1:
            if self.step_used is None:
                used = "taken together"
            elif self.step_used == self.steps[-1]:
                used = f"the last one used ({self.step} = {self.step_used})"
            else:
                used = f"{self.step} = {self.step_used} used"
            parts.append(f"{len(self.steps):,} steps: {used}")
        return ", ".join(parts)

    def otherwise(self) -> str:
        """Return how to say otherwise, in one line; "" where there was no choice."""
        options = []
        if self.others:
            options.append(f"--prompt, --reward (other columns: {listing(self.others, 8)})")
        if self.rollout is not None:
            options.append("--rollout none")
        if len(self.steps) > 1:
            first, last = self.steps[0], self.steps[-1]
            options.append(f"--step {first} … {last} or all, --by step")
        return f"say otherwise: {', '.join(options)}" if options else ""

    def lines(self) -> list[str]:
        """Return what to print: files and format, what was taken for what, notes."""
        what = f"{len(self.files):,} files, " if len(self.files) > 1 else ""
        return [
            f"read ({what}{self.format}): {self.summary()}",
            *([self.otherwise()] if self.otherwise() else []),
            *(f"note: {note}" for note in self.notes),
        ]

    def content(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {**dataclasses.asdict(self), "summary": self.summary()}


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
