"""The work of `simulations.bandit`: one arm in one scenario, tuned, trained, kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulations.bandit.quality import quality
from simulations.bandit.schema import Study
from simulations.bandit.training import Array, Bandit, build, train
from simulations.core import store
from simulations.grid.blocks import slug

#: runs that are trained side by side, so that their arrays stay in the cache
BATCH = 64
#: what a stream of random numbers is for
TUNING, TRAINING, QUALITY = range(3)

Scenario = tuple[str, str, int, int]


@dataclass(frozen=True, eq=False)
class Cell:
    """One arm in one scenario, by the labels of the configuration."""

    study: Study
    law: str
    policy: str
    m: int
    N: int
    estimator: str

    @property
    def scenario(self) -> Scenario:
        """What the arm is compared in."""
        return self.law, self.policy, self.m, self.N

    def file(self, out: Path) -> Path:
        """Return where the cell is kept."""
        folder = out / "cells" / slug(self.law) / f"{slug(self.policy)}-m{self.m}-N{self.N}"
        return folder / f"{slug(self.estimator)}.parquet"

    @property
    def marks(self) -> dict[str, str]:
        """What the cell's file must say of itself."""
        study = store.digest(self.study.identity)
        return {"cell": store.digest([study, *self.scenario, self.estimator])}

    def kept(self, out: Path, report: Callable[[str], None]) -> pd.DataFrame | None:
        """Return the finished cell, or None; a damaged file is named, to be written anew."""
        path = self.file(out)
        if not path.exists():
            return None
        try:
            return store.read(path, **self.marks)
        except store.Damaged as problem:
            report(f"{path} is damaged ({problem}): computing it again")
            return None

    def save(self, frame: pd.DataFrame, out: Path) -> None:
        """Write the finished cell."""
        store.write(frame, self.file(out), **self.marks)

    @property
    def bandit(self) -> Bandit:
        """The initial policy."""
        study, policy = self.study, self.study.policies[self.policy]
        return build(
            study.built[self.law],
            study.responses,
            tabular=policy.tabular,
            nuisance=policy.nuisance,
            kl_limit=study.kl_limit,
        )

    def stream(self, purpose: int, batch: int) -> np.random.Generator:
        """Return random numbers that neither policy, N nor arm enters: all have equal luck."""
        key = (self.study.built[self.law].stable_id, self.m, purpose, batch)
        return np.random.default_rng(np.random.SeedSequence(self.study.seed, spawn_key=key))


def cells(study: Study) -> Iterator[Cell]:
    """Yield every cell, the exact path of each scenario first."""
    for law in study.laws:
        for policy in study.policies:
            for m, N in study.budgets:
                for label in study.arms(law, m, N):
                    yield Cell(study, law, policy, m, N, label)


def run_cell(cell: Cell) -> pd.DataFrame:
    """Tune a cell's step size and train its runs; one row per run, the exact path in one.

    Columns: run, step_size; cosine, alignment and steadiness of the initial policy's gradient
    estimates, with `_se` their standard errors; `tuned <δ>`, mean V_N over the tuning runs and
    steps; `step <t>`, V_N after step t.
    """
    study, bandit = cell.study, cell.bandit
    arm = study.arms(cell.law, cell.m, cell.N)[cell.estimator]
    groups = study.rollouts // cell.m

    def paths(purpose: int, runs: int, step_sizes: tuple[float, ...]) -> Array:
        # nothing is random about the exact path
        runs = 1 if arm is None else runs
        batches = [
            train(
                bandit,
                arm,
                (min(BATCH, runs - start), groups, cell.m),
                cell.N,
                np.array(step_sizes),
                study.steps,
                cell.stream(purpose, batch),
            )
            for batch, start in enumerate(range(0, runs, BATCH))
        ]
        return np.concatenate(batches, axis=1)

    step_sizes = study.policies[cell.policy].step_sizes
    tuned = paths(TUNING, study.tuning_runs, step_sizes)[:, :, 1:].mean(axis=(1, 2))
    best = best_step_size(np.array(step_sizes), tuned)
    (values,) = paths(TRAINING, study.runs, (best,))
    shape = (4 if arm is None else study.quality_draws, groups, cell.m)
    columns: dict[str, Any] = {"run": np.arange(len(values)), "step_size": best}
    columns |= quality(bandit, arm, shape, cell.N, cell.stream(QUALITY, 0))
    columns |= {f"tuned {size:g}": area for size, area in zip(step_sizes, tuned, strict=True)}
    columns |= {f"step {t}": values[:, t] for t in range(study.steps + 1)}
    return pd.DataFrame(columns)


def best_step_size(step_sizes: Array, tuned: Array) -> float:
    """Return the step size at the top of a parabola through the best and its two neighbours.

    In log δ: else two arms could differ by the spacing of the step sizes alone. The best itself if
    it is the lowest or the highest.

    Examples
    --------
    >>> round(best_step_size(np.array([0.1, 0.2, 0.4]), np.array([1.0, 3.0, 2.0])), 3)
    0.224
    """
    best = int(tuned.argmax())
    if best in (0, len(tuned) - 1):
        return float(step_sizes[best])
    x, y = np.log(step_sizes[best - 1 : best + 2]), tuned[best - 1 : best + 2]
    before, after = np.diff(y) / np.diff(x)
    if before <= after:  # all three alike
        return float(step_sizes[best])
    return float(np.exp((x[0] + x[1] + before * (x[2] - x[0]) / (before - after)) / 2.0))
