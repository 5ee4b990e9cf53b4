"""Measure estimators by simulation: bias, variance, error, each with its standard error.

Every estimator sees the same rollouts: a block of groups is drawn and sorted once, and each
(estimator, N) is evaluated on it. What is kept are power sums (`tea_stats.monte_carlo.moments`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats import best_of_n
from tea_stats._validation import as_count, as_real, as_seed
from tea_stats.families import FiniteLaw, Law
from tea_stats.monte_carlo import summary
from tea_stats.monte_carlo.moments import Key, Moments, PowerSums
from tea_stats.monte_carlo.passes import (
    Pass,
    Requests,
    check_law,
    check_prompts,
    check_rewards,
    passes,
    requests,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Pass",
    "Moments",
    "Requests",
    "advantage_response",
    "block_sizes",
    "passes",
    "measure",
    "requests",
    "simulate_block",
    "summarize",
    "tiles",
]

Array = NDArray[np.float64]

#: groups per block: the unit of work, of seeding and of saving
BLOCK_SIZE = 16_384
#: rewards (times score columns) drawn at a time inside a block, so that a tile stays in cache
TILE_SIZE = 16_384


def tiles(law: Law, m: int, reps: int, prompts: int = 1) -> Iterator[int]:
    """Split `reps` groups into tiles of whole batches; a function of its arguments alone."""
    size = max(1, TILE_SIZE // (m * max(1, len(law.parameters) // 4)))
    size = max(1, size // prompts) * prompts
    for start in range(0, reps, size):
        yield min(size, reps - start)


def simulate_block(
    law: Law,
    estimators: Requests,
    m: int,
    N: Sequence[int],
    reps: int,
    seed: int,
    block: int,
    *,
    prompts: int = 1,
    reference: str | None = None,
) -> Moments:
    """Simulate one block of groups: a pure function of its arguments, to the bit.

    Parameters
    ----------
    law : Law
        Where rollouts come from.
    estimators : mapping or sequence
        `{label: (name, options)}`, or names.
    m : int
        Rollouts per group.
    N : sequence of int
        Deployment budgets.
    reps : int
        Groups in this block.
    seed, block : int
        The block's stream is `SeedSequence(seed, spawn_key=(law.stable_id, m, block))`.
    prompts : int
        Groups in a batch; `reps` is a multiple of it. The batch's mean ĝ is one observation.
    reference : str, optional
        Label of the estimator that every other is compared with, batch by batch.

    Returns
    -------
    Moments
        Power sums, to be merged with other blocks' and given to `summarize`.
    """
    check_law(law)
    listed = passes(estimators, m, N)
    check_rewards(law, listed)
    check_prompts(as_count("prompts", prompts), reps, listed)
    compared = _pairs(listed, reference)
    _keep_freed_memory()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(law.stable_id, m, block)))
    ordered = any(one.estimator.needs_order for one in listed)
    columns = len(law.parameters) + 2
    sums: dict[Key, PowerSums] = {}

    def add(key: Key, x: Array, degenerate: int) -> None:
        if key not in sums:
            sums[key] = PowerSums.zeros(columns)
        sums[key].add_groups(x, degenerate)

    for groups in tiles(law, m, reps, prompts):
        rewards, scores, order = law.draw_sorted(groups, m, rng, ordered=ordered)
        measured: dict[Key, Array] = {}
        for one in listed:
            for key, x, degenerate in one.measure(rewards, order, scores, prompts):
                observed = batch_means(x, prompts)
                add(key, observed, degenerate)
                if compared:
                    measured[key] = observed
        for key, (left, right) in compared.items():
            add(key, measured[left] - measured[right], 0)
    return Moments(law.parameters, sums)


def batch_means(x: Array, prompts: int) -> Array:
    """Return x of each batch's mean ĝ, from x[G, d + 2] of the groups.

    Examples
    --------
    >>> batch_means(np.array([[1.0, 0.5, 1.0], [3.0, 0.7, 9.0]]), 2)
    array([[2. , 0.6, 4. ]])
    """
    if prompts == 1:
        return x
    means: Array = x.reshape(-1, prompts, x.shape[1]).mean(axis=1)
    means[:, -1] = (means[:, :-2] ** 2).sum(axis=1)
    return means


def _keep_freed_memory() -> None:
    """Make the allocator keep the arrays of a tile for the next one.

    Memory handed back to the system comes back page by page, which costs as much as drawing into
    it. glibc raises the size up to which it keeps memory when a larger block is freed.
    """
    np.empty(2**19)


def _pairs(listed: Sequence[Pass], reference: str | None) -> dict[Key, tuple[Key, Key]]:
    """For each (estimator, N), which two passes a comparison with the reference subtracts."""
    if reference is None:
        return {}
    if reference not in {one.label for one in listed}:
        raise ValueError(
            f"reference is {reference!r}; give the label of one of the estimators: "
            f"{', '.join(dict.fromkeys(one.label for one in listed))}"
        )
    serving = {(one.label, budget): key for one in listed for budget, key in one.keys.items()}
    return {
        Key(label, budget, reference): (key, serving[reference, budget])
        for (label, budget), key in serving.items()
        if label != reference
    }


def as_counts(name: str, value: int | Sequence[int], *, at_least: int = 1) -> tuple[int, ...]:
    """Return an integer, or a sequence of them, as a tuple of integers ≥ `at_least`."""
    values = [value] if np.ndim(value) == 0 else list(value)  # type: ignore[arg-type]
    if not values:
        raise ValueError(f"{name} is empty; give at least one integer")
    return tuple(as_count(name, entry, at_least=at_least) for entry in values)


def measure(
    law: Law,
    estimators: Requests,
    m: int | Sequence[int],
    N: int | Sequence[int],
    reps: int = 100_000,
    seed: int = 0,
    *,
    prompts: int = 1,
    reference: str | None = None,
) -> pd.DataFrame:
    """Measure bias, variance and error of estimators against the exact best-of-N gradient.

    Parameters
    ----------
    law : Law
        Where rollouts come from; gradients are with respect to its own parameters.
    estimators : mapping or sequence
        `{label: (name, options)}`, or names from `tea_stats.ESTIMATORS`.
    m, N : int or sequence of int
        Rollouts per group, deployment budgets; every pair is measured.
    reps : int
        Groups per (law, m), at least 2; a multiple of `prompts`.
    seed : int
        Master seed; streams depend on (seed, law, m, block) and on nothing else.
    prompts : int
        Groups in a batch. An observation is the mean ĝ over a batch: variance, MSE and nmse are
        then those of a batch's gradient, and estimators that pool over prompts see the batch.
    reference : str, optional
        Label of one estimator. Adds columns `bias_difference` and `mse_difference` (this minus the
        reference, on the same rollouts) with their own standard errors.

    Returns
    -------
    pandas.DataFrame
        One row per (estimator, m, N, parameter) with columns law, estimator, options, m, N,
        parameter, mean, exact, bias, bias_mcse, variance, variance_mcse, mse, mse_mcse, reps,
        degenerate; and one per cell (parameter "all") with norms and totals in these columns, and
        nmse, cosine, efficiency, advantage_square (E[A²]), each with its `_mcse`, relative_se, and
        finite_second_moment. Variances are those of one group's ĝ.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value; the message names it.

    Notes
    -----
    With I the Fisher information, s = E ĝ and t = ∇V_N, cosine = sᵀI⁻¹t / √(sᵀI⁻¹s · tᵀI⁻¹t) and
    efficiency = (sᵀI⁻¹t)² / (tᵀI⁻¹t · E[A²]); degenerate counts groups whose advantages are all
    zero.

    Examples
    --------
    >>> from tea_stats import Normal, monte_carlo
    >>> table = monte_carlo.measure(Normal(), ["tea"], m=16, N=128, reps=20_000)
    >>> table.loc[table.parameter == "scale", "bias"].round(1).item()
    -1.3
    """
    check_law(law)
    sizes, budgets = as_counts("m", m, at_least=2), as_counts("N", N)
    reps, seed = as_count("reps", reps, at_least=2), as_seed("seed", seed)
    prompts = as_count("prompts", prompts)
    tables = []
    for size in sizes:
        blocks = [
            simulate_block(
                law,
                estimators,
                size,
                budgets,
                count,
                seed,
                block,
                prompts=prompts,
                reference=reference,
            )
            for block, count in enumerate(
                block_sizes(reps, max(1, BLOCK_SIZE // prompts) * prompts)
            )
        ]
        tables.append(summarize(law, estimators, size, budgets, Moments.merge(blocks)))
    import pandas as pd

    return pd.concat(tables, ignore_index=True)


def block_sizes(reps: int, size: int = BLOCK_SIZE) -> list[int]:
    """Split `reps` groups into blocks.

    Examples
    --------
    >>> block_sizes(40_000)
    [16384, 16384, 7232]
    """
    full, rest = divmod(reps, size)
    return [size] * full + ([rest] if rest else [])


def summarize(
    law: Law, estimators: Requests, m: int, N: Sequence[int], moments: Moments
) -> pd.DataFrame:
    """Turn power sums into the table of `measure` for one (law, m).

    Parameters
    ----------
    law, estimators, m, N
        What `simulate_block` was given.
    moments : Moments
        Its result, or several merged.

    Returns
    -------
    pandas.DataFrame
        The rows of `measure`.
    """
    import pandas as pd

    information = best_of_n.fisher_information(law)
    truths = {budget: best_of_n.gradient(law, budget) for budget in N}
    rows = []
    for one in passes(estimators, m, N):
        for budget in one.budgets:
            comparison = next(
                (
                    moments.sums[key]
                    for key in moments.sums
                    if key.minus and (key.estimator, key.N) == (one.label, budget)
                ),
                None,
            )
            sums = moments.sums[one.keys[budget]]
            found = summary.rows(law.parameters, sums, truths[budget], information, comparison)
            head = {
                "law": repr(law),
                "estimator": one.label,
                "options": summary.options_text(one.estimator.name, one.options),
                "m": m,
                "N": budget,
            }
            finite = one.has_finite_second_moment(law, m)
            rows += [{**head, **row, "finite_second_moment": finite} for row in found]
    return pd.DataFrame(rows)


def advantage_response(
    law: Law,
    estimators: Requests,
    m: int,
    N: int | Sequence[int],
    reps: int = 4_000,
    seed: int = 0,
    *,
    points: int | ArrayLike = 33,
) -> pd.DataFrame:
    """Measure the advantage response curve E[A_i | F(R_i) = q] beside the exact ψ_N.

    The curve contains the bias for every possible score function. One rollout is set to Q(q), the
    other m − 1 are drawn; all q, estimators and N share the same draws.

    Parameters
    ----------
    law, estimators, m, N, seed
        As in `measure`, with one m.
    reps : int
        Groups per point.
    points : int or array_like
        Number of q, spread evenly on the logit scale from 1/(4N) to 1 − 1/(4N) at the largest N,
        or the q themselves in (0, 1). For finite laws, the distinct rewards are the points.

    Returns
    -------
    pandas.DataFrame
        Columns law, estimator, options, m, N, q, reward, response, response_mcse, exact, reps.
    """
    import pandas as pd

    check_law(law)
    budgets = as_counts("N", N)
    m, reps = as_count("m", m, at_least=2), as_count("reps", reps, at_least=2)
    listed = passes(estimators, m, budgets)
    check_rewards(law, listed)
    rng = np.random.default_rng(
        np.random.SeedSequence(as_seed("seed", seed), spawn_key=(law.stable_id, m, 0, 1))
    )
    groups = law.sample((reps, m), rng)
    # the fixed rollout takes every position in turn: prefix forms depend on it
    every, position = np.arange(reps), np.arange(reps) % m
    q, fixed = _response_points(law, points, max(budgets))
    exact = {budget: best_of_n.advantage(law, budget, fixed) for budget in budgets}
    found = []
    for j, reward in enumerate(fixed):
        groups[every, position] = reward
        order = np.argsort(groups, axis=-1)
        rewards = np.take_along_axis(groups, order, axis=-1)
        rank = (order == position[:, None]).argmax(axis=-1)
        for one in listed:
            head = {
                "law": repr(law),
                "estimator": one.label,
                "options": summary.options_text(one.estimator.name, one.options),
                "m": m,
            }
            for served, advantages in one.advantages(rewards, order):
                response = advantages[every, rank]
                mean, se = response.mean(), response.std(ddof=1) / np.sqrt(reps)
                for budget in served:
                    row = {"N": budget, "q": q[j], "reward": reward, "response": mean}
                    row |= {"response_mcse": se, "exact": exact[budget][j], "reps": reps}
                    found.append(head | row)
    return pd.DataFrame(found)


def _response_points(law: Law, points: int | ArrayLike, N: int) -> tuple[Array, Array]:
    """Return the points q and the rewards Q(q) at which the response is measured."""
    if isinstance(law, FiniteLaw):
        rewards = np.unique(law.rewards_sorted)
        return law.cdf(rewards), rewards
    if np.ndim(points) == 0:
        count = as_count("points", points, at_least=2)
        edge = np.log(4.0 * N - 1.0)
        q = 1.0 / (1.0 + np.exp(-np.linspace(-edge, edge, count)))
    else:
        q = np.array([as_real("points", p, above=0.0, below=1.0) for p in np.ravel(points)])
        if q.size == 0:
            raise ValueError(f"points is {points!r}; give numbers in (0, 1), or how many")
    return q, np.asarray(law.ppf(q), dtype=np.float64)
