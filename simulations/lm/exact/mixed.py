"""Estimators that learn from the other groups of a batch, in batches of all enumerated prompts.

Such an estimator does something else in a batch of one prompt than in one of many, so its gradient
over the prompts cannot be put together from batches of each. Prompts share the parameters:

    ĝ = mean over prompts of ĝ_p,   s = E ĝ,   t = mean over prompts of ∇V_N.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from simulations.core.schema import EstimatorTable, undefined
from simulations.lm.exact import quality
from simulations.lm.exact.law import Leaves
from simulations.lm.exact.schema import Quality
from simulations.lm.tree import Array
from tea_stats import advantages, best_of_n

COLUMNS = ["estimator", "groups", "m", "N", "parameter", "mean", "exact", "bias_mcse", "variance"]
#: rewards drawn at a time, of all prompts together
TILE = 2**16


def measured(
    plan: Quality,
    laws: Sequence[Leaves],
    estimators: Mapping[str, EstimatorTable],
    groups: Sequence[int],
    seed: int,
) -> pd.DataFrame:
    """Return mean, truth and variance of every pooling estimator in batches of the prompts.

    Parameters
    ----------
    plan : Quality
        Group sizes, budgets and rollouts; the first `plan.directions` parameters are the adapters'.
    laws : sequence of Leaves
        The prompts', with the same parameters.
    estimators : mapping
        By label; those that do not pool are left out.
    groups : sequence of int
        Groups of a batch. With fewer groups than prompts, a replication has several batches, each
        of other prompts; with more, every prompt has as many groups.
    seed : int
        Streams depend on it, the laws, m and the groups of a prompt.

    Returns
    -------
    DataFrame
        estimator, groups, m, N, parameter, scores, mean, exact, bias_mcse, and variance, that of
        one group: groups times that of a batch.
    """
    pooling = {label: table for label, table in estimators.items() if table.record().pools}
    tables = [_of_size(plan, laws, pooling, count, m, seed) for count in groups for m in plan.m]
    names = {name: j for j, name in enumerate(laws[0].parameters)}
    table = pd.concat(tables, ignore_index=True)
    adapter = table["parameter"].map(names) < plan.directions
    return table.assign(scores=np.where(adapter, quality.ADAPTER, quality.HEAD))


def _of_size(
    plan: Quality,
    laws: Sequence[Leaves],
    pooling: Mapping[str, EstimatorTable],
    groups: int,
    m: int,
    seed: int,
) -> pd.DataFrame:
    defined = {x: table for x, table in pooling.items() if not undefined(table, m, plan.N)}
    each = max(1, groups // len(laws))
    sums: dict[tuple[str, int], list[Array]] = {}
    for rewards, scores in _draws(plan, laws, each, m, seed):
        for label, table in defined.items():
            for N in plan.N:
                A = [
                    _advantages(rewards[:, block], table, N)
                    for block in _blocks(len(laws), each, groups)
                ]
                g = _gradients(np.concatenate(A, axis=1), scores)
                sums.setdefault((label, N), []).append(g)
    truth = {N: np.mean([best_of_n.gradient(law, N) for law in laws], axis=0) for N in plan.N}
    rows = []
    for (label, N), parts in sums.items():
        g = np.concatenate(parts)
        variance = g.var(axis=0, ddof=1)
        rows.append(
            pd.DataFrame(
                {
                    "estimator": label,
                    "groups": groups,
                    "m": m,
                    "N": N,
                    "parameter": laws[0].parameters,
                    "mean": g.mean(axis=0),
                    "exact": truth[N],
                    "bias_mcse": np.sqrt(variance / len(g)),
                    "variance": variance * each * len(laws),
                }
            )
        )
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=COLUMNS)


def _draws(
    plan: Quality, laws: Sequence[Leaves], each: int, m: int, seed: int
) -> Iterator[tuple[Array, Array]]:
    """Yield sorted rewards (T, P · each, m) of T replications, and scores (P · each, d, T, m)."""
    replications = max(2, plan.reps // (m * each))
    tile = max(1, TILE // (m * each * len(laws)))
    ids = tuple(law.stable_id for law in laws)
    for first in range(0, replications, tile):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*ids, m, each, first)))
        count = min(tile, replications - first)
        drawn = [law.draw_sorted(count * each, m, rng, ordered=False)[:2] for law in laws]
        rewards = [r.reshape(count, each, m) for r, _ in drawn]
        scores = [s.reshape(len(s), count, each, m).transpose(2, 0, 1, 3) for _, s in drawn]
        yield np.concatenate(rewards, axis=1), np.concatenate(scores)


def _blocks(prompts: int, each: int, groups: int) -> list[slice]:
    """Return which places of a replication are a batch."""
    size = max(each * prompts if groups >= prompts else groups, 1)
    return [slice(first, first + size) for first in range(0, each * prompts, size)]


def _advantages(rewards: Array, table: EstimatorTable, N: int) -> Array:
    """Return the advantages of batches, one after the other, (T, groups, m)."""
    return np.stack([advantages(table.name, batch, N, **table.options) for batch in rewards])


def _gradients(A: Array, scores: Array) -> Array:
    """Return ĝ of each replication, shape (T, d)."""
    total = sum(np.einsum("tm,dtm->td", A[:, g], s) for g, s in enumerate(scores))
    return np.asarray(total) / (A.shape[1] * A.shape[2])


def judged(table: pd.DataFrame, prompts: int) -> pd.DataFrame:
    """Return bias², cosine and one-step gain as `quality.judged` has them for all prompts."""
    key = ["scores", "estimator", "m", "N", "groups"]
    parts = [
        part.groupby(key, sort=False)
        .apply(partial(quality.of_rows, groups=int(count)), include_groups=False)
        .reset_index()
        for count, part in table.groupby("groups", sort=False)
    ]
    return pd.concat(parts, ignore_index=True).assign(prompt=quality.ALL, prompts=prompts)
