"""Pools of a real language model's rollouts: draw them, and measure every estimator on them.

python -m simulations.lm_pool draw      about 55 minutes on 2 cores; a killed run goes on
python -m simulations.lm_pool measure   two minutes, from the pools that are there

Aim: what the theory says of a Gaussian tail, held against a model's own rewards. Data: for each
prompt, rewards of independent rollouts and their exact scores in 64 parameters. Estimand: the
best-of-N gradient of the pool, exact. Methods: every estimator, on the same groups. Performance:
bias, variance, normalised error of a batch, cosine, E[A²], with Monte Carlo standard errors, beside
the same pool with a normal tail.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.progress import Progress

from simulations.core import progress, schema, store
from simulations.lm.pools import measure as measuring
from simulations.lm.pools.schema import Pools, read_pools

HERE = Path(__file__).parent
console = Console(stderr=True)
app = typer.Typer(help=(__doc__ or "").splitlines()[0], no_args_is_help=True)

Config = Annotated[Path, typer.Argument(help="A TOML file, see simulations/grids/lm_pool.toml.")]
PoolFolder = Annotated[Path, typer.Option("--pools", help="Folder of the pools.")]
Out = Annotated[Path | None, typer.Option(help="Default: results/<name of CONFIG>.")]
DEFAULT = HERE / "grids" / "lm_pool.toml"


@app.command()
def draw(
    config: Config = DEFAULT,
    pools: PoolFolder = HERE / "pools",
    out: Out = None,
    rows: Annotated[int | None, typer.Option(help="Rollouts side by side.")] = None,
) -> None:
    """Draw pools of rollouts; parts that are finished are kept in OUT/parts."""
    try:
        plan = schema.read(Pools, config)
        if rows is not None:
            plan = Pools.model_validate(plan.model_dump() | {"rows": rows})
        draw_pools(plan, out or Path("results") / config.stem, pools)
    except (ValueError, store.Damaged) as error:
        _end(error)
    console.print(f"{pools}: {plan.count} pools of {plan.rollouts} rollouts", highlight=False)


@app.command()
def measure(
    config: Config = DEFAULT,
    pools: PoolFolder = HERE / "pools",
    out: Out = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Measure every estimator on the pools that are there."""
    try:
        folder = out or Path("results") / config.stem
        measure_pools(schema.read(Pools, config), pools, folder, workers)
    except (ValueError, store.Damaged) as error:
        _end(error)
    console.print(
        f"{folder}: table, model, response, tails, quantiles are written", highlight=False
    )


def _end(error: Exception) -> None:
    console.print(f"error: {error}", soft_wrap=True, markup=False, highlight=False)
    raise typer.Exit(2)


def draw_pools(plan: Pools, out: Path, pools: Path) -> None:
    """Draw pools, with a bar that shows the time left; parts go to out/parts."""
    try:
        from simulations.lm.pools import draw as drawing
    except ImportError as error:
        raise ValueError(
            f"{error.name or error} is not installed; pip install 'tea-stats[lm]'"
        ) from None
    work = out / "parts"
    manifest = store.opened(work, store.describe(plan.drawing()))
    store.write(manifest, work / "manifest.json")
    with progress.bar(plan.count * plan.rollouts, "drawing") as told:
        drawing.draw(plan, work, pools, told.after)


def measure_pools(plan: Pools, pools: Path, out: Path, workers: int) -> None:
    """Measure estimators and tails on the pools, and write the tables."""
    held = read_pools(pools)
    for name, (rewards, _) in held.items():
        for reward in (*plan.measure.rewards, *plan.measure.gaussian):
            if reward not in rewards:
                raise ValueError(
                    f"{pools / name}.npz has no reward {reward!r}; it has {', '.join(rewards)}"
                )
    drawn = json.loads((pools / "provenance.json").read_text(encoding="utf-8"))
    run = store.circumstances(pools=drawn.get("hash"))
    begun = time.monotonic()
    with Progress(console=console) as bar:
        total = len(measuring.jobs(plan.measure, held)) + 1
        task = bar.add_task("measuring", total=total)
        table, response, model = measuring.measure(
            plan.measure, held, workers, lambda: bar.advance(task)
        )
        normal = measuring.predicted(plan.measure)
        store.write(pd.concat([table, normal], ignore_index=True), out / "table.parquet")
        store.write(response, out / "response.parquet")
        store.write(model, out / "model.parquet")
        store.write(measuring.tails(held, plan.measure.seed), out / "tails.parquet")
        store.write(measuring.quantiles(held), out / "quantiles.parquet")
        bar.advance(task)
    manifest = store.describe(plan.model_dump(mode="json"))
    manifest["informed"] = {
        name: {r: measuring.informed(rewards[r], scores) for r in rewards}
        for name, (rewards, scores) in held.items()
    }
    run |= {"seconds": round(time.monotonic() - begun, 1), "workers": workers, "finished": True}
    manifest["runs"].append(run)
    store.write(manifest, out / "manifest.json")


if __name__ == "__main__":
    app()
