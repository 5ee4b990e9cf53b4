"""Bandit training: whether a better gradient makes a better policy.

    python -m simulations.bandit simulations/grids/bandit.toml --workers 2 --out results/bandit

The study in the ADEMP form of Morris, White and Crowther (2019), Statistics in Medicine 38:

Aims
    Train softmax policies for best-of-N with each estimator's gradient and see how much of the
    exact gradient's progress is lost at equal rollouts, and whether the loss follows from how
    well the estimator's gradient points along ∇V_N.
Data-generating mechanisms
    A policy over K responses with fixed rewards: the quantiles (k − ½)/K of a law, standardised
    under the initial policy. Policies are tabular (one logit per response: nothing learnt of one
    response carries over to another) or linear in d features per response, of which the share
    `reward_share` of the variance is a random mixture of three smooth functions of the reward's
    rank (Hermite polynomials of its normal score) and the rest is noise. Each run has features
    and initial logits (Normal, sd `initial_sd`; 0 is the uniform policy) of its own.
Estimands
    V_N(θ_t), exact, after every step t, and the regret V_N(exact path at t) − V_N(arm at t), where
    the exact path of the same run follows the true ∇V_N.
Methods compared
    θ ← θ + δ ĝ/‖ĝ‖ with ĝ the mean over the groups of a step; no step where ĝ = 0. Estimators
    differ by orders of magnitude in the scale of their advantages, which trainers absorb by
    Adam or clipping; steps of equal length leave the direction as the only difference. δ is
    chosen per arm, the exact path included, from the policy's `step_sizes`, as the one with the
    highest V_N averaged over the steps of separate tuning runs. All arms start alike and turn
    the same uniforms into rollouts (common random numbers).
Performance measures
    Mean over runs of V_N and of the regret at each step; area (mean regret over the steps); lost
    share (area over the mean gain of the exact path: 0 is perfect, 1 as if untrained, above 1
    harmful); difference in area from a reference arm, paired by run; cosine of the first ĝ with
    ∇V_N. Each with its Monte Carlo standard error over runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import typer
from rich.console import Console
from rich.progress import track

from simulations.bandit_schema import EXACT, Study, read_study
from simulations.training import Array, build, train

#: runs that are trained side by side, so that their features stay near the cache
BATCH = 32
SCENARIO = ["law", "policy", "m", "N"]
console = Console(stderr=True)


# --- one cell: one arm in one scenario ----------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One arm in one scenario, by the labels in the configuration."""

    law: str
    policy: str
    m: int
    N: int
    estimator: str

    @property
    def file(self) -> str:
        """Name of the cell's file."""
        parts = (self.law, self.policy, f"m{self.m}", f"N{self.N}", self.estimator)
        return "_".join(re.sub(r"[^\w.@+-]+", "-", part) for part in parts) + ".parquet"


def cells(study: Study) -> Iterator[Cell]:
    """Yield every cell, the exact path of each scenario first."""
    for law in study.laws:
        for policy in study.policies:
            for m, N in study.budgets:
                for arm in (EXACT, *(arm.label for arm in study.estimators)):
                    yield Cell(law.label, policy.label, m, N, arm)


def run_cell(study: Study, cell: Cell) -> pd.DataFrame:
    """Tune the step size of a cell, train its runs; one row per run.

    Columns: run, step_size, cosine (of the first ĝ), `tuned <δ>` (mean V_N over the tuning runs and
    steps), and `step <t>`, V_N after step t.
    """
    law = next(entry for entry in study.laws if entry.label == cell.law).law()
    policy = next(entry for entry in study.policies if entry.label == cell.policy)
    arms = {arm.label: (arm.name, arm.options) for arm in study.estimators}

    def trained(stage: int, runs: int, step_size: float) -> tuple[Array, Array]:
        batches = []
        for batch, start in enumerate(range(0, runs, BATCH)):
            # neither the arm nor N enters a stream: common random numbers
            key = (law.stable_id, zlib.crc32(repr(policy.bandit).encode()), stage, batch)
            world, luck = (
                np.random.default_rng(np.random.SeedSequence(study.seed, spawn_key=(*key, m)))
                for m in (0, cell.m)
            )
            bandits = build(law, study.responses, min(BATCH, runs - start), world, **policy.bandit)
            groups = study.rollouts // cell.m
            arm = arms.get(cell.estimator)
            batches.append(
                train(bandits, arm, cell.m, groups, cell.N, step_size, study.steps, luck)
            )
        values, cosines = zip(*batches, strict=True)
        return np.concatenate(values), np.concatenate(cosines)

    tuned = {
        step_size: float(trained(0, study.tuning_runs, step_size)[0][:, 1:].mean())
        for step_size in policy.step_sizes
    }
    best = max(tuned, key=tuned.__getitem__)
    values, cosine = trained(1, study.runs, best)
    columns: dict[str, Any] = {"run": np.arange(study.runs), "step_size": best, "cosine": cosine}
    columns |= {f"tuned {step_size:g}": area for step_size, area in tuned.items()}
    columns |= {f"step {t}": values[:, t] for t in range(study.steps + 1)}
    return pd.DataFrame(columns)


# --- what the cells say together -----------------------------------------------------------------


def mean_se(per_run: Array) -> tuple[Any, Any]:
    """Mean over runs (axis 0) and its Monte Carlo standard error."""
    return per_run.mean(axis=0), per_run.std(axis=0, ddof=1) / np.sqrt(len(per_run))


def ratio_se(numerator: Array, denominator: Array) -> tuple[float, float]:
    """Ratio of two means over the same runs, with its standard error by the delta method."""
    ratio = float(numerator.mean() / denominator.mean())
    _, se = mean_se(numerator - ratio * denominator)
    return ratio, float(se / abs(denominator.mean()))


def summarize(study: Study, frames: dict[Cell, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `curves` (one row per cell and step) and `finals` (one row per cell)."""
    steps = np.arange(study.steps + 1)
    paths = {cell: frame[[f"step {t}" for t in steps]].to_numpy() for cell, frame in frames.items()}
    curves, finals = [], []
    for cell, frame in frames.items():
        scenario = (cell.law, cell.policy, cell.m, cell.N)
        exact, reference = (paths[Cell(*scenario, arm)] for arm in (EXACT, study.reference))
        regret = exact - paths[cell]
        gain = (exact[:, 1:] - exact[:, :1]).mean(axis=1)
        area = regret[:, 1:].mean(axis=1)
        beyond = (reference - paths[cell])[:, 1:].mean(axis=1)
        head = dict(zip([*SCENARIO, "estimator"], (*scenario, cell.estimator), strict=True))
        curve = {"step": steps, "rollouts": study.rollouts * steps}
        curve["value_mean"], curve["value_se"] = mean_se(paths[cell])
        curve["regret_mean"], curve["regret_se"] = mean_se(regret)
        curve["band"] = 1.96 * curve["regret_se"]
        curves.append(pd.DataFrame({**head, **curve}))
        step_size = frame["step_size"].iloc[0]
        offered = next(entry for entry in study.policies if entry.label == cell.policy).step_sizes
        ends = {min(offered): "lowest", max(offered): "highest"} if len(offered) > 1 else {}
        final: dict[str, Any] = {**head, "runs": len(frame), "step_size": step_size}
        final["edge"] = ends.get(step_size, "")
        for name, per_run in {
            "cosine": frame["cosine"].to_numpy(),
            "value": paths[cell][:, -1],
            "regret": regret[:, -1],
            "area": area,
            "area_difference": beyond,
        }.items():
            final[name], final[f"{name}_se"] = mean_se(per_run)
        final["share"], final["share_se"] = ratio_se(area, gain)
        final["share_difference"], final["share_difference_se"] = ratio_se(beyond, gain)
        finals.append(final)
    return pd.concat(curves, ignore_index=True), pd.DataFrame(finals)


# --- files --------------------------------------------------------------------------------------


def write(content: pd.DataFrame | dict[str, Any], path: Path) -> None:
    """Write a table (Parquet) or a mapping (JSON) so that the file exists whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    if isinstance(content, pd.DataFrame):
        content.to_parquet(partial, index=False)
    else:
        partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)


def read_cell(study: Study, path: Path) -> pd.DataFrame | None:
    """Return a finished cell, or None; a damaged file is named and removed."""
    if not path.exists():
        return None
    try:
        frame = pd.read_parquet(path)
        if len(frame) == study.runs and f"step {study.steps}" in frame:
            return frame
        problem = f"it has {len(frame)} rows and {frame.shape[1]} columns"
    except (OSError, pa.ArrowException) as error:
        problem = str(error).splitlines()[0]
    console.print(f"{path} is damaged ({problem}): computing it again", soft_wrap=True)
    path.unlink()
    return None


def manifest(study: Study) -> dict[str, Any]:
    """Describe a study: configuration and its hash, code, versions, machine."""
    configuration = study.model_dump(mode="json")
    text = json.dumps(configuration, sort_keys=True)

    def git(*command: str) -> str | None:
        run = ["git", "-C", str(Path(__file__).parent), *command]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    return {
        "hash": hashlib.sha256(text.encode()).hexdigest()[:16],
        "configuration": configuration,
        "revision": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "scipy", "numba", "pandas", "pyarrow")},
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


# --- the command --------------------------------------------------------------------------------


def run_and_write(study: Study, cell: Cell, path: Path) -> None:
    """Run a cell in a worker process."""
    write(run_cell(study, cell), path)


def run_study(study: Study, out: Path, workers: int = 2) -> None:
    """Run the cells that `out` lacks, then write curves, finals and the manifest."""
    folder, record, begun = out / "cells", manifest(study), time.monotonic()
    path = out / "manifest.json"
    if path.exists() and (held := json.loads(path.read_text())["hash"]) != record["hash"]:
        raise ValueError(
            f"{out} holds results of another configuration ({held}, not {record['hash']}); "
            "give another --out, or remove that folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write(record, path)
    listed = {cell: folder / cell.file for cell in cells(study)}
    missing = {c: file for c, file in listed.items() if read_cell(study, file) is None}
    # one thread per process: the cells are the parallelism, and every sum keeps its order
    os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(run_and_write, study, cell, file) for cell, file in missing.items()]
        for job in track(as_completed(jobs), "Training", total=len(jobs), console=console):
            job.result()
    curves, finals = summarize(study, {c: read_cell(study, file) for c, file in listed.items()})
    write(curves, out / "curves.parquet")
    write(finals, out / "finals.parquet")
    record |= {"cells": len(listed), "computed": len(missing), "workers": workers}
    record["seconds"] = round(time.monotonic() - begun, 1)
    write(record, path)


def main(
    config: Annotated[Path, typer.Argument()] = Path("simulations/grids/bandit.toml"),
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Default: results/<name of CONFIG>.")] = None,
) -> None:
    """Train bandits as CONFIG says; what is finished already is kept."""
    out = out or Path("results") / config.stem
    try:
        run_study(read_study(config), out, workers)
    except ValueError as error:
        console.print(f"error: {error}", soft_wrap=True, markup=False, highlight=False)
        raise typer.Exit(2) from None
    console.print(f"{out}/curves.parquet and finals.parquet are written", highlight=False)


if __name__ == "__main__":
    typer.run(main)
