"""Which prompts two logs have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tea_stats.reward_log.log import RewardLog


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two logs, cut to the prompts that are compared.

    Attributes
    ----------
    a, b : RewardLog
        Where `paired`, the same prompts in the same order; else the two logs as they are.
    paired : bool
        Whether prompts are compared one by one.
    by_place : bool
        Whether labels are only the numbers 1, 2, … of the prompts, so that pairs rest on the order
        of the two logs.
    alone_a, alone_b : int
        Prompts that only one of the logs has; left out where `paired`.
    """

    a: RewardLog
    b: RewardLog
    paired: bool
    by_place: bool
    alone_a: int
    alone_b: int


def pair(a: RewardLog, b: RewardLog) -> Pairs:
    """Return the prompts that both logs have, in the order of the first.

    Parameters
    ----------
    a, b : RewardLog
        Rewards by prompt; prompts are matched by their labels.

    Returns
    -------
    Pairs
        Not paired where the logs have fewer than two prompts in common and at least one of them
        has more than one.

    Examples
    --------
    >>> a = RewardLog.from_groups([[0, 1], [1, 1], [0, 0]], prompts=["x", "y", "z"])
    >>> b = RewardLog.from_groups([[1, 1], [0, 1]], prompts=["z", "x"])
    >>> pairs = pair(a, b)
    >>> pairs.a.prompts, pairs.alone_a, pairs.alone_b
    (('x', 'z'), 1, 0)
    """
    places = {label: place for place, label in enumerate(b.prompts)}
    common = [(i, places[label]) for i, label in enumerate(a.prompts) if label in places]
    alone_a, alone_b = len(a) - len(common), len(b) - len(common)
    least = 1 if len(a) == len(b) == 1 else 2
    if len(common) < least:
        return Pairs(a, b, False, False, len(a), len(b))
    own, other = np.array(common).T
    by_place = all(
        log.prompts == tuple(range(1, len(log) + 1)) and all(type(x) is int for x in log.prompts)
        for log in (a, b)
    )
    return Pairs(subset(a, own), subset(b, other), True, by_place, alone_a, alone_b)


def unit(*logs: RewardLog) -> float:
    """Return 1, or a power of two to divide rewards by whose squares would leave the float range.

    Examples
    --------
    >>> unit(RewardLog.from_groups([[0.0, 1e200]])) > 1e199
    True
    """
    largest = max(float(np.abs(log.rewards).max()) for log in logs)
    spread = max(float(np.ptp(log.rewards)) for log in logs)
    if largest <= 1e100 and (spread == 0.0 or spread >= 1e-100):
        return 1.0
    return float(2.0 ** np.floor(np.log2(largest if largest > 1e100 else spread)))


def divided(log: RewardLog, by: float) -> RewardLog:
    """Return the log in another unit."""
    return log if by == 1.0 else RewardLog(log.prompts, log.rewards / by, log.offsets)


def subset(log: RewardLog, places: np.ndarray) -> RewardLog:
    """Return the log of some prompts, in this order."""
    groups = list(log)
    rewards = np.concatenate([groups[place] for place in places])
    offsets = np.concatenate([[0], np.cumsum(log.sizes[places])])
    return RewardLog(tuple(log.prompts[place] for place in places), rewards, offsets)
