"""The tables of an exact training study, from whatever training runs are finished."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from simulations.core import store
from simulations.lm.exact import mixed, prediction, quality
from simulations.lm.exact.frontier import frontier, half_width
from simulations.lm.exact.plan import Run, runs
from simulations.lm.exact.schema import EXACT, ExactStudy, Part
from simulations.lm.exact.study import Study

#: a prompt is at the ceiling if V_128 is nearer to its best response than this many standard
#: deviations of the reward
ROOM = 0.5


def summarise(jobs: Study) -> None:
    """Write the tables of what is finished.

    start, gradients, checks; curves and sweep, their means over prompts (runs), differences,
    frontier; quality and pools; and prediction, where both a scenario's runs and quality are there.
    """
    study = jobs.study
    begun = [label for label in study.scenarios if (jobs.folder(label) / "checks.json").exists()]
    start = _every(jobs, begun, "start")
    N = max(budget for budget in study.N if budget <= 128)
    start["ceiling"] = start["most"] - start[f"V_{N}"] < ROOM * start["sd"]
    curves, other = _curves(jobs, begun), _sweep(jobs, begun)
    checks = [{"scenario": x} | store.read(jobs.folder(x) / "checks.json") for x in begun]
    tables = {
        "start": start,
        "gradients": _every(jobs, begun, "gradients"),
        "checks": pd.DataFrame(checks),
    }
    if len(curves):
        gain = gains(curves, start, study.N)
        tables |= {"curves": curves, "runs": means(gain)}
        tables["differences"] = differences(gain, study)
        tables["frontier"] = frontier(gain, study)
    if len(other):
        gain_of = gains(other, start, study.N)
        tables["sweep"] = means(gain_of, "batch")
    if before := _quality(jobs, begun):
        tables["quality"] = pd.concat(before, ignore_index=True)
    if pools := _pools(jobs, begun):
        tables["pools"] = pd.concat(pools, ignore_index=True)
    if "quality" in tables and len(curves):
        tables["prediction"] = prediction.predicted(tables["quality"], tables["runs"], study)
    for name, table in tables.items():
        store.write(table, jobs.out / f"{name}.parquet")


def _every(jobs: Study, labels: list[str], name: str) -> pd.DataFrame:
    tables = [
        store.read(jobs.folder(label) / f"{name}.parquet").assign(scenario=label)
        for label in labels
    ]
    return pd.concat(tables, ignore_index=True)


def _quality(jobs: Study, labels: list[str]) -> list[pd.DataFrame]:
    """Return the estimators' figures before training, of the prompts that are there."""
    tables, groups = [], (jobs.study.training.batch, quality.BATCH)
    for label in labels:
        paths = dict(zip((x.id for x in jobs.trained), jobs.laws(label, "quality"), strict=False))
        measured = {name: store.read(path) for name, path in paths.items() if path.exists()}
        if len(measured) > 1:
            tables.append(quality.judged(measured, groups, jobs.pooling).assign(scenario=label))
        if jobs.mixed_path(label).exists():
            batches = store.read(jobs.mixed_path(label))
            tables.append(mixed.judged(batches, jobs.study.quality.count).assign(scenario=label))
    return tables


def _pools(jobs: Study, labels: list[str]) -> list[pd.DataFrame]:
    """Return what pools say, of the prompts that are there; once for each reward."""
    tables, seen = [], set()
    for label in labels:
        paths = dict(zip((x.id for x in jobs.trained), jobs.laws(label, "pools"), strict=False))
        fresh = {name: path for name, path in paths.items() if path not in seen and path.exists()}
        seen |= set(fresh.values())
        reward = jobs.study.scenarios[label].reward
        tables += [store.read(path).assign(prompt=x, reward=reward) for x, path in fresh.items()]
    return tables


def _curves(jobs: Study, labels: list[str]) -> pd.DataFrame:
    study, tables = jobs.study, []
    for label in labels:
        for rate in study.training.rates:
            for seed in range(study.seeds):
                for arm in [*EXACT, *study.estimators]:
                    path = jobs.path(Run(label, arm, rate, seed))
                    if path.exists():
                        table = store.read(path)
                        tables.append(table.assign(scenario=label, estimator=arm))
                        tables[-1] = tables[-1].assign(rate=rate, seed=seed)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _sweep(jobs: Study, labels: list[str]) -> pd.DataFrame:
    """Return the last evaluations of runs with any number of prompts a step."""
    study, tables = jobs.study, []
    for run in runs(study, Part.sweep):
        path = jobs.path(run)
        if run.scenario in labels and path.exists():
            table = store.read(path)
            table = table[table["step"] == table["step"].max()]
            batch = run.batch or study.training.batch
            tables.append(table.assign(scenario=run.scenario, estimator=run.label, batch=batch))
            tables[-1] = tables[-1].assign(rate=run.rate, seed=run.seed)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def gains(curves: pd.DataFrame, start: pd.DataFrame, N: tuple[int, ...]) -> pd.DataFrame:
    """Return every run's gain in V_N over the start, prompt by prompt, without the ceiling."""
    values = [f"V_{budget}" for budget in N]
    key = ["scenario", "split", "prompt"]
    before = start.loc[~start["ceiling"], [*key, *values]]
    table = curves.merge(before, on=key, suffixes=("", "_start"))
    for name in values:
        table[name] -= table.pop(f"{name}_start")
    return table


def means(gain: pd.DataFrame, *more: str) -> pd.DataFrame:
    """Return the means over prompts of every run: gains, divergence and entropy."""
    key = ["scenario", "estimator", "rate", "seed", *more, "step", "split"]
    return gain.drop(columns="prompt").groupby(key, sort=False, as_index=False).mean()


def differences(gain: pd.DataFrame, study: ExactStudy) -> pd.DataFrame:
    """Compare every pair of arms after the last step, with intervals over seeds and over prompts.

    Both are paired 95 % t intervals: over seeds of the means over prompts, and over prompts of the
    means over seeds. Seeds that both arms have are used.
    """
    last = gain[gain["step"] == study.training.steps]
    rows = []
    for (scenario, rate, split), part in last.groupby(["scenario", "rate", "split"], sort=False):
        arms = list(dict.fromkeys(part["estimator"]))
        for budget in study.N:
            wide = {
                arm: part[part["estimator"] == arm].pivot(
                    index="seed", columns="prompt", values=f"V_{budget}"
                )
                for arm in arms
            }
            for theirs, ours in combinations(arms, 2):
                gap = (wide[ours] - wide[theirs]).dropna().to_numpy()
                rows.append({"scenario": scenario, "rate": rate, "split": split, "N": budget})
                rows[-1] |= {"estimator": ours, "against": theirs, "seeds": len(gap)}
                rows[-1] |= {"difference": gap.mean() if gap.size else np.nan}
                rows[-1] |= {"half_seeds": half_width(gap.mean(axis=1)) if len(gap) else np.nan}
                rows[-1] |= {"half_prompts": half_width(gap.mean(axis=0)) if len(gap) else np.nan}
    return pd.DataFrame(rows)
