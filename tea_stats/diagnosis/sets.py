"""Groups of any sizes as sets of one size m, without changing their expectations.

A group of n ≥ m rollouts counts by the mean of each order statistic over its subsets of m: linear
in its sorted rewards, and without bias for E R_(1:m) ≤ … ≤ E R_(m:m).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction.u_statistic import spread

#: smaller groups have too little of a tail
LEAST_SIZE = 4
#: rollouts beyond this number add nothing that is used
LARGEST_SIZE = 256
#: with fewer prompts, each is cut into sets of at least `LEAST_CUT` rollouts
FEW_PROMPTS = 32
LEAST_CUT = 16
#: share of the groups that may be smaller than m, and are left out: a larger m shows more tail
LEFT_OUT = 0.25


@dataclass(frozen=True)
class Sets:
    """Sets of rollouts, each of one prompt.

    Attributes
    ----------
    rewards : ndarray, shape (S, m)
        Mean order statistics of m rollouts of each set, ascending, in reward units.
    prompts, rollouts : int
        Prompts and rollouts in them.
    cut : bool
        Whether prompts were cut into several sets. What varies from set to set is then the
        rollouts alone, and intervals are for these prompts, not for others like them.
    """

    rewards: Array
    prompts: int
    rollouts: int
    cut: bool

    @property
    def m(self) -> int:
        """Rollouts in a set."""
        return self.rewards.shape[1]


def sets(groups: Iterable[Array], rng: np.random.Generator) -> Sets | None:
    """Return sets of one size from groups of any; None if no group has `LEAST_SIZE` rollouts.

    Parameters
    ----------
    groups : iterable of ndarray
        The rewards of each prompt.
    rng : numpy.random.Generator
        Assigns the rollouts of a prompt to sets, where prompts are few.
    """
    usable = [group for group in groups if len(group) >= LEAST_SIZE]
    if not usable:
        return None
    pieces = usable
    if len(usable) < FEW_PROMPTS:
        size = max(sum(map(len, usable)) // FEW_PROMPTS, LEAST_CUT)
        pieces = [piece for group in usable for piece in _cut(group, size, rng)]
    sizes = np.array([len(piece) for piece in pieces])
    m = min(LARGEST_SIZE, int(np.quantile(sizes, LEFT_OUT, method="inverted_cdf")))
    kept = sizes >= m
    rewards = np.empty((kept.sum(), m))
    rows = np.cumsum(kept) - 1
    for size in np.unique(sizes[kept]):
        places = np.flatnonzero(sizes == size)
        ascending = np.sort([pieces[place] for place in places], axis=-1)
        rewards[rows[places]] = ascending if size == m else ascending @ spread(np.eye(m), size).T
    used = len(pieces) == len(usable)
    prompts = int(kept.sum()) if used else len(usable)
    return Sets(rewards, prompts, int(sizes[kept].sum()), cut=not used)


def _cut(group: Array, size: int, rng: np.random.Generator) -> list[Array]:
    """Cut a group into as many sets of at least this size as there are, at random."""
    count = len(group) // size
    # a file may be sorted by reward
    return np.array_split(rng.permutation(group), count) if count > 1 else [group]
