"""Memory: what auto TEA has learnt from the groups of earlier steps, for batches of few prompts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tea_stats._validation import as_count, as_real, as_rewards
from tea_stats.estimators import ties
from tea_stats.estimators.auto_tea import AutoTEA, Earlier
from tea_stats.estimators.record import Array, Estimator

#: groups that count for less are forgotten
LEAST_WEIGHT = 1 / 16
#: layout of `Memory.state_dict`
VERSION = 1


def check_learns(name: str) -> None:
    """Raise TypeError for a memory beside an estimator that learns from no earlier group."""
    if name != AutoTEA.name:
        raise TypeError(
            f"memory is given with {name}, which learns from no earlier group; leave it out, or "
            "choose auto_tea"
        )


class Memory:
    """Groups of earlier steps that auto TEA learns from besides those of the batch.

    A trainer with one, two or four prompts a step shows too few groups at a time to tell the law of
    their rewards; without a memory auto TEA is max@m there, or near it. With one, a batch is
    evaluated as if the groups that were seen before stood beside it, each with the weight

        2^(−age / half_life),    age: groups seen since, up to its step's last one.

    The advantages are those of the batch's own groups only; what they learn from others stays free
    of their own rewards, units and offsets.

    Parameters
    ----------
    half_life : float
        Groups after which an earlier one counts half. All together count at most about
        1.44 · half_life + 1 groups. Where the law of the rewards changes, the memory has forgotten
        most of the old one after two half-lives.

    Notes
    -----
    Deterministic: the same batches in the same order lead to the same state. `state_dict` has
    nothing but lists and numbers that JSON can write, without loss; keep it with the checkpoints.
    It holds at most 4 · half_life groups and the last step's.

    Examples
    --------
    >>> from tea_stats import Normal
    >>> memory, rng = Memory(), np.random.default_rng(0)
    >>> for step in range(64):
    ...     a = memory.advantages(Normal().sample((1, 16), rng), N=128)
    >>> len(memory)
    64
    >>> again = Memory.from_state_dict(memory.state_dict())
    >>> len(again)
    64
    """

    def __init__(self, half_life: float = 32.0) -> None:
        self.half_life = as_real("half_life", half_life, above=0.0)
        #: rewards of each group, ascending, and how many groups were seen since its step
        self._groups: list[tuple[Array, int]] = []

    def __len__(self) -> int:
        """Return how many groups are remembered."""
        return len(self._groups)

    def advantages(
        self, rewards: ArrayLike, N: int, mask: ArrayLike | None = None, **options: Any
    ) -> Array:
        """Return auto TEA's advantages of a batch, given the memory; then remember the batch.

        Parameters
        ----------
        rewards : array_like, shape (..., m)
            Rewards of m rollouts per group.
        N : int
            Deployment budget of best-of-N.
        mask : array_like of bool, shape (..., m), optional
            True for the rollouts that exist; the others' rewards may be NaN.
        **options
            Those of `auto_tea`.

        Returns
        -------
        ndarray, shape (..., m)
            Advantages, 0 outside the mask.

        Raises
        ------
        TypeError, ValueError
            As `auto_tea`; then nothing is remembered.
        """
        from tea_stats.estimators.masked import masked_advantages

        exists = None if mask is None else np.asarray(mask)
        if exists is None:
            array = as_rewards(rewards, at_least=2)
        else:
            array = np.asarray(rewards, dtype=np.float64)
            if exists.dtype != np.bool_ or exists.shape != array.shape:
                raise ValueError(
                    f"mask has dtype {exists.dtype} and shape {exists.shape}; give booleans of "
                    f"the rewards' shape {array.shape}"
                )
        tie = ties.of_array(rewards)
        return masked_advantages(AutoTEA().with_options(options), array, exists, N, tie, self)

    def of(
        self, estimator: Estimator, batch: Sequence[Array], N: int, tie: float = ties.DOUBLE
    ) -> list[Array]:
        """Return the advantages of groups of each size, given the memory; then remember them."""
        check_learns(estimator.name)
        assert isinstance(estimator, AutoTEA)
        results = estimator.of_sizes(batch, as_count("N", N), tie, self.earlier())
        self.remember(batch, tie)
        return results

    def earlier(self) -> Earlier:
        """Return the groups that are remembered, by size, with their weights."""
        found: dict[int, tuple[list[Array], list[float]]] = {}
        for rewards, age in self._groups:
            groups, weights = found.setdefault(len(rewards), ([], []))
            groups.append(rewards)
            weights.append(2.0 ** (-age / self.half_life))
        return {m: (np.array(groups), np.array(w)) for m, (groups, w) in found.items()}

    def remember(self, batch: Iterable[Array], tie: float = ties.DOUBLE) -> None:
        """Add the groups of one step, arrays (G, m), m ≥ 2, and forget what is too old."""
        new = [group for groups in batch for group in ties.merged(np.sort(groups, axis=1), tie)]
        limit = -self.half_life * math.log2(LEAST_WEIGHT)
        aged = [(rewards, age + len(new)) for rewards, age in self._groups]
        self._groups = [(rewards, age) for rewards, age in aged if age <= limit]
        self._groups += [(rewards, 0) for rewards in new]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as lists and numbers."""
        return {
            "version": VERSION,
            "half_life": self.half_life,
            "groups": [rewards.tolist() for rewards, _ in self._groups],
            "ages": [age for _, age in self._groups],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the state by one that `state_dict` returned.

        Raises
        ------
        ValueError
            If it is none; then the state stays as it was.
        """
        missing = {"version", "half_life", "groups", "ages"} - set(state)
        if missing or state["version"] != VERSION:
            what = f"lacks {', '.join(sorted(missing))}" if missing else f"is {state['version']!r}"
            raise ValueError(f"state {what}; give what Memory.state_dict of this version returned")
        half_life = as_real("half_life", state["half_life"], above=0.0)
        groups = [np.sort(as_rewards(rewards, at_least=2)) for rewards in state["groups"]]
        ages = [int(age) for age in state["ages"]]
        if len(ages) != len(groups) or any(age < 0 for age in ages):
            raise ValueError(
                f"state has {len(groups)} groups and ages {ages}; give one age, 0 or more, for each"
            )
        self.half_life, self._groups = half_life, list(zip(groups, ages, strict=True))

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Memory:
        """Return a memory in a state that `state_dict` returned."""
        memory = cls()
        memory.load_state_dict(state)
        return memory
