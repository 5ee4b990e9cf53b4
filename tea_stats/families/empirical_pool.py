"""Recorded rollouts of a language model as a law like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats._validation import as_array
from tea_stats.families.finite_law import FiniteLaw, frozen
from tea_stats.families.law import Array, Shape


@dataclass(frozen=True, init=False, repr=False, eq=False)
class EmpiricalPool(FiniteLaw):
    r"""Recorded rollouts as a law: each of M (reward, score) pairs is as likely.

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

    Notes
    -----
    The distribution function, of which V_N is an exact sum, is

    .. math:: F(r) = \frac{1}{M} Σ_{i = 1}^M 1\{r_i ≤ r\},

    and the score of rollout i is the one that was recorded with it. Efron (1979), Annals of
    Statistics 7, 1–26, for the plug-in principle.

    **What a pool says of its model.** The gradient of a pool is exact for the pool. Of the model
    that it was drawn from it is an estimate, decided by the M/N or so best rollouts. With d the
    effective number of dimensions of the scores, (tr Σ)²/tr Σ² for their second moment Σ, about
    d/(d + M/N) of its squared length is the chance of the draw: believe it, and an order of
    estimators measured on it, where M/N is many times d. Two halves of the pool whose gradients
    disagree say the same.

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
        given = as_array("rewards", rewards, (None,))
        vectors = as_array("scores", scores, (len(given), None), "a row for each reward")
        order = np.argsort(given, kind="stable")
        object.__setattr__(self, "rewards", frozen(given[order]))
        object.__setattr__(self, "_scores", frozen(vectors[order]))
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
        return frozen(np.full(len(self.rewards), 1.0 / len(self.rewards)))

    def _draw(self, size: Shape, rng: np.random.Generator) -> NDArray[np.intp]:
        return rng.integers(0, len(self.rewards), size, dtype=np.intp)


def _column_names(names: Sequence[str] | None, d: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"theta[{j}]" for j in range(d))
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names is {names!r}; give a list of strings, one for each score column")
    if len(names) != d or len(set(names)) != d:
        raise ValueError(f"names is {names!r}; give {d} different names, one for each score column")
    return tuple(names)
