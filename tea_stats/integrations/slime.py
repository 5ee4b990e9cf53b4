"""slime: an estimator of the registry as its reward post-processing.

slime hands all samples of a step to the function that `--custom-reward-post-process-path` names,
and with `--advantage-estimator grpo` takes the rewards that come back for advantages, as they are::

    --custom-reward-post-process-path tea_stats.integrations.slime.reward_post_process
    --advantage-estimator grpo
    --custom-config-path tea_stats.yaml

where the YAML file has::

    tea_stats_N: 128
    tea_stats_estimator: auto_tea    # the default
    tea_stats_options: {}            # the default

Leave `--normalize-advantages` off: it would rescale the advantages. Each sample counts as a
rollout; rollouts that a custom generate function splits into several samples are not for this.

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
        slime's arguments, with `tea_stats_N` and, if wanted, `tea_stats_estimator` and
        `tea_stats_options`.
    samples : sequence of slime's Sample, or of groups of them
        Samples of one `group_index` are a group. Reward None is a rollout without a reward.

    Returns
    -------
    raw_rewards, advantages : list
        One entry per sample, in the order given.

    Raises
    ------
    ValueError
        If `tea_stats_N` is missing, a sample has no `group_index`, or the estimator refuses the
        settings.
    """
    if getattr(args, "tea_stats_N", None) is None:
        raise ValueError(
            "tea_stats_N is missing: the estimator needs the budget of best-of-N; write "
            "tea_stats_N: 128 into the YAML file of --custom-config-path"
        )
    nested = bool(samples) and isinstance(samples[0], list | tuple)
    flat = [sample for group in samples for sample in group] if nested else list(samples)
    groups = [sample.group_index for sample in flat]
    if None in groups:
        raise ValueError(
            f"sample {groups.index(None)} has no group_index, which says of which prompt it is; "
            "set it in the data source, as slime's own does"
        )
    raw = [sample.get_reward_value(args) for sample in flat]
    rewards = torch.tensor([torch.nan if r is None else float(r) for r in raw], dtype=torch.float64)
    name = getattr(args, "tea_stats_estimator", None) or RECOMMENDED
    options = getattr(args, "tea_stats_options", None) or {}
    return raw, batch_advantages(name, rewards, groups, args.tea_stats_N, options).tolist()
