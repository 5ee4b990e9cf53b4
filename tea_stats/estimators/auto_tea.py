"""Auto TEA, the recommended default: it extrapolates as far as the other groups support it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tea_stats import _kernels
from tea_stats._validation import as_count
from tea_stats.estimators import ceilings, levels, max_at_k, ties
from tea_stats.estimators.record import Array, Estimator, Mark, as_function
from tea_stats.linear import library, shapes
from tea_stats.linear.design import tableau


class Constants(NamedTuple):
    """The linear design of each law, max@m last, and what each beta law expects.

    Attributes
    ----------
    base, slopes : ndarray, shape (K + 1, m − 1)
        As `_kernels.gap_linear` takes them.
    risk : ndarray, shape (K,)
        Risk of linear TEA under each law.
    counts : levels.Counts
        For few-valued groups.
    """

    base: Array
    slopes: Array
    risk: Array
    counts: levels.Counts
    hits: ceilings.Hits


@lru_cache(maxsize=64)
def constants(m: int, N: int, prompts: int) -> Constants:
    """Return the designs of the library and of max@m, and the counts of the beta laws."""
    known = library.designs(m, N, prompts)
    tableaux = [tableau(x[:-1], x[-1]) for x in known.coefficients]
    tableaux.append(max_at_k.MaxAtK().prepare(m, N))
    base, slopes = (np.array([t[part] for t in tableaux]) for part in (1, 2))
    return Constants(base, slopes, known.risk, levels.counts(m, N), ceilings.hits(m, N))


#: earlier groups that are learnt from, by size: rewards (G, m), ascending, and weights (G,)
Earlier = Mapping[int, tuple[Array, Array]]
NOTHING: Earlier = MappingProxyType({})


class Part(NamedTuple):
    """The groups of one size.

    Attributes
    ----------
    rewards : ndarray, shape (G, m)
        Rewards of each group, ascending.
    weight : ndarray, shape (G,)
        How much the others learn from each group, from 0 to 1: 1 for those of the batch.
    asked : int
        The first so many groups want advantages; the rest are only learnt from.
    constants : Constants
        For this m.
    """

    rewards: Array
    weight: Array
    asked: int
    constants: Constants


class Belief(NamedTuple):
    """What groups of one size are taken for, group by group.

    Attributes
    ----------
    few : ndarray, shape (asked,)
        φ: how far a group is few-valued.
    laws : ndarray, shape (asked, K + 1)
        Posterior probabilities of the laws given the other groups; last, that of none of them.
    others : ndarray, shape (asked,)
        Weight of the other groups that these are learnt from.
    uncapped, capped : ndarray, shape (asked,)
        What is kept of the advantages, and what is added of max@m's: 1 and 0 without a ceiling.
    """

    few: Array
    laws: Array
    others: Array
    uncapped: Array
    capped: Array


def belief(parts: Sequence[Part]) -> list[Belief]:
    """Return what the groups of each size are taken for."""
    gaps = [np.diff(part.rewards, axis=1) for part in parts]
    return _belief(parts, gaps, [levels.few_valued(g) for g in gaps])


def _belief(parts: Sequence[Part], gaps: list[Array], few: list[Array]) -> list[Belief]:
    weight = [part.weight * (1.0 - f) for part, f in zip(parts, few, strict=True)]
    total = sum(float(w.sum()) for w in weight)
    seen = [shapes.Seen(g, w, part.asked) for g, w, part in zip(gaps, weight, parts, strict=True)]
    hits = [
        ceilings.Seen(part.rewards, w, part.asked, part.constants.hits)
        for part, w in zip(parts, weight, strict=True)
    ]
    laws, shares = shapes.posteriors(seen), ceilings.shares(hits)
    return [
        Belief(f[: part.asked], law, np.maximum(total - w[: part.asked], 0.0), *share)
        for part, f, law, w, share in zip(parts, few, laws, weight, shares, strict=True)
    ]


def together(parts: Sequence[Part]) -> list[Array]:
    """Return the advantages (asked, m) of the groups of each size; all sizes learn together."""
    gaps = [np.diff(part.rewards, axis=1) for part in parts]
    few = [levels.few_valued(g) for g in gaps]
    of_levels = levels.designs(
        [
            levels.Seen(g, part.weight * f, part.asked, part.constants.counts)
            for part, g, f in zip(parts, gaps, few, strict=True)
        ]
    )
    results = []
    for part, own, (base, slopes) in zip(parts, _belief(parts, gaps, few), of_levels, strict=True):
        known, share = part.constants, own.few[:, None]
        # where a risk is high anyway, as under heavy tails, a wrong weight costs little
        mixed = own.laws[:, :-1] / known.risk
        total = mixed.sum(axis=1, keepdims=True)
        mixed *= (1.0 - own.laws[:, -1:]) / np.where(total > 0.0, total, 1.0)
        smooth = np.column_stack([mixed, own.laws[:, -1]]) * own.uncapped[:, None]
        smooth[:, -1] += own.capped
        smooth *= 1.0 - share
        base = smooth @ known.base + share * base
        slopes = smooth @ known.slopes + share * slopes
        out = np.empty((part.asked, part.rewards.shape[1]))
        _kernels.gap_linear_each(part.rewards[: part.asked], base, slopes, out)
        results.append(out)
    return results


def automatic(
    r: Array,
    base: Array,
    slopes: Array,
    risk: Array,
    counts: levels.Counts,
    hits: ceilings.Hits,
    out: Array,
) -> None:
    """Fill out[G, m] with the advantages of a batch of sorted groups r[G, m]."""
    known = Constants(base, slopes, risk, counts, hits)
    (out[:],) = together([Part(r, np.ones(len(r)), len(r), known)])


@dataclass(frozen=True, kw_only=True)
class AutoTEA(Estimator):
    r"""Auto TEA: extrapolated by the laws that the other groups of the batch support, else max@m.

    .. math::

        A_i = (1 − φ) \Bigl[ π_0 A_i^{\max@m} + (1 − π_0) \,
        \frac{Σ_L (π_L/ρ_L) A_i^L}{Σ_L π_L/ρ_L} \Bigr] + φ A_i^{\text{levels}}.

    A^L is the linear advantage that is best under law L of a library, ρ_L its risk there; π_L is
    the probability of L, and π_0 that of none of them, given the shapes of the other groups. φ is
    how far the group is few-valued, by its own rewards. Where the other groups show a ceiling, the
    bracket is replaced by a part of max@m, as far as this is likely. A prompt's rewards times s
    plus c have s times the advantages, whatever the others are.

    Parameters
    ----------
    prompts : int
        Prompts over which gradients are averaged, as in `adaptive_tea`.

    Notes
    -----
    *Shapes.* The shape x of a group is a vector of logs: rises of the curve k ↦ V̂_k over
    V̂_2 − V̂_1, and how unequal its gaps are (`tea_stats.linear.shapes`). With x̄ the mean over the n
    other groups, each of weight 1 − φ,

    .. math::

        π_L ∝ p_L \, \mathcal{N}(\bar x; \, μ_L, \, Σ_L/n + ε_L^2 I)

    over the laws L of the library (ε = .04), mixtures with a far mode (.08) and any shape (.5); π_0
    is the share of the last two. Before the batch is seen the library has .1 n/(n + 16) in all: a
    single group gets max@m. The group's own shape has a veto: where its squared distance from L's,
    d², exceeds 100 (one group in a thousand does under L), π_L is multiplied by e^{(100 − d²)/2}.

    *Ceilings.* The other groups show a ceiling by maxima that are one value, compared among each
    other, and by ties at the top within groups; with κ the probability that this group has one,
    [·] becomes (1 − κ)[·] + κ E[(1 − p)^(N − m)] A^max@m, p the chance to reach it
    (`tea_stats.estimators.ceilings`). Rewards that never tie have κ = 0.

    *Levels.* φ falls from 1 to 0 between 4 and 6 distinct rewards, and between 1/2 and 3/4 of them
    being there once. A^levels is beta-binomial on the group's own levels in its own unit
    (`tea_stats.estimators.levels`), with a share of prompts that never succeed; a group whose
    rewards are all equal has advantages 0.

    Given the other groups, φ = 0, no veto and no ceiling, ĝ is unbiased for Σ_k w_k V_k. Groups of
    all sizes (a mask) learn from each other. Alone a group gets max@m: with fewer than four
    groups, or m = 4 and fewer than 16, keep a `tea_stats.Memory`, or take `linear_tea` where
    rewards are known to be smooth. Ours.
    `tea_stats.RECOMMENDED` is its name; `tea_stats.batch_report` says what a batch was taken for.

    Examples
    --------
    >>> auto_tea([[0, 0, 0, 1], [0, 0, 0, 0]], N=16).round(2)  # a verifier
    array([[-0.15, -0.15, -0.15,  2.2 ],
           [ 0.  ,  0.  ,  0.  ,  0.  ]])
    >>> auto_tea([0.0, 1.5, 2.0, 6.0], N=16)  # a single group: max@m
    array([ 0.,  0.,  0., 16.])
    """

    prompts: int = 64

    name = "auto_tea"
    title = "auto TEA"
    unbiased_for = "its surrogate sum w_k V_k, given the other groups, unless few-valued"
    objective = (
        r"its surrogate $\sum_kw_kV_k$, given the other groups of the batch, unless few-valued"
    )
    reference = "this project; builds on Li, Qian and Mou (2026), arXiv:2605.10716"
    marks = (({}, Mark("#B22222", "H", main=True)),)
    uses_N = True
    pools = True
    kernel = staticmethod(automatic)

    def prepare(self, m: int, N: int) -> Constants:
        """Return the designs of the library and of max@m, and the counts of the beta laws."""
        return constants(m, N, as_count("prompts", self.prompts))

    def parts(
        self,
        batch: Sequence[Array],
        N: int,
        tie: float = ties.DOUBLE,
        earlier: Earlier = NOTHING,
    ) -> list[Part]:
        """Return the groups of each size, sorted, with the earlier groups of that size behind."""
        found = []
        for groups in batch:
            m = groups.shape[1]
            older, weight = earlier.get(m, (np.empty((0, m)), np.empty(0)))
            ascending = ties.merged(np.sort(groups, axis=1), tie)
            rewards = np.concatenate([ascending, older])
            whole = np.concatenate([np.ones(len(groups)), weight])
            found.append(Part(rewards, whole, len(groups), self.prepare(m, N)))
        sizes = {groups.shape[1] for groups in batch}
        for m in sorted(set(earlier) - sizes):
            found.append(Part(*earlier[m], 0, self.prepare(m, N)))
        return found

    def of_sizes(
        self,
        batch: Sequence[Array],
        N: int,
        tie: float | None = None,
        earlier: Earlier = NOTHING,
    ) -> list[Array]:
        """Return the advantages of the groups of each size (G, m), which learn from all sizes."""
        if len(batch) == 1 and not earlier:
            return super().of_sizes(batch, N, tie)
        results = []
        parts = self.parts(batch, N, ties.DOUBLE if tie is None else tie, earlier)
        for groups, found in zip(batch, together(parts), strict=False):
            out, order = np.empty_like(groups), np.argsort(groups, axis=1)
            _kernels.scatter(found, order, out)
            results.append(out)
        return results


auto_tea = as_function(AutoTEA)
