"""TRL: a GRPOTrainer whose group advantage is any estimator of `tea_stats`.

TRL has no hook for advantages: groups are whole inside `_generate_and_score_completions` only, and
`compute_loss` sees a shuffled batch. A reward function that returns advantages does not help: TRL
subtracts the group's mean from them and divides by its standard deviation. So `BestOfNTrainer`
lets TRL's method run, takes the rewards that TRL gathers from all processes, and replaces the
advantages, and the logged ones, before anything uses them.

Tested with TRL 1.16.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

try:
    import trl
    from trl import GRPOTrainer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "tea_stats.integrations.trl needs trl, which is not installed: pip install 'tea-stats[trl]'"
    ) from error

from tea_stats.estimators import RECOMMENDED
from tea_stats.estimators.memory import Memory, check_learns
from tea_stats.integrations.groups import (
    batch_metrics,
    check_number_of_groups,
    check_settings,
    logger,
    table_advantages,
    warn_once,
    without_failures,
)

TESTED = "1.16.0"
#: of a checkpoint: `Memory.state_dict`
MEMORY_FILE = "tea_stats_memory.json"


class BestOfNTrainer(GRPOTrainer):  # type: ignore[misc]  # trl carries no types
    """A GRPOTrainer that trains for best-of-N.

    Parameters
    ----------
    *args, **kwargs
        Those of `trl.GRPOTrainer`.
    N : int
        Deployment budget of best-of-N.
    estimator : str
        A key of `tea_stats.ESTIMATORS`.
    estimator_options : mapping, optional
        The estimator's own options; `ESTIMATORS[name].defaults` lists them.
    unit_rms : bool
        Divide all advantages of a generation batch by their root mean square, one number for all
        processes, so that the gradient's length does not depend on the unit of the rewards.
    memory : tea_stats.Memory, optional
        Groups of earlier steps that auto TEA learns from, for batches of few prompts; evaluations
        are not learnt from. It is `trainer.memory` afterwards. Each checkpoint has its state, in
        `tea_stats_memory.json`; a training that resumes from a checkpoint goes on with it.

    Raises
    ------
    ValueError
        If the estimator is unknown, does not take groups of `num_generations`, or
        `multi_objective_aggregation` is not "sum_then_normalize"; if trained weights are in half
        precision and nobody keeps them in float32.
    RuntimeError
        If this version of TRL works differently from the one tested.

    Notes
    -----
    The reward of a rollout is TRL's: the weighted sum over the reward functions that returned one.
    Where all returned None the rollout has no reward; with `mask_truncated_completions` a truncated
    one does not count either, nor one with the reward −inf. The group is then evaluated as the
    smaller group that is left; one too small for the estimator gets advantage 0.
    `frac_rollouts_without_reward` and `frac_groups_left_out` are logged.

    Estimators that learn from the other groups of a batch, such as auto TEA, use all groups of
    TRL's generation batch, over all processes. What auto TEA takes each batch for is logged, as
    "auto_tea/law_none" and the other numbers of `tea_stats.BatchReport`.

    `scale_rewards` has no effect. With the loss types "dr_grpo", "dapo", "cispo", "vespo" and
    "luspo" the gradient is, on policy, (1/m) Σ A_i ∇log π(y_i) up to a constant factor. "grpo" and
    "sapo" weight rollouts by their lengths, "bnpo" the parts of a batch that is split: a warning
    is issued.
    """

    def __init__(
        self,
        *args: Any,
        N: int,
        estimator: str = RECOMMENDED,
        estimator_options: Mapping[str, Any] | None = None,
        unit_rms: bool = False,
        memory: Memory | None = None,
        **kwargs: Any,
    ) -> None:
        for method in ("_generate_and_score_completions", "_calculate_rewards"):
            expect(hasattr(GRPOTrainer, method), f"GRPOTrainer has no method {method}")
        self.estimator, self.N, self.unit_rms = estimator, N, unit_rms
        self.estimator_options, self.memory = dict(estimator_options or {}), memory
        self._advantages: Tensor | None = None  # of the rollouts of all processes
        self._truncated: Tensor | None = None  # of this process's, where TRL masks them
        self._hooked = False
        super().__init__(*args, **kwargs)
        check_settings(estimator, self.num_generations, N, self.estimator_options)
        if memory is not None:
            check_learns(estimator)
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise ValueError(
                f"multi_objective_aggregation is {self.multi_objective_aggregation!r}; an "
                "estimator needs one reward per rollout: choose 'sum_then_normalize'"
            )
        if memory is None:
            check_number_of_groups(
                estimator,
                self.args.generation_batch_size // self.num_generations,
                "raise per_device_train_batch_size or gradient_accumulation_steps",
            )
        self._check_loss()
        self._check_precision(own_optimizer=kwargs.get("optimizers", (None, None))[0] is not None)

    def _check_loss(self) -> None:
        """Warn where TRL's loss weights rollouts by their lengths."""
        parts = self.args.gradient_accumulation_steps * self.accelerator.num_processes
        weighted = {
            "grpo": "divides each rollout's sum by its length",
            "sapo": "divides each rollout's sum by its length",
            **({"bnpo": "divides each part of the batch by its own length"} if parts > 1 else {}),
        }
        if self.loss_type in weighted:
            warn_once(
                f"loss type {self.loss_type}",
                f"loss_type is {self.loss_type!r}, which {weighted[self.loss_type]}: the gradient "
                "is not the estimator's where lengths differ; choose 'dr_grpo' or 'dapo'",
            )

    def _check_precision(self, *, own_optimizer: bool) -> None:
        """Refuse to train weights whose precision is coarser than a step of the optimiser."""
        # DeepSpeed and FSDP keep trained weights in float32, an optimiser of the user's may
        if own_optimizer or self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return
        for name, weight in self.model.named_parameters():
            if weight.requires_grad and weight.dtype in (torch.bfloat16, torch.float16):
                raise ValueError(
                    f"{name} is trained in {weight.dtype}, which rounds most steps of a usual "
                    "learning rate away; load the model in float32 (GRPOConfig(model_init_kwargs="
                    "{'dtype': 'float32'}, bf16=True) computes in bfloat16 nevertheless), train "
                    "adapters (peft_config), or pass optimizers=(...) that keep float32 weights"
                )

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Tensor:
        """Let TRL gather the rewards of all processes, and compute all advantages from them."""
        per_function: Tensor = super()._calculate_rewards(
            inputs, prompts, completions, completion_ids_list
        )
        expect(
            per_function.ndim == 2 and per_function.shape[1] == len(self.reward_funcs),
            f"rewards have shape {tuple(per_function.shape)}",
        )
        rewards = total_rewards(per_function, self.reward_weights)
        if self.mask_truncated_completions:
            ends = self._last_tokens()
            cut = [ids[-1] not in ends for ids in completion_ids_list]
            self._truncated = torch.tensor(cut, device=rewards.device)
            rewards = rewards.masked_fill(self.accelerator.gather(self._truncated), torch.nan)
        failed = rewards == -torch.inf
        if failed.any() and self.accelerator.is_main_process:
            logger.warning(
                "%d of %d rollouts have the reward -inf; their groups are evaluated without them",
                int(failed.sum()),
                len(rewards),
            )
        # TRL's means and standard deviations leave out what is NaN
        per_function = per_function.masked_fill(failed[:, None], torch.nan)
        rewards = without_failures(rewards)
        infinite = rewards == torch.inf
        if infinite.any():
            raise ValueError(
                f"the reward of rollout {int(infinite.nonzero()[0])} is inf; return a finite "
                "reward, or None for a rollout without one"
            )
        mode = "train" if self.model.training else "eval"
        m = self.num_generations if mode == "train" else self.num_generations_eval
        groups = rewards.reshape(-1, m)
        # an evaluation is not to be learnt from
        memory = self.memory if mode == "train" else None
        for key, value in batch_metrics(self.estimator, groups, self.N, memory).items():
            self._metrics[mode][key].append(value)
        advantages, left_out = table_advantages(
            self.estimator,
            groups,
            self.N,
            self.estimator_options,
            unit_rms=self.unit_rms,
            memory=memory,
        )
        self._advantages = advantages.flatten()
        missing = rewards.isnan().float().mean().item()
        self._metrics[mode]["frac_rollouts_without_reward"].append(missing)
        self._metrics[mode]["frac_groups_left_out"].append(left_out.float().mean().item())
        return per_function

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write the memory, then the rest: a checkpoint that is whole has it."""
        if self.memory is not None and self.args.should_save:
            folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MEMORY_FILE).write_text(json.dumps(self.memory.state_dict()), "utf-8")
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Let transformers resume from a checkpoint, and the memory with it."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.memory is None or checkpoint is None:
            return
        file = Path(checkpoint) / MEMORY_FILE
        if file.exists():
            self.memory.load_state_dict(json.loads(file.read_text("utf-8")))
        else:
            logger.warning("%s has no %s: the memory stays as it is", checkpoint, MEMORY_FILE)

    def _last_tokens(self) -> set[int]:
        """Return the tokens that end what is not truncated, by TRL's own rule."""
        # before 1.7 the trainer has no `_tokenizer`, before 1.15 one end-of-sequence token
        tokenizer: Any = getattr(self, "_tokenizer", self.processing_class)
        ends = getattr(self, "eos_token_ids", None) or [tokenizer.eos_token_id]
        return {*ends, tokenizer.pad_token_id}

    def _transform_advantages(self, advantages: Tensor) -> Tensor:
        """Implement the hook that huggingface/trl#7298 proposes, in versions of TRL with it."""
        everyone = self._everyone(advantages)
        expect(advantages.shape == everyone.shape, "the hook sees a part of the batch")
        self._hooked = True
        return everyone

    def _everyone(self, like: Tensor) -> Tensor:
        """Return the advantages of all processes' rollouts, in the dtype of TRL's."""
        if self._advantages is None:
            raise unexpected("advantages came before rewards")
        return self._advantages.to(like)

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """Let TRL do its work, then put the estimator's advantages in place of its own."""
        self._advantages, self._truncated, self._hooked = None, None, False
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        local, everyone = output["advantages"], self._everyone(output["advantages"])
        expect(local.ndim == 1, f"advantages have shape {tuple(local.shape)}")
        if self._truncated is not None:
            masked = ~output["completion_mask"].bool().any(-1)
            expect(torch.equal(masked, self._truncated), "other rollouts count as truncated")
        # this process's part, and a check that it is: TRL logs the advantages of all processes
        start = self.accelerator.process_index * len(local)
        here = slice(start, start + len(local))
        log = self._logs["advantages"]
        # an evaluation batch may be larger than what TRL keeps
        logged = [log.pop() for _ in range(min(len(log), len(everyone)))][::-1]
        if len(logged) == len(everyone):
            expect(logged[here] == local.tolist(), "advantages are in another order than rewards")
        log.extend(everyone.tolist())
        if self._hooked:
            expect(torch.equal(local, everyone[here]), "advantages changed after the hook")
        output["advantages"] = everyone[here]
        return output


def total_rewards(per_function: Tensor, weights: Tensor) -> Tensor:
    """Return each rollout's weighted sum over reward functions, as TRL takes it.

    Parameters
    ----------
    per_function : Tensor, shape (B, K)
        Rewards; NaN where function k returned None.
    weights : Tensor, shape (K,)
        Weights of the functions.

    Returns
    -------
    Tensor, shape (B,)
        The sum over the functions that returned a reward; NaN if none did.
    """
    total = (per_function * weights.to(per_function.device)).nansum(-1)
    return total.masked_fill(per_function.isnan().all(-1), torch.nan)


def expect(condition: bool, otherwise: str) -> None:
    """Raise RuntimeError unless TRL works as the tested version does."""
    if not condition:
        raise unexpected(otherwise)


def unexpected(what: str) -> RuntimeError:
    """Return the error that names the difference from the version of TRL tested."""
    return RuntimeError(
        f"TRL {trl.__version__}: {what}; tea_stats.integrations.trl was tested with TRL {TESTED}: "
        f"pip install 'trl=={TESTED}', or report this to tea_stats"
    )
