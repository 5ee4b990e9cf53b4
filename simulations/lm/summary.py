"""The tables of a training study: curves, paired differences, behaviour, answers to read."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulations.core import store
from simulations.lm import evaluation
from simulations.lm.schema import START, Study
from simulations.lm.study import slug

Rows = list[dict[str, Any]]
#: the held-out rollouts of a training run, by arm and seed
Evaluations = dict[tuple[str, int], pd.DataFrame]
#: best-of-N values by arm and N, shape (seeds, prompts)
Values = dict[str, dict[int, np.ndarray]]


def summarise(study: Study, out: Path) -> None:
    """Write every table of the study, from its finished jobs."""
    tuning, curves, runs, differences, behaviour, histogram = ([] for _ in range(6))
    steps, samples, oracle = ([] for _ in range(3))
    for label in study.scenarios:
        folder = out / "jobs" / slug(label)
        arms = {
            (arm, seed): folder / "arms" / slug(arm, seed)
            for arm in study.estimators
            for seed in range(study.seeds)
        }
        evaluations = {
            key: store.read(place / "evaluation.parquet")
            for key, place in {(START, 0): folder / "start", **arms}.items()
        }
        values = _values(study, evaluations)
        tuning += _tuning(study, label, folder)
        curves += _curves(study, label, values)
        runs += _runs(label, values)
        differences += _differences(study, label, values)
        behaviour += [_behaviour(label, table) for table in evaluations.values()]
        histogram += _histogram(label, evaluations)
        steps += [store.read(place / "steps.parquet") for place in arms.values()]
        samples += [_samples(table) for table in evaluations.values()]
        if study.oracle is not None:
            oracle.append(store.read(folder / "oracle.parquet"))
    tables = {
        "tuning": pd.DataFrame(tuning, columns=["scenario", "estimator", "rate", "N", "value"]),
        "steps": pd.concat(steps, ignore_index=True),
        "curves": pd.DataFrame(curves),
        "runs": pd.DataFrame(runs),
        "differences": pd.DataFrame(differences),
        "behaviour": pd.DataFrame(behaviour),
        "histogram": pd.DataFrame(histogram),
        "samples": pd.concat(samples, ignore_index=True),
    }
    if oracle:
        tables["oracle"] = pd.concat(oracle, ignore_index=True)
    for name, table in tables.items():
        store.write(table, out / f"{name}.parquet")


def _values(study: Study, evaluations: Evaluations) -> Values:
    rewards: dict[str, list[np.ndarray]] = {}
    for (arm, _), table in evaluations.items():
        rewards.setdefault(arm, []).append(evaluation.by_prompt(table))
    sizes = evaluation.budgets(study.evaluation.rollouts)
    return {
        arm: {N: evaluation.best_of(np.stack(seeds), N) for N in sizes}
        for arm, seeds in rewards.items()
    }


def _tuning(study: Study, label: str, folder: Path) -> Rows:
    """Return each step size's value on the tuning prompts, if there was a choice."""
    return [
        {"scenario": label, "estimator": arm}
        | store.read(folder / "tuning" / slug(arm, rate) / "score.json")
        for arm in study.estimators
        for rate in study.tuning.choices
    ]


def _curves(study: Study, label: str, values: Values) -> Rows:
    """Return each arm's best-of-N value with its interval, at every N."""
    rows = []
    for arm, curve in values.items():
        rng = np.random.default_rng(study.seed)
        for N, value in curve.items():
            nothing = np.zeros((1, value.shape[1]))
            mean, low, high = evaluation.difference(value, nothing, study.evaluation.resamples, rng)
            rows.append({"scenario": label, "estimator": arm, "N": N, "value": mean})
            rows[-1] |= {"low": low, "high": high}
    return rows


def _runs(label: str, values: Values) -> Rows:
    """Return the value of each training run, the mean over prompts."""
    return [
        {"scenario": label, "estimator": arm, "seed": seed, "N": N, "value": value}
        for arm, curve in values.items()
        for N, seeds in curve.items()
        for seed, value in enumerate(seeds.mean(axis=1))
    ]


def _differences(study: Study, label: str, values: Values) -> Rows:
    """Compare every pair of arms, and each with the start, at every N."""
    rows = []
    for theirs, ours in combinations(values, 2):
        for N in values[ours]:
            mean, low, high = evaluation.difference(
                values[ours][N],
                values[theirs][N],
                study.evaluation.resamples,
                np.random.default_rng(study.seed),
            )
            rows.append({"scenario": label, "estimator": ours, "against": theirs, "N": N})
            rows[-1] |= {"difference": mean, "low": low, "high": high}
    return rows


def _behaviour(label: str, table: pd.DataFrame) -> dict[str, Any]:
    """Return what a policy does: reward's quantiles, length, entropy, divergence from the start."""
    row = {"scenario": label, "estimator": table.estimator[0], "seed": int(table.seed[0])}
    row |= {"reward": table.reward.mean(), "sd": table.reward.std()}
    row |= {f"q{q:g}": table.reward.quantile(q) for q in (0.01, 0.1, 0.5, 0.9, 0.99)}
    row["length"] = table.tokens.mean()
    row["entropy"] = -table.logprob.sum() / table.tokens.sum()
    row["kl"] = (table.logprob - table.logprob_start).mean()
    row["distinct"] = table.completion.nunique() / len(table)
    return row


def _histogram(label: str, evaluations: Evaluations, bins: int = 60) -> Rows:
    """Count rewards in bins that all arms share."""
    pooled = np.concatenate([table.reward.to_numpy() for table in evaluations.values()])
    edges = np.linspace(pooled.min(), pooled.max() + 1e-12, bins + 1)
    rows = []
    for (arm, seed), table in evaluations.items():
        counts, _ = np.histogram(table.reward, edges)
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
            rows.append({"scenario": label, "estimator": arm, "seed": seed})
            rows[-1] |= {"low": low, "high": high, "count": int(count)}
    return rows


def _samples(table: pd.DataFrame, count: int = 3) -> pd.DataFrame:
    """Return each prompt's best answers and its first, to be read by a person."""
    best = table.sort_values("reward", ascending=False).groupby("prompt", sort=False).head(count)
    first = table[table["rollout"] == 0]
    both = [best.assign(kind="best"), first.assign(kind="first")]
    columns = ["scenario", "estimator", "seed", "prompt", "kind", "reward", "completion"]
    return pd.concat(both)[columns].sort_values(["prompt", "kind"], kind="stable")
