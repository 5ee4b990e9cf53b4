"""What the jobs of a training study say together: curves, differences, behaviour, samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulations.core import store
from simulations.lm import evaluation
from simulations.lm.schema import START, Study
from simulations.lm.study import read_json, slug


def summarise(study: Study, out: Path) -> None:
    """Write every table of the study, from its finished jobs."""
    tuning, steps, curves, runs, differences = [], [], [], [], []
    behaviour, histogram, samples, cosine = [], [], [], []
    for label in study.scenarios:
        folder = out / "jobs" / slug(label)
        tables = dict(_evaluations(study, folder))
        values = _values(study, tables)
        curves += [_curve(label, arm, values[arm], study) for arm in values]
        runs += _runs(label, values)
        differences += _differences(study, label, values)
        behaviour += [_behaviour(label, table) for table in tables.values()]
        histogram += _histogram(label, tables)
        samples += [_samples(table) for table in tables.values()]
        tuning += _tuning(study, label, folder)
        steps += [
            store.read(folder / "arms" / slug(arm, seed) / "steps.parquet")
            for arm in study.estimators
            for seed in range(study.seeds)
        ]
        if study.oracle is not None:
            cosine.append(store.read(folder / "oracle.parquet"))
    columns = ["scenario", "estimator", "rate", "N", "value"]
    _write(out, "tuning", [pd.DataFrame(tuning, columns=columns)])
    _write(out, "steps", steps)
    _write(out, "curves", curves)
    _write(out, "runs", [pd.DataFrame(runs)])
    _write(out, "differences", [pd.DataFrame(differences)])
    _write(out, "behaviour", [pd.DataFrame(behaviour)])
    _write(out, "histogram", [pd.DataFrame(histogram)])
    _write(out, "samples", samples)
    if cosine:
        _write(out, "oracle", cosine)


def _write(out: Path, name: str, parts: list[pd.DataFrame]) -> None:
    store.write(pd.concat(parts, ignore_index=True), out / f"{name}.parquet")


def _evaluations(study: Study, folder: Path) -> Iterator[tuple[tuple[str, int], pd.DataFrame]]:
    yield (START, 0), store.read(folder / "start" / "evaluation.parquet")
    for arm in study.estimators:
        for seed in range(study.seeds):
            path = folder / "arms" / slug(arm, seed) / "evaluation.parquet"
            yield (arm, seed), store.read(path)


def _values(
    study: Study, tables: dict[tuple[str, int], pd.DataFrame]
) -> dict[str, dict[int, np.ndarray]]:
    """Return for each arm and N the best-of-N value, shape (seeds, prompts)."""
    rated: dict[str, list[np.ndarray]] = {}
    for (arm, _), table in tables.items():
        rated.setdefault(arm, []).append(evaluation.by_prompt(table))
    sizes = evaluation.budgets(study.evaluation.rollouts)
    return {
        arm: {N: evaluation.best_of(np.stack(seeds), N) for N in sizes}
        for arm, seeds in rated.items()
    }


def _curve(label: str, arm: str, values: dict[int, np.ndarray], study: Study) -> pd.DataFrame:
    rows = []
    rng = np.random.default_rng(study.seed)
    for N, value in values.items():
        nothing = np.zeros((1, value.shape[1]))
        mean, low, high = evaluation.difference(value, nothing, study.evaluation.resamples, rng)
        rows.append({"scenario": label, "estimator": arm, "N": N, "value": mean})
        rows[-1] |= {"low": low, "high": high}
    return pd.DataFrame(rows)


def _tuning(study: Study, label: str, folder: Path) -> list[dict[str, Any]]:
    """Return what each step size came to on the tuning prompts, if there was a choice."""
    rows = []
    for arm in study.estimators:
        for rate in study.tuning.choices:
            score = read_json(folder / "tuning" / slug(arm, rate) / "score.json")
            rows.append({"scenario": label, "estimator": arm, **score})
    return rows


def _runs(label: str, values: dict[str, dict[int, np.ndarray]]) -> list[dict[str, Any]]:
    """Return what each training run comes to, the mean over prompts."""
    return [
        {"scenario": label, "estimator": arm, "seed": seed, "N": N, "value": value}
        for arm, curve in values.items()
        for N, seeds in curve.items()
        for seed, value in enumerate(seeds.mean(axis=1))
    ]


def _differences(
    study: Study, label: str, values: dict[str, dict[int, np.ndarray]]
) -> list[dict[str, Any]]:
    """Compare every pair of arms, and each with the start, at every N."""
    rows = []
    arms = list(values)
    for place, theirs in enumerate(arms):
        for ours in arms[place + 1 :]:
            for N in values[ours]:
                rng = np.random.default_rng(study.seed)
                found = evaluation.difference(
                    values[ours][N], values[theirs][N], study.evaluation.resamples, rng
                )
                head = {"scenario": label, "estimator": ours, "against": theirs, "N": N}
                rows.append(
                    {**head, **dict(zip(("difference", "low", "high"), found, strict=True))}
                )
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


def _histogram(
    label: str, tables: dict[tuple[str, int], pd.DataFrame], bins: int = 60
) -> list[dict[str, Any]]:
    """Count rewards in bins that all arms share."""
    every = np.concatenate([table.reward.to_numpy() for table in tables.values()])
    edges = np.linspace(every.min(), every.max() + 1e-12, bins + 1)
    rows = []
    for (arm, seed), table in tables.items():
        counts, _ = np.histogram(table.reward, edges)
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
            head = {"scenario": label, "estimator": arm, "seed": seed}
            rows.append({**head, "low": low, "high": high, "count": int(count)})
    return rows


def _samples(table: pd.DataFrame, count: int = 3) -> pd.DataFrame:
    """Return each prompt's best answers and its first, to be read by a person."""
    best = table.sort_values("reward", ascending=False).groupby("prompt", sort=False).head(count)
    first = table[table["rollout"] == 0]
    both = [best.assign(kind="best"), first.assign(kind="first")]
    columns = ["scenario", "estimator", "seed", "prompt", "kind", "reward", "completion"]
    return pd.concat(both)[columns].sort_values(["prompt", "kind"], kind="stable")
