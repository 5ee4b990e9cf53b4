"""slime: an estimator as its reward post-processing.

slime hands all samples of a step to the function that `--custom-reward-post-process-path` names,
and with `--advantage-estimator grpo` takes the rewards that come back for advantages::

    --advantage-estimator grpo
    --custom-reward-post-process-path tea_stats.integrations.slime.reward_post_process
    --custom-config-path tea_stats.yaml

where the YAML file has `tea_stats_N: 128` and, to choose, `tea_stats_estimator`,
`tea_stats_options` and `tea_stats_unit_rms`. Leave `--normalize-advantages` off: it would rescale
the advantages.

Written to the call in slime's `RolloutManager._post_process_rewards`, and tested on samples of that
form; slime is in no package index and was not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tea_stats.estimators import RECOMMENDED
from tea_stats.integrations.groups import batch_advantages


def reward_post_process(
    args: Any, samples: Sequence[Any] | Sequence[Sequence[Any]]
) -> tuple[list[Any], list[float]]:
    """Return the raw rewards and the advantages of all samples of a step.

    Parameters
    ----------
    args : namespace
        slime's arguments, with `tea_stats_N` and the optional ones above.
    samples : sequence of slime's Sample, or of groups of them
        Samples of one `group_index` are a group, and those of one `rollout_id` in it are one
        rollout, where samples have one. Reward None is a rollout without a reward.

    Returns
    -------
    raw_rewards, advantages : list
        One entry per sample, in the order given.

    Raises
    ------
    TypeError, ValueError
        If `tea_stats_N` is missing, or `batch_advantages` refuses labels, rewards or settings.
    """
    if getattr(args, "tea_stats_N", None) is None:
        raise ValueError(
            "tea_stats_N is missing: the estimator needs the budget of best-of-N; write "
            "tea_stats_N: 128 into the YAML file of --custom-config-path"
        )
    nested = bool(samples) and isinstance(samples[0], list | tuple)
    flat = [sample for group in samples for sample in group] if nested else list(samples)
    raw = [sample.get_reward_value(args) for sample in flat]
    rewards = [torch.nan if reward is None else float(reward) for reward in raw]
    identities = [getattr(sample, "rollout_id", None) for sample in flat]
    advantages = batch_advantages(
        getattr(args, "tea_stats_estimator", None) or RECOMMENDED,
        torch.tensor(rewards, dtype=torch.float64),
        [sample.group_index for sample in flat],
        args.tea_stats_N,
        getattr(args, "tea_stats_options", None) or {},
        # None everywhere: a version of slime without identities, where each sample is a rollout
        rollouts=None if all(identity is None for identity in identities) else identities,
        unit_rms=bool(getattr(args, "tea_stats_unit_rms", False)),
    )
    return raw, advantages.tolist()
