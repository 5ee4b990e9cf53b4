"""max@k: the policy gradient of the best of k ≤ m rollouts, without bias."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tea_stats import _kernels
from tea_stats._validation import as_choice, as_count
from tea_stats.estimators.record import Estimator, Mark, as_function
from tea_stats.linear.tableau import Tableau, centred, from_slopes

FORMS = ("s", "loo", "loo-1", "canonical")


@dataclass(frozen=True, kw_only=True)
class MaxAtK(Estimator):
    r"""max@k policy gradient: exactly unbiased for the best of k ≤ m rollouts.

    With q_i the mean of the maximum over the k-subsets that contain rollout i, and ρ_k^{−i} the
    unbiased max@k of the other m − 1 rollouts,

    .. math::

        A_i = \begin{cases}
        k \, q_i & \text{s} \\
        k \, q_i − \frac{m k}{m − 1} ρ_k^{−i} & \text{loo, } k < m \\
        k \, (q_i − ρ_{k−1}^{−i}) & \text{loo-1, } k ≥ 2 \\
        k \, (q_i − ρ_k^{−i}) & \text{canonical, } k < m
        \end{cases}

    The canonical form sums to zero over the group.

    Parameters
    ----------
    k : int, optional
        Size of the subsets, at most m; min(N, m) by default.
    form : {"s", "loo", "loo-1", "canonical"}, optional
        "canonical" by default for k < m, and "loo-1" for k = m, where no canonical form exists.

    Notes
    -----
    Every form is unbiased for ∇V_k, ties included: for best-of-N itself where N ≤ m, and for the
    smaller best-of-m where N > m. "s" and "loo" depend on the location of the rewards. Subtracting
    the group's mean from "s" is not among the forms: it shrinks the gradient by 1 − k/m.
    Walder and Karkhanis (2025), arXiv:2505.15201 (s, loo, loo-1); Takashiro et al. (2026),
    arXiv:2606.06080 (canonical).

    Examples
    --------
    >>> max_at_k([0, 1, 2, 6], N=2)
    array([-3.33333333, -3.33333333, -2.        ,  8.66666667])
    >>> max_at_k([0, 1, 2, 6], N=16)
    array([ 0.,  0.,  0., 16.])
    """

    k: int | None = None
    form: str | None = None

    name = "max_at_k"
    title = "max@k"
    unbiased_for = "V_k, best-of-k; k = min(N, m) by default"
    objective = r"$V_k$, best-of-$k$; $k=\min(N,m)$ by default"
    reference = "Walder and Karkhanis (2025), arXiv:2505.15201; Takashiro et al. (2026), 2606.06080"
    citations = ("walder2025", "takashiro2026")
    marks = (
        ({"k": None}, Mark("#009E73", "P", main=True)),
        ({"k": 4}, Mark("#66C2A5", "p")),
        ({"k": 8}, Mark("#117733", "h")),
    )
    uses_N = True
    kernel = staticmethod(_kernels.gap_linear)

    def prepare(self, m: int, N: int) -> Tableau:
        """Return the tableau of max@k, after checking that the form exists for this k and m."""
        size = subset_size(m, N, self.k)
        if self.form is None:
            return tableau(m, size, "canonical" if size < m else "loo-1")
        form = as_choice("form", self.form, FORMS)
        if form in ("loo", "canonical") and size == m:
            raise ValueError(
                f"form is {form!r} with k = m = {m}, but its baseline is a max@k of the other "
                "m − 1 rollouts; give k < m, or form 'loo-1' or 's'"
            )
        if form == "loo-1" and size == 1:
            raise ValueError(
                "form is 'loo-1' with k = 1, but its baseline is a max@0, the best of no rollout; "
                "give form 'canonical' (for k = 1 it is RLOO), or k ≥ 2"
            )
        return tableau(m, size, form)


def subset_size(m: int, N: int, k: Any) -> int:
    """Return k as an integer in 1..m; None means min(N, m)."""
    if k is None:
        return min(N, m)
    size = as_count("k", k)
    if size > m:
        raise ValueError(
            f"k is {size}, more than the m = {m} rollouts of a group; give k ≤ m, "
            "or an estimator that extrapolates, such as 'tea'"
        )
    return size


@lru_cache(maxsize=512)
def tableau(m: int, k: int, form: str) -> Tableau:
    """Return level, base and slopes of max@k in one of its forms.

    `below` counts the rollouts under each gap. Binomials are exact integers, and each ratio is
    rounded once.
    """
    below = range(1, m)
    whole = math.comb(m - 1, k - 1)
    if form == "loo-1":
        # k times the chance that k − 1 of the m − 1 other rollouts all lie below the gap
        return from_slopes([k * math.comb(b, k - 1) / whole for b in below])
    # the same, less the rollout on the other side of the gap: the rise of k q_i over the gap
    slopes = np.array([k * math.comb(b - 1, k - 1) / whole for b in below])
    if form == "s":
        return from_slopes(slopes, base=k - slopes, level=float(k))
    if form == "canonical":
        # "s" centred, and the rescaling without which centring shrinks the gradient
        return centred(slopes * (m / (m - k)))
    # "loo": the baseline mk/(m−1) ρ_k of the m − 1 others falls as the rollout rises
    weight = m * k / (m - 1)
    idle = np.array([math.comb(b - 1, k) / math.comb(m - 1, k) for b in below])
    return from_slopes(
        slopes * (1.0 + weight / (m - k)),
        base=k - slopes - weight * (1.0 - idle),
        level=k - weight,
    )


max_at_k = as_function(MaxAtK)
