"""Laws with finitely many outcomes: distribution, draws, and what makes them values."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats._validation import as_array, as_reals
from tea_stats.families.law import Array, Law

#: longer arrays are shown by their length and range
SHOWN_UP_TO = 8


@dataclass(frozen=True)
class Atoms:
    """The distinct rewards that have a probability above 0, ascending; arrays of shape (K,).

    Attributes
    ----------
    reward, mass : ndarray
        v and P(R = v).
    cdf, sf, log_cdf : ndarray
        F(v), summed from below; 1 − F(v), summed from above; log F(v), from the nearer end, which
        keeps F(v)^N right for N = 1e9.
    first : ndarray of int
        Where the outcomes of a reward start in `FiniteLaw.rewards_sorted`.
    """

    reward: Array
    mass: Array
    cdf: Array
    sf: Array
    log_cdf: Array
    first: NDArray[np.intp]


class FiniteLaw(Law):
    """Finitely many outcomes, each with a reward, a probability and a score vector.

    Its arrays are read-only; two laws are equal, and have equal hashes, if their contents are.
    """

    @property
    def _contents(self) -> Mapping[str, Array]:
        """The arrays that define the law, by the name they have in the constructor."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    @property
    @abstractmethod
    def _rewards(self) -> Array:
        """Rewards of the outcomes in the order given."""

    @property
    @abstractmethod
    def probabilities(self) -> Array:
        """Probabilities of the outcomes in order of reward, shape (K,)."""

    @property
    @abstractmethod
    def scores(self) -> Array:
        """Score vectors of the outcomes in order of reward, shape (K, d)."""

    @cached_property
    def rewards_sorted(self) -> Array:
        """Rewards of the K outcomes, ascending (ties in the order given), shape (K,)."""
        return frozen(self._rewards[self._order])

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(self._rewards, kind="stable")

    # --- distribution ---------------------------------------------------------------------------

    @cached_property
    def atoms(self) -> Atoms:
        """The distinct rewards, tied outcomes merged."""
        rewards = self.rewards_sorted
        first = np.flatnonzero(np.diff(rewards, prepend=-np.inf))
        mass = np.add.reduceat(self.probabilities, first)
        # softmax underflows at logits 750 apart
        first, mass = first[mass > 0.0], mass[mass > 0.0]
        below, above = np.cumsum(mass), np.append(np.cumsum(mass[:0:-1])[::-1], 0.0)
        lower = below < 0.5
        log_cdf = np.where(lower, np.log(below), np.log1p(-np.where(lower, 0.0, above)))
        return Atoms(rewards[first], mass, below, above, log_cdf, first)

    def _cdf(self, r: Array) -> Array:
        # summed from below
        count = np.searchsorted(self.atoms.reward, r, "right")
        chance = np.concatenate([[0.0], self.atoms.cdf[:-1], [1.0]])[count].clip(0.0, 1.0)
        return np.where(np.isnan(r), np.nan, chance)

    def _sf(self, r: Array) -> Array:
        # summed from above: a rare best outcome keeps its precision
        count = np.searchsorted(self.atoms.reward, r, "right")
        chance = np.concatenate([[1.0], self.atoms.sf])[count].clip(0.0, 1.0)
        return np.where(np.isnan(r), np.nan, chance)

    def _ppf(self, u: Array) -> Array:
        atom = np.searchsorted(self.atoms.cdf[:-1], u, "left")
        return np.where(np.isnan(u), np.nan, self.atoms.reward[atom])

    def _isf(self, p: Array) -> Array:
        sf = self.atoms.sf
        atom = np.searchsorted(-sf, -p, "left").clip(max=len(sf) - 1)
        return np.where(np.isnan(p), np.nan, self.atoms.reward[atom])

    def _logpdf(self, r: Array) -> Array:
        atom, hit = self._find(r)
        log_chance = np.where(hit, np.log(self.atoms.mass)[atom], -np.inf)
        return np.where(np.isnan(r), np.nan, log_chance)

    def score(self, r: ArrayLike) -> Array:
        """Gradient of log P(R = r), shape `(*r.shape, d)`; nan where r is no outcome's reward.

        Of tied outcomes this is the mean score, E[S | R = r].
        """
        index, hit = self._find(as_reals("r", r))
        p, atoms = self.probabilities, self.atoms
        sums = np.add.reduceat(p[:, None] * self.scores, atoms.first) / atoms.mass[:, None]
        return np.where(hit[..., None], sums[index], np.nan)

    def _find(self, r: Array) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """For each reward, the number of its atom, and whether there is one."""
        reward = self.atoms.reward
        index = np.searchsorted(reward, r).clip(max=len(reward) - 1)
        return index, reward[index] == r

    # --- draws: an outcome is its index into `rewards_sorted` ------------------------------------

    def _rewards_of(self, outcomes: NDArray[np.intp]) -> Array:
        return self.rewards_sorted[outcomes]

    def _scores_of(self, outcomes: NDArray[np.intp]) -> Array:
        return np.take(self._columns, outcomes, axis=1)

    @cached_property
    def _columns(self) -> Array:
        """The scores, one contiguous row per parameter."""
        return np.ascontiguousarray(self.scores.T)

    # --- value semantics ------------------------------------------------------------------------

    @cached_property
    def _digest(self) -> str:
        text = hashlib.sha256(repr(self.parameters).encode())
        for name, array in self._contents.items():
            text.update(f"{name}{array.shape}".encode())
            text.update(np.ascontiguousarray(array, dtype="<f8").data)
        return text.hexdigest()

    @property
    def key(self) -> str:
        """Text that identifies the law: its name and a hash of its contents."""
        return f"{type(self).__name__}(sha256={self._digest})"

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_show(array)}" for name, array in self._contents.items())
        if any(array.size > SHOWN_UP_TO for array in self._contents.values()):
            shown += f", sha256={self._digest[:12]}"
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FiniteLaw) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # pickling forgets that an array is read-only
        for value in state.values():
            if isinstance(value, np.ndarray):
                frozen(value)
        self.__dict__.update(state)


def frozen(array: Array) -> Array:
    """Return the array itself, made read-only."""
    array.setflags(write=False)
    return array


def store(law: Any, name: str, value: Any, shape: tuple[int | None, ...], cure: str = "") -> None:
    """Set a field to a read-only copy of an array."""
    # + 0.0 copies, and turns −0.0 into 0.0: equal laws have equal contents
    object.__setattr__(law, name, frozen(as_array(name, value, shape, cure) + 0.0))


def _show(array: Array) -> str:
    if array.size <= SHOWN_UP_TO:
        return str(array.tolist())
    size = "×".join(map(str, array.shape))
    return f"<{size} numbers in [{array.min():g}, {array.max():g}]>"
