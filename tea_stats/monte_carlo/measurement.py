"""Estimators measured against the exact gradient: bias, variance and error, with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tea_stats import best_of_n
from tea_stats._validation import as_count, as_counts, as_seed
from tea_stats.families import Law
from tea_stats.monte_carlo import summary
from tea_stats.monte_carlo.blocks import BLOCK_SIZE, block_sizes, simulate_block
from tea_stats.monte_carlo.moments import Moments
from tea_stats.monte_carlo.passes import Requests, check_law, passes

if TYPE_CHECKING:
    import pandas as pd


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
            measured = summary.rows(law.parameters, sums, truths[budget], information, comparison)
            head = {
                "law": repr(law),
                "estimator": one.label,
                "options": summary.options_text(one.estimator.name, one.options),
                "m": m,
                "N": budget,
            }
            finite = one.has_finite_second_moment(law, m)
            rows += [{**head, **row, "finite_second_moment": finite} for row in measured]
    return pd.DataFrame(rows)
