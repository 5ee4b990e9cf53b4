"""The configuration of the exact training study: checked before anything runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, model_validator

from simulations.core.schema import EstimatorTable, Table, undefined
from simulations.lm import schema
from simulations.lm.schema import Adapter, Positive

#: the arms that follow an exact gradient: labels, and the N of the objective (None: the scenario's)
EXACT: dict[str, int | None] = {"exact ∇V_N": None, "exact ∇V_1": 1}


class Part(StrEnum):
    """What of a study is run, in the order in which `all` runs it.

    `core` has the main and the exact arms of the first scenario at the first step size, `rates` the
    same at the other step sizes, `quality` the estimators before training and pools (of the first
    scenario's reward), `rest` whatever else is trained and measured, `sweep` other numbers of
    rollouts a step.
    """

    core = "core"
    rates = "rates"
    quality = "quality"
    rest = "rest"
    sweep = "sweep"
    all = "all"


class Scenario(schema.Scenario):
    """One `[scenarios."LABEL"]`; the reward reads the whole sentence or the continuation alone."""

    rated: Literal["sentence", "continuation"] = "sentence"


class Trees(Table):
    """What is enumerated: tokens of a set by depth, trained and held-out prompts."""

    sizes: tuple[int, ...] = Field(min_length=1)
    prompts: str = "openings"
    count: int = Field(16, ge=1)
    heldout: str = "openings_heldout"
    heldout_count: int = Field(8, ge=1)


class Training(Table):
    """Prompts a step, steps, step sizes of Adam, and the steps after which is evaluated."""

    batch: int = Field(8, ge=1)
    steps: int = Field(ge=1)
    rates: tuple[Positive, ...] = Field(min_length=1)
    evaluate: tuple[int, ...] = Field(min_length=1)


class Quality(Table):
    """Estimators before training: prompts, group sizes, budgets, rollouts a prompt and m.

    The largest m shows what bias is left. `directions` are random ones of the adapters, `core` the
    size of the head's.
    """

    count: int = Field(16, ge=2, description="Trained prompts.")
    m: tuple[int, ...] = (8, 16, 64)
    N: tuple[int, ...] = (32, 128, 512)
    reps: int = Field(2**18, ge=256, description="Rollouts for every m.")
    directions: int = Field(96, ge=1)
    core: tuple[int, int] = (8, 4)


class Pools(Table):
    """Pools drawn from the exact laws: sizes, budgets, pools of each size, and prompts.

    Of `order_draws` of them the estimators are measured too, in groups of m, `reps` rollouts each.
    """

    sizes: tuple[int, ...] = Field((512, 2048, 8192, 32_768), min_length=1)
    N: tuple[int, ...] = (128, 512)
    draws: int = Field(8, ge=2)
    count: int = Field(4, ge=1, description="Trained prompts.")
    order_draws: int = Field(2, ge=0)
    order_sizes: tuple[int, ...] = (2048, 32_768)
    m: int = Field(16, ge=2)
    reps: int = Field(2**15, ge=256)


class Sweep(Table):
    """Other numbers of prompts a step, at equal rollouts in all, in the first scenario.

    A step of b times as many prompts is the root of b as large. Arms are `estimators`.
    """

    batches: tuple[int, ...] = (2, 8, 32, 64)
    estimators: tuple[str, ...] = ()


class ExactStudy(Table):
    """The whole file.

    `main` names the estimators that are run first: with `--part core`, these alone, in the first
    scenario, at the first step size. `N` are the budgets at which policies are evaluated.
    """

    seed: int = Field(ge=0)
    seeds: int = Field(1, ge=1)
    N: tuple[int, ...] = (1, 16, 128, 512)
    main: tuple[str, ...]
    scenarios: dict[str, Scenario] = Field(min_length=1)
    trees: Trees
    adapter: Adapter = Adapter(rank=8, layers=2)
    training: Training
    quality: Quality = Quality()
    pools: Pools = Pools()
    sweep: Sweep = Sweep()
    estimators: dict[str, EstimatorTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> ExactStudy:
        for name, labels in (("main", self.main), ("sweep.estimators", self.sweep.estimators)):
            unknown = [label for label in labels if label not in self.estimators]
            if unknown:
                raise ValueError(
                    f"{name} has {unknown[0]!r}, which is not among the estimators; add it"
                )
        whole = self.training.batch * self.training.steps
        uneven = [batch for batch in self.sweep.batches if batch < 1 or whole % batch]
        if uneven:
            raise ValueError(
                f"sweep.batches has {uneven[0]}; give divisors of batch × steps, {whole}"
            )
        if self.pools.count > self.quality.count:
            raise ValueError(
                f"pools.count is {self.pools.count} and quality.count {self.quality.count}; give "
                "no more than that"
            )
        taken = [label for label in self.estimators if label in EXACT]
        if taken:
            raise ValueError(f"estimators has the label {taken[0]!r}, which is an exact arm's")
        if self.adapter.rank < 1:
            raise ValueError("adapter.rank is 0; give a rank of at least 1")
        late = [step for step in self.training.evaluate if not 1 <= step <= self.training.steps]
        if late:
            raise ValueError(
                f"training.evaluate has {late[0]}; give steps from 1 to {self.training.steps}"
            )
        needed = {1, *(scenario.N for scenario in self.scenarios.values())} - set(self.N)
        if needed:
            raise ValueError(f"N lacks {min(needed)}; give 1 and every scenario's N")
        for label, scenario in self.scenarios.items():
            for arm, table in self.estimators.items():
                if reason := undefined(table, scenario.m, (scenario.N,)):
                    raise ValueError(f'estimators."{arm}" in scenarios."{label}": {reason}')
        return self
