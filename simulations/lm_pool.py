"""Pools of a real language model's rollouts: draw them, and measure every estimator on them.

python -m simulations.lm_pool draw      about 55 minutes on 2 cores; a killed run continues
python -m simulations.lm_pool measure   two minutes, from existing pools

Aim: compare the theory for a Gaussian tail with a model's own rewards. Data: for each prompt,
rewards of independent rollouts and their exact scores in 64 parameters. Estimand: the best-of-N
gradient of the pool, exact. Methods: every estimator, on the same groups. Performance: bias,
variance, normalised error of a batch, cosine, E[A²], with Monte Carlo standard errors, beside the
same pool with a normal tail.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from simulations.core import manifests, progress, schema, store
from simulations.core.command import one_line_errors, tell
from simulations.lm import INSTALL
from simulations.lm.pools import measure as measuring
from simulations.lm.pools.schema import Pools, read_pools

HERE = Path(__file__).parent
app = typer.Typer(help=(__doc__ or "").splitlines()[0], no_args_is_help=True)

Config = Annotated[Path, typer.Argument(help="A TOML file.")]
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
    """Draw pools of rollouts; finished parts are kept in OUT/parts."""
    with one_line_errors():
        plan = schema.read(Pools, config)
        if rows is not None:
            plan = Pools.model_validate(plan.model_dump() | {"rows": rows})
        draw_pools(plan, out or Path("results") / config.stem, pools)
    tell(f"{pools}: {plan.count} pools of {plan.rollouts} rollouts")


@app.command()
def measure(
    config: Config = DEFAULT,
    pools: PoolFolder = HERE / "pools",
    out: Out = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Measure every estimator on existing pools."""
    folder = out or Path("results") / config.stem
    with one_line_errors():
        measure_pools(schema.read(Pools, config), pools, folder, workers)
    tell(f"{folder}: table, model, response, tails, quantiles, noise are written")


def draw_pools(plan: Pools, out: Path, pools: Path) -> None:
    """Draw pools, with a bar that shows the time left; parts go to out/parts."""
    try:
        from simulations.lm.pools import draw as drawing
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name or error} is not installed; {INSTALL}") from None
    work, total = out / "parts", plan.count * plan.rollouts
    with (
        manifests.run(work, manifests.describe(plan.drawing())),
        progress.bar(total, "drawing") as account,
    ):
        drawing.draw(plan, work, pools, account)


def measure_pools(plan: Pools, folder: Path, out: Path, workers: int) -> None:
    """Measure estimators and tails on the pools, and write the tables."""
    pools = read_pools(folder)
    for name, (rewards, _) in pools.items():
        for reward in (*plan.measure.rewards, *plan.measure.gaussian):
            if reward not in rewards:
                raise ValueError(
                    f"{folder / name}.npz has no reward {reward!r}; it has {', '.join(rewards)}"
                )
    drawn = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    begun, run = time.monotonic(), manifests.circumstances(pools=drawn.get("hash"))
    with progress.bar(len(measuring.jobs(plan.measure, pools)) + 1, "measuring") as account:
        table, response, model = measuring.measure(plan.measure, pools, workers, account.done)
        normal = measuring.predicted(plan.measure)
        tables = {
            "table": pd.concat([table, normal], ignore_index=True),
            "response": response,
            "model": model,
            "tails": measuring.tails(pools, plan.measure.seed),
            "quantiles": measuring.quantiles(pools),
            "noise": measuring.noise(plan.measure, pools),
        }
        account.done()
    for name, content in tables.items():
        store.write(content, out / f"{name}.parquet")
    manifest = manifests.describe(plan.model_dump(mode="json"))
    manifest["informed"] = {
        name: {r: measuring.informed(rewards[r], scores) for r in rewards}
        for name, (rewards, scores) in pools.items()
    }
    run |= {"seconds": round(time.monotonic() - begun, 1), "workers": workers, "finished": True}
    manifest["runs"].append(run)
    store.write(manifest, out / "manifest.json")


if __name__ == "__main__":
    app()
