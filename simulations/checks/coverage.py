"""Coverage of the intervals of predictions: `python -m simulations.coverage`.

Aim: coverage of nominal 90 % intervals and bands. Data: logs of P prompts × m rollouts; a prompt's
rewards are a location plus a scale times draws of one law (normal locations of sd 1, log-normal
scales of sd .4 in the log), or 0/1 with p from a beta law. Estimands: best-of-N averaged over the
population and over the log's own prompts, exact from `tea_stats.best_of_n`. Methods: all that suit
the law, each by its sampling error alone, and what `predict` recommends, with all that its interval
includes, on the first logs of each cell. Performance: share of logs whose interval covers the
estimand at each N, share whose band covers it at all N, each with its Monte Carlo standard error.
All methods use the same logs. A law and shape is a job; a run that was interrupted goes on with
what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from simulations.core import manifests, store
from simulations.core.command import one_line_errors
from simulations.core.progress import track
from tea_stats import best_of_n
from tea_stats.families import GaussianTail, GenPareto, Gumbel, Law, Logistic, Normal, NormalMixture
from tea_stats.prediction import METHODS, TARGETS, bands, predict
from tea_stats.prediction.beta_binomial import best_of
from tea_stats.reward_log import RewardLog

#: budgets, prompts × rollouts, level, spread of the prompts' log scales
GRID = np.array([8, 16, 64, 256, 1024])
SHAPES = ((8, 16), (8, 64), (32, 16), (32, 64), (32, 256), (128, 16), (128, 64))
LEVEL, LOG_SCALE = 0.9, 0.4
DRAWS = 1000

Array = NDArray[np.float64]
#: lower and upper ends of intervals, then of a band, at each N
Ends = tuple[Array, Array, Array, Array]

#: methods of a tail, where none has the law in its model
OTHERS = ("gaussian_tail", "linear", "gen_pareto", "lognormal_tail")


@dataclass(frozen=True)
class Case:
    """A law of rewards, or (a, b) of the law of p; methods whose model has it, and others."""

    name: str
    law: Law | tuple[float, float]
    inside: tuple[str, ...]
    outside: tuple[str, ...] = ()


CASES = (
    Case(
        "Normal",
        Normal(),
        ("max_at_k", "gaussian_tail", "linear", "lognormal_tail", "pooled_shape"),
        ("gen_pareto",),
    ),
    Case("GaussianTail", GaussianTail(), ("max_at_k", "gaussian_tail", "linear")),
    Case("GenPareto(.2)", GenPareto(0.2), ("max_at_k", "gen_pareto"), ("gaussian_tail",)),
    Case("GenPareto(-.2)", GenPareto(-0.2), ("gen_pareto",), ("linear",)),
    Case("beta-binomial(.5, 20)", (0.5, 20.0), ("max_at_k", "beta_binomial"), ("logit_normal",)),
    Case("beta-binomial(5, 20)", (5.0, 20.0), ("beta_binomial",), ("logit_normal",)),
    Case("beta-binomial(.3, .6)", (0.3, 0.6), ("beta_binomial",), ("logit_normal",)),
    Case("Gumbel", Gumbel(), (), OTHERS),
    Case("Logistic", Logistic(), (), OTHERS),
    Case("rare good mode", NormalMixture(0.02, 0.0, 1.0, 4.0, 0.5), (), (*OTHERS, "pooled_shape")),
)


def logs(case: Case, P: int, m: int, rng: np.random.Generator) -> Iterator[tuple[RewardLog, Any]]:
    """Yield logs endlessly, each with the truth for every target."""
    offsets, labels = np.arange(P + 1) * m, tuple(range(P))
    if isinstance(case.law, tuple):
        a, b = case.law
        population = best_of(np.array(a), np.array(b), GRID)
        while True:
            p = rng.beta(a, b, size=P)
            rewards = (rng.random((P, m)) < p[:, None]) * 1.0
            own = (1.0 - (1.0 - p[:, None]) ** GRID).mean(axis=0)
            truth = {"population": population, "these_prompts": own}
            yield RewardLog(labels, rewards.ravel(), offsets), truth
    standard = np.array([best_of_n.value(case.law, int(N)) for N in GRID])
    while True:
        loc, scale = rng.normal(size=P), np.exp(LOG_SCALE * rng.normal(size=P))
        rewards = loc[:, None] + scale[:, None] * case.law.sample((P, m), rng)
        own = (loc[:, None] + scale[:, None] * standard).mean(axis=0)
        truth = {"population": np.exp(LOG_SCALE**2 / 2) * standard, "these_prompts": own}
        yield RewardLog(labels, rewards.ravel(), offsets), truth


def coverage(
    place: int,
    P: int,
    m: int,
    reps: int,
    seed: int,
    recommended: int = 0,
    methods: tuple[str, ...] | None = None,
) -> pd.DataFrame:
    """Return a row for each method, target and N of one case, and one for all N ("band").

    The recommended curve is measured on the first `recommended` logs; it has no row where it has no
    value. `methods` are those to measure, all by default.
    """
    case = CASES[place]
    names = [x for x in case.inside + case.outside if methods is None or x in methods]
    rng = np.random.default_rng([seed, place, P, m])
    intervals = []
    for rep, (log, truth) in zip(
        range(reps if names else recommended), logs(case, P, m, rng), strict=False
    ):
        for method in names:
            fit = METHODS[method](log, GRID, 0.25)
            for target in TARGETS:
                draws = fit.draws(target, DRAWS, rng)
                ends = (*bands.pointwise(draws, LEVEL), *bands.simultaneous(draws, LEVEL))
                intervals += _covered(method, target, ends, truth[target])
        for target in TARGETS if rep < recommended else ():
            intervals += _covered("recommended", target, _ends(log, target, rep), truth[target])
    groups = pd.DataFrame(intervals).groupby(["method", "target", "N"], sort=False)
    table = groups.agg(
        coverage=("covered", "mean"), median_width=("width", "median"), reps=("covered", "size")
    ).reset_index()
    model = {"recommended": "recommended", **dict.fromkeys(case.inside, "inside")}
    share, number = table["coverage"], table.pop("reps")
    table.insert(0, "law", case.name)
    table.insert(2, "model", table["method"].map(model).fillna("outside"))
    table.insert(4, "prompts", P)
    table.insert(5, "m", m)
    table.insert(8, "coverage_mcse", np.sqrt(share * (1.0 - share) / number))
    return table.assign(reps=number, seed=seed)


def _covered(method: str, target: str, ends: Ends, exact: Array) -> Iterator[dict[str, Any]]:
    """Yield a row for each N that has an interval, and one for the band over all of them."""
    low, high, band_low, band_high = ends
    head = {"method": method, "target": target}
    known = ~np.isnan(low)
    for j in np.flatnonzero(known):
        covered, width = low[j] <= exact[j] <= high[j], high[j] - low[j]
        yield {**head, "N": str(GRID[j]), "covered": covered, "width": width}
    band = ((band_low <= exact) & (exact <= band_high))[known].all()
    yield {**head, "N": "band", "covered": band, "width": np.nan}


def _ends(log: RewardLog, target: str, seed: int) -> Ends:
    """Return the ends of the recommended interval and band at the budgets."""
    # m is less than the largest N: the stack is what is recommended, alone as among others
    forecast = predict(
        log, int(GRID[-1]), methods=("stack",), level=LEVEL, target=target, seed=seed
    )
    curve = forecast.curves[forecast.recommended]
    at = np.searchsorted(curve.grid, GRID)
    return curve.low[at], curve.high[at], curve.band_low[at], curve.band_high[at]


@one_line_errors()
def main(
    out: Annotated[Path, typer.Option(help="Results folder.")] = Path("results/coverage"),
    reps: Annotated[int, typer.Option(min=2, help="Logs per law and shape.")] = 200,
    recommended: Annotated[int, typer.Option(min=0, help="Of these, with the recommended.")] = 50,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    method: Annotated[
        list[str] | None, typer.Option(help="Measure this one alone, or none; repeatable.")
    ] = None,
) -> None:
    """Measure the coverage of every method on every law; what is finished already is kept."""
    methods = None if not method else tuple(method)
    jobs = [(place, P, m) for place in range(len(CASES)) for P, m in SHAPES]
    if methods is not None and not recommended:
        jobs = [
            job for job in jobs if set(methods) & {*CASES[job[0]].inside, *CASES[job[0]].outside}
        ]
    described = {"reps": reps, "recommended": recommended, "seed": seed, "methods": methods}
    tables = []
    with manifests.run(out, manifests.describe(described)):
        for place, P, m in track(jobs, "coverage"):
            path = out / "jobs" / f"{store.slug(CASES[place].name)}-P{P}-m{m}.parquet"
            numbers = (P, m, reps, seed, recommended, methods)
            job = store.digest([CASES[place].name, *numbers])
            tables.append(store.once(path, partial(coverage, place, *numbers), job=job))
        table = pd.concat(tables, ignore_index=True)
        store.write(table, out / "table.parquet")
    for model, own in table[table["N"] != "band"].groupby("model"):
        typer.echo(f"{model}: coverage {own['coverage'].min():.2f} … {own['coverage'].max():.2f}")
