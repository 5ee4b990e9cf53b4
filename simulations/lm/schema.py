"""The configuration of `simulations.validate_lm`: checked before anything runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from simulations.core.schema import EstimatorTable, Table, undefined

#: the arm that is not trained
START = "start"
Positive = Annotated[float, Field(gt=0.0)]


class Scenario(Table):
    """One `[scenarios."LABEL"]`: a policy, a reward, and a budget; every arm is trained in each."""

    model: str = "smollm2"
    temperature: Positive = 1.0
    reward: str
    m: int = Field(ge=2)
    N: int = Field(ge=1)


class Adapter(Table):
    """What is trained: low-rank adapters of the last layers, or with rank 0 every weight."""

    rank: int = Field(16, ge=0)
    layers: int = Field(10, ge=1)
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj") + (
        "gate_proj",
        "up_proj",
        "down_proj",
    )


class Training(Table):
    """Prompts, steps, and the price of leaving the start."""

    prompts: str = "train"
    batch: int = Field(4, ge=1, description="Prompts per step.")
    steps: int = Field(ge=1)
    kl: float = Field(0.0, ge=0.0)
    save_every: int = Field(5, ge=1)


class Tuning(Table):
    """How each arm's learning rate is chosen, on prompts of its own; not at all if there is one."""

    prompts: str = "tuning"
    count: int = Field(12, ge=2)
    rates: tuple[Positive, ...] = Field(min_length=1)
    steps: int = Field(5, ge=1)
    rollouts: int = Field(16, ge=2)
    N: int = Field(8, ge=1, description="What is compared is best-of-N on these prompts.")

    @property
    def choices(self) -> tuple[float, ...]:
        """The rates that are tried: none where there is nothing to choose."""
        return self.rates if len(self.rates) > 1 else ()


class Evaluation(Table):
    """Rollouts on held-out prompts, before and after."""

    prompts: str = "heldout"
    count: int = Field(64, ge=2)
    rollouts: int = Field(512, ge=2)
    resamples: int = Field(2000, ge=100)


class Oracle(Table):
    """The first step's gradient beside one from many rollouts of the same prompts."""

    count: int = Field(4, ge=1)
    rollouts: int = Field(1024, ge=4)
    N: int = Field(128, ge=2)
    batches: int = Field(8, ge=2)


class Study(Table):
    """The whole file.

    `rows` and `train_rows` are rollouts computed side by side in sampling and in training: memory
    and speed go with them, and so do the last digits. `tf32` lets a card multiply float32 matrices
    with 10 bits of mantissa. In half precision the model is frozen, and adapters, which are
    trained, are float32.
    """

    seed: int = Field(ge=0)
    seeds: int = Field(1, ge=1)
    new_tokens: int = Field(ge=1)
    rows: int = Field(128, ge=1)
    train_rows: int = Field(32, ge=1)
    device: str = "cpu"
    dtype: str = Field("float32", pattern="^(float32|float64|bfloat16|float16)$")
    tf32: bool = False
    scenarios: dict[str, Scenario] = Field(min_length=1)
    adapter: Adapter = Adapter()
    training: Training
    tuning: Tuning
    evaluation: Evaluation = Evaluation()
    oracle: Oracle | None = None
    estimators: dict[str, EstimatorTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Study:
        if START in self.estimators:
            raise ValueError(f"estimators has the label {START!r}, which is the untrained arm's")
        if self.dtype.endswith("16") and not self.adapter.rank:
            raise ValueError(
                f"dtype is {self.dtype!r} and adapter.rank is 0: training would be rounded "
                'away; give a rank, whose adapters are float32, or dtype = "float32"'
            )
        if self.tf32 and self.dtype != "float32":
            raise ValueError(f'tf32 is true and dtype is {self.dtype!r}; give dtype = "float32"')
        for label, scenario in self.scenarios.items():
            for arm, table in self.estimators.items():
                if reason := undefined(table, scenario.m, (scenario.N,)):
                    raise ValueError(f'estimators."{arm}" in scenarios."{label}": {reason}')
        if self.tuning.N > self.tuning.rollouts:
            raise ValueError(
                f"tuning has N = {self.tuning.N} and rollouts = {self.tuning.rollouts}; best-of-N "
                "needs at least N rollouts"
            )
        if self.oracle is not None and self.oracle.N > self.oracle.rollouts // 2:
            raise ValueError(
                f"oracle has N = {self.oracle.N} and rollouts = {self.oracle.rollouts}; give at "
                "least 2 N of them"
            )
        return self
