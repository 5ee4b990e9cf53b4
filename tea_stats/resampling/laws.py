r"""The prompts of a log as finite laws, with the exact best-of-N of each.

A prompt's rewards r_1 ≤ … ≤ r_K with probabilities p_k, F_k = p_1 + … + p_k, have

.. math::

    V_N = r_K − Σ_{k < K} (r_{k+1} − r_k) F_k^N, \quad
    ψ_N(r_k) = N Σ_{j < k} (r_{j+1} − r_j) F_j^{N−1} − \text{const},

and the unbiased best-of-N of m ≥ N rollouts, a U-statistic, has the variance of `variance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tea_stats.families.law import Array
from tea_stats.prediction.u_statistic import log_choose

#: overlaps of two subsets that are less likely than this are neglected
NEGLIGIBLE = 1e-17
#: draws of one reward that is no tie in the log are apart by up to this share of the next gap
HAIR = 1e-6


@dataclass(frozen=True, eq=False)
class PromptLaws:
    """A finite law of rewards for each of P prompts.

    Attributes
    ----------
    values : ndarray, shape (P, K)
        Rewards, ascending; a prompt with fewer than K ends in its largest, with probability 0.
    masses : ndarray, shape (P, K)
        Their probabilities.
    tied : ndarray of bool, shape (P, K)
        Whether two draws of this reward are equal. Others differ by a hair: a reward that occurs
        once in a log of continuous rewards stands for those around it.

    Examples
    --------
    >>> laws = PromptLaws.of_values([[0.0, 1.0]], [[0.75, 0.25]])
    >>> laws.value(2).tolist(), laws.variance(2, 2).tolist()  # 1 − (3/4)², and p(1 − p) of that
    ([0.4375], [0.24609375])
    """

    values: Array
    masses: Array
    tied: NDArray[np.bool_]

    @classmethod
    def of_values(cls, values: object, masses: object) -> PromptLaws:
        """Return laws of values that tie."""
        v, p = np.asarray(values, dtype=float), np.asarray(masses, dtype=float)
        return cls(v, p, np.ones(v.shape, dtype=bool))

    def __len__(self) -> int:
        return len(self.values)

    def at(self, places: NDArray[np.intp]) -> PromptLaws:
        """Return the laws of some prompts, repeated ones too."""
        return PromptLaws(self.values[places], self.masses[places], self.tied[places])

    @cached_property
    def gaps(self) -> Array:
        """Distances of neighbouring rewards, shape (P, K − 1)."""
        return np.diff(self.values, axis=1)

    @cached_property
    def log_cdf(self) -> Array:
        """Return log F_k for k < K, shape (P, K − 1), from the nearer end."""
        below = np.cumsum(self.masses, axis=1)[:, :-1]
        above = np.cumsum(self.masses[:, :0:-1], axis=1)[:, ::-1]
        with np.errstate(divide="ignore"):
            return np.where(below < 0.5, np.log(below), np.log1p(-np.minimum(above, 1.0)))

    def value(self, N: int) -> Array:
        """Return V_N of each prompt, shape (P,)."""
        return self.values[:, -1] - (self.gaps * np.exp(N * self.log_cdf)).sum(axis=1)

    def influence(self, N: int) -> Array:
        """Return ψ_N at each reward, shape (P, K), with mean zero."""
        with np.errstate(invalid="ignore"):  # N = 1 and F = 0
            power = np.exp((N - 1) * self.log_cdf) if N > 1 else np.ones_like(self.log_cdf)
        steps = N * self.gaps * power
        psi = np.concatenate([np.zeros((len(self), 1)), np.cumsum(steps, axis=1)], axis=1)
        return psi - (self.masses * psi).sum(axis=1, keepdims=True)

    def variance(self, N: int, m: int) -> Array:
        r"""Return the variance of the unbiased best-of-N of m ≥ N rollouts, shape (P,).

        Two subsets of N of the m rollouts have c in common, a hypergeometric number. With C what
        they share, P(max(A ∪ C) ≤ x, max(B ∪ C) ≤ y) = F(x)^N F(y)^{N−c} for x ≤ y, so that by
        Hoeffding's formula

        .. math:: \operatorname{Var} = ∫∫ F(x ∧ y)^N
            \bigl[E_c F(x ∨ y)^{N−c} − F(x ∨ y)^N\bigr] \, dx \, dy.
        """
        lower = np.exp(N * self.log_cdf)
        excess = lower_excess(self.log_cdf, N, m)
        below = np.cumsum(self.gaps * lower, axis=1) - self.gaps * lower
        return (self.gaps * excess * (2.0 * below + self.gaps * lower)).sum(axis=1)

    def draw(
        self, m: int, rng: np.random.Generator, places: NDArray[np.intp] | None = None
    ) -> tuple[Array, NDArray[np.intp]]:
        """Return m rewards of each prompt, and which of its rewards each is.

        Parameters
        ----------
        m : int
            Rollouts of a prompt.
        rng : numpy.random.Generator
            Source of the draws.
        places : ndarray of int, shape (G,), optional
            The prompts, in any order and as often as wanted; by default each once.

        Returns
        -------
        rewards : ndarray, shape (G, m)
        outcome : ndarray of int, shape (G, m)
            Columns of `values`.
        """
        prompt = (np.arange(len(self)) if places is None else places)[:, None]
        # one search for all prompts: prompt g's edges and draws lie in [2g, 2g + 1]
        uniform = rng.random((len(prompt), m)) + 2.0 * prompt
        outcome = np.searchsorted(self._edges, uniform, side="right")
        outcome = outcome - prompt * self.values.shape[1]
        rewards = self.values[prompt, outcome]
        if not self.tied.all():
            rewards = rewards + self._hair[prompt, outcome] * rng.random(outcome.shape)
        return rewards, outcome

    @cached_property
    def _edges(self) -> Array:
        """The upper ends of the rewards' probabilities, prompt g's from 2g on, in one row."""
        edges = np.cumsum(self.masses, axis=1)
        # the last reward with a probability takes what rounding leaves
        last = self.masses[:, ::-1].cumsum(axis=1)[:, ::-1] - self.masses <= 0.0
        edges = np.where(last, 1.5, np.minimum(edges, 1.0))
        return (edges + 2.0 * np.arange(len(self))[:, None]).ravel()

    @cached_property
    def _hair(self) -> Array:
        """How far draws of a reward lie apart, at most: a hair of the next gap, or of the last."""
        gaps = np.concatenate([self.gaps, np.zeros((len(self), 1))], axis=1)
        last = (self.masses > 0.0).sum(axis=1) - 1
        rows = np.arange(len(self))
        gaps[rows, last] = np.where(last > 0, self.gaps[rows, np.maximum(last - 1, 0)], 0.0)
        return np.where(self.tied, 0.0, HAIR * gaps)


def lower_excess(log_cdf: Array, N: int, m: int) -> Array:
    """Return E_c F^{N−c} − F^N, c the overlap of two subsets of N of m.

    Examples
    --------
    >>> lower_excess(np.log([0.5]), 1, 4)  # overlap 1 with chance 1/4
    array([0.125])
    """
    if not 1 <= N <= m:
        raise ValueError(f"N is {N} and m is {m}; give N between 1 and m")
    c = np.arange(max(0, 2 * N - m), N + 1)
    chance = np.exp(log_choose(N, c) + log_choose(m - N, N - c) - log_choose(m, N))
    likely = (chance > NEGLIGIBLE) & (c > 0)
    total = np.zeros_like(log_cdf)
    for overlap, weight in zip(c[likely].tolist(), chance[likely].tolist(), strict=True):
        # F^{N−c} − F^N = F^{N−c} (1 − F^c): no cancellation
        rest = np.exp((N - overlap) * log_cdf) if overlap < N else 1.0
        total += weight * rest * -np.expm1(overlap * log_cdf)
    return total
