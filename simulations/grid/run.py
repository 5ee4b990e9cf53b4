"""The simulation grid: bias, variance and error of every estimator against the exact gradient.

    python -m simulations.grid simulations/grids/paper.toml --workers 2 --out results/paper

The study in the ADEMP form of Morris, White and Crowther (2019), Statistics in Medicine 38:

Aims
    Measure the bias and the variance of gradient estimates made from m rollouts, for deployment
    as best-of-N with N up to 128 times m, where the assumption of a Gaussian upper tail holds and
    where it fails.
Data-generating mechanisms
    Groups of m independent rewards from the laws of the configuration, with the score function of
    the law's own parameters.
Estimands
    ∇V_N, the exact gradient of the expected best of N (`tea_stats.best_of_n`), for each law.
Methods compared
    The estimators of the configuration; all see the same groups (common random numbers).
Performance measures
    Bias, variance, mean squared error, cosine, efficiency and E[A²], each with its Monte Carlo
    standard error (`tea_stats.monte_carlo`). The number of groups is given, or planned round by
    round from the variances so far until every cell with a finite second moment is precise enough.

A block of groups is the unit of work: a pure function of (configuration, law, m, block number),
written as soon as it is done. A run that was interrupted goes on with what is missing.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pandas as pd

from simulations.core import command, manifests, store
from simulations.core.jobs import Job, compute
from simulations.core.progress import Account, bar, tell
from simulations.grid.blocks import Labels, Pair, live, pairs
from simulations.grid.schema import Grid, read_grid
from tea_stats import monte_carlo


class Queue:
    """Blocks to compute: at first each pair's first round, then what its rounds ask for."""

    def __init__(self, everywhere: list[Pair], account: Account) -> None:
        self.todo: list[Job] = []
        self.plans: dict[Pair, list[Labels]] = {pair: [] for pair in everywhere}
        self.made, self.kept, self.account = 0, 0, account
        self._pair: dict[Job, Pair] = {}
        self._open: Counter[Pair] = Counter()
        for pair in everywhere:
            self._extend(pair)

    def _extend(self, pair: Pair) -> None:
        """Ask for a pair's next blocks, and plan on where all of them are kept."""
        plan = self.plans[pair]
        while labels := pair.next_round(plan):
            jobs = [pair.block(number, x) for number, x in enumerate(labels, start=len(plan))]
            plan += labels
            missing = [job for job in jobs if not job.kept()]
            self.kept += len(jobs) - len(missing)
            if missing:
                self.account.more(len(missing))
                self.todo += missing
                self._pair |= dict.fromkeys(missing, pair)
                self._open[pair] = len(missing)
                return

    def done(self, job: Job) -> None:
        """Take note of a finished block."""
        self.made += 1
        self.account.done()
        pair = self._pair.pop(job)
        self._open[pair] -= 1
        if not self._open[pair]:
            self._extend(pair)


def blocks(everywhere: list[Pair], executor: Executor, parallel: int) -> Queue:
    """Compute every block that is needed, and return the plans."""
    with bar(0, "blocks") as account:
        queue = Queue(everywhere, account)
        for job in compute(queue.todo, executor, parallel):
            queue.done(job)
    return queue


def responses(grid: Grid, out: Path, executor: Executor, parallel: int) -> pd.DataFrame | None:
    """Return the advantage response curves, each law and m computed once and kept."""
    if grid.response is None:
        return None
    shown = grid.model_copy(update={"m": grid.response.m, "N": grid.response.N, "N_over_m": None})
    jobs = [_response(pair) for pair in reversed(list(pairs(shown, out)))]
    missing = [job for job in jobs if not job.kept()]
    with bar(len(missing), "response curves") as account:
        for _ in compute(missing, executor, parallel):
            account.done()
    return pd.concat([job.read() for job in jobs], ignore_index=True)


def _response(pair: Pair) -> Job:
    plan = pair.grid.response
    assert plan is not None
    call = (pair.law, pair.estimators, pair.m, plan.N, plan.reps, pair.grid.seed)
    return Job(
        pair.out / "responses" / f"{store.slug(pair.label)}-m{pair.m:04d}.parquet",
        {"response": store.digest([pair.law.key, *call[1:], plan.points])},
        monte_carlo.advantage_response,
        call,
        {"points": plan.points},
        lambda curves: curves.assign(law=pair.label),
    )


def run(grid: Grid, out: Path, machine: command.Machine, **circumstances: Any) -> dict[str, Any]:
    """Compute what `out` lacks, then write table, response curves and manifest; return the latter.

    Raises
    ------
    ValueError
        If `out` holds another configuration, or the machine is not available.
    """
    manifest = manifests.describe(grid.identity, seeds=_seeds(grid))
    with manifests.run(out, manifest, **circumstances) as manifest:
        everywhere = list(pairs(grid, out))
        with machine as (executor, parallel):
            queue = blocks(everywhere, executor, parallel)
            curves = responses(grid, out, executor, parallel)
        tables = {(pair.label, pair.m): pair.table(queue.plans[pair]) for pair in everywhere}
        order = [(label, m) for label in grid.laws for m in grid.m]
        table = pd.concat([tables[key] for key in order], ignore_index=True)
        if curves is not None:
            store.write(curves, out / "response.parquet")
        store.write(table, out / "table.parquet")
        manifest["runs"][-1]["blocks"] = {"computed": queue.made, "kept": queue.kept}
        manifest["census"] = census(grid, table)
    return manifest


def census(grid: Grid, table: pd.DataFrame) -> dict[str, Any]:
    """Count estimators in cells by status."""
    rows = table[table["parameter"] == "all"]
    precise, status = rows.loc[live(rows), "relative_se"], rows["status"]
    counts: dict[str, Any] = {
        "all": len(rows),
        "finite second moment": len(precise),
        "infinite second moment": int((status == "infinite").sum()),
        "saturated": int((status == "saturated").sum()),
        "undefined": int((status == "undefined").sum()),
        "largest relative_se": float(precise.max()),
    }
    if grid.precision is not None:
        counts["above precision"] = int((precise > grid.precision.relative_se).sum())
    return counts


def _seeds(grid: Grid) -> dict[str, Any]:
    return {
        "master": grid.seed,
        "stream of a block": "SeedSequence(master, spawn_key=(law id, m, block))",
        "law ids": {label: law.stable_id for label, law in grid.built.items()},
    }


def main(
    config: command.Config,
    workers: command.Workers = 2,
    engine: command.Where = command.Engine.local,
    address: command.Address = None,
    out: command.Out = None,
) -> None:
    """Measure the estimators of CONFIG; what is finished already is kept."""
    out = out or Path("results") / config.stem
    with command.one_line_errors():
        grid = read_grid(config)
        machine = command.machine(engine, workers, address)
        manifest = run(grid, out, machine, engine=engine.value, workers=workers, config=str(config))
    counts, this = manifest["census"], manifest["runs"][-1]
    tell(
        f"{out}/table.parquet: {counts['all']} estimators in cells, largest relative standard "
        f"error {counts['largest relative_se']:.2%}; {this['blocks']['computed']} blocks computed, "
        f"{this['blocks']['kept']} kept, {this['seconds']:.0f} s"
    )
