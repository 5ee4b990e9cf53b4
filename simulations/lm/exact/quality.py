"""Estimators of the enumerated policy's gradient before training: bias, noise, and one-step gain.

Prompts are laws with exact scores; `monte_carlo.measure` gives every estimator's mean and variance
in each direction. From these follow, for a prompt alone and for a batch of all prompts, with
t = ∇V_N, s = E ĝ and v = E‖ĝ − s‖² of one group,

    bias² = ‖s − t‖²,   cosine = s·t / (‖s‖ ‖t‖),   G = (s·t)² / (‖t‖² (‖s‖² + v/B)),

G being the one-step gain of B groups (`monte_carlo.one_step_gain`): 1 for the exact gradient, and
1 − G is the relative error at the best length of the step. Inner products are those of the
parameters, which is the metric of a training step; random directions of the adapters give them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from simulations.core.schema import EstimatorTable, undefined
from simulations.lm.exact.law import Leaves
from simulations.lm.exact.schema import Quality
from tea_stats import EmpiricalPool, monte_carlo
from tea_stats.monte_carlo.gain import one_step_gain

#: groups of the batch whose error is reported
BATCH = 64
#: the directions: the adapters' random ones, and the head's core
ADAPTER, HEAD = "adapter", "head"
#: the row of all prompts together
ALL = "batch"


def measured(
    plan: Quality, law: Leaves, estimators: Mapping[str, EstimatorTable], seed: int
) -> pd.DataFrame:
    """Return mean, truth and variance of every estimator in every direction of one prompt."""
    tables = [moments(law, estimators, m, plan.N, plan.reps, seed) for m in plan.m]
    table = pd.concat(tables, ignore_index=True)
    names = {name: j for j, name in enumerate(law.parameters)}
    kind = np.where(table["parameter"].map(names) < plan.directions, ADAPTER, HEAD)
    return table.assign(scores=kind)


def moments(
    law: Leaves | EmpiricalPool,
    estimators: Mapping[str, EstimatorTable],
    m: int,
    N: Sequence[int],
    rollouts: int,
    seed: int,
) -> pd.DataFrame:
    """Return mean, exact value and variance of one group's ĝ along every parameter of a law.

    Estimators that pool over prompts see batches of `BATCH` groups; those that are not defined for
    groups of m are left out.
    """
    single, pooling = {}, {}
    for label, table in estimators.items():
        if undefined(table, m, N):
            continue
        chosen = pooling if table.record().pools else single
        chosen[label] = table.name, table.options
    groups, tables = max(BATCH, rollouts // m), []
    if single:
        tables.append(monte_carlo.measure(law, single, m, N, groups, seed))
    if pooling:
        whole = max(2, groups // BATCH) * BATCH
        of_batches = monte_carlo.measure(law, pooling, m, N, whole, seed, prompts=BATCH)
        # in the units of the others: the mean of 64 groups has a 64th of the variance
        tables.append(of_batches.assign(variance=of_batches["variance"] * BATCH))
    rows = pd.concat(tables, ignore_index=True)
    columns = ["estimator", "m", "N", "parameter", "mean", "exact", "bias_mcse", "variance"]
    return rows.loc[rows["parameter"].isin(law.parameters), columns]


def judged(
    tables: Mapping[str, pd.DataFrame],
    groups: Sequence[int] = (BATCH,),
    pooling: Collection[str] = (),
) -> pd.DataFrame:
    """Return bias², cosine and one-step gain of every estimator, by prompt and for their batch.

    `groups` are numbers of groups in a batch; the batch of all prompts has as many of each.
    Estimators `pooling` have no row for all prompts: see `simulations.lm.exact.mixed`.
    """
    rows = pd.concat([table.assign(prompt=name) for name, table in tables.items()])
    key = ["scores", "estimator", "m", "N", "parameter"]
    alone = rows[~rows["estimator"].isin(pooling)]
    batch = alone.assign(square=alone["bias_mcse"] ** 2).groupby(key, sort=False, as_index=False)
    mean = batch.agg(
        mean=("mean", "mean"),
        exact=("exact", "mean"),
        variance=("variance", "mean"),
        square=("square", "mean"),
    )
    mean["bias_mcse"] = np.sqrt(mean.pop("square") / len(tables))
    both = pd.concat([rows, mean.assign(prompt=ALL)], ignore_index=True)
    grouped = both.groupby(["prompt", "scores", "estimator", "m", "N"], sort=False)
    figures = [
        grouped.apply(partial(of_rows, groups=count), include_groups=False)
        .reset_index()
        .assign(groups=count)
        for count in groups
    ]
    return pd.concat(figures, ignore_index=True).assign(prompts=len(tables))


def of_rows(part: pd.DataFrame, groups: int = BATCH) -> pd.Series:
    """Return the figures of one estimator from its moments along every direction."""
    s, t = part["mean"].to_numpy(), part["exact"].to_numpy()
    # the square of an estimated mean is too large by its own variance
    own = float((part["bias_mcse"] ** 2).sum())
    truth, along = float(t @ t), float(s @ t)
    size = max(float(s @ s) - own, 0.0)
    bias = max(float((s - t) @ (s - t)) - own, 0.0)
    variance = float(part["variance"].sum())
    return pd.Series(
        {
            "bias2": bias / truth,
            "noise": variance / groups / truth,
            "cosine": along / np.sqrt(size * truth) if size > 0.0 else np.nan,
            "gain": float(one_step_gain(along, truth, size, variance, groups, 1.0)),
            "error": (bias + variance / groups) / truth,
        }
    )
