"""The advantage response curve E[A_i | F(R_i) = q] beside the exact ψ_N."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats import best_of_n
from tea_stats._validation import as_count, as_counts, as_real, as_seed
from tea_stats.families import FiniteLaw, Law
from tea_stats.monte_carlo import summary
from tea_stats.monte_carlo.passes import Requests, check_law, check_rewards, passes

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


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
    rows = []
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
                    rows.append(head | row)
    return pd.DataFrame(rows)


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
