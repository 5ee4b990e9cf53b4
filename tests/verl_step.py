"""One optimiser step of verl's own trainer and worker on a CPU, for `test_recipe_verl.py`.

`python tests/verl_step.py MODEL ESTIMATOR [SETTING…]` prints how far verl's gradient is from the
sum −Σ_i A_i Σ_t ∇log π(y_it) / (rollouts × loss_scale_factor), taken with transformers alone.

verl's are: the configuration, `compute_advantage`, `RayPPOTrainer._compute_old_log_prob` and
`_update_actor`, `ActorRolloutRefWorker` with its FSDP engine, and the loss. Ours are the platform
(verl has none for a CPU, but a registry), the rollouts, which are drawn at random, and the group of
workers, which is the one worker itself: verl makes it with Ray, and asks for a card.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from types import SimpleNamespace

os.environ |= {
    "VERL_PLATFORM": "processor",
    "VERL_ENGINE_DEVICE": "cuda",  # whose engine it is; tensors are where the platform says
    "RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",  # read, and not used: the group of processes has one
}

sys.modules["trl"] = None  # type: ignore[assignment]  # verl 0.9.1 does not start beside TRL 1.16

import numpy as np
import torch
from verl.plugin.platform import platform_manager
from verl.plugin.platform.platform_base import PlatformBase

PROMPTS, M, PROMPT, RESPONSE, N = 4, 8, 5, 6, 32


class Processor(PlatformBase):
    """A CPU in the form of verl's platforms."""

    device_name = vendor_name = "cpu"
    device_module = SimpleNamespace(
        max_memory_allocated=lambda: 0,
        max_memory_reserved=lambda: 0,
        memory_allocated=lambda: 0,
        memory_reserved=lambda: 0,
        mem_get_info=lambda *x: (0, 0),
        is_available=lambda: False,
        current_device=lambda: 0,
        empty_cache=lambda: None,
        synchronize=lambda *x: None,
        ipc_collect=lambda: None,
        device_count=lambda: 0,
        get_device_name=lambda *x: "cpu",
    )

    def __getattr__(self, name):
        return lambda *arguments, **settings: None

    def is_available(self):
        return True

    def current_device(self):
        return torch.device("cpu")

    def device_count(self):
        return 1

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "NO_DEVICES"

    def ray_resource_name(self):
        return "CPU"

    def nvtx_range(self, msg):
        return nullcontext()


Processor.__abstractmethods__ = frozenset()
platform_manager.PlatformRegistry.register("processor")(Processor)


def configuration(model, estimator, *more):
    """Return verl's configuration, with what docs/trainers.md says, and further settings."""
    from hydra import compose, initialize_config_module

    actor = "actor_rollout_ref.actor"
    overrides = [
        f"algorithm.adv_estimator={estimator}",
        "algorithm._target_=tea_stats.integrations.verl.Algorithm",
        f"+algorithm.tea_stats.N={N}",
        f"data.train_batch_size={PROMPTS}",
        f"data.max_response_length={RESPONSE}",
        f"actor_rollout_ref.rollout.n={M}",
        f"{actor}.loss_agg_mode=seq-mean-token-sum-norm",
        f"{actor}.loss_scale_factor={RESPONSE}",
        # what the step is measured by, and what a CPU lacks
        f"actor_rollout_ref.model.path='{model}'",
        "actor_rollout_ref.model.use_remove_padding=false",
        "+actor_rollout_ref.model.override_config.attn_implementation=eager",
        f"{actor}.strategy=fsdp2",
        f"{actor}.fsdp_config.use_torch_compile=false",
        f"{actor}.use_torch_compile=false",
        f"+{actor}.fsdp_config.mixed_precision={{param_dtype:fp32,reduce_dtype:fp32}}",
        f"{actor}.ppo_mini_batch_size={PROMPTS}",
        f"{actor}.ppo_micro_batch_size_per_gpu={M}",
        f"{actor}.use_dynamic_bsz=false",
        f"{actor}.use_kl_loss=false",
        f"{actor}.optim.clip_grad=1e9",
        f"{actor}.optim.lr=1e-3",
        f"{actor}.optim.total_training_steps=1",
        "actor_rollout_ref.rollout.name=vllm",
        f"actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu={M}",
        *more,
    ]
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides)


def rollouts(vocabulary):
    """Return a batch as verl's rollouts leave it: prompts padded left, responses right."""
    from verl import DataProto

    rng = np.random.default_rng(0)
    count = PROMPTS * M
    tokens = torch.from_numpy(rng.integers(5, vocabulary, (count, PROMPT + RESPONSE)))
    prompts = torch.from_numpy(rng.integers(1, PROMPT + 1, PROMPTS)).repeat_interleave(M)
    lengths = torch.from_numpy(rng.integers(1, RESPONSE + 1, count))
    before = torch.arange(PROMPT) >= PROMPT - prompts[:, None]
    after = torch.arange(RESPONSE) < lengths[:, None]
    mask = torch.cat([before, after], 1).long()
    rewards = torch.zeros(count, RESPONSE)
    # longer answers are better, so that a loss that divides by lengths is another
    scores = torch.from_numpy(rng.normal(size=count)).float() + lengths / 2
    rewards[torch.arange(count), lengths - 1] = scores
    return DataProto.from_dict(
        tensors={
            "input_ids": tokens * mask,
            "prompts": (tokens * mask)[:, :PROMPT],
            "responses": (tokens * mask)[:, PROMPT:],
            "attention_mask": mask,
            "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
            "response_mask": mask[:, PROMPT:],
            "token_level_scores": rewards,
            "token_level_rewards": rewards,
        },
        non_tensors={"uid": np.repeat(np.array(list("abcd"), object), M)},
        meta_info={"temperature": 1.0, "global_token_num": mask.sum(1).tolist()},
    )


def main(path, estimator, *more):
    """Print the gradient's distance and direction, and what the optimiser did."""
    from verl.trainer.ppo.ray_trainer import RayPPOTrainer, compute_advantage
    from verl.workers.engine_workers import ActorRolloutRefWorker

    import tea_stats

    config = configuration(path, estimator, *more)
    # verl would name the CPU's backend twice
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    worker = ActorRolloutRefWorker(config.actor_rollout_ref, role="actor")
    worker.init_model()
    engine = worker.actor.engine
    batch = rollouts(engine.module.config.vocab_size)
    trainer = object.__new__(RayPPOTrainer)
    trainer.config, trainer.actor_rollout_wg = config, worker
    old = trainer._compute_old_log_prob(batch)
    batch = batch.union(old[0] if isinstance(old, tuple) else old)
    batch = compute_advantage(batch, config.algorithm.adv_estimator, config=config.algorithm)

    gradients, step = {}, engine.optimizer.step

    def watched(*arguments, **settings):
        for name, weight in engine.module.named_parameters():
            gradients[name] = whole(weight.grad).clone()
        return step(*arguments, **settings)

    engine.optimizer.step = watched
    before = {name: whole(w).clone() for name, w in engine.module.named_parameters()}
    metrics = trainer._update_actor(batch).meta_info["metrics"]
    moved = max((whole(w) - before[n]).abs().max() for n, w in engine.module.named_parameters())

    scores = batch.batch["token_level_rewards"].sum(1).double().reshape(PROMPTS, M)
    expected = torch.from_numpy(tea_stats.advantages(estimator, scores.numpy(), N)).flatten()
    exact = by_transformers(path, batch, expected)
    ours = torch.cat([exact[name].flatten() for name in gradients]).double()
    theirs = torch.cat([g.flatten() for g in gradients.values()]).double()
    print(
        "result",
        json.dumps(
            {
                "relative": ((theirs - ours).norm() / ours.norm()).item(),
                "cosine": (theirs @ ours / theirs.norm() / ours.norm()).item(),
                "norm": ours.norm().item(),
                "verls_norm": float(np.mean(metrics["actor/grad_norm"])),
                "moved": moved.item(),
            }
        ),
    )


def whole(weight):
    """Return a weight that FSDP may have split, in one piece."""
    return (weight.full_tensor() if hasattr(weight, "full_tensor") else weight).detach()


def by_transformers(path, batch, advantages):
    """Return the gradient of the sum over tokens, divided by one constant, by weight."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    fields = batch.batch
    logits = model(
        input_ids=fields["input_ids"],
        attention_mask=fields["attention_mask"],
        position_ids=fields["position_ids"],
    ).logits[:, PROMPT - 1 : -1]
    chosen = logits.log_softmax(-1).gather(-1, fields["responses"][..., None])[..., 0]
    gain = (chosen * fields["response_mask"]).sum(1) * advantages.float()
    (-gain.sum() / (PROMPTS * M * RESPONSE)).backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


if __name__ == "__main__":
    main(*sys.argv[1:])
