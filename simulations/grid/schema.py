"""The configuration of `simulations.grid`, a TOML file: checked before anything runs.

seed = 1                            # master seed
m = [8, 16]                         # rollouts per group
N = [64, 128]                       # deployment budgets; or, instead of N:
N_over_m = [4, 16]                  # budgets as multiples of m
prompts = 64                        # groups in a batch, if batches are measured (default: groups)
block_rewards = 1_048_576           # rewards drawn per block of groups
reps = { 8 = 40_000, 16 = 20_000 }  # groups for each m; or, instead of reps:
[precision]                         # as many groups as every cell needs
relative_se = 0.005                 # standard error of E ĝ over the norm of the exact gradient
max_reps = 4_000_000

[laws."Student t(5)"]               # a label, a family of tea_stats, its parameters
family = "StudentT"
df = 5.0

[estimators."TEA .25"]              # a label, a name of tea_stats.ESTIMATORS, its options
name = "tea"
alpha = 0.25

[response]                          # advantage response curves, optional
m = [16]
N = [128]

[parts]                             # groups of laws in the benchmark, optional
"held out" = ["Student t(5)"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from simulations.core.schema import Configuration, Table, read

GroupSize = Annotated[int, Field(ge=2, le=1_000_000)]
Budget = Annotated[int, Field(ge=1, le=2**53)]


class Precision(Table):
    """`[precision]`: stop when every cell of a law and m is this precise, or at `max_reps`."""

    relative_se: float = Field(gt=0.0, lt=1.0)
    max_reps: int = Field(ge=2)


class Response(Table):
    """`[response]`: where advantage response curves are measured."""

    m: tuple[GroupSize, ...] = Field(min_length=1)
    N: tuple[Budget, ...] = Field(min_length=1)
    reps: int = Field(4_000, ge=2)
    points: int = Field(33, ge=2)


class Grid(Configuration):
    """The whole file."""

    m: tuple[GroupSize, ...] = Field(min_length=1)
    N: tuple[Budget, ...] | None = Field(None, min_length=1)
    N_over_m: tuple[Budget, ...] | None = Field(None, min_length=1)
    prompts: int = Field(1, ge=1)
    block_rewards: int = Field(2**20, ge=64)
    reps: dict[int, int] | None = None
    precision: Precision | None = None
    response: Response | None = None
    parts: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Grid:
        if (self.N is None) == (self.N_over_m is None):
            raise ValueError("give either N or N_over_m, and not both")
        for name in ("m", "N", "N_over_m"):
            values = getattr(self, name) or ()
            if list(values) != sorted(set(values)):
                raise ValueError(f"{name} is {list(values)}; give increasing, distinct integers")
        if (self.reps is None) == (self.precision is None):
            raise ValueError("give either reps or [precision], and not both")
        for where, reps in {
            "reps": self.reps,
            **{f'estimators."{label}": reps': e.reps for label, e in self.estimators.items()},
        }.items():
            self._check_reps(where, reps)
        cells = [(m, N) for m in self.m for N in self.budgets(m)]
        self.check_estimators(cells)
        self._check_batches()
        assert self.built  # or ValueError
        for part, laws in self.parts.items():
            for law in laws:
                if law not in self.laws:
                    raise ValueError(
                        f'parts."{part}" has {law!r}, which is not the label of a law here'
                    )
        return self

    def _check_batches(self) -> None:
        pooling = [label for label, table in self.estimators.items() if table.record().pools]
        if pooling and self.prompts == 1:
            raise ValueError(
                f'estimators."{pooling[0]}" pools the groups of a batch; give prompts, the number '
                "of groups in one, such as 64"
            )
        if self.prompts > 1 and self.response is not None:
            raise ValueError("response is measured on single groups; remove it, or prompts")

    def _check_reps(self, where: str, reps: dict[int, int] | None) -> None:
        if reps is None:
            return
        if self.reps is None:
            raise ValueError(f"{where} is given and [precision] too; remove one of them")
        if set(reps) != set(self.m):
            raise ValueError(
                f"{where} has m = {sorted(reps)} and m is {list(self.m)}; "
                "give a number of groups for each m"
            )
        if min(reps.values()) < 2 * self.prompts or any(n % self.prompts for n in reps.values()):
            whole = "groups" if self.prompts == 1 else f"batches of {self.prompts} groups"
            raise ValueError(f"{where} is {reps}; give at least 2 {whole} for each m")

    def budgets(self, m: int) -> tuple[int, ...]:
        """Return the deployment budgets for groups of m."""
        return self.N or tuple(ratio * m for ratio in self.N_over_m or ())

    def groups_per_block(self, m: int) -> int:
        """Return the groups of m in one block, whole batches."""
        return max(2, self.block_rewards // (m * self.prompts)) * self.prompts

    @property
    def identity(self) -> dict[str, Any]:
        """What results depend on; keys that change nothing by their default are left out."""
        content = super().identity
        for name in ("N", "N_over_m", "parts"):
            if not content[name]:
                del content[name]
        if self.prompts == 1:
            del content["prompts"]
        return content


def read_grid(path: Path) -> Grid:
    """Read and check a configuration; ValueError with one line: file, key, what, cure."""
    return read(Grid, path)
