"""Coverage of `tea-stats compare`, and whether the sizes of `tea-stats plan` reach their goals.

python -m simulations.planned --out analysis/summaries

Aim: coverage of nominal 95 % intervals of a difference of best-of-N, and the width that a plan's
number of prompts gives. Data: `worlds`, pairs of policies with exact best-of-N, the eight bundled
pools among them. Estimand: the population's difference. Methods: `comparison.compare` as called by
default; `planning.plan` for a half-width. Performance: share of logs whose interval covers the
difference; half-width of new logs of the planned size over the goal, and the share of pilots whose
plan reaches it; each with its Monte Carlo standard error.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from scipy import special

from simulations.checks.worlds import KINDS, Grades, Moved, Pool, Verifier, World
from simulations.core.command import one_line_errors
from simulations.core.progress import track
from tea_stats import planning
from tea_stats.comparison import compare
from tea_stats.families import Gumbel, Normal, StudentT
from tea_stats.prediction.max_at_k import weights
from tea_stats.reward_log import RewardLog

WORLDS: tuple[World, ...] = (
    Moved("Normal", Normal()),
    Moved("Gumbel", Gumbel()),
    Moved("Student t(5)", StudentT(5.0)),
    Verifier("verifier", 0.5, 3.0, 0.2),
    Grades("grades 1 to 5", Verifier("", 1.0, 4.0, 0.3)),
    *(Pool(kind) for kind in KINDS),
)
#: prompts, rollouts and budgets of the logs compared: within the rollouts, and four times beyond
COMPARED = ((64, 32, 16), (64, 32, 32), (64, 32, 128))
#: share of the comparisons made beyond the rollouts, where each takes a second or more
FEWER = {"linear": 1 / 2, "beta_binomial": 1 / 8}
#: prompts and rollouts of pilots, and the budget
PILOTS = ((64, 32, 16), (64, 16, 16), (64, 16, 64))
#: the goal of a plan is this share of the half-width that the pilot's size gives
FINER = 0.5
LEVEL, NEW_LOGS = 0.95, 4


def log(rewards: np.ndarray) -> RewardLog:
    """Return an array of rewards as a log."""
    count, m = rewards.shape
    return RewardLog(tuple(range(count)), rewards.ravel(), np.arange(count + 1) * m)


def many(reps: int, place: int, m: int, N: int) -> int:
    """Return how many comparisons are made of a world."""
    few = isinstance(WORLDS[place], Verifier | Grades)
    share = 1.0 if N <= m else FEWER["beta_binomial" if few else "linear"]
    return max(2, int(reps * share))


def compared(
    place: int, P: int, m: int, N: int, reps: int, seed: int, apart: bool = False
) -> dict[str, Any]:
    """Return coverage and width of one world's comparisons; `apart`: of different prompts."""
    world, rng = WORLDS[place], np.random.default_rng([seed, place, P, m, N, int(apart)])
    a, b = world.truth(N)
    rows = []
    for _ in range(reps):
        first, second = world.draw(P, m, rng)
        if apart:
            second = world.draw(P, m, rng)[1]
        one, two = log(first), log(second)
        if apart:
            two = RewardLog(tuple(range(P, 2 * P)), two.rewards, two.offsets)
        result = compare(one, two, N, level=LEVEL)
        inside = result.low <= b - a <= result.high
        half = (result.high - result.low) / 2.0
        rows.append((inside, half, result.difference, result.unpaired_error))
    values = np.array(rows, dtype=float)
    covered, error = values[:, 0].mean(), values[:, 2] - (b - a)
    t = float(special.stdtrit(2 * P - 2, 0.5 + 0.5 * LEVEL))
    return {
        "world": world.name,
        "prompts": P,
        "m": m,
        "N": N,
        "pairs": not apart,
        "method": result.method,
        "difference": b - a,
        "bias": error.mean(),
        "bias_mcse": error.std(ddof=1) / math.sqrt(reps),
        "coverage": covered,
        "coverage_mcse": math.sqrt(max(covered * (1.0 - covered), 1.0 / reps) / reps),
        "half_width": values[:, 1].mean(),
        "unpaired_half_width": t * values[:, 3].mean(),
        "reps": reps,
    }


def width(world: World, P: int, m: int, N: int, rng: np.random.Generator) -> float:
    """Return the half-width of the interval of best-of-N on a new log."""
    rewards = np.sort(world.draw(P, m, rng)[0], axis=1)
    values = rewards @ weights(m, np.array([N]))[:, 0]
    t = float(special.stdtrit(P - 1, 0.5 + 0.5 * LEVEL))
    return t * float(values.std(ddof=1)) / math.sqrt(P)


def planned(place: int, P: int, n: int, N: int, pilots: int, seed: int) -> dict[str, Any]:
    """Return how wide intervals are at the sizes that plans name, for m = 2 N."""
    world, rng = WORLDS[place], np.random.default_rng([seed, 1, place, P, n, N])
    m = 2 * N
    usual = math.sqrt(np.mean([width(world, P, max(n, N), N, rng) ** 2 for _ in range(20)]))
    goal = FINER * usual
    rows = []
    for pilot in range(pilots):
        own = log(world.draw(P, n, rng)[0])
        plan = planning.plan(own, N, half_width=goal, m=m, level=LEVEL, seed=pilot)
        design = plan.designs[0]
        squares = [width(world, design.assured, m, N, rng) ** 2 for _ in range(NEW_LOGS)]
        reached = math.sqrt(np.mean(squares)) / goal
        # widths go as 1/√P
        rows.append((reached, reached * math.sqrt(design.assured / design.prompts), design.assured))
    values = np.array(rows)
    share = float((values[:, 0] <= 1.0).mean())
    return {
        "world": world.name,
        "pilot_prompts": P,
        "pilot_m": n,
        "N": N,
        "m": m,
        "goal": goal,
        "assured": float(np.median(values[:, 2])),
        "width": values[:, 1].mean(),
        "width_mcse": values[:, 1].std(ddof=1) / math.sqrt(pilots),
        "assured_width": values[:, 0].mean(),
        "reached": share,
        "reached_mcse": math.sqrt(max(share * (1.0 - share), 1.0 / pilots) / pilots),
        "pilots": pilots,
    }


@one_line_errors()
def main(
    out: Annotated[Path | None, typer.Option(help="Write the two tables there.")] = None,
    reps: Annotated[int, typer.Option(min=2, help="Comparisons of each kind.")] = 400,
    pilots: Annotated[int, typer.Option(min=2, help="Pilots of each kind.")] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure coverage and planned widths, world by world: some ten minutes."""
    kinds = [(place, *shape, False) for place in range(len(WORLDS)) for shape in COMPARED]
    kinds += [(place, *COMPARED[0], True) for place in range(len(WORLDS))]
    first = pd.DataFrame(
        [
            compared(place, P, m, N, many(reps, place, m, N), seed, apart)
            for place, P, m, N, apart in track(kinds, "comparisons")
        ]
    )
    cases = [(place, *shape) for place in range(len(WORLDS)) for shape in PILOTS]
    second = pd.DataFrame([planned(*case, pilots, seed) for case in track(cases, "plans")])
    for name, table in (("comparisons", first), ("plans", second)):
        if out is not None:
            table.to_csv(out / f"{name}.csv", index=False, float_format="%.4g")
        typer.echo(table.to_string(index=False, float_format="{:.3g}".format))
