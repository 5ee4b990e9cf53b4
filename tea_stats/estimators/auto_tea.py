"""Auto TEA, the recommended default: adaptive TEA; for few-valued rewards, beta-binomial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tea_stats.estimators import adaptive_tea, beta_binomial
from tea_stats.estimators.record import Array, Estimator, Mark, as_function

#: a batch is few-valued if each of its distinct rewards occurs as often as this, on average
REPEATS = 2


class Constants(NamedTuple):
    """The constants of both parts."""

    adaptive: adaptive_tea.Constants
    counts: beta_binomial.Counts


def automatic(
    r: Array, adaptive: adaptive_tea.Constants, counts: beta_binomial.Counts, out: Array
) -> None:
    """Fill out[G, m] with the advantages of a batch of sorted groups r[G, m]."""
    distinct = len(np.unique(r))
    if distinct <= beta_binomial.MOST_VALUES and REPEATS * distinct <= r.size:
        beta_binomial.few_valued(r, *counts, out)
    else:
        adaptive_tea.adaptive(r, *adaptive, out)


@dataclass(frozen=True, kw_only=True)
class AutoTEA(Estimator):
    r"""Auto TEA: adaptive TEA, or beta-binomial if the batch's rewards are few-valued.

    With D distinct rewards among the G m of the batch,

    .. math::

        A = \begin{cases}
        A^{\text{beta-binomial}} & \text{if } D ≤ 64 \text{ and } 2 D ≤ G m \\
        A^{\text{adaptive TEA}} & \text{otherwise.}
        \end{cases}

    The first case is that of few-valued rewards, each of them there twice on average: verifiers,
    scales, test counts. A continuous reward has no ties, and goes to adaptive TEA.

    Parameters
    ----------
    prompts : int
        Prompts over which gradients are averaged, as in `adaptive_tea`.

    Notes
    -----
    Ours. `tea_stats.RECOMMENDED` is its name: nothing about the tail has to be chosen in advance.
    `python -m analysis.benchmark.ranking analysis/summaries/league` shows how it was measured.

    Examples
    --------
    >>> auto_tea([[0, 0, 0, 1], [0, 0, 0, 0]], N=16).round(2)  # beta-binomial
    array([[-0.15, -0.15, -0.15,  2.64],
           [-0.12, -0.12, -0.12, -0.12]])
    """

    prompts: int = 64

    name = "auto_tea"
    title = "auto TEA"
    unbiased_for = "the surrogate of adaptive TEA; that of beta-binomial for few-valued rewards"
    objective = unbiased_for
    reference = "this project; builds on Li, Qian and Mou (2026), arXiv:2605.10716"
    marks = (({}, Mark("#B22222", "H", main=True)),)
    uses_N = True
    pools = True
    kernel = staticmethod(automatic)

    def prepare(self, m: int, N: int) -> Constants:
        """Return the constants of adaptive TEA and of beta-binomial."""
        adaptive = adaptive_tea.AdaptiveTEA(prompts=self.prompts)
        return Constants(adaptive.prepare(m, N), beta_binomial.counts(m, N))


auto_tea = as_function(AutoTEA)
