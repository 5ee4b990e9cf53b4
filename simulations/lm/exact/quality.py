"""Estimators of the enumerated policy's gradient before training: bias, noise, and one-step gain.

Prompts are laws with exact scores; `monte_carlo.measure` gives every estimator's mean and variance
in each direction. From these follow, for a prompt alone and for a batch of all prompts, with
t = ∇V_N, s = E ĝ and v = E‖ĝ − s‖² of one group,

    bias² = ‖s − t‖²,   cosine = s·t / (‖s‖ ‖t‖),   G = (s·t)² / (‖t‖² (‖s‖² + v/B)),

G being the one-step gain of B groups: 1 for the exact gradient, and 1 − G is the relative error at
the best length of the step. Random directions of the adapters give inner products of whole scores.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from simulations.core.schema import EstimatorTable
from simulations.lm.exact.law import Leaves
from simulations.lm.exact.schema import Quality
from tea_stats import monte_carlo

#: groups of the batch whose step is judged
BATCH = 64
#: the directions: the adapters' random ones, and the head's core
ADAPTER, HEAD = "adapter", "head"


def measured(
    plan: Quality, law: Leaves, estimators: Mapping[str, EstimatorTable], seed: int
) -> pd.DataFrame:
    """Return mean, truth and variance of every estimator in every direction of one prompt."""
    single, pooling = {}, {}
    for label, table in estimators.items():
        chosen = pooling if table.record().pools else single
        chosen[label] = table.name, table.options
    tables = []
    for m in plan.m:
        reps = max(BATCH, plan.reps // m)
        tables.append(monte_carlo.measure(law, single, m, plan.N, reps, seed))
        if pooling:
            whole = max(2, reps // BATCH) * BATCH
            of_batches = monte_carlo.measure(law, pooling, m, plan.N, whole, seed, prompts=BATCH)
            # in the units of the others: the mean of 64 groups has a 64th of the variance
            tables.append(of_batches.assign(variance=of_batches["variance"] * BATCH))
    table = pd.concat(tables, ignore_index=True)
    names = {name: j for j, name in enumerate(law.parameters)}
    table = table[table["parameter"].isin(names)]
    kind = np.where(table["parameter"].map(names) < plan.directions, ADAPTER, HEAD)
    columns = ["estimator", "m", "N", "parameter", "mean", "exact", "bias_mcse", "variance"]
    return table[columns].assign(scores=kind)


def judged(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return bias², cosine and one-step gain of every estimator, by prompt and for their batch."""
    rows = pd.concat([table.assign(prompt=name) for name, table in tables.items()])
    key = ["scores", "estimator", "m", "N", "parameter"]
    batch = rows.assign(square=rows["bias_mcse"] ** 2).groupby(key, sort=False, as_index=False)
    mean = batch.agg(
        mean=("mean", "mean"),
        exact=("exact", "mean"),
        variance=("variance", "mean"),
        square=("square", "mean"),
    )
    mean["bias_mcse"] = np.sqrt(mean.pop("square") / len(tables))
    both = pd.concat([rows, mean.assign(prompt="batch")], ignore_index=True)
    group = both.groupby(["prompt", "scores", "estimator", "m", "N"], sort=False)
    return group.apply(_figures, include_groups=False).reset_index()


def _figures(part: pd.DataFrame) -> pd.Series:
    s, t = part["mean"].to_numpy(), part["exact"].to_numpy()
    # the square of an estimated mean is too large by its own variance
    own = float((part["bias_mcse"] ** 2).sum())
    truth, along = float(t @ t), float(s @ t)
    size = max(float(s @ s) - own, 0.0)
    bias = max(float((s - t) @ (s - t)) - own, 0.0)
    noise = float(part["variance"].sum()) / BATCH
    return pd.Series(
        {
            "bias2": bias / truth,
            "noise": noise / truth,
            "cosine": along / np.sqrt(size * truth) if size > 0.0 else np.nan,
            "gain": along**2 / (truth * (size + noise)) if size + noise > 0.0 else np.nan,
            "error": (bias + noise) / truth,
        }
    )
