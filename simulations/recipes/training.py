"""Train one run with TRL: `torchrun --nproc_per_node 2 -m tea_stats recipe train …`.

TRL does all the work, `tea_stats.integrations.trl.BestOfNTrainer` sets the advantages, and here are
the settings, the rewards' client, and a log of every reward. A run that was killed goes on from
TRL's last checkpoint.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback
from transformers.utils import logging
from trl import GRPOConfig

from simulations.core import store
from simulations.core.progress import tell
from simulations.recipes import data, folder, measure, models
from simulations.recipes.client import Client
from simulations.recipes.folder import Folder
from simulations.recipes.generation import NO_VLLM
from simulations.recipes.schema import Recipe, Run
from tea_stats.integrations.trl import BestOfNTrainer

#: tokens that a chat template may add to a prompt
TEMPLATE = 256


def train(recipe: Recipe, run: Run, out: Path) -> Folder:
    """Train a run unless that is done; return its folder.

    Every process of `torchrun` calls this; the first one writes.
    """
    place = folder.of_run(recipe, run, out)
    if place.trained():
        return place
    models.check_device(recipe.backend.device)
    if recipe.backend.generation == "vllm" and not find_spec("vllm"):
        raise ValueError(NO_VLLM)
    # renamed in transformers 5: old and new names do the same
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
    state = PartialState(cpu=recipe.backend.device == "cpu")
    client = Client(recipe.reward(run))
    client.check()
    scenario = recipe.scenario(run)
    with state.main_process_first():
        prompts = data.part(data.chosen(recipe, scenario.prompts, out), "train")
        where = models.place(recipe.policy(run), scenario.policy, out)
        models.check(where, recipe.policy(run))
        place.path.mkdir(parents=True, exist_ok=True)
    logging.set_verbosity_error()
    log = RewardLog(client, place.path / f"rewards-{state.process_index}.jsonl")
    trainer = Timed(
        model=where,
        processing_class=models.tokenizer(where),
        reward_funcs=log,
        train_dataset=Dataset.from_list([{"id": name, "prompt": text} for name, text in prompts]),
        args=settings(recipe, run, place, state.num_processes),
        peft_config=adapters(recipe, run),
        N=run.N[0],
        estimator=recipe.estimators[run.arm].name,
        estimator_options=recipe.estimators[run.arm].options,
        unit_rms=recipe.training.unit_rms,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.client, trainer.path = client, place.path / f"steps-{state.process_index}.jsonl"
    checkpoint = latest(place.checkpoints)
    begun = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    for path in (log.path, trainer.path):
        cut(path, begun)
    state.wait_for_everyone()
    with measure.Peak(recipe.backend.device) as peak:
        trainer.peak = peak
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    save(trainer, recipe, run, place)
    state.wait_for_everyone()
    if state.is_main_process:
        finish(trainer, place, state.num_processes)
        tell(f"{run.name}: trained")
    state.wait_for_everyone()
    return place


def settings(recipe: Recipe, run: Run, place: Folder, processes: int) -> GRPOConfig:
    """Return TRL's settings: one generation batch of `batch` prompts is one optimiser step."""
    plan, backend, policy = recipe.training, recipe.backend, recipe.policy(run)
    rollouts, together = plan.batch * run.m, policy.micro_batch * processes
    if rollouts % together:
        raise ValueError(
            f"{rollouts} rollouts a step do not divide into {processes} processes of micro_batch "
            f"{policy.micro_batch}; start another number of processes, or change micro_batch"
        )
    weights = "bfloat16" if policy.lora_rank and backend.dtype == "bfloat16" else "float32"
    prompts = recipe.prompts[recipe.scenario(run).prompts]
    vllm = {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": backend.vllm_share,
        # no tokenizer here makes more tokens than bytes
        "vllm_max_model_length": prompts.longest_bytes + TEMPLATE + plan.new_tokens,
        "vllm_enable_sleep_mode": True,
    }
    return GRPOConfig(
        output_dir=str(place.checkpoints),
        # arms of one seed see the same prompts in the same order
        seed=seed(recipe, run),
        per_device_train_batch_size=policy.micro_batch,
        gradient_accumulation_steps=rollouts // together,
        num_generations=run.m,
        max_completion_length=plan.new_tokens,
        max_steps=plan.steps,
        learning_rate=policy.rate,
        lr_scheduler_type="constant",
        max_grad_norm=plan.clip_norm,
        temperature=plan.temperature,
        beta=plan.kl,
        loss_type="dr_grpo",  # a sum over tokens, divided by a constant
        # float32 weights, or frozen ones below float32 adapters; the arithmetic is bfloat16's
        model_init_kwargs={"dtype": weights, "use_safetensors": True},
        bf16=backend.dtype == "bfloat16",
        gradient_checkpointing=backend.device != "cpu",
        use_cpu=backend.device == "cpu",
        save_strategy="steps",
        save_steps=plan.save_every,
        save_total_limit=1,
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        **(vllm if backend.generation == "vllm" else {}),
    )


def seed(recipe: Recipe, run: Run) -> int:
    """Return a training run's seed, the same for all arms."""
    return int(store.digest([recipe.seed, run.scenario, run.m, run.seed])[:7], 16)


def adapters(recipe: Recipe, run: Run) -> LoraConfig | None:
    """Return the adapters of a policy, None if every weight is trained."""
    rank = recipe.policy(run).lora_rank
    if not rank:
        return None
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


class RewardLog:
    """The reward function: asks the server, and writes each reward to this process's log."""

    __name__ = "reward"

    def __init__(self, client: Client, path: Path) -> None:
        self.client, self.path = client, path

    def __call__(
        self,
        prompts: Sequence[list[data.Message]],
        completions: Sequence[list[data.Message]],
        completion_ids: Sequence[Sequence[int]],
        id: Sequence[str],
        trainer_state: Any,
        **others: Any,
    ) -> list[float | None]:
        """Return the rewards of this process's rollouts."""
        step = trainer_state.global_step
        rewards = self.client.rate([x + y for x, y in zip(prompts, completions, strict=True)])
        with self.path.open("a", encoding="utf-8") as log:
            for name, ids, reward in zip(id, completion_ids, rewards, strict=True):
                row = {"step": step, "prompt": name, "reward": reward, "tokens": len(ids)}
                log.write(json.dumps(row) + "\n")
        return rewards


class Timed(BestOfNTrainer):
    """The trainer, with a line for each step: seconds, tokens, and memory of its parts."""

    client: Client
    path: Path
    peak: measure.Peak

    def _generate(self, prompts: list[Any]) -> Any:
        begun = time.monotonic()
        result = super()._generate(prompts)
        self.drawn = time.monotonic() - begun
        return result

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        self.begun = time.monotonic()
        self.rated, self.reward_tokens = self.client.used.seconds, self.client.used.tokens
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        self.rated = self.client.used.seconds - self.rated
        self.reward_tokens = self.client.used.tokens - self.reward_tokens
        self.tokens = int(output["completion_mask"].sum())
        self.read = int(output["prompt_mask"].sum()) + self.tokens
        return output

    def log(self, logs: dict[str, float], *rest: Any, **more: Any) -> None:
        """Let TRL log, and write the line of the step that has just ended."""
        super().log(logs, *rest, **more)
        if "grad_norm" not in logs:  # the summary of the whole training
            return
        passed = time.monotonic() - self.begun
        row = {
            "step": self.state.global_step - 1,
            "draw_s": self.drawn,
            "rate_s": self.rated,
            "update_s": passed - self.drawn - self.rated,
            "drawn_tokens": self.tokens,
            "trained_tokens": self.read,
            "rated_tokens": self.reward_tokens,
            "memory_GB": self.peak.value / 1e9,
            "grad_norm": float(logs["grad_norm"]),
            "without_reward": float(logs.get("frac_rollouts_without_reward", 0.0)),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def latest(checkpoints: Path) -> Path | None:
    """Return TRL's last whole checkpoint, None if there is none.

    The trainer's state is written last; a folder without it was cut off.
    """
    done = [path.parent for path in checkpoints.glob("checkpoint-*/trainer_state.json")]
    return max(done, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def cut(path: Path, step: int) -> None:
    """Leave out of a log what comes after the checkpoint that training goes on from."""
    rows = [row for row in folder.read_lines(path) if row["step"] < step]
    folder.write_log(path, rows)


def save(trainer: Timed, recipe: Recipe, run: Run, place: Folder) -> None:
    """Write the trained weights in the precision they are used in, or the adapters."""
    if not trainer.accelerator.is_main_process:
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not recipe.policy(run).lora_rank:
        model = model.to(getattr(torch, recipe.backend.dtype))
    model.save_pretrained(place.policy)
    trainer.processing_class.save_pretrained(place.policy)


def finish(trainer: Timed, place: Folder, processes: int) -> None:
    """Put the processes' logs together; the table of steps says that training is done."""
    parts = [f"-{process}.jsonl" for process in range(processes)]
    rewards = [row for x in parts for row in folder.read_lines(place.path / f"rewards{x}")]
    rewards.sort(key=lambda row: (row["step"], row["prompt"]))
    for row in rewards:
        # a prompt comes again later, to another policy
        row["group"] = f"{row['step']}:{row['prompt']}"
    folder.write_log(place.rewards, rewards)
    rows = pd.DataFrame([row for x in parts for row in folder.read_lines(place.path / f"steps{x}")])
    sums = ["drawn_tokens", "trained_tokens", "rated_tokens"]
    how = {x: "sum" if x in sums else "max" for x in rows if x != "step"}
    steps = rows.groupby("step", as_index=False).agg(how)
    logged = pd.DataFrame(rewards)
    groups = logged.groupby(["step", "group"])["reward"]
    for name, value in (("reward", groups.mean()), ("best", groups.max())):
        steps[name] = value.groupby("step").mean().reindex(steps["step"]).to_numpy()
    lengths = logged.groupby("step")["tokens"].mean()
    steps["length"] = lengths.reindex(steps["step"]).to_numpy()
    store.write(steps.assign(processes=processes), place.steps, **place.mark)
    for part in parts:
        for name in ("rewards", "steps"):
            (place.path / f"{name}{part}").unlink(missing_ok=True)
    shutil.rmtree(place.checkpoints, ignore_errors=True)
