"""Read and check the results of `simulations.bandit`; what its figures and tables share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.core.read import ResultsError, located, read_manifest, read_table

EXACT = "exact"
#: name of the target that every reference arm reaches: 90 % of its own gain
OWN = "reference"

HEAD = ["law", "policy", "m", "N", "estimator"]
CURVES = [*HEAD, "step", "rollouts", "value_mean", "regret_mean", "band"]
MEASURES = ["cosine", "alignment", "steadiness", "share", "gap", f"rollouts_{OWN}", f"ratio_{OWN}"]
FINALS = [*HEAD, "runs", "step_size", "edge", *MEASURES, *(f"{name}_se" for name in MEASURES)]
CURE = "run `tea-stats bandit` again into this folder"


class Scenario(NamedTuple):
    """A kind of policy and a budget; every law is trained in each."""

    policy: str
    m: int
    N: int

    def __str__(self) -> str:
        return f"{self.policy}, m = {self.m}, N = {self.N}"


@dataclass(frozen=True)
class Study:
    """The tables that `simulations.bandit` writes, whose docstring explains their columns.

    Attributes
    ----------
    curves, finals : DataFrame
        One row per (law, scenario, arm, step), and one per (law, scenario, arm).
    configuration : dict
        The configuration, from the manifest.
    """

    curves: pd.DataFrame
    finals: pd.DataFrame
    configuration: Mapping[str, Any]

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return str(self.configuration["reference"])

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Registry name and options of each estimator, in the study's order."""
        tables = self.configuration["estimators"]
        beside = ("laws", "reps")
        return {
            label: {key: value for key, value in table.items() if key not in beside}
            for label, table in tables.items()
        }

    @cached_property
    def laws(self) -> list[str]:
        """Laws in the study's order."""
        return list(self.finals["law"].unique())

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """Scenarios in the study's order."""
        rows = self.finals[["policy", "m", "N"]].drop_duplicates()
        return [Scenario(*row) for row in rows.itertuples(index=False)]

    @cached_property
    def targets(self) -> dict[str, str]:
        """The target, in words, of each column `ratio_<name>`."""
        names = [x.removeprefix("ratio_") for x in self.finals if x.startswith("ratio_")]
        targets = {x: f"{x} % of the exact path's gain" for x in names if not x.endswith("_se")}
        return targets | {OWN: f"90 % of {self.reference}'s own gain"}

    @cached_property
    def arms(self) -> pd.DataFrame:
        """`finals` without the exact path, with `predicted`: rollouts relative to the reference.

        The gain of a small step of tuned length is proportional to the squared cosine of its
        gradient with the exact one, and the rollouts for the same V_N to the inverse of that.
        """
        rows = self.finals[self.finals["estimator"] != EXACT]
        key = ["law", "policy", "m", "N"]
        own = rows.loc[rows["estimator"] == self.reference, [*key, "cosine"]]
        rows = rows.merge(own.rename(columns={"cosine": "reference_cosine"}), on=key, how="left")
        cosine = rows["cosine"].where(rows["cosine"] > 0.0)
        predicted = ((rows["reference_cosine"] / cosine) ** 2).fillna(np.inf)
        return rows.assign(predicted=predicted)

    def rows(self, scenario: Scenario, table: str = "arms") -> pd.DataFrame:
        """Return the rows of one table in a scenario."""
        frame: pd.DataFrame = getattr(self, table)
        policy, m, N = scenario
        return frame[(frame["policy"] == policy) & (frame["m"] == m) & (frame["N"] == N)]

    @cached_property
    def means(self) -> pd.DataFrame:
        """Means over laws (of ratios, medians) by (policy, m, N, estimator), with standard errors.

        Arms that are not defined on every law are left out: their means would be of other laws.
        """
        groups = self.arms.groupby(["policy", "m", "N", "estimator"], sort=False)
        means = groups[["cosine", "alignment", "steadiness", "share", "gap"]].mean()
        errors = groups[["share_se", "gap_se"]].agg(mean_se)
        medians = groups[["predicted", *(f"ratio_{name}" for name in self.targets)]].median()
        return means.join(errors).join(medians)[groups.size() == len(self.laws)]


def mean_se(errors: pd.Series) -> float:
    """Return the standard error of the mean of independent estimates with these errors."""
    return float(np.sqrt(np.sum(errors**2)) / len(errors))


def load(folder: Path) -> Study:
    """Read a results folder; ResultsError with one line: file, what is wrong, and the cure."""
    folder = located(folder)
    if not folder.is_dir():
        raise ResultsError(
            f"{folder}: no such folder; make it with `tea-stats bandit bandit_quick --out {folder}`"
        )
    curves = read_table(folder / "curves.parquet", CURVES, CURE)
    finals = read_table(folder / "finals.parquet", FINALS, CURE)
    path = folder / "manifest.json"
    manifest = read_manifest(path, CURE)
    try:
        study = Study(curves, finals, manifest["configuration"])
        known = [study.reference, *study.options]
    except (KeyError, TypeError, AttributeError) as problem:
        reason = f"{type(problem).__name__}: {problem}"
        raise ResultsError(f"{path}: not a bandit study's manifest ({reason}); {CURE}") from None
    unknown = set(finals["estimator"]) - {EXACT, *known}
    if unknown:
        raise ResultsError(f"{path}: has no estimator {sorted(unknown)[0]!r}; {CURE}")
    return study
