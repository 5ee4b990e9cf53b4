"""The league of batches: every estimator on batches as they are in training.

    python -m simulations.batches simulations/grids/batches.toml --workers 2 --out results/batches

The study in the ADEMP form of Morris, White and Crowther (2019), Statistics in Medicine 38:

Aims
    Choose a default estimator, and judge it, by what it does in batches whose prompts differ: in
    law, scale and offset; with checks, scales, ceilings, sentinels, outliers and dead prompts.
Data-generating mechanisms
    Batches of B prompts of the laws of the configuration, m rollouts each. Two fifths of the kinds
    of batches, by the hash of their label, are held out while a default is designed.
Estimands
    ∇V_N of every prompt, exact.
Methods compared
    The estimators of the configuration; all see the same batches.
Performance measures
    Error, one-step gain at several levels of noise, efficiency (`monte_carlo.measure_batch`), each
    with its jackknife standard error, and ratios to the better of the references.

A setting (kind of batch, B, m, N) is the unit of work; a run that was interrupted goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from simulations.batches.evaluation import measured, rows
from simulations.batches.schema import League, Setting, read_league
from simulations.core import command, manifests, store
from simulations.core.jobs import Job, compute
from simulations.core.progress import bar, tell


def job(league: League, setting: Setting, out: Path) -> Job:
    """Return the job of one setting."""
    batch, _ = league.batch(setting.label, setting.prompts)
    call = (
        batch,
        league.requests(setting),
        setting.m,
        setting.N,
        league.groups_of(setting),
        league.seed,
    )
    laws = [(law.key, prompts) for law, prompts in batch.kinds]
    name = f"b{setting.prompts:03d}-m{setting.m:03d}-N{setting.N:05d}.parquet"
    return Job(
        out / "settings" / store.slug(setting.label) / name,
        {"setting": store.digest([laws, *call[1:]])},
        measured,
        call,
    )


def run(league: League, out: Path, machine: command.Machine, **circumstances: Any) -> pd.DataFrame:
    """Compute what `out` lacks, then write and return the table of all settings."""
    manifest = manifests.describe(league.identity)
    with manifests.run(out, manifest, **circumstances) as manifest:
        jobs = {setting: job(league, setting, out) for setting in league.settings}
        missing = [one for one in jobs.values() if not one.kept()]
        manifest["runs"][-1]["settings"] = {
            "computed": len(missing),
            "kept": len(jobs) - len(missing),
        }
        with machine as (executor, parallel), bar(len(missing), "settings") as account:
            for _ in compute(missing, executor, parallel):
                account.done()
        tables = [rows(league, setting, one.read()) for setting, one in jobs.items()]
        table = pd.concat(tables, ignore_index=True)
        store.write(table, out / "table.parquet")
    return table


def main(
    config: command.Config,
    workers: command.Workers = 2,
    engine: command.Where = command.Engine.local,
    address: command.Address = None,
    out: command.Out = None,
) -> None:
    """Measure the estimators of CONFIG on batches; what is finished already is kept."""
    out = out or Path("results") / config.stem
    with command.one_line_errors():
        league = read_league(config)
        machine = command.machine(engine, workers, address)
        table = run(league, out, machine, engine=engine.value, workers=workers, config=str(config))
    tell(f"{out}/table.parquet: {table['setting'].nunique()} settings")
