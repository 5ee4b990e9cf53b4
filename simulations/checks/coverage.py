"""How often the intervals of predictions hold the truth: `python -m simulations.coverage`.

Aim: coverage of nominal 90 % intervals and bands. Data: logs of P prompts × m rollouts; a prompt's
rewards are a location plus a scale times draws of one law (normal locations of sd 1, log-normal
scales of sd .4 in the log), or 0/1 with p of a beta law. Estimands: best-of-N on average over the
population and over the log's own prompts, exact from `tea_stats.best_of_n`. Methods: all that suit
the law. Performance: share of logs whose interval holds the estimand at each N, share whose band
holds it at all N, each with its Monte Carlo standard error. All methods see the same logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from simulations.core.command import progress_bar
from tea_stats import best_of_n
from tea_stats.families import GaussianTail, GenPareto, Gumbel, Law, Logistic, Normal, NormalMixture
from tea_stats.prediction import METHODS, TARGETS, bands
from tea_stats.prediction.beta_binomial import best_of
from tea_stats.reward_log import RewardLog

#: budgets, prompts × rollouts, level, spread of the prompts' log scales
GRID = np.array([8, 16, 64, 256, 1024])
SHAPES = ((8, 16), (8, 64), (32, 16), (32, 64), (32, 256), (128, 16), (128, 64))
LEVEL, LOG_SCALE = 0.9, 0.4
DRAWS = 1000


@dataclass(frozen=True)
class Case:
    """A law of rewards, or (a, b) of the law of p; methods whose model holds it, and others."""

    name: str
    law: Law | tuple[float, float]
    inside: tuple[str, ...]
    outside: tuple[str, ...] = ()


CASES = (
    Case("Normal", Normal(), ("max_at_k", "gaussian_tail", "linear"), ("gen_pareto",)),
    Case("GaussianTail", GaussianTail(), ("max_at_k", "gaussian_tail", "linear")),
    Case("GenPareto(.2)", GenPareto(0.2), ("max_at_k", "gen_pareto"), ("gaussian_tail",)),
    Case("GenPareto(-.2)", GenPareto(-0.2), ("gen_pareto",), ("linear",)),
    Case("beta-binomial(.5, 20)", (0.5, 20.0), ("max_at_k", "beta_binomial")),
    Case("beta-binomial(5, 20)", (5.0, 20.0), ("beta_binomial",)),
    Case("beta-binomial(.3, .6)", (0.3, 0.6), ("beta_binomial",)),
    Case("Gumbel", Gumbel(), (), ("gaussian_tail", "linear", "gen_pareto")),
    Case("Logistic", Logistic(), (), ("gaussian_tail", "linear", "gen_pareto")),
    Case(
        "rare good mode",
        NormalMixture(0.02, 0.0, 1.0, 4.0, 0.5),
        (),
        ("gaussian_tail", "linear", "gen_pareto"),
    ),
)


def logs(case: Case, P: int, m: int, rng: np.random.Generator) -> Iterator[tuple[RewardLog, Any]]:
    """Yield logs without end, each with the truth for every target."""
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


def cell(place: int, P: int, m: int, reps: int, seed: int) -> list[dict[str, Any]]:
    """Return a row for each method, target and N of one case, and one for all N ("band")."""
    case = CASES[place]
    rng = np.random.default_rng([seed, place, P, m])
    names = case.inside + case.outside
    inside = {
        (name, target): np.full((reps, len(GRID) + 1), np.nan)
        for name in names
        for target in TARGETS
    }
    width = {key: np.full((reps, len(GRID)), np.nan) for key in inside}
    for rep, (log, truth) in zip(range(reps), logs(case, P, m, rng), strict=False):
        for name in names:
            fit = METHODS[name](log, GRID, 0.25)
            for target in TARGETS:
                draws, exact = fit.draws(target, DRAWS, rng), truth[target]
                told = ~np.isnan(draws[0])
                low, high = bands.pointwise(draws, LEVEL)
                row = inside[name, target][rep]
                row[:-1][told] = ((low <= exact) & (exact <= high))[told]
                width[name, target][rep] = high - low
                low, high = bands.simultaneous(draws, LEVEL)
                row[-1] = ((low <= exact) & (exact <= high))[told].all()
    rows = []
    for (name, target), hits in inside.items():
        told = [not np.isnan(column).all() for column in width[name, target].T]
        widths = np.full(len(GRID) + 1, np.nan)
        widths[:-1][told] = np.nanmedian(width[name, target][:, told], axis=0)
        for column, N in enumerate([*map(str, GRID), "band"]):
            if np.isnan(hits[:, column]).all():
                continue
            share = float(np.nanmean(hits[:, column]))
            rows.append(
                {
                    "law": case.name,
                    "method": name,
                    "model": "inside" if name in case.inside else "outside",
                    "target": target,
                    "prompts": P,
                    "m": m,
                    "N": N,
                    "coverage": share,
                    "coverage_mcse": float(np.sqrt(share * (1.0 - share) / reps)),
                    "median_width": widths[column],
                    "reps": reps,
                    "seed": seed,
                }
            )
    return rows


def main(
    out: Annotated[Path, typer.Option(help="Folder for table.parquet.")] = Path("results/coverage"),
    reps: Annotated[int, typer.Option(min=2, help="Logs per cell.")] = 200,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure the coverage of every method on every case."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    with progress_bar() as bar:
        task = bar.add_task("coverage", total=len(CASES) * len(SHAPES))
        for place in range(len(CASES)):
            for P, m in SHAPES:
                rows += cell(place, P, m, reps, seed)
                bar.advance(task)
    table = pd.DataFrame(rows)
    table.to_parquet(out / "table.parquet", index=False)
    for model, own in table[table["N"] != "band"].groupby("model"):
        typer.echo(f"{model}: coverage {own['coverage'].min():.2f} … {own['coverage'].max():.2f}")
