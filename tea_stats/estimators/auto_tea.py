"""Auto TEA, the recommended default: adaptive TEA; for few-valued rewards, beta-binomial."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tea_stats.estimators import adaptive_tea, beta_binomial
from tea_stats.estimators.record import Array, Estimator, group_advantages

#: a batch is few-valued if each of its distinct rewards occurs as often as this, on average
REPEATS = 2


def prepare(m: int, N: int, *, prompts: int) -> tuple[Array, ...]:
    """Return the constants of adaptive TEA, then those of beta-binomial."""
    return *adaptive_tea.prepare(m, N, prompts=prompts), *beta_binomial.prepare(m, N)


def automatic(r: Array, *constants: Array) -> None:
    """Fill the last array, out[G, m], with the advantages of a batch of sorted groups r[G, m]."""
    *by_library, evidence, tables, out = constants
    distinct = len(np.unique(r))
    if distinct <= beta_binomial.MOST_VALUES and REPEATS * distinct <= r.size:
        beta_binomial.few_valued(r, evidence, tables, out)
    else:
        adaptive_tea.adaptive(r, *by_library, out)


def auto_tea(rewards: ArrayLike, N: int, *, prompts: int = 64) -> Array:
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
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype; all leading axes together are the
        batch.
    N : int
        Deployment budget of best-of-N.
    prompts : int
        Prompts over which gradients are averaged, as in `adaptive_tea`.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

    Notes
    -----
    Ours. `tea_stats.RECOMMENDED` is its name: nothing about the tail has to be chosen in advance.
    `python -m analysis.benchmark.ranking analysis/summaries/league` says what it was measured on.

    Examples
    --------
    >>> auto_tea([[0, 0, 0, 1], [0, 0, 0, 0]], N=16).round(2)  # beta-binomial
    array([[-0.15, -0.15, -0.15,  2.64],
           [-0.12, -0.12, -0.12, -0.12]])
    """
    return group_advantages(rewards, N, prepare, automatic, pools=True, prompts=prompts)


AUTO_TEA = Estimator(
    name="auto_tea",
    function=auto_tea,
    prepare=prepare,
    kernel=automatic,
    unbiased_for="the surrogate of adaptive TEA; that of beta-binomial for few-valued rewards",
    reference="this project; builds on Li, Qian and Mou (2026), arXiv:2605.10716",
    uses_N=True,
    pools=True,
)
