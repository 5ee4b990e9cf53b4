"""The tables of an exact training study, from whatever training runs are finished."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from simulations.core import store
from simulations.lm.exact import quality
from simulations.lm.exact.schema import EXACT, ExactStudy
from simulations.lm.exact.study import Run, Study
from simulations.lm.tree import Array

#: a prompt is at the ceiling if V_128 is nearer to its best response than this many standard
#: deviations of the reward
ROOM = 0.5


def summarise(jobs: Study) -> None:
    """Write start, gradients, checks, curves, their means over prompts, differences and quality."""
    study = jobs.study
    begun = [label for label in study.scenarios if (jobs.folder(label) / "checks.json").exists()]
    start = _every(jobs, begun, "start")
    N = max(budget for budget in study.N if budget <= 128)
    start["ceiling"] = start["most"] - start[f"V_{N}"] < ROOM * start["sd"]
    curves = _curves(jobs, begun)
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
    if before := _quality(jobs, begun):
        tables["quality"] = pd.concat(before, ignore_index=True)
    for name, table in tables.items():
        store.write(table, jobs.out / f"{name}.parquet")


def _every(jobs: Study, labels: list[str], name: str) -> pd.DataFrame:
    tables = [
        store.read(jobs.folder(label) / f"{name}.parquet").assign(scenario=label)
        for label in labels
    ]
    return pd.concat(tables, ignore_index=True)


def _quality(jobs: Study, labels: list[str]) -> list[pd.DataFrame]:
    """Return the estimators' figures before training, of scenarios whose prompts are all there."""
    tables = []
    for label in labels:
        paths = jobs.laws(label)
        if all(path.exists() for path in paths):
            names = [prompt.id for prompt in jobs.trained[: len(paths)]]
            measured = dict(zip(names, map(store.read, paths), strict=True))
            tables.append(quality.judged(measured).assign(scenario=label))
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


def gains(curves: pd.DataFrame, start: pd.DataFrame, N: tuple[int, ...]) -> pd.DataFrame:
    """Return every run's gain in V_N over the start, prompt by prompt, without the ceiling."""
    values = [f"V_{budget}" for budget in N]
    key = ["scenario", "split", "prompt"]
    before = start.loc[~start["ceiling"], [*key, *values]]
    table = curves.merge(before, on=key, suffixes=("", "_start"))
    for name in values:
        table[name] -= table.pop(f"{name}_start")
    return table


def means(gain: pd.DataFrame) -> pd.DataFrame:
    """Return the means over prompts of every run: gains, divergence and entropy."""
    key = ["scenario", "estimator", "rate", "seed", "step", "split"]
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


def half_width(values: Array) -> float:
    """Return half the 95 % t interval of a mean; nan for a single value.

    Examples
    --------
    >>> round(half_width(np.array([1.0, 2.0, 3.0])), 3)
    2.484
    """
    n = len(values)
    if n < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
