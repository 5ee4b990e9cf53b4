"""Summary of a bandit study: regret curves, lost shares, rollouts needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from simulations.bandit.jobs import Scenario
from simulations.bandit.quality import jackknife_se
from simulations.bandit.schema import EXACT, Study
from simulations.bandit.training import Array

HEAD = (*Scenario._fields, "estimator")
QUALITY = [f"{name}{se}" for name in ("cosine", "alignment", "steadiness") for se in ("", "_se")]
#: of the reference's largest mean gain: its last rollouts gain little, and noise decides when
OWN = 0.9

#: frames of a scenario's arms, by label
Frames = Mapping[str, pd.DataFrame]


def mean_se(per_run: Array) -> tuple[Any, Any]:
    """Mean over runs (axis 0) and its Monte Carlo standard error; that of a single run is 0."""
    mean, n = per_run.mean(axis=0), len(per_run)
    if n == 1:
        return mean, 0.0 * mean
    return mean, per_run.std(axis=0, ddof=1) / np.sqrt(n)


def reached(curves: Array, target: float) -> Array:
    """Return the steps until each curve first reaches a target, linear in between, or inf.

    Examples
    --------
    >>> reached(np.array([[0.0, 1.0, 3.0], [0.0, 0.0, 1.0]]), 2.0)
    array([1.5, inf])
    """
    there = curves >= target
    step = there.argmax(axis=-1)[:, None]
    before = np.take_along_axis(curves, (step - 1).clip(min=0), axis=-1)
    after = np.take_along_axis(curves, step, axis=-1)
    rise = np.where(after > before, after - before, 1.0)
    crossing = np.where(step > 0, step - (after - target) / rise, 0.0)
    return np.where(there.any(axis=-1), crossing[:, 0], np.inf)


def steps_needed(paths: Array, target: float) -> tuple[float, Array]:
    """Return the steps until the mean path reaches a target, and without each run in turn."""
    n, mean = len(paths), paths.mean(axis=0)
    left_out = (n * mean - paths) / (n - 1) if n > 1 else paths
    return float(reached(mean[None], target)[0]), reached(left_out, target)


@np.errstate(divide="ignore", invalid="ignore")
def summarize(study: Study, frames: Mapping[Scenario, Frames]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `curves` (a row per scenario, arm and step) and `finals` (per scenario and arm).

    What is relative to a gain of zero is nan or infinite.
    """
    curves, finals = [], []
    for scenario, arms in frames.items():
        names = [f"step {t}" for t in range(study.steps + 1)]
        paths = {label: frame[names].to_numpy() for label, frame in arms.items()}
        for label, frame in arms.items():
            head = dict(zip(HEAD, (*scenario, label), strict=True))
            curves.append(_curve(study, head, paths))
            finals.append(head | _final(study, frame, head, paths) | _needed(study, label, paths))
    return pd.concat(curves, ignore_index=True), pd.DataFrame(finals)


def _curve(study: Study, head: dict[str, Any], paths: Mapping[str, Array]) -> pd.DataFrame:
    mine = paths[head["estimator"]]
    steps = np.arange(study.steps + 1)
    curve = {**head, "step": steps, "rollouts": study.rollouts * steps}
    curve["value_mean"], curve["value_se"] = mean_se(mine)
    curve["regret_mean"], curve["regret_se"] = mean_se(paths[EXACT] - mine)
    curve["band"] = 1.96 * curve["regret_se"]
    return pd.DataFrame(curve)


def _final(
    study: Study, frame: pd.DataFrame, head: dict[str, Any], paths: Mapping[str, Array]
) -> dict[str, Any]:
    (exact,), reference, mine = paths[EXACT], paths[study.reference], paths[head["estimator"]]
    step_size = frame["step_size"].iloc[0]
    final: dict[str, Any] = {
        "runs": len(frame),
        "step_size": step_size,
        "edge": study.policies[head["policy"]].edge(step_size),
        **frame[QUALITY].iloc[0].to_dict(),
    }
    gain = (exact[1:] - exact[0]).mean()
    area = (exact - mine)[:, 1:].mean(axis=1)
    for name, per_run in {
        "value": mine[:, -1],
        "regret": exact[-1] - mine[:, -1],
        "gap": (exact[-1] - mine[:, -1]) / (exact[-1] - exact[0]),
        "area": area,
        "share": area / gain,
        # common random numbers: the difference from the reference is paired by run
        "share_difference": (reference - mine)[:, 1:].mean(axis=1) / gain,
    }.items():
        final[name], final[f"{name}_se"] = mean_se(per_run)
    return final


def _needed(study: Study, label: str, paths: Mapping[str, Array]) -> dict[str, float]:
    """Rollouts until the mean V_N reaches each target, and their ratio to the reference's."""
    (exact,), reference = paths[EXACT], paths[study.reference]
    own = reference.mean(axis=0)
    targets = {f"{100 * f:g}": exact[0] + f * (exact[-1] - exact[0]) for f in study.fractions} | {
        "reference": own[0] + OWN * (own.max() - own[0])
    }
    needed = {}
    for name, target in targets.items():
        mine, left_out = steps_needed(paths[label], target)
        theirs, theirs_left_out = steps_needed(reference, target)
        needed[f"rollouts_{name}"] = study.rollouts * mine
        needed[f"rollouts_{name}_se"] = study.rollouts * float(jackknife_se(left_out))
        # inf: only the reference gets there; 0: only this arm; nan: neither
        needed[f"ratio_{name}"] = float(np.divide(mine, theirs))
        needed[f"ratio_{name}_se"] = float(jackknife_se(left_out / theirs_left_out))
    return needed
