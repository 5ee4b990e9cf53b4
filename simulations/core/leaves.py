"""An enumerated prompt as a law of `tea_stats`: leaves, their probabilities, rewards and scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tea_stats.families.finite import SoftmaxLaw
from tea_stats.families.finite_law import frozen, store

Array = NDArray[np.float64]

#: means of scores are 0 up to this share of their root mean square: a model in float32
OFF = 1e-3


@dataclass(frozen=True, repr=False, eq=False)
class Leaves(SoftmaxLaw):
    """The responses to a prompt as a finite law.

    Attributes
    ----------
    rewards, logits : ndarray, shape (leaves,)
        Rewards, and log-probabilities up to a constant.
    vectors : ndarray, shape (leaves, d)
        Score vectors, or any d projections of them: of mean 0 under the law.

    Raises
    ------
    ValueError
        If shapes disagree, or a mean is not 0: gradients would be wrong.
    """

    rewards: Array
    logits: Array
    vectors: Array

    def __post_init__(self) -> None:
        store(self, "rewards", self.rewards, (None,))
        K = len(self.rewards)
        store(self, "logits", self.logits, (K,), "one logit for each reward")
        store(self, "vectors", self.vectors, (K, None), "a row for each reward")
        p = special.softmax(self.logits)
        off = np.abs(p @ self.vectors) - OFF * np.sqrt(p @ self.vectors**2)
        if (off > 0.0).any():
            j = int(off.argmax())
            raise ValueError(
                f"vectors[:, {j}] has the mean {p @ self.vectors[:, j]:.3g} under the law; scores "
                "have mean 0: give ∂ log p, or subtract the mean"
            )

    @property
    def parameters(self) -> tuple[str, ...]:
        """`("theta[0]", …)`."""
        return tuple(f"theta[{j}]" for j in range(self.vectors.shape[1]))

    @property
    def _rewards(self) -> Array:
        return self.rewards

    @property
    def _logits(self) -> Array:
        return self.logits

    @cached_property
    def scores(self) -> Array:
        """Score vectors in order of reward, shape (leaves, d)."""
        return frozen(self.vectors[self._order])


def read_leaves(path: Path) -> Leaves:
    """Return the law of an .npz file: arrays rewards and logits (leaves,), scores (leaves, d).

    Logits are log-probabilities, up to a constant.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Leaves(arrays["rewards"], arrays["logits"], arrays["scores"])
    except (OSError, KeyError) as error:
        raise ValueError(
            f"file {path}: {error}; give an .npz file with the arrays rewards, logits and scores"
        ) from None
