"""The rewards of many prompts' rollouts, as `reward_log.read` returns them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats._validation import as_rewards
from tea_stats.estimators import ties
from tea_stats.reward_log.reading import Reading

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RewardLog:
    """Rewards grouped by prompt; groups may differ in size.

    Attributes
    ----------
    prompts : tuple
        A label for each of the P prompts, in the order in which they came first.
    rewards : ndarray, shape (R,)
        All R rewards, float64 and finite, equal where they differ by rounding only: those of the
        first prompt in the order in which they came, then those of the second, and so on.
    offsets : ndarray of int, shape (P + 1,)
        Prompt i has `rewards[offsets[i]:offsets[i + 1]]`.
    completions : ndarray of int, shape (R,), optional
        Which rollouts of a prompt have the same text: equal numbers within it. None where the log
        has no texts.
    reading : Reading, optional
        What was read; None for a log that was made from groups.

    Examples
    --------
    >>> log = RewardLog.from_groups([[0.0, 1.0, 0.5], [2.0, 1.5]], prompts=["a", "b"])
    >>> len(log), log.sizes.tolist(), [group.max() for group in log]
    (2, [3, 2], [np.float64(1.0), np.float64(2.0)])
    """

    prompts: tuple[Hashable, ...]
    rewards: Array
    offsets: NDArray[np.intp]
    completions: NDArray[np.int64] | None = None
    reading: Reading | None = None

    @classmethod
    def from_groups(
        cls, groups: Iterable[ArrayLike], prompts: Sequence[Hashable] | None = None
    ) -> RewardLog:
        """Return the log of these groups of rewards.

        Parameters
        ----------
        groups : iterable of array_like
            One-dimensional groups of at least one reward each; an array of shape (P, M) too.
        prompts : sequence, optional
            A label for each group; 1, 2, … by default.

        Raises
        ------
        TypeError, ValueError
            If a group is empty, not one-dimensional or not of finite real numbers, or the number
            of labels is not that of the groups.
        """
        arrays = [_group(place, group) for place, group in enumerate(groups)]
        if not arrays:
            raise ValueError("groups is empty; give at least one group of rewards")
        labels = tuple(range(1, len(arrays) + 1)) if prompts is None else tuple(prompts)
        if len(labels) != len(arrays):
            raise ValueError(
                f"prompts has {len(labels)} labels for {len(arrays)} groups; give one for each"
            )
        offsets = np.cumsum([0, *(len(group) for group in arrays)])
        return cls(labels, ties.rounded(np.concatenate(arrays)), offsets)

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Array]:
        for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.rewards[start:end]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Number of rollouts of each prompt, shape (P,)."""
        return np.diff(self.offsets)

    @property
    def is_binary(self) -> bool:
        """Whether every reward is 0 or 1."""
        return bool(((self.rewards == 0.0) | (self.rewards == 1.0)).all())

    def matrix(self) -> Array:
        """Return the rewards as an array of shape (P, M); ValueError if groups differ in size."""
        sizes = np.unique(self.sizes)
        if len(sizes) > 1:
            raise ValueError(
                f"prompts have {sizes[0]} to {sizes[-1]} rollouts; use by_size() for groups of "
                "different sizes, or cut them to one size"
            )
        return self.rewards.reshape(len(self), -1)

    def by_size(self) -> Iterator[tuple[NDArray[np.intp], Array]]:
        """Yield, for each size m, the places of its G prompts and their rewards, shape (G, m)."""
        sizes = self.sizes
        for size in np.unique(sizes):
            places = np.flatnonzero(sizes == size)
            yield places, self.rewards[self.offsets[places, None] + np.arange(size)]


def _group(place: int, group: ArrayLike) -> Array:
    try:
        rewards = as_rewards(group)
    except (TypeError, ValueError) as error:
        raise type(error)(f"groups[{place}]: {error}") from None
    if rewards.ndim != 1:
        raise ValueError(
            f"groups[{place}] has shape {rewards.shape}; give one dimension of rewards"
        )
    return rewards
