"""From a trainer's batch to groups, and from advantages of groups back to the batch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tea_stats._validation import as_count
from tea_stats.estimators import Estimator, lookup
from tea_stats.estimators.auto_tea import AutoTEA
from tea_stats.estimators.batch_report import batch_report
from tea_stats.estimators.memory import Memory
from tea_stats.integrations.labels import as_labels, merged
from tea_stats.torch_bridge import advantages

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

#: an estimator that pools learns little from fewer groups (docs/findings/mixed_rewards.md)
FEWEST_GROUPS = 16

_warned: set[str] = set()
logger = logging.getLogger("tea_stats")

# --- settings ---------------------------------------------------------------------------------


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


def check_number_of_groups(name: str, groups: int, cure: str) -> None:
    """Warn, once, if an estimator that learns from the other groups of a batch has few of them."""
    if lookup(name).pools and groups < FEWEST_GROUPS:
        warn_once(
            f"few groups for {name}",
            f"a batch has {groups} group{'s' * (groups != 1)}, and {name} learns from the other "
            f"groups of the batch; score {FEWEST_GROUPS} or more together ({cure}), or choose an "
            "estimator that needs none, such as linear_tea"
            + (", or keep a memory of earlier groups" if name == AutoTEA.name else ""),
        )


def warn_once(topic: str, message: str) -> None:
    """Issue a warning, the first time only that there is one on this topic."""
    if topic not in _warned:
        warnings.warn(message, stacklevel=4)
        _warned.add(topic)


# --- groups in rows ---------------------------------------------------------------------------


def without_failures(rewards: Tensor) -> Tensor:
    """Return rewards with NaN in place of −inf, with which a reward function marks a failure."""
    return rewards.masked_fill(rewards == -torch.inf, torch.nan)


def table_advantages(
    name: str,
    rewards: Tensor,
    N: int,
    options: Mapping[str, Any] = NO_OPTIONS,
    *,
    unit_rms: bool = False,
    memory: Memory | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the advantages of groups in which some rollouts have no reward.

    Parameters
    ----------
    name : str
        A key of `tea_stats.ESTIMATORS`.
    rewards : Tensor, shape (G, m)
        One group per row, NaN or −inf for a rollout that failed or does not count.
    N : int
        Deployment budget of best-of-N.
    options : mapping
        The estimator's options.
    unit_rms : bool
        Divide by the root mean square of all advantages, as in `torch_bridge.advantages`.
    memory : Memory, optional
        Groups of earlier steps that auto TEA learns from; these are added to it.

    Returns
    -------
    advantages : Tensor, shape (G, m)
        0 for rollouts without a reward, and in groups that were left out.
    left_out : Tensor of bool, shape (G,)
        True for the groups with fewer rewards than the estimator takes.
    """
    rewards = without_failures(rewards)
    present = ~rewards.isnan()
    sizes = present.sum(-1)
    small = [n for n in sorted(set(sizes.tolist())) if not takes(name, n, N, options)]
    left_out = torch.isin(sizes, sizes.new_tensor(small))
    kept = ~left_out
    if not kept.any():
        return torch.zeros_like(rewards), left_out
    if name == AutoTEA.name and logger.isEnabledFor(logging.INFO):
        logger.info("auto_tea: %s", batch_metrics(name, rewards, N, memory))
    of_kept = advantages(
        name, rewards[kept], N, mask=present[kept], unit_rms=unit_rms, memory=memory, **options
    )
    table = of_kept.new_zeros(rewards.shape)
    table[kept] = of_kept
    return table, left_out


def batch_metrics(
    name: str, rewards: Tensor, N: int, memory: Memory | None = None
) -> dict[str, float]:
    """Return what auto TEA takes a batch for, as numbers for a logger; nothing for the others.

    Parameters
    ----------
    name, rewards, N, memory
        As in `table_advantages`; call this first, as that one adds the batch to the memory.

    Returns
    -------
    dict
        `tea_stats.BatchReport.metrics()`, each name after "auto_tea/"; nothing for groups that
        auto TEA does not take.
    """
    # an evaluation may draw one rollout of each prompt, which no advantage is made of
    if name != AutoTEA.name or rewards.shape[-1] < lookup(name).min_accepted:
        return {}
    own = without_failures(rewards).detach().cpu()
    # in their own type, by whose rounding rewards are tied; NumPy has no bfloat16
    array = (own.float() if own.dtype == torch.bfloat16 else own).numpy()
    metrics = batch_report(array, N, ~np.isnan(array), memory).metrics()
    return {f"{name}/{key}": value for key, value in metrics.items()}


# --- groups by label --------------------------------------------------------------------------


def batch_advantages(
    name: str,
    rewards: Tensor,
    groups: Iterable[Hashable],
    N: int,
    options: Mapping[str, Any] = NO_OPTIONS,
    *,
    rollouts: Iterable[Hashable] | None = None,
    unit_rms: bool = False,
    memory: Memory | None = None,
) -> Tensor:
    """Return the advantages of a batch in which each sample has the label of its group.

    Parameters
    ----------
    name, N, options, unit_rms, memory
        As in `table_advantages`.
    rewards : Tensor, shape (B,)
        NaN or −inf for a rollout without a reward; of any real dtype.
    groups : iterable of B hashable values
        Rollouts with the same label are a group, in the order of the batch. Groups may be of
        several sizes and need not be contiguous.
    rollouts : iterable of B hashable values, optional
        Samples of a group with the same label here are parts of one rollout: it counts once, with
        the reward that all of them have, and they share its advantage. Default: each sample is a
        rollout.

    Returns
    -------
    Tensor, shape (B,)
        Advantages, in the dtype of the rewards, in float32 for integers and booleans.

    Raises
    ------
    TypeError, ValueError
        If there are not B labels, one of them is missing (None, NaN, −1, an empty string) or they
        are of several types, if samples of a rollout differ in reward, or if the estimator does not
        take groups of the largest size.
    """
    if not rewards.is_floating_point():
        rewards = rewards.to(torch.float32)
    labels = as_labels("group", groups, len(rewards))
    if not labels:
        return rewards.clone()
    rewards = without_failures(rewards)
    if rollouts is None:
        first, of_sample = list(range(len(labels))), list(range(len(labels)))
    else:
        first, of_sample = merged(labels, as_labels("rollout", rollouts, len(rewards)), rewards)
    numbers: dict[Hashable, int] = {}
    sizes: list[int] = []
    row, column = [], []
    for sample in first:
        number = numbers.setdefault(labels[sample], len(numbers))
        if number == len(sizes):
            sizes.append(0)
        row.append(number)
        column.append(sizes[number])
        sizes[number] += 1
    check_settings(name, max(sizes), N, options)
    if memory is None:
        check_number_of_groups(name, len(sizes), "more prompts in each step")
    table = rewards.new_full((len(sizes), max(sizes)), torch.nan)
    where = torch.tensor([row, column], device=rewards.device)
    table[where[0], where[1]] = rewards[first]
    report_missing(table, sum(sizes))
    table, _ = table_advantages(name, table, N, options, unit_rms=unit_rms, memory=memory)
    return table[where[0], where[1]].to(rewards.dtype)[of_sample]


def nested_advantages(
    name: str,
    rewards: Sequence[Iterable[float | None]],
    N: int,
    options: Mapping[str, Any] = NO_OPTIONS,
    *,
    unit_rms: bool = False,
) -> list[Tensor]:
    """Return the advantages of a batch that is given as a list of groups.

    Parameters
    ----------
    name, N, options, unit_rms
        As in `table_advantages`.
    rewards : sequence of G sequences
        The rewards of each group's rollouts; None, NaN or −inf for one without a reward.

    Returns
    -------
    list of G Tensors
        Advantages in float64, one for each reward.

    Raises
    ------
    ValueError
        If no group is as large as the estimator needs, or a reward is +inf.
    """
    listed = [[torch.nan if r is None else float(r) for r in group] for group in rewards]
    sizes = [len(group) for group in listed]
    flat = torch.tensor([reward for group in listed for reward in group], dtype=torch.float64)
    labels = [number for number, size in enumerate(sizes) for _ in range(size)]
    result = batch_advantages(name, flat, labels, N, options, unit_rms=unit_rms)
    return list(torch.split(result, sizes))


def report_missing(table: Tensor, rollouts: int) -> None:
    """Log how many rollouts of a table padded with NaN have no reward."""
    missing = rollouts - int((~table.isnan()).sum())
    if missing:
        logger.warning(
            "%d of %d rollouts have no reward (NaN or -inf) or no token; their groups are "
            "evaluated without them",
            missing,
            rollouts,
        )


def outcome_advantages(
    name: str,
    token_level_rewards: Tensor,
    response_mask: Tensor,
    groups: Iterable[Hashable] | None,
    N: int,
    options: Mapping[str, Any] = NO_OPTIONS,
    *,
    unit_rms: bool = False,
    memory: Memory | None = None,
) -> Tensor:
    """Return the advantage of each rollout at each of its tokens, the form of verl and SkyRL.

    Parameters
    ----------
    name, N, options, groups, unit_rms, memory
        As in `batch_advantages`.
    token_level_rewards : Tensor, shape (B, T)
        A rollout's reward is their sum over tokens.
    response_mask : Tensor, shape (B, T)
        1 for the tokens of the response. A rollout without any leaves its group.

    Returns
    -------
    Tensor, shape (B, T)
        Advantages, in the dtype of the rewards, in float32 for integers and booleans; 0 outside
        the response.
    """
    if groups is None:
        raise ValueError(
            f"index is None: {name} compares the rollouts of one prompt; let the trainer pass the "
            "prompt's uid, as it does for GRPO"
        )
    with torch.no_grad():
        exact = token_level_rewards.dtype == torch.float64
        rewards = token_level_rewards.sum(-1, dtype=torch.float64 if exact else torch.float32)
        rewards = rewards.masked_fill(~response_mask.bool().any(-1), torch.nan)
        a = batch_advantages(name, rewards, groups, N, options, unit_rms=unit_rms, memory=memory)
        if token_level_rewards.is_floating_point():
            a = a.to(token_level_rewards.dtype)
        return a[:, None] * response_mask
