"""Read what `simulations.bandit` writes and check it; what its figures and tables share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.core.read import ResultsError

EXACT = "exact"
#: the target that every reference arm reaches: 90 % of what it gains itself
OWN = "reference"

HEAD = ["law", "policy", "m", "N", "estimator"]
CURVES = [*HEAD, "step", "rollouts", "value_mean", "regret_mean", "band"]
MEASURES = ["cosine", "alignment", "steadiness", "share", "gap", f"rollouts_{OWN}", f"ratio_{OWN}"]
FINALS = [*HEAD, "runs", "step_size", "edge", *MEASURES, *(f"{name}_se" for name in MEASURES)]
CURE = "run `python -m simulations.bandit` again into this folder"


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
        """The arm that others are compared with."""
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
        """What each column `ratio_<name>` is about."""
        names = [x.removeprefix("ratio_") for x in self.finals if x.startswith("ratio_")]
        names = [name for name in names if not name.endswith("_se")]
        told = {OWN: f"90 % of what {self.reference} gains"}
        return {name: told.get(name, f"{name} % of what the exact path gains") for name in names}

    @cached_property
    def arms(self) -> pd.DataFrame:
        """`finals` without the exact path; `foretold` is the ratio of rollouts to the reference's.

        A small step of tuned length gains in proportion to the squared cosine of the gradient that
        it follows, and rollouts to the same V_N go as one over that.
        """
        rows = self.finals[self.finals["estimator"] != EXACT]
        key = ["law", "policy", "m", "N"]
        own = rows.loc[rows["estimator"] == self.reference, [*key, "cosine"]]
        rows = rows.merge(own.rename(columns={"cosine": "reference_cosine"}), on=key, how="left")
        cosine = rows["cosine"].where(rows["cosine"] > 0.0)
        foretold = ((rows["reference_cosine"] / cosine) ** 2).fillna(np.inf)
        return rows.assign(foretold=foretold)

    def rows(self, scenario: Scenario, table: str = "arms") -> pd.DataFrame:
        """Return the rows of one table in a scenario."""
        frame: pd.DataFrame = getattr(self, table)
        policy, m, N = scenario
        return frame[(frame["policy"] == policy) & (frame["m"] == m) & (frame["N"] == N)]

    @cached_property
    def means(self) -> pd.DataFrame:
        """Means over laws by (policy, m, N, estimator), with standard errors; of ratios the median.

        An arm that is not on every law has none: its mean would be of other laws.
        """
        groups = self.arms.groupby(["policy", "m", "N", "estimator"], sort=False)
        found = groups[["cosine", "alignment", "steadiness", "share", "gap"]].mean()
        errors = groups[["share_se", "gap_se"]].agg(mean_se)
        middle = groups[["foretold", *(f"ratio_{name}" for name in self.targets)]].median()
        found = found.join(errors).join(middle)
        return found[groups.size() == len(self.laws)]


def mean_se(errors: pd.Series) -> float:
    """Return the standard error of the mean of independent estimates with these errors."""
    return float(np.sqrt(np.sum(errors**2)) / len(errors))


def load(folder: Path) -> Study:
    """Read a results folder; ResultsError with one line: file, what is wrong, and the cure."""
    if not folder.is_dir():
        raise ResultsError(
            f"{folder}: no such folder; make it with `python -m simulations.bandit "
            f"simulations/grids/bandit_quick.toml --out {folder}`"
        )
    curves = _table(folder / "curves.parquet", CURVES)
    finals = _table(folder / "finals.parquet", FINALS)
    path = folder / "manifest.json"
    try:
        configuration = json.loads(path.read_text(encoding="utf-8"))["configuration"]
        study = Study(curves, finals, configuration)
        known = [study.reference, *study.options]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        reason = f"{type(problem).__name__}: {problem}"
        raise ResultsError(f"{path}: not a bandit study's manifest ({reason}); {CURE}") from None
    unknown = set(finals["estimator"]) - {EXACT, *known}
    if unknown:
        raise ResultsError(f"{path}: has no estimator {sorted(unknown)[0]!r}; {CURE}")
    return study


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise ResultsError(f"{path}: missing; {CURE}")
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as problem:
        reason = (str(problem).splitlines() or ["not readable"])[0]
        raise ResultsError(f"{path}: {reason}; {CURE}") from None
    lacking = [name for name in columns if name not in frame]
    if lacking:
        raise ResultsError(f"{path}: no column {', '.join(lacking)}; {CURE}")
    return frame.astype(dict.fromkeys(frame.select_dtypes("float32"), "float64"))
