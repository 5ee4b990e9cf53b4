"""The same run with verl: its data, and the command line that trains it.

Tested with verl 0.9.1 as far as it goes without a card: its configuration, data set, reward
function, advantages and entry point. What differs from TRL's run: the arm GRPO is verl's own, which
has a small constant in its denominator; frozen weights are float32; prompts come in verl's order.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pandas as pd

from simulations.core import store
from simulations.recipes import data, folder, models, training, verl_reward
from simulations.recipes.folder import Folder
from simulations.recipes.schema import Recipe, Run

#: what verl keeps for itself: it does not take our section then
OWN = ("grpo", "rloo")


def files(recipe: Recipe, run: Run, out: Path) -> Path:
    """Write prompts and the reward's address in the form that verl reads; return their folder."""
    scenario, place = recipe.scenario(run), folder.of_run(recipe, run, out)
    target = place.path / "verl"
    target.mkdir(parents=True, exist_ok=True)
    table = data.chosen(recipe, scenario.prompts, out)
    for part in ("train", "heldout"):
        rows = [
            {
                "data_source": "tea_stats",
                "prompt": turns,
                # verl's log of rollouts has the ground truth, and nothing else of the data
                "reward_model": {"style": "model", "ground_truth": name},
                "extra_info": {"index": place, "messages": json.dumps(turns)},
            }
            for place, (name, turns) in enumerate(data.part(table, part))
        ]
        with store.whole(target / f"{part}.parquet") as partial:
            pd.DataFrame(rows).to_parquet(partial)
    reward = recipe.reward(run).model_dump(mode="json")
    (target / "reward.json").write_text(json.dumps(reward), encoding="utf-8")
    return target


def overrides(recipe: Recipe, run: Run, out: Path, cards: int = 1) -> dict[str, Any]:
    """Return verl's settings of a run: one batch is one optimiser step, as with TRL."""
    policy, plan, backend = recipe.policy(run), recipe.training, recipe.backend
    scenario, place = recipe.scenario(run), folder.of_run(recipe, run, out)
    target = (place.path / "verl").resolve()
    where = models.place(policy, scenario.policy, out)
    longest = recipe.prompts[scenario.prompts].longest_bytes + training.TEMPLATE
    estimator = recipe.estimators[run.arm]
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    settings: dict[str, Any] = {"algorithm.adv_estimator": estimator.name}
    if estimator.name not in OWN:
        settings["algorithm._target_"] = "tea_stats.integrations.verl.Algorithm"
        settings["+algorithm.tea_stats.N"] = run.N[0]
        settings["+algorithm.tea_stats.unit_rms"] = plan.unit_rms
        for name, value in estimator.options.items():
            settings[f"+algorithm.tea_stats.{name}"] = value
    settings |= {
        "data.train_files": str(target / "train.parquet"),
        "data.val_files": str(target / "heldout.parquet"),
        "data.train_batch_size": plan.batch,
        "data.max_prompt_length": longest,
        "data.max_response_length": plan.new_tokens,
        "data.seed": training.seed(recipe, run),
        "actor_rollout_ref.model.path": where if where == policy.source else Path(where).resolve(),
        "actor_rollout_ref.model.enable_gradient_checkpointing": True,
        f"{actor}.optim.lr": policy.rate,
        f"{actor}.optim.weight_decay": 0.0,
        # `actor.grad_clip`, which is there too, is read by nothing in verl 0.9.1
        f"{actor}.optim.clip_grad": plan.clip_norm,
        f"{actor}.ppo_mini_batch_size": plan.batch,
        f"{actor}.ppo_micro_batch_size_per_gpu": policy.micro_batch,
        # a sum over tokens, divided by one constant: TRL's dr_grpo
        f"{actor}.loss_agg_mode": "seq-mean-token-sum-norm",
        f"{actor}.loss_scale_factor": plan.new_tokens,
        f"{actor}.use_kl_loss": plan.kl > 0,
        f"{actor}.kl_loss_coef": plan.kl,
        f"{rollout}.name": "vllm",
        f"{rollout}.n": run.m,
        f"{rollout}.temperature": plan.temperature,
        f"{rollout}.tensor_model_parallel_size": 1,
        f"{rollout}.gpu_memory_utilization": backend.vllm_share,
        f"{rollout}.log_prob_micro_batch_size_per_gpu": policy.micro_batch,
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": policy.micro_batch,
        "reward.custom_reward_function.path": verl_reward.__file__,
        "reward.custom_reward_function.name": "compute_score",
        "+reward.custom_reward_function.reward_kwargs.file": str(target / "reward.json"),
        "trainer.n_gpus_per_node": cards,
        "trainer.nnodes": 1,
        "trainer.total_training_steps": plan.steps,
        "trainer.total_epochs": plan.steps,
        "trainer.save_freq": plan.save_every,
        "trainer.max_actor_ckpt_to_keep": 1,
        "trainer.val_before_train": False,
        "trainer.logger": "[console]",
        "trainer.project_name": "tea_stats",
        "trainer.experiment_name": place.path.name,
        "trainer.default_local_dir": str(target / "checkpoints"),
        "trainer.rollout_data_dir": str(target / "rollouts"),
    }
    if policy.lora_rank:
        settings |= {
            "actor_rollout_ref.model.lora_rank": policy.lora_rank,
            "actor_rollout_ref.model.lora_alpha": 2 * policy.lora_rank,
            # the frozen weights reach vLLM from their file
            f"{rollout}.load_format": "safetensors",
        }
    return settings


def arguments(settings: dict[str, Any]) -> list[str]:
    """Return settings as Hydra's command line has them."""
    return [f"{name}={_plain(value)}" for name, value in settings.items()]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(map(_plain, value)) + "]"
    text = str(value)
    # Hydra has a grammar; paths may hold what means something in it
    return f"'{text}'" if "/" in text else text


def command(recipe: Recipe, run: Run, out: Path, config: str, cards: int = 1) -> str:
    """Write the files of a run; return the commands that train, merge and evaluate it.

    `config` is what a command line calls the recipe.
    """
    target = files(recipe, run, out)
    lines = ["python -m verl.trainer.main_ppo"]
    lines += [shlex.quote(x) for x in arguments(overrides(recipe, run, out, cards))]
    steps, merged = recipe.training.steps, target / "policy"
    actor = target / "checkpoints" / f"global_step_{steps}" / "actor"
    policy = merged / "lora_adapter" if recipe.policy(run).lora_rank else merged
    return "\n".join(
        [
            " \\\n  ".join(lines),
            "python -m verl.model_merger merge --backend fsdp "
            f"--local_dir {_quoted(actor)} --target_dir {_quoted(merged)}",
            f"tea-stats recipe evaluate {shlex.quote(config)} --only {shlex.quote(run.name)} "
            f"--out {_quoted(out)} --policy {_quoted(policy)}",
        ]
    )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def collect(place: Folder) -> int:
    """Turn verl's log of rollouts into ours; return the number of rollouts, 0 without a log."""
    logs = sorted((place.path / "verl" / "rollouts").glob("*.jsonl"), key=lambda x: int(x.stem))
    rows = [
        {
            "step": row["step"] - 1,  # verl counts from 1
            "prompt": row["gts"],
            "reward": row["score"],
            "group": f"{row['step'] - 1}:{row['gts']}",
        }
        for path in logs
        for row in folder.read_lines(path)
    ]
    if rows:
        folder.write_log(place.rewards, rows)
    return len(rows)
