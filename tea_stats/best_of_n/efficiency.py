"""How little an advantage can vary: lower bounds on E[A²], and efficiency against them.

A language model's score has many components that are nearly independent of the reward, so that the
variance of ĝ is about E[A²] times a constant. Let t = ∇V_N in the d parameters of a law with Fisher
information I. Whatever an advantage uses of its group, E[A_i S_i] = E[a(R_i) S_i] with
a = E[A_i | R_i], and E[A_i²] ≥ E[a²]. So by Cauchy–Schwarz, E[A²] ≥ tᵀI⁻¹t for every A that is
unbiased for these parameters, with equality for a = tᵀI⁻¹S. Unbiased for every score function there
is, A has a = ψ_N, and E[A²] ≥ Var ψ_N(R).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tea_stats._validation import as_real
from tea_stats.best_of_n import exact
from tea_stats.best_of_n.order_statistics import expectation
from tea_stats.families.finite_law import FiniteLaw
from tea_stats.families.law import Array, Law


def least_square(law: Law, N: int) -> float:
    """Return tᵀI⁻¹t, the least E[A²] of an advantage unbiased for the law's own parameters.

    Parameters
    ----------
    law : Law
        Law of one rollout's reward.
    N : int
        Deployment budget of best-of-N.

    Returns
    -------
    float
        The bound, in squared reward units. On a location-scale law it is the price of being
        unbiased for location and scale; on the Normal law it is (1 + c_N²/2) σ².

    Raises
    ------
    TypeError, ValueError
        If law is not a law, or N is not an integer ≥ 1.

    Examples
    --------
    >>> from tea_stats import Normal, efficiency
    >>> round(efficiency.least_square(Normal(), 128), 4)
    4.366
    """
    truth, inverse = _truth_and_metric(law, N)
    return float(truth @ inverse @ truth)


def least_square_for_every_score(law: Law, N: int) -> float:
    """Return Var ψ_N(R), the least E[A²] of an advantage unbiased for every score function.

    Parameters
    ----------
    law, N
        As for `least_square`, with the same errors.

    Returns
    -------
    float
        The bound, in squared reward units; it grows like N, where `least_square` grows like c_N².
        For N ≤ m max@N attains it as m grows.

    Examples
    --------
    >>> from tea_stats import Normal, efficiency
    >>> round(efficiency.least_square_for_every_score(Normal(), 1), 12)
    1.0
    """
    exact.value(law, N)  # checks both
    if isinstance(law, FiniteLaw):
        psi = exact.advantage(law, N, law.rewards_sorted)
        return float(law.probabilities @ psi**2)
    return expectation(law, lambda r: exact.advantage(law, N, r) ** 2)  # type: ignore[arg-type]


def efficiency(law: Law, N: int, signal: ArrayLike, advantage_square: float) -> float:
    """Return (sᵀI⁻¹t)² / (tᵀI⁻¹t · E[A²]), at most 1.

    Parameters
    ----------
    law, N
        As for `least_square`.
    signal : array_like, shape (d,)
        s = E[(1/m) Σ A_i S_i], in the order of `law.parameters`.
    advantage_square : float
        E[A²] > 0, in squared reward units.

    Returns
    -------
    float
        Efficiency: the share of E[A²] that an unbiased advantage of the same signal along the true
        gradient needs.

    Examples
    --------
    >>> from tea_stats import Normal, efficiency, linear_tea_design
    >>> design = linear_tea_design(16, 128, k_min=1)
    >>> round(efficiency.efficiency(Normal(), 128, [1.0, 2.594597], design.variance), 3)
    0.817
    """
    truth, inverse = _truth_and_metric(law, N)
    square = as_real("advantage_square", advantage_square, above=0.0)
    along = _signal(law, signal) @ inverse @ truth
    return float(along**2 / (truth @ inverse @ truth * square))


def cosine(law: Law, N: int, signal: ArrayLike) -> float:
    """Return sᵀI⁻¹t / √(sᵀI⁻¹s · tᵀI⁻¹t), the angle between mean estimate and truth.

    Parameters
    ----------
    law, N, signal
        As for `efficiency`.

    Returns
    -------
    float
        Cosine in the Fisher metric.

    Examples
    --------
    >>> from tea_stats import Normal, efficiency
    >>> round(efficiency.cosine(Normal(), 128, [1.0, 0.0]), 3)
    0.479
    """
    truth, inverse = _truth_and_metric(law, N)
    vector = _signal(law, signal)
    norms = (vector @ inverse @ vector) * (truth @ inverse @ truth)
    return float(vector @ inverse @ truth / np.sqrt(norms))


def _truth_and_metric(law: Law, N: int) -> tuple[Array, Array]:
    """Return ∇V_N and I⁻¹ (a pseudo-inverse: logits have one direction too many)."""
    truth = exact.gradient(law, N)
    information = exact.fisher_information(law)
    return truth, np.asarray(np.linalg.pinv(information, hermitian=True), dtype=np.float64)


def _signal(law: Law, signal: ArrayLike) -> Array:
    vector = np.asarray(signal, dtype=np.float64)
    if vector.shape != (len(law.parameters),):
        raise ValueError(
            f"signal has shape {vector.shape}; give one number for each parameter of {law!r}: "
            f"{', '.join(law.parameters)}"
        )
    return vector
