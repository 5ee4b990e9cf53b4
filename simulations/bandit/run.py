"""Bandit training: whether a better gradient makes a better policy.

    python -m simulations.bandit simulations/grids/bandit.toml --workers 2 --out results/bandit

The study in the ADEMP form of Morris, White and Crowther (2019), Statistics in Medicine 38:

Aims
    Train softmax policies for best-of-N with each estimator's gradient, and measure how much of
    the exact gradient's progress is lost at equal rollouts, and whether bias, variance and cosine
    of the first gradient predict it.
Data-generating mechanisms
    A policy over K responses with fixed rewards: the quantiles of a law at equally spaced normal
    scores z of their ranks, out to where a best of 10⁶ lies, each initially as probable as its
    interval of z. Rewards are standardised, but those of a 0/1 law are not (V_N is then pass@N).
    Policies are linear in z and (z² − 1)/√2, which tilt a Normal law's location and scale; or
    tabular, one logit per response: what is learnt of one does not carry over to another. A linear
    policy also has `nuisance` parameters, of Normal features that the reward does not depend on, as
    nearly all of a language model's are. Their exact gradient is 0, that of a sample is not, and
    following it uses up divergence. KL(π‖π₀) is kept within `kl_limit`: θ is shortened where it
    exceeds that. Without a limit the best policy is the best response alone, for every N.
Estimands
    V_N(θ_t), exact, after every step t, and the regret V_N(exact path at t) − V_N(arm at t), where
    the exact path follows ∇V_N.
Methods compared
    θ ← θ + δ ĝ/‖ĝ‖ with ĝ the mean over the groups of a step; no step where ĝ = 0. Estimators
    differ by orders of magnitude in the scale of their advantages, which trainers absorb by
    Adam or clipping; steps of equal length leave the direction as the only difference. δ is
    chosen per arm, the exact path included, from the policy's `step_sizes`, as the one with the
    highest V_N averaged over the steps of separate tuning runs. All arms share their uniforms
    (common random numbers).
Performance measures
    Mean over runs of V_N and of the regret at each step; area (mean regret over the steps); lost
    share (area over the mean gain of the exact path: 0 is perfect, 1 as if untrained, above 1
    harmful); its difference from a reference arm's, paired by run; gap (regret after the last step
    over what the exact path has gained by then). Rollouts until the mean V_N has gained given
    fractions of what the exact path gains in the end, or 90 % of what the reference does, and their
    ratio to the reference's. Quality of the first ĝ: cosine = alignment (bias) × steadiness
    (variance), see `simulations.bandit.quality`. Each with its Monte Carlo standard error over
    runs or draws.

A job (one arm in one scenario) is a pure function of the configuration, written as soon as it is
done. A run that was interrupted goes on with what is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from simulations.bandit.jobs import Scenario, jobs
from simulations.bandit.schema import Study, read_study
from simulations.bandit.summary import summarize
from simulations.core import command, manifests, store
from simulations.core.jobs import compute
from simulations.core.progress import bar, tell


def run(study: Study, out: Path, machine: command.Machine, **circumstances: Any) -> dict[str, Any]:
    """Compute what `out` lacks, then write curves, finals and manifest; return the latter.

    Raises
    ------
    ValueError
        If `out` holds another configuration, or the machine is not available.
    """
    manifest = manifests.describe(study.identity, seeds=_seeds(study))
    with manifests.run(out, manifest, **circumstances) as manifest:
        every = jobs(study, out)
        missing = [job for job in every.values() if not job.kept()]
        manifest["runs"][-1]["jobs"] = {
            "computed": len(missing),
            "kept": len(every) - len(missing),
        }
        if missing:
            with machine as (executor, parallel), bar(len(missing), "arms") as account:
                for _ in compute(missing, executor, parallel):
                    account.done()
        frames: dict[Scenario, dict[str, pd.DataFrame]] = {}
        for (scenario, label), job in every.items():
            frames.setdefault(scenario, {})[label] = job.read()
        curves, finals = summarize(study, frames)
        store.write(curves, out / "curves.parquet")
        store.write(finals, out / "finals.parquet")
    return manifest


def _seeds(study: Study) -> dict[str, Any]:
    return {
        "master": study.seed,
        "stream of a batch": "SeedSequence(master, spawn_key=(law id, m, purpose, batch))",
        "purposes": ["tuning", "training", "quality"],
        "law ids": {label: law.stable_id for label, law in study.built.items()},
    }


def main(
    config: command.Config = Path("simulations/grids/bandit.toml"),
    workers: command.Workers = 2,
    engine: command.Where = command.Engine.local,
    address: command.Address = None,
    out: command.Out = None,
) -> None:
    """Train the bandits of CONFIG; what is finished already is kept."""
    out = out or Path("results") / config.stem
    with command.one_line_errors():
        study = read_study(config)
        machine = command.machine(engine, workers, address)
        circumstances = {"engine": engine.value, "workers": workers, "config": str(config)}
        this = run(study, out, machine, **circumstances)["runs"][-1]
    tell(
        f"{out}/curves.parquet and finals.parquet: {this['jobs']['computed']} arms trained, "
        f"{this['jobs']['kept']} kept, {this['seconds']:.0f} s"
    )
