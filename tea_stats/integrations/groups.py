"""From a trainer's batch to groups, and from advantages of groups back to the batch."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from tea_stats._validation import as_count
from tea_stats.estimators import Estimator, lookup
from tea_stats.torch_bridge import advantages

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def check_request(name: str, N: int, options: Mapping[str, Any]) -> Estimator:
    """Return the estimator, after checking everything that does not depend on m."""
    as_count("N", N)
    return lookup(name, options)


def check_settings(name: str, m: int, N: int, options: Mapping[str, Any]) -> None:
    """Raise, with the estimator's own message, unless it takes groups of m at these settings."""
    estimator = check_request(name, N, options)
    if m < estimator.min_accepted:
        raise ValueError(
            f"groups have m = {m} rollouts; {name} needs at least {estimator.min_accepted}: "
            "draw more rollouts of each prompt"
        )
    estimator.prepare(m, N)


def takes(name: str, m: int, N: int, options: Mapping[str, Any]) -> bool:
    """Return whether the estimator takes groups of m at these settings."""
    try:
        check_settings(name, m, N, options)
    except ValueError:
        return False
    return True


def table_advantages(
    name: str, rewards: Tensor, N: int, options: Mapping[str, Any] = NO_OPTIONS
) -> tuple[Tensor, Tensor]:
    """Return the advantages of groups in which some rollouts have no reward.

    Parameters
    ----------
    name : str
        A key of `tea_stats.ESTIMATORS`.
    rewards : Tensor, shape (G, m)
        One group per row, NaN for a rollout that failed or does not count.
    N : int
        Deployment budget of best-of-N.
    options : mapping
        The estimator's options.

    Returns
    -------
    advantages : Tensor, shape (G, m)
        0 for rollouts without a reward, and in groups that were left out.
    left_out : Tensor of bool, shape (G,)
        True for the groups with fewer rewards than the estimator takes.
    """
    present = ~rewards.isnan()
    sizes = present.sum(-1)
    small = [n for n in sorted(set(sizes.tolist())) if not takes(name, n, N, options)]
    left_out = torch.isin(sizes, sizes.new_tensor(small))
    kept = ~left_out
    if not kept.any():
        return torch.zeros_like(rewards), left_out
    of_kept = advantages(name, rewards[kept], N, mask=present[kept], **options)
    table = of_kept.new_zeros(rewards.shape)
    table[kept] = of_kept
    return table, left_out


def batch_advantages(
    name: str,
    rewards: Tensor,
    groups: Iterable[Hashable],
    N: int,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> Tensor:
    """Return the advantages of a batch in which each rollout has the label of its group.

    Parameters
    ----------
    name, N, options
        As in `table_advantages`.
    rewards : Tensor, shape (B,)
        NaN for a rollout without a reward.
    groups : iterable of B hashable values
        Rollouts with the same label are a group, in the order of the batch. Groups may be of
        several sizes and need not be contiguous.

    Returns
    -------
    Tensor, shape (B,)
        Advantages, in the dtype of the rewards.

    Raises
    ------
    ValueError
        If there are not B labels, one of them is None, or the estimator does not take groups of the
        largest size.
    """
    labels = groups.tolist() if hasattr(groups, "tolist") else list(groups)
    if len(labels) != len(rewards):
        raise ValueError(
            f"there are {len(labels)} group labels and {len(rewards)} rewards; give one per rollout"
        )
    if None in labels:
        raise ValueError(
            f"the group label of rollout {labels.index(None)} is None; give the prompt it is of"
        )
    if not labels:
        return rewards.clone()
    numbers: dict[Hashable, int] = {}
    sizes: list[int] = []
    row, column = [], []
    for label in labels:
        number = numbers.setdefault(label, len(numbers))
        if number == len(sizes):
            sizes.append(0)
        row.append(number)
        column.append(sizes[number])
        sizes[number] += 1
    check_settings(name, max(sizes), N, options)
    table = rewards.new_full((len(sizes), max(sizes)), torch.nan)
    where = torch.tensor([row, column], device=rewards.device)
    table[where[0], where[1]] = rewards
    table, _ = table_advantages(name, table, N, options)
    return table[where[0], where[1]].to(rewards.dtype)


def outcome_advantages(
    name: str,
    token_level_rewards: Tensor,
    response_mask: Tensor,
    groups: Iterable[Hashable] | None,
    N: int,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> Tensor:
    """Return the advantage of each rollout at each of its tokens, the form of verl and SkyRL.

    Parameters
    ----------
    name, N, options, groups
        As in `batch_advantages`.
    token_level_rewards : Tensor, shape (B, T)
        A rollout's reward is their sum over tokens.
    response_mask : Tensor, shape (B, T)
        1 for the tokens of the response.

    Returns
    -------
    Tensor, shape (B, T)
        Advantages, in the dtype of the rewards; 0 outside the response.
    """
    if groups is None:
        raise ValueError(
            f"index is None: {name} compares the rollouts of one prompt; let the trainer pass the "
            "prompt's uid, as it does for GRPO"
        )
    with torch.no_grad():
        rewards = token_level_rewards.sum(-1)
        return batch_advantages(name, rewards, groups, N, options)[:, None] * response_mask
