"""What a pool of rollouts can say of the model it was drawn from, whose law is known exactly here.

A pool of M rollouts has its own best-of-N gradient. Of its squared length a share is the chance of
the draw; two halves of the pool, gradients t₁ and t₂, estimate it without the truth:

    share = 1 − ⟨t₁, t₂⟩ / ‖t_pool‖².

The truth being known, the cosine of the pool's gradient with the model's is known as well, and
whether estimators rank on the pool as they do on the law.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from simulations.core.schema import EstimatorTable
from simulations.lm.exact import quality
from simulations.lm.exact.law import Leaves
from simulations.lm.exact.schema import Pools
from simulations.lm.pools.halves import dimensions, expected_share, noise_share
from simulations.lm.tree import Array
from tea_stats import EmpiricalPool, best_of_n

#: the estimators' rows are of this kind, the gradients' of that
ORDER, GRADIENT = "order", "gradient"
#: cuts of a pool into halves
CUTS = 4


def measured(
    plan: Pools, law: Leaves, estimators: Mapping[str, EstimatorTable], seed: int
) -> pd.DataFrame:
    """Return, for pools drawn from a law, how near their gradients are and how estimators rank.

    Returns
    -------
    DataFrame
        Rows of kind "gradient", one for each M, N and pool, with cosine, noise ‖t_pool − t‖²,
        square ‖t_pool‖², halves (what halves of the pool say that the noise is), tail (M/N),
        dimensions (effective ones of the law's scores) and rule (the share to be expected from
        these); rows of kind "order", one for each M, N, pool and estimator, with the one-step gains
        on the pool and on the law.
    """
    exact = {N: best_of_n.gradient(law, N) for N in plan.N}
    rows = []
    for M in plan.sizes:
        for draw in range(plan.draws):
            pool = drawn(law, M, seed, draw)
            for N, truth in exact.items():
                rows.append({"kind": GRADIENT, "M": M, "N": N, "draw": draw})
                rows[-1] |= closeness(pool, truth, N)
    d = dimensions(law.scores, law.probabilities)
    table = pd.DataFrame(rows)
    tables = [table.assign(dimensions=d, rule=expected_share(table["tail"], d))]
    if plan.order_draws:
        ours = gains(plan, law, estimators, seed)
    for M in plan.order_sizes:
        for draw in range(plan.order_draws):
            theirs = gains(plan, drawn(law, M, seed, draw), estimators, seed)
            both = ours.merge(theirs, on=["estimator", "N"], suffixes=("_law", "_pool"))
            tables.append(both.assign(kind=ORDER, M=M, draw=draw))
    return pd.concat(tables, ignore_index=True)


def drawn(law: Leaves, M: int, seed: int, draw: int) -> EmpiricalPool:
    """Return a pool of M rollouts; the same for every estimator and N."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(law.stable_id, M, draw)))
    p = law.probabilities
    some = rng.choice(len(p), size=M, p=p / p.sum())
    return EmpiricalPool(law.rewards_sorted[some], law.scores[some])


def closeness(pool: EmpiricalPool, truth: Array, N: int) -> dict[str, float]:
    """Return how near a pool's gradient is to the truth, and what its halves say of it."""
    own = best_of_n.gradient(pool, N)
    square = float(own @ own)
    return {
        "cosine": float(own @ truth) / float(np.sqrt(square * (truth @ truth))),
        "noise": float((own - truth) @ (own - truth)),
        "square": square,
        "halves": square * noise_share(pool.rewards, pool.scores, N, CUTS),
        "tail": len(pool.rewards) / N,
    }


def gains(
    plan: Pools, law: Leaves | EmpiricalPool, estimators: Mapping[str, EstimatorTable], seed: int
) -> pd.DataFrame:
    """Return the one-step gain of every estimator on a law or pool, by N."""
    table = quality.moments(law, estimators, plan.m, plan.N, plan.reps, seed)
    grouped = table.groupby(["estimator", "N"], sort=False)
    return grouped.apply(quality.of_rows, include_groups=False)["gain"].reset_index()
