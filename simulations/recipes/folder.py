"""Where a run's files are, and the marks by which they are known to be its own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.core import store
from simulations.recipes.schema import START, Recipe, Run


@dataclass(frozen=True)
class Folder:
    """The files of a training run, or of a scenario's start, which is not trained.

    `rewards` are the rewards of training, `heldout` those of the evaluation, in the format of
    `tea_stats.reward_log`; `judge` has the best answers for whoever compares them.
    """

    path: Path
    mark: Mapping[str, str]

    @property
    def checkpoints(self) -> Path:
        """TRL's checkpoints, while it trains."""
        return self.path / "checkpoints"

    @property
    def policy(self) -> Path:
        """Trained weights, or adapters."""
        return self.path / "policy"

    @property
    def steps(self) -> Path:
        """A row for each step of training."""
        return self.path / "steps.parquet"

    @property
    def rewards(self) -> Path:
        """Rewards of training."""
        return self.path / "rewards.jsonl.gz"

    @property
    def evaluation(self) -> Path:
        """A row for each held-out rollout."""
        return self.path / "evaluation.parquet"

    @property
    def heldout(self) -> Path:
        """Held-out rollouts with their text."""
        return self.path / "heldout.jsonl.gz"

    @property
    def judge(self) -> Path:
        """What best-of-N returns, with its text."""
        return self.path / "judge.jsonl"

    def trained(self) -> bool:
        """Return whether the run's training is finished."""
        return store.kept(self.steps, **self.mark) is not None

    def evaluated(self) -> bool:
        """Return whether the run is finished."""
        return store.kept(self.evaluation, **self.mark) is not None


def of_run(recipe: Recipe, run: Run, out: Path) -> Folder:
    """Return the folder of a training run."""
    names = [run.scenario, run.m, run.arm, list(run.N), run.seed]
    return Folder(
        out / "jobs" / store.slug(run.name), {"job": store.digest([recipe.identity, *names])}
    )


def of_start(recipe: Recipe, scenario: str, out: Path) -> Folder:
    """Return the folder of a scenario's policy as it was loaded."""
    name = f"{scenario}/{START}"
    return Folder(out / "jobs" / store.slug(name), {"job": store.digest([recipe.identity, name])})


def write_log(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines, whole or not at all; the same rows give the same bytes."""
    with store.whole(path) as partial, partial.open("wb") as plain:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", fileobj=plain, mode="wb", mtime=0) as packed:
                packed.writelines(_lines(rows))
        else:
            plain.writelines(_lines(rows))


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield (json.dumps(row, ensure_ascii=False) + "\n").encode()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; a last one that a kill cut off is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
