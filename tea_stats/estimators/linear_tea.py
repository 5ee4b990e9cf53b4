"""Linear TEA: best-of-N extrapolated linearly, exactly unbiased for its surrogate at every m."""

from __future__ import annotations

from dataclasses import dataclass

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function
from tea_stats.families import ContinuousLaw
from tea_stats.linear.design import Tails, linear_tea_design
from tea_stats.linear.tableau import Tableau


@dataclass(frozen=True, kw_only=True)
class LinearTEA(Estimator):
    r"""Linear TEA: a fixed linear map of the sorted rewards, exactly unbiased for its surrogate.

    .. math::

        A_i = Σ_{k = k_\min}^m w_k A_i^{\max @ k},
        \quad Σ_k w_k = 1, \quad Σ_k w_k V_k^L = V_N^L \; \text{ for each } L \text{ in tails},

    estimates ∇ Σ_k w_k V_k without bias for every reward law and every m: A^{max@k} is `max_at_k`,
    canonical for k < m, and V_k^L the mean of the best of k draws of the law L. So Σ w_k V_k = V_N
    on the location-scale families of `tails`; elsewhere the only error is that of the
    extrapolation. Of all such weights, the design takes those of least E[A²].

    Parameters
    ----------
    tails : sequence of str or ContinuousLaw
        Laws on whose location-scale families the extrapolation is exact: keys of
        `tea_stats.linear.TAILS`, or laws.
    k_min : int, optional
        Smallest max@k used; default m // 2. With 1 the whole curve counts, which is best on the
        laws of `tails`; the larger, the less a law's lower part can mislead.
    design : str or ContinuousLaw, optional
        Law under which E[A²] is least; default: the first of `tails`.

    Notes
    -----
    Ours, beyond arXiv:2605.10716; `tea_stats.linear.design` has the derivation, and
    `linear_tea_design` returns slopes, weights and matrix. On the Normal law no unbiased advantage
    has E[A²] below (1 + c_N²/2) σ²; at m = 16, N = 128 and k_min = 1 linear TEA reaches 82 % of
    that bound.

    Examples
    --------
    >>> linear_tea([0.0, 1.0, 2.0, 4.0], N=16, k_min=1).round(3)
    array([-0.308, -2.924, -1.59 ,  8.974])
    """

    tails: Tails = ("normal",)
    k_min: int | None = None
    design: str | ContinuousLaw | None = None

    name = "linear_tea"
    title = "linear TEA"
    unbiased_for = "its surrogate sum w_k V_k; best-of-N on the laws of `tails`"
    objective = r"its surrogate $\sum_kw_kV_k$; best-of-$N$ on the laws of \texttt{tails}"
    reference = "this project; builds on Li, Qian and Mou (2026), arXiv:2605.10716"
    marks = (({}, Mark("#CC0044", "*", main=True)),)
    uses_N = True
    kernel = staticmethod(_kernels.gap_linear)

    def prepare(self, m: int, N: int) -> Tableau:
        """Return the tableau of the design."""
        design = linear_tea_design(m, N, tails=self.tails, k_min=self.k_min, design=self.design)
        return design.tableau


linear_tea = as_function(LinearTEA)
