"""What rollouts of one prompt and step differ in beside their draw: models, settings, judges."""

from __future__ import annotations

from collections.abc import Iterator

from tea_stats.reward_log import names as usual
from tea_stats.reward_log.choice import Choice
from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.errors import listing


class Mixtures:
    """Values of the columns that tell policies apart, in the first rows of every file."""

    def __init__(self, choice: Choice, by: str | None) -> None:
        self.choice = choice
        self.known = {by, choice.rollout, *choice.paths}
        self.values: dict[str, dict[str, None]] = {}
        self.pairs: dict[str, set[tuple[tuple[str, ...], str]]] = {}

    def add(self, chunk: Chunk) -> None:
        """Add the first rows of a file."""
        columns = (*self.choice.prompt, *([self.choice.step] if self.choice.step else []))
        if not self.choice.prompt:
            return
        groups = list(zip(*(map(str, chunk.column(name)) for name in columns), strict=True))
        for name in chunk.names:
            if name.lower() not in usual.POLICY or name in self.known:
                continue
            cells = [str(cell) for cell in chunk.column(name)]
            self.values.setdefault(name, {}).update(dict.fromkeys(cells))
            self.pairs.setdefault(name, set()).update(zip(groups, cells, strict=True))

    def notes(self) -> Iterator[str]:
        """Yield what is taken together."""
        for name, pairs in self.pairs.items():
            if len(pairs) > len({group for group, _ in pairs}):
                values = list(self.values[name])
                yield (
                    f"prompts have rollouts of several values of {name} ({listing(values, 4)}), "
                    f"taken together (--by {name}, or --where '{name}={values[0]}')"
                )
