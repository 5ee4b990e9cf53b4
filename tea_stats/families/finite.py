"""Softmax policies over finitely many outcomes: Discrete, SoftmaxBandit."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from tea_stats._validation import as_array
from tea_stats.families.finite_law import FiniteLaw, frozen, store
from tea_stats.families.law import Array, Shape

#: up to here a binary search of the cumulative probabilities is faster than an alias table
SEARCH_UP_TO = 16


class SoftmaxLaw(FiniteLaw):
    """Base of the laws whose outcome probabilities are a softmax of logits."""

    @property
    @abstractmethod
    def _logits(self) -> Array:
        """Logits of the outcomes in the order given."""

    @property
    def _features(self) -> Array:
        """Their derivatives in the parameters, shape (K, d)."""
        return np.eye(len(self._logits))

    @cached_property
    def scores(self) -> Array:
        """Score vectors of the outcomes in order of reward, shape (K, d)."""
        features = self._features
        return frozen(features[self._order] - special.softmax(self._logits) @ features)

    @cached_property
    def probabilities(self) -> Array:
        """Probabilities of the outcomes in order of reward, shape (K,)."""
        return frozen(special.softmax(self._logits)[self._order])

    @cached_property
    def _alias(self) -> tuple[Array, NDArray[np.intp]]:
        return _alias_table(self.probabilities)

    def _draw(self, size: Shape, rng: np.random.Generator) -> NDArray[np.intp]:
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
    r"""A law on a list of reward values: Likert scores, 0/1 verifiers.

    Parameters
    ----------
    values : array_like, shape (K,)
        Rewards; equal ones are allowed.
    logits : array_like, shape (K,)
        The parameters, named "logit[k]" with k as given here.

    Notes
    -----
    The probability of outcome k, and the score of outcome y in logit k, are

    .. math::

        p_k = \frac{e^{\text{logits}_k}}{Σ_j e^{\text{logits}_j}}, \quad S_k = 1\{y = k\} − p_k.

    Williams (1992), Machine Learning 8, 229–256.

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
        store(self, "values", self.values, (None,))
        store(self, "logits", self.logits, (len(self.values),), "one logit for each value")

    @classmethod
    def from_probabilities(cls, values: ArrayLike, probabilities: ArrayLike) -> Discrete:
        """Return the law with these probabilities > 0, which must sum to 1: logits are their logs.

        Examples
        --------
        >>> Discrete.from_probabilities([0, 1], [0.5, 0.5]).probabilities
        array([0.5, 0.5])
        """
        p = as_array("probabilities", probabilities, (None,))
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
    def _rewards(self) -> Array:
        return self.values

    @property
    def _logits(self) -> Array:
        return self.logits


@dataclass(frozen=True, repr=False, eq=False)
class SoftmaxBandit(SoftmaxLaw):
    r"""A softmax policy over K responses with fixed rewards.

    Either one logit for each response, or logits linear in d features.

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

    Notes
    -----
    With x_y the features of response y (unit vectors if logits are given, θ the logits then), the
    policy and its score are

    .. math::

        π(y) = \frac{e^{x_y \cdot θ}}{Σ_j e^{x_j \cdot θ}}, \quad S(y) = x_y − Σ_j π(j) x_j.

    Williams (1992), Machine Learning 8, 229–256.

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
        store(self, "rewards", self.rewards, (None,))
        linear = self.features is not None
        if linear != (self.theta is not None) or linear == (self.logits is not None):
            names = ("logits", "features", "theta")
            given = [name for name in names if getattr(self, name) is not None]
            raise ValueError(
                f"a SoftmaxBandit got {' and '.join(given) or 'rewards only'}; "
                "give either logits, or features and theta"
            )
        K = len(self.rewards)
        if linear:
            store(self, "features", self.features, (K, None), "a row for each reward")
            d = self._contents["features"].shape[1]
            store(self, "theta", self.theta, (d,), "a number for each column of features")
        else:
            store(self, "logits", self.logits, (K,), "one logit for each reward")

    @property
    def parameters(self) -> tuple[str, ...]:
        """`("logit[0]", …)`, or `("theta[0]", …)` with features."""
        if self.theta is not None:
            return tuple(f"theta[{j}]" for j in range(len(self.theta)))
        return tuple(f"logit[{k}]" for k in range(len(self.rewards)))

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

    @property
    def _features(self) -> Array:
        return super()._features if self.features is None else self.features


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
