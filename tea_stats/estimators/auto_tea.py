"""Auto TEA, the recommended default: it extrapolates as far as the other groups support it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tea_stats import _kernels
from tea_stats._validation import as_count
from tea_stats.estimators import ceilings, levels, max_at_k
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


class Belief(NamedTuple):
    """What a batch is taken for, group by group.

    Attributes
    ----------
    few : ndarray, shape (G,)
        φ: how far a group is few-valued.
    laws : ndarray, shape (G, K + 1)
        Posterior probabilities of the laws given the other groups; last, that of none of them.
    """

    few: Array
    laws: Array


def belief(gaps: Array) -> Belief:
    """Return what a batch with these gaps (G, m − 1) is taken for."""
    few = levels.few_valued(gaps)
    return Belief(few, shapes.posterior(gaps, 1.0 - few))


def automatic(
    r: Array, base: Array, slopes: Array, risk: Array, counts: levels.Counts, hits: ceilings.Hits,
    out: Array
) -> None:
    """Fill out[G, m] with the advantages of a batch of sorted groups r[G, m]."""
    gaps = np.diff(r, axis=1)
    few, laws = belief(gaps)
    # where a risk is high anyway, as under heavy tails, a wrong weight costs little
    mixed = laws[:, :-1] / risk
    total = mixed.sum(axis=1, keepdims=True)
    mixed *= (1.0 - laws[:, -1:]) / np.where(total > 0.0, total, 1.0)
    smooth = (1.0 - few)[:, None] * np.column_stack([mixed, laws[:, -1]])
    live = gaps.any(axis=1)
    stay, top = ceilings.weights(r, np.where(live, 1.0 - few, 0.0), hits)
    smooth *= stay[:, None]
    smooth[:, -1] += (1.0 - few) * top
    own_base, own_slopes = levels.design(gaps, few, counts)
    own_base = smooth @ base + few[:, None] * own_base
    own_slopes = smooth @ slopes + few[:, None] * own_slopes
    _kernels.gap_linear_each(r, own_base, own_slopes, out)


@dataclass(frozen=True, kw_only=True)
class AutoTEA(Estimator):
    r"""Auto TEA: extrapolated by the laws that the other groups of the batch support, else max@m.

    .. math::

        A_i = (1 − φ) \Bigl[ π_0 A_i^{\max@m} + (1 − π_0) \,
        \frac{Σ_L (π_L/ρ_L) A_i^L}{Σ_L π_L/ρ_L} \Bigr] + φ A_i^{\text{levels}}.

    A^L is the linear advantage that is best under law L of a library, ρ_L its risk there; π_L is
    the probability of L, and π_0 that of none of them, given the shapes of the other groups. φ is
    how far the group is few-valued, by its own rewards. All of these are free of unit and location:
    a prompt's rewards times s plus c have s times the advantages, whatever the others are.

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

    *Levels.* φ falls from 1 to 0 between 4 and 6 distinct rewards, and between 1/2 and 3/4 of them
    being there once. A^levels is beta-binomial on the group's own levels in its own unit
    (`tea_stats.estimators.levels`); a group whose rewards are all equal has advantages 0.

    Given the other groups, φ = 0 and no veto, ĝ is unbiased for Σ_k w_k V_k. Alone, or with other
    groups of another size only (a mask), a group gets max@m: below four groups, or m = 4 and fewer
    than 16, `linear_tea` has less error where rewards are known to be smooth. Ours.
    `tea_stats.RECOMMENDED` is its name; `tea_stats.batch_report` says what a batch was taken for.

    Examples
    --------
    >>> auto_tea([[0, 0, 0, 1], [0, 0, 0, 0]], N=16).round(2)  # a verifier
    array([[-0.15, -0.15, -0.15,  2.29],
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


auto_tea = as_function(AutoTEA)
