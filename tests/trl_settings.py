"""The settings of TRL under which the advantages in its loss are compared with `tea_stats`.

`python -m tests.trl_settings` trains a tiny random model for some steps under each and prints how
many batches were scored and how many advantages reached the loss. It ends with an error if one of
them differs, or if a setting scored nothing. `tests/test_integrations_trl_settings.py` runs some.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import tea_stats
from simulations.lm import models
from tests.trl_runs import Recorded, table, trainer

#: one reward for each rollout of a generation batch, the same in every batch
NORMAL = np.random.default_rng(11).normal(size=48).round(3).tolist()
OTHER = np.random.default_rng(12).gumbel(size=48).round(3).tolist()
END = 0
N = 32


def without(values: Sequence[float], *places: int) -> list[float | None]:
    """Return the values with None, no reward, at some places."""
    return [None if place in places else value for place, value in enumerate(values)]


@dataclass(frozen=True)
class Setting:
    """A configuration of TRL, with what its batches consist of.

    Parameters
    ----------
    name : str
        What is special to it.
    settings : mapping
        Fields of `GRPOConfig`, and those of `BestOfNTrainer`.
    m, rollouts : int
        Size of a group, and rollouts of a generation batch.
    rewards : sequence of lists
        For each reward function, the rewards of a generation batch, None where it gives none.
    truncated : tuple of int
        Places of rollouts that do not end.
    used : int
        How often a rollout is in the loss.
    evaluation : int
        Rollouts of a prompt in the evaluation, 0 for none.
    prompts : int
        In the data set; one generation batch takes `rollouts / m` of them.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    m: int = 4
    rollouts: int = 12
    rewards: Sequence[Sequence[float | None]] = (NORMAL,)
    truncated: tuple[int, ...] = ()
    used: int = 1
    evaluation: int = 0
    prompts: int = 16


#: the policy moves between two uses of a rollout
TWICE = {"num_iterations": 2, "max_steps": 2}


def parts(count: int, rollouts: int = 12) -> dict[str, Any]:
    """Return the settings for a batch that is learnt from in parts."""
    return {"per_device_train_batch_size": rollouts // count, "gradient_accumulation_steps": count}


def steps(count: int, rollouts: int = 12) -> dict[str, Any]:
    """Return the settings for a generation batch that makes several steps."""
    return {"per_device_train_batch_size": rollouts // count, "steps_per_generation": count}


def losses() -> list[Setting]:
    """Return the loss types, at once and in parts of a batch, with a policy that has moved."""
    sequence = {"luspo": {"importance_sampling_level": "sequence"}}
    cases = []
    for loss in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"):
        chosen = {"loss_type": loss, **sequence.get(loss, {})}
        cases.append(Setting(loss, chosen))
        moved = {**chosen, **parts(3), **TWICE}
        cases.append(Setting(f"{loss}, two passes, three parts", moved, used=2))
    return cases


def passes() -> list[Setting]:
    """Return ways to divide a batch, or to use it more than once."""
    two_of_three = {**steps(3), "num_iterations": 2, "max_steps": 6}
    both = {**steps(4), "gradient_accumulation_steps": 2, "max_steps": 2}
    larger = {"per_device_train_batch_size": 6, "generation_batch_size": 24, "max_steps": 4}
    return [
        Setting("num_iterations 2", {"num_iterations": 2, "max_steps": 4}, used=2),
        Setting("num_iterations 3", {"num_iterations": 3, "max_steps": 3}, used=3),
        Setting("gradient_accumulation_steps 2", parts(2)),
        Setting("gradient_accumulation_steps 6", parts(6)),
        Setting("gradient_accumulation_steps 4, 48 rollouts", parts(4, 48), rollouts=48),
        Setting("steps_per_generation 2", {**steps(2), "max_steps": 2}),
        Setting("steps_per_generation 3, iterations 2", two_of_three, used=2),
        Setting("steps_per_generation 4, accumulation 2", both),
        Setting("generation_batch_size 24", larger, rollouts=24),
        Setting("two batches", {"max_steps": 2}),
        Setting("groups of 2", m=2),
        Setting("groups of 6", m=6),
        Setting("one group of 12", m=12),
        Setting("16 groups of 3", {"estimator": "auto_tea"}, m=3, rollouts=48),
    ]


def rewards() -> list[Setting]:
    """Return combinations of reward functions, missing rewards and truncated rollouts."""
    weights = "several weighted reward functions"
    failed = [-math.inf if place == 3 else value for place, value in enumerate(NORMAL)]
    some, more = without(NORMAL, 1, 6, 7), without(OTHER, 1, 7, 11)
    mask = {"mask_truncated_completions": True}
    return [
        Setting(weights, {"reward_weights": [2.0, 0.25]}, rewards=(NORMAL, OTHER)),
        Setting("a negative weight", {"reward_weights": [1.0, -0.5]}, rewards=(NORMAL, OTHER)),
        Setting("some None from one function", rewards=(some, OTHER)),
        Setting("some None from both functions", rewards=(some, more)),
        Setting("None", rewards=(without(NORMAL, 0, 5),)),
        Setting("a group of None", rewards=(without(NORMAL, 4, 5, 6, 7),)),
        Setting("minus infinity", rewards=(failed,)),
        Setting("truncated, masked", mask, truncated=(2, 3, 7)),
        Setting("truncated, masked, two parts", {**mask, **parts(2)}, truncated=(0, 5, 11)),
        Setting("truncated, not masked", truncated=(2, 3, 7)),
    ]


def others() -> list[Setting]:
    """Return scales, penalties, ratios, evaluation and generation."""
    moving = {"beta": 0.1, "sync_ref_model": True, "ref_model_sync_steps": 1, "max_steps": 2}
    sequence = {"importance_sampling_level": "sequence", "loss_type": "grpo", **TWICE}
    clipped = {"epsilon_high": 0.28, "delta": 2.0, "loss_type": "grpo", **TWICE}
    drawn = {"temperature": 0.7, "top_k": 20, "shuffle_dataset": False}
    return [
        *(Setting(f"scale_rewards {s}", {"scale_rewards": s}) for s in ("group", "batch", "none")),
        Setting("KL penalty", {"beta": 0.04}),
        Setting("KL penalty, two passes", {"beta": 0.04, **TWICE}, used=2),
        Setting("KL penalty, moving reference", moving),
        Setting("sequence-level ratios", sequence, used=2),
        Setting("two-sided clipping", clipped, used=2),
        Setting("entropy quantile", {"top_entropy_quantile": 0.5}),
        Setting("evaluation", evaluation=4),
        Setting("evaluation in groups of 2", evaluation=2),
        Setting("temperature, no shuffling", drawn),
        Setting("unit_rms", {"unit_rms": True}),
    ]


SETTINGS = [*losses(), *passes(), *rewards(), *others()]


class Nothing(AssertionError):
    """A setting under which no batch was scored, so that its comparison says nothing."""


def expected(setting: Setting, m: int, rollouts: int, *, masked: bool) -> np.ndarray:
    """Return the advantages of a generation batch, from `tea_stats.advantages`."""
    weights = setting.settings.get("reward_weights", [1.0] * len(setting.rewards))
    total = np.full(rollouts, np.nan)
    for place in range(rollouts):
        given = [
            w * r[place]
            for w, r in zip(weights, setting.rewards, strict=True)
            if r[place] is not None
        ]
        cut = masked and place in setting.truncated
        if given and not cut and np.isfinite(sum(given)):
            total[place] = sum(np.float32(value) for value in given)
    groups = total.reshape(-1, m)
    present = ~np.isnan(groups)
    kept = present.sum(1) > 1
    name = setting.settings.get("estimator", "linear_tea")
    values = np.zeros_like(groups)
    if name == "auto_tea":
        values = tea_stats.advantages(name, groups, N)
    else:
        for row in np.flatnonzero(kept):
            values[row, present[row]] = tea_stats.advantages(name, groups[row, present[row]], N)
    if setting.settings.get("unit_rms"):
        values /= np.sqrt(np.mean(np.square(values[present & kept[:, None]])))
    return values.ravel()


def difference(seen: torch.Tensor, wanted: np.ndarray) -> float:
    """Return the largest difference, as a share of the largest advantage."""
    return float(np.abs(seen.double().numpy() - wanted).max() / max(np.abs(wanted).max(), 1e-300))


def run(setting: Setting) -> tuple[int, int, float]:
    """Train under a setting; return batches scored, advantages in the loss, largest difference.

    Raises
    ------
    Nothing
        If nothing was scored, nothing reached the loss, or all advantages are 0.
    """
    settings = {"per_device_train_batch_size": setting.rollouts, **setting.settings}
    masked = bool(settings.get("mask_truncated_completions"))
    script = None
    if setting.truncated:
        script = [
            [5, 6, 7, 8] if place in setting.truncated else [5, 6, END]
            for place in range(setting.rollouts)
        ]
    if setting.evaluation:
        settings |= {"num_generations_eval": setting.evaluation, "per_device_eval_batch_size": 4}
    folder = tempfile.TemporaryDirectory()
    model = models.tiny()[0]
    # where TRL loads the reference model from
    model.save_pretrained(folder.name)
    model.name_or_path = model.config._name_or_path = folder.name
    functions = [table(list(r), f"table{i}") for i, r in enumerate(setting.rewards)]
    built = trainer(
        Recorded, functions, m=setting.m, batch=settings.pop("per_device_train_batch_size"),
        script=script, model=model, prompts=[f"a{i}" for i in range(setting.prompts)], N=N,
        **{"estimator": "linear_tea", **settings},
    )  # fmt: skip
    with folder, contextlib.redirect_stdout(io.StringIO()):  # TRL's log
        built.evaluate() if setting.evaluation else built.train()
    batches, in_loss = (
        getattr(built, "scored", []),
        torch.cat(getattr(built, "in_loss", [torch.zeros(0)])),
    )
    m, rollouts = (setting.evaluation, 4) if setting.evaluation else (setting.m, setting.rollouts)
    wanted = expected(setting, m, rollouts, masked=masked)
    if not batches or not (len(in_loss) or setting.evaluation):
        raise Nothing(f"{setting.name}: {len(batches)} batches, {len(in_loss)} in the loss")
    if not wanted.any():
        raise Nothing(f"{setting.name}: all advantages are 0")
    worst = max(difference(batch, wanted) for batch in batches)
    if not setting.evaluation:
        # every batch that was used to the end; TRL shuffles a batch before it learns from it
        repeated = np.sort(np.tile(wanted, len(in_loss) // rollouts))
        if len(in_loss) != len(batches) * rollouts * setting.used:
            raise Nothing(
                f"{setting.name}: {len(in_loss)} advantages in the loss, {len(batches)} batches"
            )
        worst = max(worst, difference(in_loss.sort().values, repeated))
    return len(batches), len(in_loss), worst


def main() -> int:
    """Run every setting; print a line for each."""
    warnings.simplefilter("ignore")
    worst = 0.0
    for setting in SETTINGS:
        batches, in_loss, largest = run(setting)
        worst = max(worst, largest)
        print(
            f"{setting.name:45} {batches:3} batches {in_loss:4} in the loss {largest:8.1e}",
            flush=True,
        )
    print(
        f"{len(SETTINGS)} settings; the largest difference is {worst:.1e} of the largest advantage"
    )
    return int(worst > 2e-6)


if __name__ == "__main__":
    sys.exit(main())
