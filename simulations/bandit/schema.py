"""The configuration of `simulations.bandit`, a TOML file: checked before anything runs.

seed = 2                       # master seed
responses = 512                # K
steps = 60                     # gradient steps
rollouts = 64                  # per step, in groups of m
runs = 128                     # per arm in a scenario
tuning_runs = 16               # more, for each step size
quality_draws = 2048           # gradients of the initial policy, for their quality
kl_limit = 0.5                 # policies keep KL(π‖π₀) within this, in nats
reference = "TEA .25"          # the arm that others are compared with
fractions = [0.5, 0.8]         # of the exact path's final gain: rollouts until it is reached
budgets = [[16, 128]]          # pairs m, N

[laws.Normal]                  # a label, a family of tea_stats, its parameters
family = "Normal"

[policies.noisy]               # a label; two features, or tabular = true
nuisance = 1024                # parameters that have nothing to do with the reward
step_sizes = [0.1, 0.2, 0.4]   # to choose from

[estimators."TEA .25"]         # a label, a name of tea_stats.ESTIMATORS, its options
name = "tea"
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from simulations.bandit.training import Arm
from simulations.core.schema import Configuration, Table, read
from tea_stats.estimators import lookup

#: the arm that follows ∇V_N itself
EXACT = "exact"

Size = Annotated[float, Field(gt=0.0, lt=1e6)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Budget = tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=1, le=2**53)]]


class Policy(Table):
    """One `[policies."LABEL"]`."""

    tabular: bool = False
    nuisance: int = Field(0, ge=0)
    step_sizes: tuple[Size, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Policy:
        if list(self.step_sizes) != sorted(set(self.step_sizes)):
            raise ValueError(f"step_sizes is {list(self.step_sizes)}; give increasing numbers")
        return self

    def edge(self, step_size: float) -> str:
        """Return whether a step size is the "lowest" or "highest" one offered, or ""."""
        ends = {self.step_sizes[0]: "lowest", self.step_sizes[-1]: "highest"}
        return ends.get(step_size, "") if len(self.step_sizes) > 1 else ""


class Study(Configuration):
    """The whole file."""

    responses: int = Field(ge=16, le=100_000)
    steps: int = Field(ge=1)
    rollouts: int = Field(ge=2)
    runs: int = Field(ge=2)
    tuning_runs: int = Field(ge=1)
    quality_draws: int = Field(ge=2)
    kl_limit: float = Field(gt=0.0, lt=100.0)
    reference: str
    fractions: tuple[Share, ...] = Field(min_length=1)
    budgets: tuple[Budget, ...] = Field(min_length=1)
    policies: dict[str, Policy] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Study:
        if len(set(self.budgets)) < len(self.budgets):
            raise ValueError(f"budgets is {list(map(list, self.budgets))}; give distinct pairs")
        for m, _ in self.budgets:
            if self.rollouts % m:
                raise ValueError(
                    f"budgets has m = {m} and rollouts is {self.rollouts}; "
                    "give an m that divides rollouts"
                )
        if EXACT in self.estimators:
            raise ValueError(f'estimators."{EXACT}": this label is taken; give another one')
        for label, table in self.estimators.items():
            if table.reps is not None:
                raise ValueError(f'estimators."{label}": reps is for grids; remove it')
        self.check_estimators(self.budgets)
        self._check_reference()
        return self

    def _check_reference(self) -> None:
        if self.reference not in self.estimators:
            raise ValueError(
                f"reference is {self.reference!r}; give the label of an estimator: "
                f"{', '.join(map(repr, self.estimators))}"
            )
        for label in self.built:
            for m, N in self.budgets:
                if self.reference not in self.arms(label, m, N):
                    raise ValueError(
                        f"reference is {self.reference!r}, which does not exist for "
                        f'laws."{label}" at m = {m}, N = {N}; give one that always does'
                    )

    def arms(self, law: str, m: int, N: int) -> dict[str, Arm]:
        """Return the arms that exist here by label, the exact path first.

        An estimator may be restricted to some laws, be undefined at some (m, N), or be for 0/1
        rewards.
        """
        exist, _ = self.split(law, m, (N,))
        return {EXACT: None} | {label: lookup(*request) for label, request in exist.items()}


def read_study(path: Path) -> Study:
    """Read and check a configuration; ValueError with one line: file, key, what, cure."""
    return read(Study, path)
