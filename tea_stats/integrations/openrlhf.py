"""OpenRLHF: an estimator as its experience maker's advantages.

In place of `python -m openrlhf.cli.train_ppo_ray`, a script::

    import runpy

    from tea_stats.integrations import openrlhf

    openrlhf.register("auto_tea", N=128)
    runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__")

with `--algo.advantage.estimator dr_grpo`, the one of OpenRLHF's that is neither divided by a
standard deviation nor normalised afterwards. Everything else is refused, where the first batch is
evaluated. Rewards are those after OpenRLHF's length penalties; `--reward.clip_range` does not clip
advantages. A penalty for the KL divergence in the reward is subtracted token by token, as OpenRLHF
does it.

OpenRLHF keeps `n_samples_per_prompt` consecutive samples as a group; each sample is a rollout.

Written to OpenRLHF 0.11.2, whose experience maker was run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tea_stats.integrations.groups import batch_advantages, check_request

#: OpenRLHF's estimator whose place is taken
IN_PLACE_OF = "dr_grpo"


def experience_advantages(
    experiences: Sequence[Any],
    group_size: int,
    estimator: str,
    N: int,
    options: Mapping[str, Any],
    *,
    unit_rms: bool = False,
) -> list[Tensor]:
    """Return the advantages of rollouts that lie in OpenRLHF's experiences.

    Parameters
    ----------
    experiences : sequence
        With `index`, the places of its rollouts in the batch; `rewards`; and `action_mask`. A
        rollout without a token leaves its group.
    group_size : int
        Consecutive rollouts that are of one prompt.
    estimator, N, options, unit_rms
        As in `groups.batch_advantages`.

    Returns
    -------
    list of Tensors
        One for each experience, shaped as its rewards.
    """
    index = torch.tensor([place for e in experiences for place in e.index])
    empty = torch.cat([~e.action_mask.bool().any(-1) for e in experiences])
    rewards = torch.cat([e.rewards for e in experiences]).float()
    if len(index) % group_size:
        raise ValueError(
            f"there are {len(index)} rollouts, no multiple of n_samples_per_prompt = {group_size}"
        )
    values = batch_advantages(
        estimator,
        rewards.masked_fill(empty, torch.nan),
        index // group_size,
        N,
        options,
        unit_rms=unit_rms,
    )
    return list(torch.split(values, [len(e.rewards) for e in experiences]))


def maker_class(
    base: type[Any], estimator: str, N: int, *, unit_rms: bool = False, **options: Any
) -> type[Any]:
    """Return a class derived from OpenRLHF's experience maker that has the estimator's advantages.

    Parameters
    ----------
    base : type
        OpenRLHF's `RemoteExperienceMaker`.
    estimator, N, unit_rms, **options
        As in `register`.
    """
    check_request(estimator, N, options)

    class BestOfNExperienceMaker(base):  # type: ignore[misc]
        """An experience maker of OpenRLHF that trains for best-of-N."""

        @torch.no_grad()
        def compute_advantages_and_returns(self, experiences: list[Any]) -> list[Any]:
            args = self.strategy.args
            if args.algo.advantage.estimator != IN_PLACE_OF:
                raise ValueError(
                    f"algo.advantage.estimator is {args.algo.advantage.estimator!r}, which "
                    f"normalises in its own way; give --algo.advantage.estimator {IN_PLACE_OF}"
                )
            # OpenRLHF drops it
            divergences = [e.kl for e in experiences]
            experiences = super().compute_advantages_and_returns(experiences)
            group_size = args.rollout.n_samples_per_prompt
            values = experience_advantages(
                experiences, group_size, estimator, N, options, unit_rms=unit_rms
            )
            penalty = max(self.kl_ctl.value, 0.0)
            for experience, kl, value in zip(experiences, divergences, values, strict=True):
                mask = experience.action_mask
                # the penalties from a token on, as for OpenRLHF's own
                ahead = (kl * mask).flip(-1).cumsum(-1).flip(-1)
                experience.advantages = (value[:, None] - penalty * ahead) * mask
                experience.returns = experience.advantages.clone()
            return experiences

    return BestOfNExperienceMaker


def register(estimator: str, N: int, *, unit_rms: bool = False, **options: Any) -> None:
    """Let OpenRLHF's trainers, synchronous and asynchronous, use this estimator.

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

    Notes
    -----
    The trainers are actors of Ray, in processes of their own, that build their experience maker
    there. So each gets a subclass that changes it at that place; Ray sends the subclass itself.
    """
    check_request(estimator, N, options)
    import ray
    from openrlhf.trainer import ppo_trainer, ppo_trainer_async

    def derived(actor: Any) -> Any:
        original: Any = actor.__ray_metadata__.modified_class

        class BestOfNTrainer(original):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                maker = self.experience_maker
                maker.__class__ = maker_class(
                    type(maker), estimator, N, unit_rms=unit_rms, **options
                )

        return ray.remote(BestOfNTrainer)

    ppo_trainer.PPOTrainer = derived(ppo_trainer.PPOTrainer)
    ppo_trainer_async.TrainingActor = derived(ppo_trainer_async.TrainingActor)
