"""Measure estimators and tails on pools of rollouts. No torch here.

A pool is a law (`tea_stats.EmpiricalPool`) whose best-of-N gradient is exact, so everything is
measured as on any other law. It is compared with the same pool with normal rewards in the same
order: the same scores and dependence, and exactly the tail that the theory assumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import as_completed

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from simulations.core import engines
from simulations.lm.pools import halves
from simulations.lm.pools.schema import BATCH, Measure
from tea_stats import EmpiricalPool, Law, Normal, best_of_n, monte_carlo

Array = NDArray[np.float64]
Loaded = Mapping[str, tuple[dict[str, Array], Array]]

POOL, GAUSSIAN, NORMAL = "pool", "gaussian", "normal law"
#: share of the rewards that is the upper tail
TAIL = 0.25
#: points of a QQ plot, and of a response curve
POINTS, CURVE = 64, 32
#: Gaussian samples, for the range that a tail has by chance
COMPARED = 200


def normal_ranks(rewards: Array) -> Array:
    """Return normal rewards in the order of the given ones, with their mean and spread."""
    ranks = stats.rankdata(rewards, method="ordinal")
    z = special.ndtri((ranks - 0.5) / len(rewards))
    return rewards.mean() + rewards.std() * z / z.std()


def noise(plan: Measure, pools: Loaded) -> pd.DataFrame:
    """Return the share of a pool's squared gradient that is chance, by halves and by the rule."""
    rows = [
        {"pool": name, "reward": reward, "N": N}
        | {"share": halves.noise_share(rewards[reward], scores, N)}
        | {"rule": halves.expected_share(len(scores) / N, halves.dimensions(scores))}
        for name, (rewards, scores) in pools.items()
        for reward in plan.rewards
        for N in plan.N
    ]
    return pd.DataFrame(rows)


# --- estimators -----------------------------------------------------------------------------------


def measure_pool(plan: Measure, rewards: Array, scores: Array) -> tuple[pd.DataFrame, ...]:
    """Return one pool's table (a row per estimator, m and N), response curves and half products."""
    if not rewards.std() > 0.0:
        raise ValueError("all rewards of a pool are equal; measure another reward")
    # in units of the reward's spread, so that pools can be compared
    rewards = (rewards - rewards.mean()) / rewards.std()
    law = EmpiricalPool(rewards, scores)
    return (
        measured(plan, law, plan.reps),
        response(plan, law),
        halves.products(plan, rewards, scores),
    )


def measured(plan: Measure, law: Law, reps: int) -> pd.DataFrame:
    """Return a row per estimator, m and N; batches of groups for those that pool them."""
    single, pooling = {}, {}
    for label, table in plan.estimators.items():
        chosen = pooling if table.record().pools else single
        chosen[label] = table.name, table.options
    settings = plan.m, plan.N, reps, plan.seed
    tables = [monte_carlo.measure(law, single, *settings, reference=plan.reference)]
    if pooling:
        of_batches = monte_carlo.measure(law, pooling, *settings, prompts=BATCH)
        # in the units of the others: the mean of 64 has a 64th of the variance
        for column in ("variance", "variance_mcse", "reps"):
            of_batches[column] *= BATCH
        tables.append(of_batches.drop(columns=["mse", "mse_mcse", "nmse", "nmse_mcse"]))
    table = pd.concat(tables, ignore_index=True)
    return with_batch(table[table["parameter"] == "all"]).drop(columns=["law", "parameter"])


def with_batch(table: pd.DataFrame) -> pd.DataFrame:
    """Add the normalised error of a batch of groups, and bias and variance relative to the truth.

    All of these are in the Euclidean metric of the pool's score columns, as mean, exact and bias
    are; cosine and efficiency are in that of the Fisher information. The square of a mean over
    `reps` groups is too large by variance/reps on average: taken off. `scaled_nmse` is the error at
    the length of the step that makes it least, since a step size is tuned:
    1 − (E ĝ · ∇V_N)² / (E‖ĝ‖² ‖∇V_N‖²), 1 where the mean points the other way.
    """
    size = table["exact"] ** 2
    noise = table["variance"] / table["reps"]
    bias = (table["bias"] ** 2 - noise).clip(lower=0.0)
    # E ĝ · t/‖t‖ from the three lengths, as ‖s − t‖² = ‖s‖² + ‖t‖² − 2 s·t
    along = (table["mean"] ** 2 + size - table["bias"] ** 2) / (2.0 * table["exact"])
    signal = along.clip(lower=0.0)
    length = (table["mean"] ** 2 - noise).clip(lower=0.0) + table["variance"] / BATCH
    return table.assign(
        scaled_nmse=1.0 - signal**2 / length.where(length > 0.0, 1.0),
        relative_bias=np.sqrt(bias / size),
        relative_bias_mcse=table["bias_mcse"] / np.sqrt(size),
        relative_variance=table["variance"] / size,
        batch_nmse=(bias + table["variance"] / BATCH) / size,
        batch_nmse_mcse=np.hypot(
            2.0 * np.sqrt(bias) * table["bias_mcse"], table["variance_mcse"] / BATCH
        )
        / size,
    )


def response(plan: Measure, law: EmpiricalPool) -> pd.DataFrame:
    """Return E[A_i | R_i at its q-quantile] of every estimator beside the exact advantage.

    As `monte_carlo.advantage_response`, at some of the pool's rewards only. Estimators that pool
    the groups of a batch are left out, since here every group has the fixed reward.
    """
    M = len(law.rewards)
    edge = np.log(2.0 * M)
    q = 1.0 / (1.0 + np.exp(-np.linspace(-edge / 2, edge, CURVE)))
    fixed = law.rewards[np.minimum((q * M).astype(int), M - 1)]
    tables = []
    for m in plan.m:
        rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(law.stable_id, m)))
        background = law.sample((plan.response_reps, m), rng)
        rows = np.arange(plan.response_reps)
        # the fixed rollout takes every position in turn: prefix forms depend on it
        place = rows % m
        for reward, quantile in zip(fixed, q, strict=True):
            groups = background.copy()
            groups[rows, place] = reward
            for label, table in plan.estimators.items():
                estimator = table.record()
                if estimator.pools:
                    continue
                for N in plan.N:
                    A = estimator.advantages(groups, N)[rows, place]
                    head = {"estimator": label, "m": m, "q": quantile, "reward": reward}
                    head["response"] = A.mean()
                    head["response_mcse"] = A.std(ddof=1) / np.sqrt(len(A))
                    tables.append({**head, "N": N})
    exact = {N: best_of_n.advantage(law, N, fixed) for N in plan.N}
    truth = [pd.DataFrame({"q": q, "N": N, "exact": exact[N]}) for N in plan.N]
    return pd.DataFrame(tables).merge(pd.concat(truth), on=["q", "N"])


# --- tails ----------------------------------------------------------------------------------------


def tail(rewards: Array) -> dict[str, float]:
    """Return skew, ties, straightness of the tail's QQ plot, and its Pareto shape.

    The upper quarter's rewards against normal quantiles: R² of the straight line. Their excesses
    over the quarter's threshold: maximum-likelihood shape. Both are nan if half of it is tied.
    """
    ordered = np.sort(rewards)
    M = len(ordered)
    upper = ordered[M - int(TAIL * M) :]
    row = {"mean": rewards.mean(), "sd": rewards.std(), "skew": float(stats.skew(rewards))}
    row["tied"] = 1.0 - (len(np.unique(rewards)) - 1) / (M - 1)
    row |= {"qq_r2": float("nan"), "shape": float("nan")}
    if len(np.unique(upper)) > len(upper) / 2:
        z = special.ndtri((np.arange(M - len(upper), M) + 0.5) / M)
        row["qq_r2"] = float(np.corrcoef(z, upper)[0, 1] ** 2)
        excess = upper - ordered[M - len(upper) - 1]
        row["shape"] = float(stats.genpareto.fit(excess / excess.mean(), floc=0.0)[0])
    return row


def tails(pools: Loaded, seed: int) -> pd.DataFrame:
    """Return the tail of every pool and reward, and under the name "chance" that of normal samples.

    Columns pool, reward and those of `tail`; for "chance", `low` and `high` rows hold the central
    95 % of normal samples of a pool's size.
    """
    rows = [
        {"pool": name, "reward": reward, **tail(values)}
        for name, (rewards, _) in pools.items()
        for reward, values in rewards.items()
    ]
    M = max(len(scores) for _, scores in pools.values())
    rng = np.random.default_rng(seed)
    chance = pd.DataFrame([tail(rng.standard_normal(M)) for _ in range(COMPARED)])
    for name, q in (("low", 0.025), ("median", 0.5), ("high", 0.975)):
        rows.append({"pool": "chance", "reward": name, **chance.quantile(q).to_dict()})
    return pd.DataFrame(rows)


def quantiles(pools: Loaded) -> pd.DataFrame:
    """Return QQ plots: standardised rewards at points spread over the normal quantiles."""
    rows = []
    for name, (rewards, _) in pools.items():
        for reward, values in rewards.items():
            M = len(values)
            z = np.linspace(special.ndtri(0.5 / M), special.ndtri(1.0 - 0.5 / M), POINTS)
            place = np.clip((special.ndtr(z) * M).astype(int), 0, M - 1)
            standard = (np.sort(values) - values.mean()) / max(values.std(), 1e-300)
            rows.append(
                pd.DataFrame({"pool": name, "reward": reward, "z": z, "r": standard[place]})
            )
    return pd.concat(rows, ignore_index=True)


def informed(rewards: Array, scores: Array) -> float:
    """Return the share of a reward that the scores explain: adjusted R² of a linear regression."""
    design = np.column_stack([np.ones(len(scores)), scores])
    fitted = design @ np.linalg.lstsq(design, rewards, rcond=None)[0]
    left = ((rewards - fitted) ** 2).sum() / max(1, len(scores) - design.shape[1])
    return float(1.0 - left / rewards.var(ddof=1))


# --- everything -----------------------------------------------------------------------------------


def jobs(plan: Measure, pools: Loaded) -> list[tuple[str, str, str]]:
    """Return (pool, reward, kind) of everything that is measured."""
    kinds = [(reward, POOL) for reward in plan.rewards] + [(r, GAUSSIAN) for r in plan.gaussian]
    return [(name, reward, kind) for name in pools for reward, kind in kinds]


def measure(
    plan: Measure, pools: Loaded, workers: int, after: Callable[[], None]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Measure every pool; `after` is called when one is done."""
    results: dict[tuple[str, str, str], tuple[pd.DataFrame, ...]] = {}
    with engines.local(workers) as (executor, _):
        running = {}
        for name, reward, kind in jobs(plan, pools):
            rewards, scores = pools[name][0][reward], pools[name][1]
            if kind == GAUSSIAN:
                rewards = normal_ranks(rewards)
            running[executor.submit(measure_pool, plan, rewards, scores)] = (name, reward, kind)
        for job in as_completed(running):
            results[running[job]] = job.result()
            after()
    parts: list[list[pd.DataFrame]] = [[], [], []]
    for job in jobs(plan, pools):
        head = dict(zip(("pool", "reward", "kind"), job, strict=True))
        for part, table in zip(parts, results[job], strict=True):
            part.append(table.assign(**head))
    table, curves, products = (pd.concat(part, ignore_index=True) for part in parts)
    return table, curves, halves.cosines(products, BATCH)


def predicted(plan: Measure) -> pd.DataFrame:
    """Return the same numbers on the Normal law itself: efficiency, cosine, E[A²]."""
    table = measured(plan, Normal(), 4 * plan.reps)
    return table.assign(pool=NORMAL, reward=NORMAL, kind=NORMAL)
