"""OrderGrad: the policy gradient of any weighted mean of the order statistics of k rollouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from tea_stats import _kernels
from tea_stats._validation import as_array, as_count
from tea_stats.estimators.record import Array, Estimator, Mark, as_function
from tea_stats.linear.tableau import Tableau, centred


def top(k: int, count: int) -> Array:
    """Return equal weights of the `count` largest of k."""
    return np.repeat([0.0, 1.0 / count], [k - count, count])


def gini(k: int, _: int) -> Array:
    """Return the weights of the mean absolute difference of two rollouts."""
    j = np.arange(1, k + 1, dtype=np.float64)
    return 2.0 * (2.0 * j - k - 1.0) / (k * (k - 1.0))


def trimmed(k: int, count: int) -> Array:
    """Return equal weights of all but the `count` smallest and the `count` largest of k."""
    return np.repeat([0.0, 1.0 / (k - 2 * count), 0.0], [count, k - 2 * count, count])


#: weights by name, from k and the count after the colon, lowest rank first
PRESETS: Mapping[str, Callable[[int, int], Array]] = MappingProxyType(
    {
        "max": lambda k, _: top(k, 1),
        "min": lambda k, _: top(k, 1)[::-1],
        "median": lambda k, _: trimmed(k, (k - 1) // 2),
        "gini": gini,
        "top": top,
        "bottom": lambda k, count: top(k, count)[::-1],
        "trimmed": trimmed,
    }
)
#: the presets that need a count, and how many of k rollouts they leave with it
COUNTED: Mapping[str, Callable[[int, int], int]] = MappingProxyType(
    {
        "top": lambda k, count: k - count + 1,
        "bottom": lambda k, count: k - count + 1,
        "trimmed": lambda k, count: k - 2 * count,
    }
)


@dataclass(frozen=True, kw_only=True)
class OrderStatistic(Estimator):
    r"""OrderGrad: unbiased for any weighted sum of the order statistics of k < m rollouts.

    .. math::

        A_i = k \, (q_i − ρ^{−i}), \quad q_i, \, ρ^{−i} = \text{mean of } Σ_j c_j r_{(j:S)}
        \text{ over all subsets } S \text{ of } k \text{ with, without } i,

    with r_(j:S) the j-th smallest reward of S. That is m times what the estimate
    from all k-subsets loses without rollout i; the advantages sum to zero.

    Parameters
    ----------
    k : int, optional
        Size of the subsets, below m; default m // 2, at least 2.
    weights : str or sequence of float
        The k weights c, lowest rank first, or a preset: "max", "min", "median", "gini" (mean
        absolute difference of two rollouts), "top:2" (mean of the two largest), "bottom:2",
        "trimmed:1" (mean of all but the smallest and the largest).

    Notes
    -----
    Unbiased for ∇E[Σ_j c_j R_(j:k)] under every law, ties included. With weights "max" it is
    `max_at_k` in canonical form; the published code is followed in k and "top:2", its example for
    policy gradients, but lists the highest rank first. Parmas et al. (2026), arXiv:2606.06096.

    Examples
    --------
    >>> order_statistic([0, 1, 2, 6], N=16, k=3, weights="median")
    array([-2., -2.,  2.,  2.])
    >>> order_statistic([0, 1, 2, 6], N=16, k=3, weights=[0, 0.5, 0.5])
    array([-3., -3., -1.,  7.])
    """

    k: int | None = None
    weights: str | Sequence[float] = "top:2"

    name = "order_statistic"
    title = "OrderGrad"
    unbiased_for = "sum c_j E[R_(j:k)], any L-statistic of k rollouts"
    objective = r"$\sum_jc_j\mathrm{E}R_{(j:k)}$, any L-statistic of $k$ rollouts"
    reference = "Parmas et al. (2026), arXiv:2606.06096"
    citations = ("parmas2026",)
    marks = (({}, Mark("#2F8F83", "^")),)
    min_m = 3
    kernel = staticmethod(_kernels.gap_linear)

    def prepare(self, m: int, N: int) -> Tableau:
        """Return the tableau of the weights."""
        k = max(2, m // 2) if self.k is None else as_count("k", self.k)
        if k >= m:
            raise ValueError(
                f"m is {m}: subsets of k = {k} leave no baseline without the rollout; give a "
                "larger m, or a smaller k"
            )
        return tableau(m, tuple(preset(self.weights, k).tolist()))


def preset(weights: str | Sequence[float], k: int) -> Array:
    """Return the k weights, lowest rank first, from a preset's name or from numbers.

    Examples
    --------
    >>> preset("top:2", 4), preset("median", 4)
    (array([0. , 0. , 0.5, 0.5]), array([0. , 0.5, 0.5, 0. ]))
    """
    if not isinstance(weights, str):
        return as_array("weights", weights, (k,), f"one for each of k = {k} ranks")
    name, colon, count = weights.partition(":")
    known = name in PRESETS and (name in COUNTED) == bool(colon)
    if not known or (colon and not count.isdecimal()):
        listed = ", ".join(f"{entry}:count" if entry in COUNTED else entry for entry in PRESETS)
        raise ValueError(f"weights is {weights!r}; give k numbers, or one of {listed}")
    size = int(count or 0)
    if (colon and (size < 1 or COUNTED[name](k, size) < 1)) or (name == "gini" and k < 2):
        raise ValueError(f"weights is {weights!r} and k is {k}; give a larger k or another count")
    return PRESETS[name](k, size)


@lru_cache(maxsize=256)
def tableau(m: int, weights: tuple[float, ...]) -> Tableau:
    """Return the slopes of an L-statistic, centred.

    A rollout that crosses a gap moves rank j of its subset if j − 1 of the k − 1 others lie below.
    These are random ones of the m − 2 outside the gap, and a rollout more at a time, the one left
    out is any of them: the weights, as coefficients of Bernstein polynomials, gain a degree.
    """
    k, c = len(weights), np.array(weights)
    for n in range(k, m - 1):
        below = np.arange(n + 1) / n
        c = below * np.append(0.0, c) + (1.0 - below) * np.append(c, 0.0)
    # k for the choice of the rollout, m/(m − 1) because centring shrinks the gradient
    return centred(k * m / (m - 1) * c)


order_statistic = as_function(OrderStatistic)
