r"""The prompts of a log as laws with finitely many pieces, with the exact best-of-N of each.

Piece k of a prompt has the probability p_k and rewards evenly between a_k and b_k, a_k = b_k where
they tie. With F_k = p_1 + … + p_k, F_0 = 0,

.. math::

    V_N = b_K − Σ_k (a_{k+1} − b_k) F_k^N
        − Σ_k (b_k − a_k) \frac{F_k^{N+1} − F_{k−1}^{N+1}}{(N + 1) p_k},

and the exact advantage rises by N (a_{k+1} − b_k) F_k^{N−1} between pieces, and by
(b_k − a_k) (F_k^N − F_{k−1}^N)/p_k over piece k.
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


@dataclass(frozen=True, eq=False)
class PromptLaws:
    """A law of rewards, in pieces, for each of P prompts.

    Attributes
    ----------
    values : ndarray, shape (P, K)
        Middle of each piece, ascending; a prompt with fewer than K pieces ends in its last one,
        repeated with probability 0.
    masses : ndarray, shape (P, K)
        Probability of each piece.
    widths : ndarray, shape (P, K)
        b_k − a_k; 0 where draws of a piece are equal. Pieces do not overlap.

    Examples
    --------
    >>> laws = PromptLaws.of_values([[0.0, 1.0]], [[0.75, 0.25]])
    >>> laws.value(2).round(6).tolist(), laws.variance(2, 2).round(6).tolist()  # p = 1 − (3/4)²
    ([0.4375], [0.246094])
    >>> PromptLaws(np.array([[0.5]]), np.ones((1, 1)), np.ones((1, 1))).value(3).tolist()  # uniform
    [0.75]
    """

    values: Array
    masses: Array
    widths: Array

    @classmethod
    def of_values(cls, values: object, masses: object) -> PromptLaws:
        """Return laws of values that tie."""
        v, p = np.asarray(values, dtype=float), np.asarray(masses, dtype=float)
        return cls(v, p, np.zeros(v.shape))

    def __len__(self) -> int:
        return len(self.values)

    def at(self, places: NDArray[np.intp]) -> PromptLaws:
        """Return the laws of some prompts, repeated ones too."""
        return PromptLaws(self.values[places], self.masses[places], self.widths[places])

    @cached_property
    def log_cdf(self) -> Array:
        """Return log F_k for k < K, shape (P, K − 1), from the nearer end."""
        below = np.cumsum(self.masses, axis=1)[:, :-1]
        above = np.cumsum(self.masses[:, :0:-1], axis=1)[:, ::-1]
        with np.errstate(divide="ignore"):
            return np.where(below < 0.5, np.log(below), np.log1p(-np.minimum(above, 1.0)))

    @cached_property
    def _gaps(self) -> Array:
        """Distances from the end of a piece to the start of the next, shape (P, K − 1)."""
        half = 0.5 * self.widths
        return np.diff(self.values, axis=1) - half[:, 1:] - half[:, :-1]

    def _rise(self, power: int) -> Array:
        """Return (F_k^power − F_{k−1}^power)/p_k, 0 where p_k is, shape (P, K)."""
        none, all_ = np.full((len(self), 1), -np.inf), np.zeros((len(self), 1))
        low = np.concatenate([none, self.log_cdf], axis=1)
        high = np.concatenate([self.log_cdf, all_], axis=1)
        with np.errstate(invalid="ignore"):  # F_k = 0
            difference = -np.exp(power * high) * np.expm1(power * (low - high))
        known = (self.masses > 0.0) & np.isfinite(high)
        return np.where(known, difference, 0.0) / np.where(known, self.masses, 1.0)

    def value(self, N: int) -> Array:
        """Return V_N of each prompt, shape (P,)."""
        top = self.values[:, -1] + 0.5 * self.widths[:, -1]
        between = (self._gaps * np.exp(N * self.log_cdf)).sum(axis=1)
        if not self.widths.any():
            return top - between
        return top - between - (self.widths * self._rise(N + 1)).sum(axis=1) / (N + 1)

    def influence(self, N: int) -> Array:
        """Return the mean of ψ_N over each piece, shape (P, K), with mean zero."""
        power = np.exp((N - 1) * self.log_cdf) if N > 1 else np.ones_like(self.log_cdf)
        inner = self.widths * self._rise(N)
        steps = N * self._gaps * power + inner[:, :-1]
        psi = np.concatenate([np.zeros((len(self), 1)), np.cumsum(steps, axis=1)], axis=1)
        if self.widths.any():
            none = np.zeros((len(self), 1))
            start = np.concatenate([none, np.exp(N * self.log_cdf)], axis=1)
            # the mean over a piece of (width/p_k) (F^N − F_{k−1}^N)
            known = self.masses > 0.0
            slope = np.where(known, self.widths, 0.0) / np.where(known, self.masses, 1.0)
            psi = psi + slope * (self._rise(N + 1) / (N + 1) - start)
        return psi - (self.masses * psi).sum(axis=1, keepdims=True)

    def variance(self, N: int, m: int) -> Array:
        r"""Return the variance of the unbiased best-of-N of m ≥ N rollouts, shape (P,).

        Two subsets of N of the m rollouts have c in common, a hypergeometric number. With C what
        they share, P(max(A ∪ C) ≤ x, max(B ∪ C) ≤ y) = F(x)^N F(y)^{N−c} for x ≤ y, so that by
        Hoeffding's formula

        .. math:: \operatorname{Var} = \int\int F(x \wedge y)^N
            \bigl[E_c F(x \vee y)^{N-c} - F(x \vee y)^N\bigr] \, dx \, dy.

        Pieces count by their middle here.
        """
        lower = np.exp(N * self.log_cdf)
        excess = lower_excess(self.log_cdf, N, m)
        gaps = np.diff(self.values, axis=1)
        below = np.cumsum(gaps * lower, axis=1) - gaps * lower
        return (gaps * excess * (2.0 * below + gaps * lower)).sum(axis=1)

    def draw(
        self, m: int, rng: np.random.Generator, places: NDArray[np.intp] | None = None
    ) -> tuple[Array, NDArray[np.intp]]:
        """Return m rewards of each prompt, and which of its pieces each is from.

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
        if self.widths.any():
            place = rng.random(outcome.shape) - 0.5
            rewards = rewards + self.widths[prompt, outcome] * place
        return rewards, outcome

    @cached_property
    def _edges(self) -> Array:
        """The upper ends of the pieces' probabilities, prompt g's from 2g on, in one row."""
        edges = np.cumsum(self.masses, axis=1)
        # the last piece with a probability takes what rounding leaves
        last = self.masses[:, ::-1].cumsum(axis=1)[:, ::-1] - self.masses <= 0.0
        edges = np.where(last, 1.5, np.minimum(edges, 1.0))
        return (edges + 2.0 * np.arange(len(self))[:, None]).ravel()


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
