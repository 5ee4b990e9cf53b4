"""The tables of a recipe, from its finished runs: curves, differences, behaviour, progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulations.core import store
from simulations.lm import evaluation
from simulations.recipes import folder
from simulations.recipes.schema import START, Recipe, Run

Array = np.ndarray[Any, np.dtype[np.float64]]
#: best-of-N of each seed and prompt, by N
Values = dict[int, Array]
#: an arm as a table knows it: scenario, m, N it was trained for, label
Arm = tuple[str, int, int, str]


def summarise(recipe: Recipe, out: Path) -> int:
    """Write every table from what is finished; return how many runs are."""
    finished = [run for run in recipe.runs if folder.of_run(recipe, run, out).evaluated()]
    if not finished:
        raise ValueError(f"{out} has no finished run; `train` and `evaluate` some")
    arms = values(recipe, finished, out)
    tables = {
        "curves": pd.DataFrame(curves(recipe, arms)),
        "differences": pd.DataFrame(
            differences(recipe, arms),
            columns=[
                *("scenario", "m", "trained_N", "estimator", "against", "N"),
                *("difference", "low", "high", "seeds"),
            ],
        ),
        "behaviour": pd.DataFrame(behaviour(recipe, finished, out)),
        "progress": pd.concat([progress(recipe, run, out) for run in finished], ignore_index=True),
    }
    for name, table in tables.items():
        store.write(table, out / f"{name}.parquet")
    return len(finished)


def values(recipe: Recipe, runs: Sequence[Run], out: Path) -> dict[Arm, Values]:
    """Return best-of-N of each arm; the starts have m = 0 and N = 0, and one seed."""
    sizes = evaluation.budgets(recipe.evaluation.rollouts, most=recipe.evaluation.rollouts)
    sizes = sorted({*sizes, *(N for run in runs for N in run.N)})
    found: dict[Arm, list[pd.DataFrame]] = {}
    for label in dict.fromkeys(run.scenario for run in runs):
        place = folder.of_start(recipe, label, out)
        if place.evaluated():
            found[label, 0, 0, START] = [store.read(place.evaluation, **place.mark)]
    for run in runs:
        place = folder.of_run(recipe, run, out)
        for N in run.N:
            arm = (run.scenario, run.m, N, run.arm)
            found.setdefault(arm, []).append(store.read(place.evaluation, **place.mark))
    return {
        arm: {N: np.stack([best_of(table, N) for table in tables]) for N in sizes}
        for arm, tables in found.items()
    }


def best_of(table: pd.DataFrame, N: int) -> Array:
    """Return the unbiased best-of-N of each prompt, from the rollouts that have a reward."""
    means = []
    for prompt, rows in table.groupby("prompt", sort=False):
        rewards = rows["reward"].dropna().to_numpy()
        if len(rewards) < N:
            raise ValueError(
                f"{prompt} has {len(rewards)} rollouts with a reward, and best-of-{N} needs {N}; "
                "raise evaluation.rollouts"
            )
        means.append(float(evaluation.best_of(rewards, N)))
    return np.array(means)


def curves(recipe: Recipe, arms: dict[Arm, Values]) -> Iterator[dict[str, Any]]:
    """Yield each arm's best-of-N with its interval over prompts and seeds."""
    for (scenario, m, trained, label), curve in arms.items():
        for N, value in curve.items():
            nothing = np.zeros((1, value.shape[1]))
            mean, low, high = evaluation.difference(
                value, nothing, recipe.evaluation.resamples, np.random.default_rng(recipe.seed)
            )
            yield {
                **{"scenario": scenario, "m": m, "trained_N": trained, "estimator": label},
                **{"N": N, "value": mean, "low": low, "high": high, "seeds": len(value)},
            }


def differences(recipe: Recipe, arms: dict[Arm, Values]) -> Iterator[dict[str, Any]]:
    """Yield what each arm gains on the arm of comparison, and on the start, at every N.

    Both have the same held-out prompts, and where they have as many seeds, the same seeds.
    """
    for (scenario, m, trained, label), ours in arms.items():
        others = {
            recipe.evaluation.against: arms.get(
                (scenario, m, trained, recipe.evaluation.against), {}
            ),
            START: arms.get((scenario, 0, 0, START), {}),
        }
        for against, theirs in others.items():
            for N in ours if theirs and against != label and label != START else ():
                mean, low, high = evaluation.difference(
                    ours[N],
                    theirs[N],
                    recipe.evaluation.resamples,
                    np.random.default_rng(recipe.seed),
                )
                yield {
                    **{"scenario": scenario, "m": m, "trained_N": trained, "estimator": label},
                    **{"against": against, "N": N, "difference": mean, "low": low, "high": high},
                    "seeds": len(ours[N]),
                }


def behaviour(recipe: Recipe, runs: Sequence[Run], out: Path) -> Iterator[dict[str, Any]]:
    """Yield what each policy does: reward, length, divergence from the start."""
    for label in dict.fromkeys(run.scenario for run in runs):
        place = folder.of_start(recipe, label, out)
        if place.evaluated():
            table = store.read(place.evaluation, **place.mark)
            yield {"scenario": label, "m": 0, "trained_N": 0, "estimator": START, "seed": 0} | (
                describe(table)
            )
    for run in runs:
        place = folder.of_run(recipe, run, out)
        table = store.read(place.evaluation, **place.mark)
        for N in run.N:
            names = {"scenario": run.scenario, "m": run.m, "trained_N": N, "estimator": run.arm}
            yield {**names, "seed": run.seed} | describe(table)


def describe(table: pd.DataFrame) -> dict[str, float]:
    """Return an evaluation's means; the divergence with its standard error over prompts."""
    kl = table.groupby("prompt")["kl"].mean()
    return {
        "reward": table["reward"].mean(),
        "sd": table.groupby("prompt")["reward"].std().mean(),
        "length": table["tokens"].mean(),
        "cut_off": 1.0 - table["ended"].mean(),
        "kl": kl.mean(),
        "kl_se": kl.sem(),
        "missing": table["reward"].isna().mean(),
    }


def progress(recipe: Recipe, run: Run, out: Path) -> pd.DataFrame:
    """Return the log of a run's training; none if another trainer has trained it."""
    place = folder.of_run(recipe, run, out)
    steps = store.kept(place.steps, **place.mark)
    if steps is None:
        return pd.DataFrame()
    names = {"scenario": run.scenario, "m": run.m, "estimator": run.arm, "seed": run.seed}
    return steps.assign(**names, trained_N=run.N[0])
