"""The configuration of `simulations.bandit`: checked before anything runs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tea_stats.estimators import advantages, lookup
from tea_stats.families import FAMILIES, Law

#: the arm that follows ∇V_N itself
EXACT = "exact"


class Table(BaseModel):
    """A TOML table; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LawTable(BaseModel):
    """One `[[laws]]`: a label, a family of `tea_stats`, and the family's parameters."""

    model_config = ConfigDict(extra="allow", frozen=True)
    label: str
    family: str

    def law(self) -> Law:
        """Return the law."""
        if self.family not in FAMILIES:
            raise ValueError(
                f"family {self.family!r} is unknown; give one of {', '.join(FAMILIES)}"
            )
        try:
            return FAMILIES[self.family](**(self.model_extra or {}))
        except (TypeError, ValueError) as error:
            raise ValueError(f"law {self.label!r}: {error}") from None


class Policy(Table):
    """One `[[policies]]`; 0 features is a tabular policy."""

    label: str
    features: int = Field(0, ge=0)
    reward_share: float = Field(0.0, ge=0.0, le=1.0)
    initial_sd: float = Field(0.0, ge=0.0, le=10.0)
    step_sizes: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(min_length=1)

    @property
    def bandit(self) -> dict[str, Any]:
        """The arguments of `build`."""
        return self.model_dump(include={"features", "reward_share", "initial_sd"})


class Arm(Table):
    """One `[[estimators]]`."""

    label: str
    name: str
    options: dict[str, Any] = {}


class Study(Table):
    """The whole file."""

    seed: int = Field(ge=0)
    responses: int = Field(ge=2)
    steps: int = Field(ge=1)
    rollouts: int = Field(ge=2)
    runs: int = Field(ge=2)
    tuning_runs: int = Field(ge=1)
    reference: str
    budgets: tuple[tuple[int, int], ...] = Field(min_length=1)
    laws: tuple[LawTable, ...] = Field(min_length=1)
    policies: tuple[Policy, ...] = Field(min_length=1)
    estimators: tuple[Arm, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Study:
        for table in ("laws", "policies", "estimators"):
            labels = [entry.label for entry in getattr(self, table)]
            if len(set(labels)) < len(labels) or EXACT in labels:
                raise ValueError(f"{table} has labels {labels}; give distinct ones, not {EXACT!r}")
        for m, N in self.budgets:
            if m < 2 or self.rollouts % m:
                raise ValueError(
                    f"budgets has m = {m} and rollouts is {self.rollouts}; "
                    "give m ≥ 2 that divides rollouts"
                )
            if N < 1:
                raise ValueError(f"budgets has N = {N}; give N ≥ 1")
        if self.reference not in [arm.label for arm in self.estimators]:
            raise ValueError(f"reference is {self.reference!r}; give the label of an estimator")
        for entry in self.laws:
            entry.law()
        for arm in self.estimators:
            self._check_arm(arm)
        return self

    def _check_arm(self, arm: Arm) -> None:
        try:
            if lookup(arm.name, arm.options).binary:
                raise ValueError("it is defined for 0/1 rewards, and rewards are standardised here")
            for m, N in self.budgets:
                advantages(arm.name, np.zeros(m), N, **arm.options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"estimator {arm.label!r}: {error}") from None


def read_study(path: Path) -> Study:
    """Read and check a configuration; ValueError with one line that says where and what."""
    try:
        return Study.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "study"
        raise ValueError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
