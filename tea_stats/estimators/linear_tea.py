"""Linear TEA: best-of-N extrapolated linearly, exactly unbiased for its surrogate at every m."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tea_stats import _kernels
from tea_stats.estimators.record import Array, Estimator, group_advantages
from tea_stats.families import ContinuousLaw
from tea_stats.linear.design import Tails, linear_tea_design
from tea_stats.linear.tableau import Tableau


def prepare(
    m: int, N: int, *, tails: Tails, k_min: int | None, design: str | ContinuousLaw | None
) -> Tableau:
    """Return the tableau of the design."""
    return linear_tea_design(m, N, tails=tails, k_min=k_min, design=design).tableau


def linear_tea(
    rewards: ArrayLike,
    N: int,
    *,
    tails: Tails = ("normal",),
    k_min: int | None = None,
    design: str | ContinuousLaw | None = None,
) -> Array:
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
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget of best-of-N.
    tails : sequence of str or ContinuousLaw
        Laws on whose location-scale families the extrapolation is exact: keys of
        `tea_stats.linear.TAILS`, or laws.
    k_min : int, optional
        Smallest max@k used; default m // 2. With 1 the whole curve counts, which is best on the
        laws of `tails`; the larger, the less a law's lower part can mislead.
    design : str or ContinuousLaw, optional
        Law under which E[A²] is least; default: the first of `tails`.

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
    Ours, beyond arXiv:2605.10716; `tea_stats.linear.design` has the derivation, and `linear_tea_design`
    returns slopes, weights and matrix. On the Normal law no unbiased advantage has E[A²] below
    (1 + c_N²/2) σ²; at m = 16, N = 128 and k_min = 1 linear TEA reaches 82 % of that bound.

    Examples
    --------
    >>> linear_tea([0.0, 1.0, 2.0, 4.0], N=16, k_min=1).round(3)
    array([-0.308, -2.924, -1.59 ,  8.974])
    """
    return group_advantages(
        rewards, N, prepare, _kernels.gap_linear, tails=tails, k_min=k_min, design=design
    )


LINEAR_TEA = Estimator(
    name="linear_tea",
    function=linear_tea,
    prepare=prepare,
    kernel=_kernels.gap_linear,
    unbiased_for="its surrogate sum w_k V_k; best-of-N on the laws of `tails`",
    reference="this project; builds on Li, Qian and Mou (2026), arXiv:2605.10716",
    uses_N=True,
)
