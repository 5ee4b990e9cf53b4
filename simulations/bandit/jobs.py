"""The jobs of `simulations.bandit`: one arm in one scenario, tuned, trained, kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from simulations.bandit.quality import quality
from simulations.bandit.schema import Study
from simulations.bandit.training import Array, build, train
from simulations.core import store
from simulations.core.jobs import Job
from simulations.core.store import slug

#: runs that are trained side by side, so that their arrays stay in the cache
BATCH = 64
#: what a stream of random numbers is for
TUNING, TRAINING, QUALITY = range(3)


class Scenario(NamedTuple):
    """What arms are compared in, by the labels of the configuration."""

    law: str
    policy: str
    m: int
    N: int


def jobs(study: Study, out: Path) -> dict[tuple[Scenario, str], Job]:
    """Return the job of every scenario and arm, the exact path of each scenario first."""
    identity = store.digest(study.identity)
    scenarios = [
        Scenario(law, policy, m, N)
        for law in study.laws
        for policy in study.policies
        for m, N in study.budgets
    ]

    def folder(at: Scenario) -> Path:
        return out / "jobs" / slug(at.law) / f"{slug(at.policy)}-m{at.m}-N{at.N}"

    return {
        (at, label): Job(
            folder(at) / f"{slug(label)}.parquet",
            {"job": store.digest([identity, *at, label])},
            train_arm,
            (study, at, label),
        )
        for at in scenarios
        for label in study.arms(at.law, at.m, at.N)
    }


def train_arm(study: Study, at: Scenario, label: str) -> pd.DataFrame:
    """Tune an arm's step size and train its runs; one row per run, the exact path in one.

    Columns: run, step_size; cosine, alignment and steadiness of the initial policy's gradient
    estimates, with `_se` their standard errors; `tuned <δ>`, mean V_N over the tuning runs and
    steps; `step <t>`, V_N after step t.
    """
    arm, policy = study.arms(at.law, at.m, at.N)[label], study.policies[at.policy]
    law, groups = study.built[at.law], study.rollouts // at.m
    bandit = build(
        law,
        study.responses,
        tabular=policy.tabular,
        nuisance=policy.nuisance,
        kl_limit=study.kl_limit,
    )

    def stream(purpose: int, batch: int) -> np.random.Generator:
        # neither policy, N nor arm enters the key: common random numbers
        key = (law.stable_id, at.m, purpose, batch)
        return np.random.default_rng(np.random.SeedSequence(study.seed, spawn_key=key))

    def paths(purpose: int, runs: int, step_sizes: tuple[float, ...]) -> Array:
        # nothing is random about the exact path
        runs = 1 if arm is None else runs
        batches = [
            train(
                bandit,
                arm,
                (min(BATCH, runs - start), groups, at.m),
                at.N,
                np.array(step_sizes),
                study.steps,
                stream(purpose, batch),
            )
            for batch, start in enumerate(range(0, runs, BATCH))
        ]
        return np.concatenate(batches, axis=1)

    tuned = paths(TUNING, study.tuning_runs, policy.step_sizes)[:, :, 1:].mean(axis=(1, 2))
    best = best_step_size(np.array(policy.step_sizes), tuned)
    (values,) = paths(TRAINING, study.runs, (best,))
    shape = (4 if arm is None else study.quality_draws, groups, at.m)
    columns: dict[str, Any] = {"run": np.arange(len(values)), "step_size": best}
    columns |= quality(bandit, arm, shape, at.N, stream(QUALITY, 0))
    columns |= {
        f"tuned {size:g}": mean for size, mean in zip(policy.step_sizes, tuned, strict=True)
    }
    columns |= {f"step {t}": values[:, t] for t in range(study.steps + 1)}
    return pd.DataFrame(columns)


def best_step_size(step_sizes: Array, tuned: Array) -> float:
    """Return the step size at the top of a parabola through the best and its two neighbours.

    In log δ: otherwise two arms could differ by the spacing of the step sizes alone. The best
    itself if it is the lowest or the highest.

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
