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

import enum
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from simulations.core import engines, store
from simulations.grid.blocks import Labels, Pair, live, pairs
from simulations.grid.schema import Grid, read_grid
from tea_stats import monte_carlo

#: blocks handed out at a time, per process: enough to keep all busy
AHEAD = 3

console = Console(stderr=True)


class Engine(enum.StrEnum):
    """Where blocks are computed."""

    local = "local"
    dask = "dask"


def tell(message: str) -> None:
    """Print a line that is not part of the progress bar."""
    console.print(message, soft_wrap=True, markup=False, highlight=False)


# --- blocks -------------------------------------------------------------------------------------


class Queue:
    """Blocks to compute: at first each pair's first round, then what its rounds ask for."""

    def __init__(self, found: list[Pair]) -> None:
        self.todo: list[tuple[Pair, int]] = []
        self.plans: dict[Pair, list[Labels]] = {}
        self.open: dict[Pair, set[int]] = {}
        self.made = 0
        for pair in found:
            self.plans[pair] = []
            self._extend(pair, pair.first_round())

    def _extend(self, pair: Pair, wanted: list[Labels]) -> None:
        """Ask for more blocks, and plan on where all of them are there already."""
        plan = self.plans[pair]
        while wanted:
            numbers = range(len(plan), len(plan) + len(wanted))
            plan += wanted
            missing = [n for n in numbers if not pair.present(n, plan[n], tell)]
            if missing:
                self.open[pair] = set(missing)
                self.todo += [(pair, n) for n in missing]
                return
            wanted = pair.next_round(plan)

    def done(self, pair: Pair, block: int) -> None:
        """Take note of a finished block."""
        self.made += 1
        self.open[pair].remove(block)
        if not self.open[pair]:
            self._extend(pair, pair.next_round(self.plans[pair]))

    @property
    def total(self) -> int:
        """Blocks known to be needed."""
        return sum(map(len, self.plans.values()))

    @property
    def finished(self) -> int:
        """Blocks that are there."""
        return self.total - sum(map(len, self.open.values()))


def compute(queue: Queue, executor: Executor, parallel: int, progress: Progress) -> None:
    """Compute every block of the queue, writing each as it is done."""
    bar = progress.add_task("blocks", total=queue.total, completed=queue.finished)
    running: dict[Future[Any], tuple[Pair, int]] = {}
    while queue.todo or running:
        while queue.todo and len(running) < AHEAD * parallel:
            pair, block = queue.todo.pop(0)
            job = pair.job(block, queue.plans[pair][block])
            future = executor.submit(monte_carlo.simulate_block, *job, **pair.batches)
            running[future] = (pair, block)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            pair, block = running.pop(future)
            pair.save(block, queue.plans[pair][block], future.result())
            queue.done(pair, block)
        progress.update(bar, total=queue.total, completed=queue.finished)


# --- response curves ----------------------------------------------------------------------------


def responses(grid: Grid, out: Path, executor: Executor, progress: Progress) -> pd.DataFrame | None:
    """Return the advantage response curves, each law and m computed once and kept."""
    if grid.response is None:
        return None
    asked, frames, running = grid.response, {}, {}
    shown = grid.model_copy(update={"m": asked.m, "N": asked.N, "N_over_m": None})
    for pair in reversed(list(pairs(shown, out))):
        path = out / "responses" / f"{pair.folder.parent.name}-{pair.folder.name}.parquet"
        job = (pair.law, pair.estimators, pair.m, asked.N, asked.reps, grid.seed)
        marks = {"response": store.digest([pair.law.key, *job[1:], asked.points])}
        try:
            frames[path] = store.read(path, **marks)
        except store.Damaged as problem:
            if path.exists():
                tell(f"{path} is damaged ({problem}): computing it again")
            task = executor.submit(monte_carlo.advantage_response, *job, points=asked.points)
            running[task] = (pair, path, marks)
            frames[path] = pd.DataFrame()
    bar = progress.add_task(
        "response curves", total=len(frames), completed=len(frames) - len(running)
    )
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            pair, path, marks = running.pop(future)
            frames[path] = future.result().assign(law=pair.label)
            store.write(frames[path], path, **marks)
            progress.advance(bar)
    return pd.concat(frames.values(), ignore_index=True)


# --- the whole ----------------------------------------------------------------------------------


def run(
    grid: Grid, out: Path, machine: AbstractContextManager[tuple[Executor, int]], **told: Any
) -> dict[str, Any]:
    """Compute what `out` lacks, then write table, response curves and manifest; return the latter.

    Raises
    ------
    ValueError
        If `out` holds another configuration, or the machine cannot be had.
    """
    manifest = store.opened(out, store.describe(grid.identity, seeds=_seeds(grid)))
    this = store.circumstances(**told)
    if any(old["code"] != this["code"] for old in manifest["runs"]):
        tell(f"{out} was begun with other source code of tea_stats; its blocks are kept")
    manifest["runs"] = [*manifest["runs"], this]
    store.write(manifest, out / "manifest.json")
    begun = time.monotonic()
    found = list(pairs(grid, out))
    queue = Queue(found)
    with machine as (executor, parallel), _progress() as progress:
        compute(queue, executor, parallel, progress)
        curves = responses(grid, out, executor, progress)
    tables = {(pair.label, pair.m): pair.table(queue.plans[pair]) for pair in found}
    order = [(label, m) for label in grid.laws for m in grid.m]
    table = pd.concat([tables[key] for key in order], ignore_index=True)
    if curves is not None:
        store.write(curves, out / "response.parquet")
    store.write(table, out / "table.parquet")
    this |= {
        "finished": store.now(),
        "seconds": round(time.monotonic() - begun, 1),
        "blocks": {"computed": queue.made, "kept": queue.total - queue.made},
    }
    manifest["cells"] = census(grid, table)
    store.write(manifest, out / "manifest.json")
    return manifest


def census(grid: Grid, table: pd.DataFrame) -> dict[str, Any]:
    """Count the cells by what can be said of them."""
    cells = table[table["parameter"] == "all"]
    fine, note = live(cells), cells["note"]
    found: dict[str, Any] = {
        "all": len(cells),
        "finite second moment": int(fine.sum()),
        "infinite second moment": int(((note == "") & ~fine).sum()),
        "saturated": int(note.str.startswith("saturated").sum()),
        "undefined": int(note.str.startswith("undefined").sum()),
        "largest relative_se": float(cells.loc[fine, "relative_se"].max()),
    }
    if grid.precision is not None:
        found["above precision"] = int(
            (cells.loc[fine, "relative_se"] > grid.precision.relative_se).sum()
        )
    return found


def _seeds(grid: Grid) -> dict[str, Any]:
    return {
        "master": grid.seed,
        "stream of a block": "SeedSequence(master, spawn_key=(law id, m, block))",
        "law ids": {label: law.stable_id for label, law in grid.built.items()},
    }


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def main(
    config: Annotated[Path, typer.Argument(help="A TOML file, see simulations/grids.")],
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    engine: Annotated[Engine, typer.Option(help="Where blocks are computed.")] = Engine.local,
    address: Annotated[
        str | None, typer.Option(help="Dask scheduler, tcp://host:port; default: this machine.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Default: results/<name of CONFIG>.")] = None,
) -> None:
    """Measure the estimators of CONFIG; what is finished already is kept."""
    out = out or Path("results") / config.stem
    try:
        grid = read_grid(config)
        if address is not None and engine is not Engine.dask:
            raise ValueError(f"address is {address!r} and engine is 'local'; add --engine dask")
        make: Callable[[], AbstractContextManager[tuple[Executor, int]]] = {
            Engine.local: lambda: engines.local(workers),
            Engine.dask: lambda: engines.dask(workers, address),
        }[engine]
        manifest = run(grid, out, make(), engine=engine.value, workers=workers, config=str(config))
    except ValueError as error:
        tell(f"error: {error}")
        raise typer.Exit(2) from None
    except BrokenProcessPool:
        tell("error: a worker process died (out of memory?); run the same command to go on")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        tell("interrupted; run the same command to go on")
        raise typer.Exit(130) from None
    cells, blocks = manifest["cells"], manifest["runs"][-1]["blocks"]
    tell(
        f"{out}/table.parquet: {cells['all']} cells, largest relative standard error "
        f"{cells['largest relative_se']:.2%}; {blocks['computed']} blocks computed, "
        f"{blocks['kept']} kept, {manifest['runs'][-1]['seconds']:.0f} s"
    )
