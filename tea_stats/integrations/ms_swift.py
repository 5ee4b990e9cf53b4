"""ms-swift: an estimator in place of the advantages of its GRPO trainers.

A file, `best_of_128.py`, named by `--external_plugins best_of_128.py`::

    from tea_stats.integrations import ms_swift

    ms_swift.register("auto_tea", N=128)

with `--rlhf_type grpo`. ms-swift has a GRPO trainer of its own, and imports such files in every
process before it starts. `advantage_estimator` and `scale_rewards` have no effect on the
advantages. ms-swift gathers rewards over all processes first, so that groups are whole.

Samples of one request that became several (`dynamic_num_samples`, turns of a conversation) are one
rollout: it counts once, and they share its advantage. Where all reward functions returned None
there is no reward, and the rollout leaves its group.

Tested with ms-swift 4.6.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tea_stats.integrations.groups import batch_advantages, check_request
from tea_stats.integrations.replacing import replace

#: modules that import the two functions
CALLERS = (
    "swift.rlhf_trainers.grpo_trainer",
    "swift.megatron.trainers.grpo_trainer",
    "swift.ray.megatron.grpo_trainer",
)


def advantage_functions(
    estimator: str, N: int, *, unit_rms: bool = False, **options: Any
) -> dict[str, Callable[..., tuple[Tensor, Tensor]]]:
    """Return an estimator in the form of ms-swift's two advantage functions, by their names.

    Parameters
    ----------
    estimator : str
        A key of `tea_stats.ESTIMATORS`.
    N : int
        Deployment budget of best-of-N.
    unit_rms : bool
        Divide by the root mean square of the batch's advantages, as in `torch_bridge.advantages`.
    **options
        The estimator's own options.

    Returns
    -------
    dict
        `compute_advantages` and `compute_advantages_dynamic`, each to a pair of tensors of shape
        (B,): advantages, and ms-swift's rewards.
    """
    check_request(estimator, N, options)

    def evaluate(
        per_function: Tensor, weights: Tensor, groups: Any, rollouts: Any, settings: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        rewards = (per_function * weights).nansum(dim=1)
        kl = settings.get("kl_values")
        if settings.get("kl_in_reward") and kl is not None:
            rewards = rewards - settings.get("beta", 0.0) * kl
        counted = rewards.masked_fill(per_function.isnan().all(dim=1), torch.nan)
        a = batch_advantages(
            estimator, counted, groups, N, options, rollouts=rollouts, unit_rms=unit_rms
        )
        return a, rewards

    def compute_advantages(
        rewards_per_func: Tensor, reward_weights: Tensor, num_generations: int, **settings: Any
    ) -> tuple[Tensor, Tensor]:
        if num_generations == 1:  # an evaluation, in which nobody uses them
            rewards = (rewards_per_func * reward_weights).nansum(dim=1)
            return torch.zeros_like(rewards), rewards
        groups = torch.arange(len(rewards_per_func)) // num_generations
        return evaluate(rewards_per_func, reward_weights, groups, None, settings)

    def compute_advantages_dynamic(
        rewards_per_func: Tensor,
        reward_weights: Tensor,
        prompt_ids: Sequence[str],
        request_ids: Sequence[str],
        **settings: Any,
    ) -> tuple[Tensor, Tensor]:
        return evaluate(rewards_per_func, reward_weights, prompt_ids, request_ids, settings)

    return {
        "compute_advantages": compute_advantages,
        "compute_advantages_dynamic": compute_advantages_dynamic,
    }


def register(estimator: str, N: int, *, unit_rms: bool = False, **options: Any) -> None:
    """Let all GRPO trainers of ms-swift, those of Megatron and Ray too, use this estimator.

    Parameters
    ----------
    estimator, N, unit_rms, **options
        As in `advantage_functions`.
    """
    from swift.rl_core import advantage

    made = advantage_functions(estimator, N, unit_rms=unit_rms, **options)
    for name, function in made.items():
        replace(advantage, name, function, CALLERS)
