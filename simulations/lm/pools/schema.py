"""The configuration of `simulations.lm_pool`, and the pools on disk. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simulations.core import store
from simulations.core.schema import EstimatorTable, Table, undefined

Array = NDArray[np.float64]

#: groups (prompts) whose mean is one step of training
BATCH = 64
Size = Annotated[int, Field(ge=2)]


class Measure(Table):
    """What is measured on the pools.

    `rewards` are measured; those of `gaussian` a second time with the same scores and the rewards
    replaced by normal ones in the same order, as a Gaussian tail would have given.
    """

    rewards: tuple[str, ...] = Field(min_length=1)
    gaussian: tuple[str, ...] = ()
    m: tuple[Size, ...] = Field(min_length=1)
    N: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    reps: int = Field(ge=2)
    response_reps: int = Field(2000, ge=2)
    seed: int = Field(0, ge=0)
    reference: str
    estimators: dict[str, EstimatorTable] = Field(min_length=1)


class Pools(Table):
    """The whole file: how pools are drawn, and what is measured on them."""

    seed: int = Field(ge=0)
    model: str = "smollm2"
    temperature: float = Field(1.0, gt=0.0)
    prompts: str = "pool"
    count: int = Field(8, ge=1)
    rollouts: int = Field(2048, ge=2)
    new_tokens: int = Field(32, ge=1)
    rows: int = Field(128, ge=1)
    core: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (8, 8)
    token_rewards: tuple[str, ...] = ()
    rewards: tuple[str, ...] = Field(min_length=1)
    device: str = "cpu"
    dtype: str = "float32"
    measure: Measure

    @model_validator(mode="after")
    def _check(self) -> Pools:
        for name in (*self.measure.rewards, *self.measure.gaussian):
            if name not in self.rewards:
                raise ValueError(
                    f"measure has the reward {name!r}, which is not drawn; give some of "
                    f"{', '.join(self.rewards)}"
                )
        if self.measure.reference not in self.measure.estimators:
            raise ValueError(
                f"measure.reference is {self.measure.reference!r}; give the label of an estimator"
            )
        if self.measure.estimators[self.measure.reference].record().pools:
            raise ValueError(
                f"measure.reference is {self.measure.reference!r}, which pools the groups of a "
                "batch; give one that does not"
            )
        for label, table in self.measure.estimators.items():
            if table.record().pools and self.measure.reps % BATCH:
                raise ValueError(
                    f'measure.estimators."{label}" pools batches of {BATCH} groups and '
                    f"measure.reps is {self.measure.reps}; give a multiple of {BATCH}"
                )
            for m in self.measure.m:
                if reason := undefined(table, m, self.measure.N):
                    raise ValueError(f'measure.estimators."{label}": {reason}')
        return self

    def drawing(self) -> dict[str, Any]:
        """Return what the pools depend on: everything but what is measured on them."""
        return self.model_dump(mode="json", exclude={"measure", "device"})


def write_pool(path: Path, rewards: Mapping[str, Array], scores: Array) -> None:
    """Write a pool: scores in half precision; rewards in single, which leaves them untied.

    The first reward is called "rewards" and the scores "scores", as `tea_stats` expects of a pool;
    the others are "rewards_NAME".
    """
    first, *others = rewards
    keys = {first: "rewards"} | {name: f"rewards_{name}" for name in others}
    arrays = {key: rewards[name].astype(np.float32) for name, key in keys.items()}
    if not np.abs(scores).max() < np.finfo(np.float16).max:
        raise ValueError(f"a score is {np.abs(scores).max()}, too large for half precision")
    with store.whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays, scores=scores.astype(np.float16))


def read_pools(folder: Path) -> dict[str, tuple[dict[str, Array], Array]]:
    """Return every pool of a folder as {name: ({reward: values}, scores)}, in float64.

    Raises
    ------
    ValueError
        If there is none, or one is not what `write_pool` wrote.
    """
    try:
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        first, names = provenance["configuration"]["rewards"][0], list(provenance["pools"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{folder / 'provenance.json'}: {error}; draw pools with "
            "`tea-stats pools draw`, or give another --pools"
        ) from None
    pools = {}
    for name in names:
        try:
            content = store.read(folder / f"{name}.npz")
            arrays = {key: values.astype(np.float64) for key, values in content.items()}
            scores, rewards = arrays.pop("scores"), {first: arrays.pop("rewards")}
        except (store.Damaged, KeyError) as error:
            raise ValueError(
                f"{folder / name}.npz is damaged ({error}); draw the pools again"
            ) from None
        rewards |= {key.removeprefix("rewards_"): values for key, values in arrays.items()}
        pools[name] = rewards, scores
    return pools
