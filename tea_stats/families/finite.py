"""Laws with finitely many outcomes: Discrete, SoftmaxBandit, EmpiricalPool."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from tea_stats.families._law import Array, FiniteLaw, Shape, field_repr

#: up to here a binary search of the cumulative probabilities is faster than an alias table
SEARCH_UP_TO = 16
#: longer arrays are shown by their length and range
SHOWN_UP_TO = 8


class ArrayLaw(FiniteLaw):
    """Base of the finite laws: read-only arrays, compared and hashed by their contents."""

    @property
    @abstractmethod
    def _contents(self) -> Mapping[str, Array]:
        """The arrays that define the law, by the name they have in the constructor."""

    @property
    @abstractmethod
    def _rewards(self) -> Array:
        """Rewards of the outcomes in the order given."""

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(self._rewards, kind="stable")

    @cached_property
    def rewards_sorted(self) -> Array:
        """Rewards of the K outcomes, ascending, shape (K,)."""
        return _frozen(self._rewards[self._order])

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
        shown = {name: _show(array) for name, array in self._contents.items()}
        if any(array.size > SHOWN_UP_TO for array in self._contents.values()):
            shown["sha256"] = self._digest[:12]
        return field_repr(self, **shown)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayLaw) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # pickling forgets that an array is read-only
        for value in state.values():
            if isinstance(value, np.ndarray):
                _frozen(value)
        self.__dict__.update(state)


class SoftmaxLaw(ArrayLaw):
    """Base of the laws whose outcome probabilities are a softmax of logits."""

    @property
    @abstractmethod
    def _logits(self) -> Array:
        """Logits of the outcomes in the order given."""

    @cached_property
    def probabilities(self) -> Array:
        """Probabilities of the outcomes in order of reward, shape (K,)."""
        return _frozen(special.softmax(self._logits)[self._order])

    @cached_property
    def _alias(self) -> tuple[Array, NDArray[np.intp]]:
        return _alias_table(self.probabilities)

    def _draw_outcomes(self, size: Shape, rng: np.random.Generator) -> NDArray[np.intp]:
        count = len(self.probabilities)
        u = rng.random(size)
        if count <= SEARCH_UP_TO:
            return np.searchsorted(np.cumsum(self.probabilities)[:-1], u, side="right")
        # Walker's alias method: a column at random, then its own outcome or its alias
        threshold, alias = self._alias
        u *= count
        column = u.astype(np.intp)
        return np.where(u < threshold[column], column, alias[column])


@dataclass(frozen=True, repr=False, eq=False)
class Discrete(SoftmaxLaw):
    """A law on a list of reward values: Likert scores, 0/1 verifiers.

    Parameters
    ----------
    values : array_like, shape (K,)
        Rewards; equal ones are allowed.
    logits : array_like, shape (K,)
        P(R = values[k]) ∝ exp(logits[k]); the parameters, named "logit[k]" with k as given here.

    Examples
    --------
    >>> from tea_stats import Discrete, best_of_n
    >>> law = Discrete.from_probabilities([0, 1], [0.9, 0.1])
    >>> round(best_of_n.value(law, 16), 6) == round(1 - 0.9**16, 6)
    True
    """

    values: Array
    logits: Array

    def __post_init__(self) -> None:
        _store(self, "values", self.values, (None,))
        _store(self, "logits", self.logits, (len(self.values),), "one logit for each value")

    @classmethod
    def from_probabilities(cls, values: ArrayLike, probabilities: ArrayLike) -> Discrete:
        """Return the law with these probabilities > 0, which must sum to 1: logits are their logs.

        Examples
        --------
        >>> Discrete.from_probabilities([0, 1], [0.5, 0.5]).probabilities
        array([0.5, 0.5])
        """
        p = _finite_array("probabilities", probabilities, (None,))
        if not (p > 0.0).all():
            raise ValueError(f"probabilities is {probabilities!r}; give numbers above 0")
        if abs(p.sum() - 1.0) > 1e-9:
            raise ValueError(f"probabilities sum to {p.sum()}; divide them by their sum")
        return cls(np.asarray(values), np.log(p))

    @property
    def parameters(self) -> tuple[str, ...]:
        """`("logit[0]", "logit[1]", …)`."""
        return tuple(f"logit[{k}]" for k in range(len(self.logits)))

    @property
    def _contents(self) -> Mapping[str, Array]:
        return {"values": self.values, "logits": self.logits}

    @property
    def _rewards(self) -> Array:
        return self.values

    @property
    def _logits(self) -> Array:
        return self.logits

    @cached_property
    def scores(self) -> Array:
        """Score vectors 1{y = k} − p_k of the outcomes in order of reward, shape (K, K)."""
        return _frozen((np.eye(len(self.logits)) - special.softmax(self.logits))[self._order])


@dataclass(frozen=True, repr=False, eq=False)
class SoftmaxBandit(SoftmaxLaw):
    """A softmax policy over K responses with fixed rewards.

    Either one logit for each response, or logits linear in d features: the logit of y is
    features[y] · theta, and the score is features[y] − E features.

    Parameters
    ----------
    rewards : array_like, shape (K,)
        Reward of each response; equal ones are allowed.
    logits : array_like, shape (K,), optional
        The parameters, named "logit[k]".
    features : array_like, shape (K, d), optional
        Feature vectors; goes with `theta` and instead of `logits`.
    theta : array_like, shape (d,), optional
        The parameters, named "theta[j]".

    Examples
    --------
    >>> from tea_stats import SoftmaxBandit
    >>> policy = SoftmaxBandit([0.0, 1.0], features=[[0.0], [1.0]], theta=[0.0])
    >>> policy.scores
    array([[-0.5],
           [ 0.5]])
    """

    rewards: Array
    logits: Array | None = None
    features: Array | None = None
    theta: Array | None = None

    def __post_init__(self) -> None:
        _store(self, "rewards", self.rewards, (None,))
        linear = self.features is not None
        if linear != (self.theta is not None) or linear == (self.logits is not None):
            given = [
                name for name in ("logits", "features", "theta") if getattr(self, name) is not None
            ]
            raise ValueError(
                f"a SoftmaxBandit got {' and '.join(given) or 'rewards only'}; "
                "give either logits, or features and theta"
            )
        K = len(self.rewards)
        if linear:
            _store(self, "features", self.features, (K, None), "a row for each reward")
            d = self._contents["features"].shape[1]
            _store(self, "theta", self.theta, (d,), "a number for each column of features")
        else:
            _store(self, "logits", self.logits, (K,), "one logit for each reward")

    @property
    def parameters(self) -> tuple[str, ...]:
        """`("logit[0]", …)`, or `("theta[0]", …)` with features."""
        if self.theta is not None:
            return tuple(f"theta[{j}]" for j in range(len(self.theta)))
        return tuple(f"logit[{k}]" for k in range(len(self.rewards)))

    @property
    def _contents(self) -> Mapping[str, Array]:
        fields = {
            "rewards": self.rewards,
            "logits": self.logits,
            "features": self.features,
            "theta": self.theta,
        }
        return {name: array for name, array in fields.items() if array is not None}

    @property
    def _rewards(self) -> Array:
        return self.rewards

    @cached_property
    def _logits(self) -> Array:
        if self.features is not None and self.theta is not None:
            logits: Array = self.features @ self.theta
            return logits
        assert self.logits is not None
        return self.logits

    @cached_property
    def scores(self) -> Array:
        """Score vectors of the outcomes in order of reward, shape (K, d)."""
        features = np.eye(len(self.rewards)) if self.features is None else self.features
        return _frozen(features[self._order] - special.softmax(self._logits) @ features)


@dataclass(frozen=True, init=False, repr=False, eq=False)
class EmpiricalPool(ArrayLaw):
    """Recorded rollouts as a law: each of M (reward, score) pairs has probability 1/M.

    Scores need not have mean zero: an advantage with mean zero is indifferent to it. Rollouts are
    kept in order of reward: `pool.rewards` and `pool.scores` need not be in the order given.

    Parameters
    ----------
    rewards : array_like, shape (M,)
        Rewards of the recorded rollouts.
    scores : array_like, shape (M, d)
        Their score vectors, or any d projections of them.
    names : sequence of str, optional
        Names of the d columns; by default "theta[0]", "theta[1]", ….

    Examples
    --------
    >>> from tea_stats import EmpiricalPool, best_of_n
    >>> pool = EmpiricalPool([3.0, 1.0, 2.0], [[0.1], [0.2], [-0.3]])
    >>> round(best_of_n.value(pool, 1), 6)
    2.0
    """

    rewards: Array
    names: tuple[str, ...]

    def __init__(
        self, rewards: ArrayLike, scores: ArrayLike, names: Sequence[str] | None = None
    ) -> None:
        given = _finite_array("rewards", rewards, (None,))
        vectors = _finite_array("scores", scores, (len(given), None), "a row for each reward")
        order = np.argsort(given, kind="stable")
        object.__setattr__(self, "rewards", _frozen(given[order]))
        object.__setattr__(self, "_scores", _frozen(vectors[order]))
        object.__setattr__(self, "names", _column_names(names, vectors.shape[1]))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the score's columns."""
        return self.names

    @property
    def _contents(self) -> Mapping[str, Array]:
        return {"rewards": self.rewards, "scores": self.scores}

    @property
    def _rewards(self) -> Array:
        return self.rewards

    @property
    def scores(self) -> Array:
        """Score vectors of the rollouts in order of reward, shape (M, d)."""
        scores: Array = self.__dict__["_scores"]
        return scores

    @cached_property
    def probabilities(self) -> Array:
        """1/M for each rollout, shape (M,)."""
        return _frozen(np.full(len(self.rewards), 1.0 / len(self.rewards)))

    def _draw_outcomes(self, size: Shape, rng: np.random.Generator) -> NDArray[np.intp]:
        return rng.integers(0, len(self.rewards), size, dtype=np.intp)


def _alias_table(probabilities: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return Walker's table (Vose 1991): column c stays if K·u < threshold[c], or is alias[c]."""
    count = len(probabilities)
    share = (probabilities * count).tolist()
    keep, alias = [1.0] * count, list(range(count))
    small = [c for c in range(count) if share[c] < 1.0]
    large = [c for c in range(count) if share[c] >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        keep[low], alias[low] = share[low], high
        # the order of these operations keeps the rounding error at that of one addition
        share[high] = (share[high] + share[low]) - 1.0
        if share[high] < 1.0:
            small.append(large.pop())
    return np.arange(count) + np.array(keep), np.array(alias, dtype=np.intp)


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array


def _store(law: Any, name: str, value: Any, shape: tuple[int | None, ...], cure: str = "") -> None:
    """Set a field to a read-only copy of an array."""
    # + 0.0 copies, and turns −0.0 into 0.0: equal laws have equal contents
    object.__setattr__(law, name, _frozen(_finite_array(name, value, shape, cure) + 0.0))


def _finite_array(name: str, value: Any, shape: tuple[int | None, ...], cure: str = "") -> Array:
    """Return value as a float64 array of this shape (None: any length ≥ 1), all finite."""
    array = np.asarray(value)
    wanted = (
        f"({', '.join('any' if n is None else str(n) for n in shape)}{',' * (len(shape) == 1)})"
    )
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; give real numbers of shape {wanted}")
    fits = array.ndim == len(shape) and all(
        have == want if want is not None else have > 0
        for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        hint = f" ({cure})" if cure else ""
        raise ValueError(f"{name} has shape {array.shape}; give shape {wanted}{hint}")
    array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name}{list(where)} is {array[where]}; give finite numbers")
    return array


def _column_names(names: Sequence[str] | None, d: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"theta[{j}]" for j in range(d))
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names is {names!r}; give a list of strings, one for each score column")
    if len(names) != d or len(set(names)) != d:
        raise ValueError(f"names is {names!r}; give {d} different names, one for each score column")
    return tuple(names)


def _show(array: Array) -> str:
    if array.size <= SHOWN_UP_TO:
        return str(array.tolist())
    size = "×".join(map(str, array.shape))
    return f"<{size} numbers in [{array.min():g}, {array.max():g}]>"
