"""Tail-Extrapolated Advantage (TEA), direct plug-in form."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from tea_stats import _kernels, tails
from tea_stats._validation import as_flag
from tea_stats.estimators.record import Array, Estimator, group_advantages


def prepare(m: int, N: int, *, alpha: float, centred: bool, calibrated: bool) -> tuple[Any, ...]:
    """Return the tail count k, the coefficients of hinge and spread, and whether to centre."""
    k = tails.tail_count(m, alpha)
    if as_flag("calibrated", calibrated):
        coefficients = tails.calibrated_coefficients(m, k)
    else:
        coefficients = tails.influence_coefficients(k / m)
    return k, coefficients, as_flag("centred", centred)


def tea(
    rewards: ArrayLike,
    N: int,
    *,
    alpha: float = 0.25,
    centred: bool = False,
    calibrated: bool = False,
) -> Array:
    r"""Tail-Extrapolated Advantage: influence function of μ_α + c̃ σ_α at the group.

    With k = ⌈αm⌉ (at least 2), α' = k/m, r̂ the k-th largest reward, and μ̂, σ̂ the mean and
    standard deviation of the top k,

    .. math::

        A_i = \frac{1}{α'} 1\{r_i ≥ \hat r\} \Bigl[(r_i − \hat r) + \frac{\tilde c}{2 \hat σ}
        \bigl((r_i − \hat μ)^2 − (\hat r − \hat μ)^2\bigr)\Bigr],
        \quad \tilde c = \frac{c_N − λ}{κ},

    where c_N is the mean of the best of N standard normals, and λ and κ are mean and standard
    deviation of a standard normal's top α' (`tea_stats.tails`).

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget of best-of-N.
    alpha : float
        Tail fraction in (0, 1]; 1 uses the whole group.
    centred : bool
        Subtract from A_i the mean that TEA has on the other m − 1 rollouts, with the same k and c̃.
        The expectation of ĝ stays as it is. It hardly changes E[A²], and not always for the better.
    calibrated : bool
        Replace the bracket's two coefficients, 1 and c̃, by the ones for which E ĝ = ∇V_N exactly
        on normal rewards at this m, N and alpha (ours, not the paper's). Off the normal law TEA
        stays biased, with a Gaussian upper tail too. E[A²] rises: sixfold at m = 16, N = 128,
        alpha = .25. Needs three rollouts in the tail.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64; uncentred, all zero where the top k rewards are equal.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range; m < 2 included.

    Notes
    -----
    Biased at finite m: under a Gaussian tail the bias is O(√log N / m). With k = 2 (at
    alpha = .25, m ≤ 8) the curvature cancels, and TEA is m/2 times the leave-one-out maximum,
    whatever N is. The formula is our reading of the paper's direct form (arXiv:2605.10716, Li,
    Qian and Mou 2026), whose full text was not at hand.

    Examples
    --------
    >>> import tea_stats
    >>> tea_stats.tea([0.0, 1.0, 2.0, 4.0], N=16, alpha=0.5)
    array([0., 0., 0., 4.])
    """
    return group_advantages(
        rewards,
        N,
        prepare,
        _kernels.tea,
        affine=True,
        alpha=alpha,
        centred=centred,
        calibrated=calibrated,
    )


TEA = Estimator(
    name="tea",
    function=tea,
    prepare=prepare,
    kernel=_kernels.tea,
    unbiased_for="nothing at finite m; best-of-N as m grows, under a Gaussian upper tail; "
    "calibrated: best-of-N on normal laws",
    reference="Li, Qian and Mou (2026), arXiv:2605.10716; our reading",
    uses_N=True,
    affine=True,
)
