"""Bandit training: whether a better gradient makes a better policy.

    python -m simulations.bandit simulations/grids/bandit.toml --workers 2 --out results/bandit

The study in the ADEMP form of Morris, White and Crowther (2019), Statistics in Medicine 38:

Aims
    Train softmax policies for best-of-N with each estimator's gradient, and see how much of the
    exact gradient's progress is lost at equal rollouts, and whether bias, variance and cosine of
    the gradient at the start say how much.
Data-generating mechanisms
    A policy over K responses with fixed rewards: the quantiles of a law at equally spaced normal
    scores z of their ranks, out to where a best of 10⁶ is found, each at first as probable as its
    cell. Rewards are standardised, those of a 0/1 law left as they are (V_N is then pass@N).
    Policies are linear in z and (z² − 1)/√2, which tilt a Normal law's location and scale; or
    tabular, one logit per response: nothing learnt of one carries over to another. A linear policy
    has `nuisance` parameters besides, of Normal features that the reward does not depend on, as
    nearly all of a language model's are. Their exact gradient is 0, that of a sample is not, and
    following it uses up divergence. KL(π‖π₀) is kept within `kl_limit`: θ is shortened where it
    leaves that. Without a limit the best policy is the best response alone, for every N.
Estimands
    V_N(θ_t), exact, after every step t, and the regret V_N(exact path at t) − V_N(arm at t), where
    the exact path follows ∇V_N.
Methods compared
    θ ← θ + δ ĝ/‖ĝ‖ with ĝ the mean over the groups of a step; no step where ĝ = 0. Estimators
    differ by orders of magnitude in the scale of their advantages, which trainers absorb by
    Adam or clipping; steps of equal length leave the direction as the only difference. δ is
    chosen per arm, the exact path included, from the policy's `step_sizes`, as the one with the
    highest V_N averaged over the steps of separate tuning runs. All arms turn the same uniforms
    into rollouts (common random numbers).
Performance measures
    Mean over runs of V_N and of the regret at each step; area (mean regret over the steps); lost
    share (area over the mean gain of the exact path: 0 is perfect, 1 as if untrained, above 1
    harmful); its difference from a reference arm's, paired by run; gap (regret after the last step
    over what the exact path has gained by then). Rollouts until the mean V_N has gained given
    fractions of what the exact path gains in the end, or 90 % of what the reference does, and their
    ratio to the reference's. Quality of the first ĝ: cosine = alignment (bias) × steadiness
    (variance), see `simulations.bandit.quality`. Each with its Monte Carlo standard error over
    runs or draws.

A cell (one arm in one scenario) is the unit of work: a pure function of the configuration, written
as soon as it is done. A run that was interrupted goes on with what is missing.
"""

from __future__ import annotations

import time
from concurrent.futures import Executor, as_completed
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from simulations.bandit.cells import Cell, Scenario, cells, run_cell
from simulations.bandit.schema import Study, read_study
from simulations.bandit.summary import summarize
from simulations.core import store
from simulations.core.command import Engine, machine, one_line_errors, progress_bar, tell


def compute(missing: list[Cell], executor: Executor, out: Path) -> dict[Cell, pd.DataFrame]:
    """Compute cells, writing each as it is done."""
    frames = {}
    with progress_bar() as progress:
        bar = progress.add_task("cells", total=len(missing))
        running = {executor.submit(run_cell, cell): cell for cell in missing}
        for job in as_completed(running):
            cell = running[job]
            frames[cell] = job.result()
            cell.save(frames[cell], out)
            progress.advance(bar)
    return frames


def run(
    study: Study, out: Path, where: AbstractContextManager[tuple[Executor, int]], **told: Any
) -> dict[str, Any]:
    """Compute what `out` lacks, then write curves, finals and manifest; return the latter.

    Raises
    ------
    ValueError
        If `out` holds another configuration, or the machine cannot be had.
    """
    manifest = store.opened(out, store.describe(study.identity, seeds=_seeds(study)))
    this = store.circumstances(**told)
    if any(old["code"] != this["code"] for old in manifest["runs"]):
        tell(f"{out} was begun with other source code of tea_stats; its cells are kept")
    manifest["runs"] = [*manifest["runs"], this]
    store.write(manifest, out / "manifest.json")
    begun = time.monotonic()
    listed = list(cells(study))
    kept = {cell: cell.kept(out, tell) for cell in listed}
    missing = [cell for cell, frame in kept.items() if frame is None]
    made = {}
    if missing:
        with where as (executor, _):
            made = compute(missing, executor, out)
    frames: dict[Scenario, dict[str, pd.DataFrame]] = {}
    for cell in listed:
        frames.setdefault(cell.scenario, {})[cell.estimator] = (kept | made)[cell]
    curves, finals = summarize(study, frames)
    store.write(curves, out / "curves.parquet")
    store.write(finals, out / "finals.parquet")
    this |= {
        "finished": store.now(),
        "seconds": round(time.monotonic() - begun, 1),
        "cells": {"computed": len(made), "kept": len(listed) - len(made)},
    }
    store.write(manifest, out / "manifest.json")
    return manifest


def _seeds(study: Study) -> dict[str, Any]:
    return {
        "master": study.seed,
        "stream of a batch": "SeedSequence(master, spawn_key=(law id, m, purpose, batch))",
        "purposes": ["tuning", "training", "quality"],
        "law ids": {label: law.stable_id for label, law in study.built.items()},
    }


def main(
    config: Annotated[Path, typer.Argument(help="A TOML file, see simulations/grids.")] = Path(
        "simulations/grids/bandit.toml"
    ),
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    engine: Annotated[Engine, typer.Option(help="Where cells are computed.")] = Engine.local,
    address: Annotated[
        str | None,
        typer.Option(
            help="Dask scheduler, tcp://host:port, all of whose machines have this project "
            "(pip install -e); default: this machine."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Default: results/<name of CONFIG>.")] = None,
) -> None:
    """Train bandits as CONFIG says; what is finished already is kept."""
    out = out or Path("results") / config.stem
    with one_line_errors():
        study = read_study(config)
        where = machine(engine, workers, address)
        told = {"engine": engine.value, "workers": workers, "config": str(config)}
        this = run(study, out, where, **told)["runs"][-1]
    tell(
        f"{out}/curves.parquet and finals.parquet: {this['cells']['computed']} cells computed, "
        f"{this['cells']['kept']} kept, {this['seconds']:.0f} s"
    )
