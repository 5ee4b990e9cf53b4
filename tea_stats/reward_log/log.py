"""Reward logs: the rewards of many prompts' rollouts, read from a file.

from tea_stats import reward_log
log = reward_log.read("rewards.jsonl")
log.sizes, log.matrix()
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats._validation import as_flag, as_rewards
from tea_stats.reward_log import columns

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RewardLog:
    """Rewards grouped by prompt; groups may differ in size.

    Attributes
    ----------
    prompts : tuple
        A label for each of the P prompts, in the order in which they came first.
    rewards : ndarray, shape (R,)
        All R rewards, float64 and finite: those of the first prompt in the order in which they
        came, then those of the second, and so on.
    offsets : ndarray of int, shape (P + 1,)
        Prompt i has `rewards[offsets[i]:offsets[i + 1]]`.

    Examples
    --------
    >>> log = RewardLog.from_groups([[0.0, 1.0, 0.5], [2.0, 1.5]], prompts=["a", "b"])
    >>> len(log), log.sizes.tolist(), [group.max() for group in log]
    (2, [3, 2], [np.float64(1.0), np.float64(2.0)])
    """

    prompts: tuple[Hashable, ...]
    rewards: Array
    offsets: NDArray[np.intp]

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
        return cls(labels, np.concatenate(arrays), offsets)

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


def read(
    path: str | Path,
    *,
    prompt: str = "prompt",
    reward: str | None = None,
    wide: bool = False,
    drop_missing: bool = False,
) -> RewardLog:
    """Read the rewards of a CSV, JSON lines or Parquet file, grouped by prompt.

    Parameters
    ----------
    path : str or Path
        File whose name ends in .csv, .jsonl, .ndjson or .parquet; the first three may be
        compressed (.csv.gz). "-" is standard input, as JSON lines.
    prompt : str
        Column that identifies the prompt: numbers, text or, in JSON, lists of messages.
    reward : str, optional
        Column of the rewards, "reward" by default; a row may hold one reward, or a list of them.
        With `wide`, the pattern of the columns of rewards ("r_*"); by default every column of
        numbers except the prompt's.
    wide : bool
        Whether each row is a prompt and each column a rollout. The rows then have the labels in
        the prompt column if there is one, and 1, 2, … otherwise.
    drop_missing : bool
        Whether to leave out rewards that are missing, NaN or infinite instead of refusing them.

    Returns
    -------
    RewardLog
        The rewards, booleans as 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If the file cannot be read, a column is missing, a reward is not a finite number, no prompt
        has two rollouts, or an argument is of the wrong type; the message names file, row and cure.
    ModuleNotFoundError
        If a Parquet file is read without pyarrow.
    """
    for name, value in (("prompt", prompt), ("reward", reward)):
        if not isinstance(value, str) and not (name == "reward" and value is None):
            raise TypeError(f"{name} is {value!r}; give the name of a column")
    labels, codes, rewards = columns.parse(
        str(path), prompt, reward, as_flag("wide", wide), as_flag("drop_missing", drop_missing)
    )
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=len(labels))
    kept = sizes > 0  # a prompt all of whose rewards were missing is gone
    if sizes.max(initial=0) < 2:
        raise ValueError(
            f"{path} has one rollout of each of its {kept.sum()} prompts; best-of-N needs "
            "several of the same prompt: name the column that identifies the prompt (--prompt), or "
            "give --wide if each row is a prompt and each column a rollout"
        )
    offsets = np.concatenate([[0], np.cumsum(sizes[kept])])
    prompts: tuple[Any, ...] = tuple(
        label for label, keep in zip(labels, kept, strict=True) if keep
    )
    return RewardLog(prompts, rewards[order], offsets)
