"""The exact truth: value, gradient and advantage function of the best of N draws.

Every law takes the first of these methods that applies: exact sums (finite laws), a closed form,
the standard law of a location-scale family, quadrature. All are accurate to 1e-10 for N up to 10⁶
and to 1e-8 at 10⁹.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, singledispatch
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tea_stats._validation import as_count, as_finite
from tea_stats.best_of_n import closed_forms, finite_sums, quadrature, recorded
from tea_stats.families.finite_law import FiniteLaw
from tea_stats.families.gen_pareto import GenPareto
from tea_stats.families.law import Array, ContinuousLaw, Law
from tea_stats.families.location_scale import LocationScale
from tea_stats.families.mixture import NormalMixture
from tea_stats.families.recorded import Recorded

#: beyond this, N in double precision is not the N that was meant
LARGEST_N = 2**53


def value(law: Law, N: int) -> float:
    """Return V_N = E[max of N draws].

    Parameters
    ----------
    law : Law
        The distribution of one rollout's reward.
    N : int
        Deployment budget of best-of-N, at least 1.

    Returns
    -------
    float
        V_N = ∫₀¹ Q(u) N u^{N−1} du in reward units, Q the quantile function.

    Raises
    ------
    TypeError, ValueError
        If law is not a law, N is not an integer in [1, 2⁵³], or E|R| is infinite.

    Notes
    -----
    For finite laws V_N = Σ_v v [F(v)^N − F(v⁻)^N], ties included.

    Examples
    --------
    >>> from tea_stats import Normal, best_of_n
    >>> round(best_of_n.value(Normal(), 16), 6)
    1.765991
    """
    return _value(*_checked(law, N))


def gradient(law: Law, N: int) -> Array:
    """Return ∇V_N with respect to the law's own parameters.

    Parameters
    ----------
    law, N
        As for `value`, with the same errors.

    Returns
    -------
    ndarray, shape (d,)
        ∇V_N = E[ψ_N(R) S] = ∫₀¹ ∂_θQ(u) N u^{N−1} du, in the order of `law.parameters`; reward
        units per unit of each parameter.

    Examples
    --------
    >>> from tea_stats import Normal, best_of_n
    >>> best_of_n.gradient(Normal(), 16).round(6).tolist()
    [1.0, 1.765991]
    """
    return _gradient(*_checked(law, N)).copy()


def advantage(law: Law, N: int, r: ArrayLike) -> Array:
    """Return the exact best-of-N advantage ψ_N at rewards r.

    Parameters
    ----------
    law, N
        As for `value`, with the same errors.
    r : array_like
        Finite rewards, any shape.

    Returns
    -------
    ndarray, shape of r
        ψ_N(r) = N ∫_{−∞}^r F(t)^{N−1} dt − const with E ψ_N(R) = 0, in reward units; for N = 1,
        r − E R. The influence function of V_N: its slope is N F^{N−1}.

    Examples
    --------
    >>> from tea_stats import Normal, best_of_n
    >>> best_of_n.advantage(Normal(), 16, [-3.0, 0.0, 3.0]).round(3).tolist()
    [-0.481, -0.481, 19.835]
    """
    law, N = _checked(law, N)
    rewards = as_finite("r", r)
    if N == 1:
        return rewards - _value(law, 1)
    return _advantage(law, N, rewards.ravel()).reshape(rewards.shape)


def fisher_information(law: Law) -> Array:
    """Return the Fisher information E[S Sᵀ].

    Parameters
    ----------
    law : Law
        The distribution of one rollout's reward.

    Returns
    -------
    ndarray, shape (d, d)
        E[S Sᵀ] in the order of `law.parameters`.

    Examples
    --------
    >>> from tea_stats import Normal, best_of_n
    >>> best_of_n.fisher_information(Normal(0.0, 2.0)).round(12).tolist()
    [[0.25, 0.0], [0.0, 0.5]]
    """
    return _information(_checked(law, 1)[0]).copy()


def clear_cache() -> None:
    """Clear the caches, which keep the last few thousand results of continuous laws."""
    for cached in (_standard_value, *quadrature.CACHED):
        cached.cache_clear()


def _checked(law: Any, N: Any) -> tuple[Law, int]:
    if not isinstance(law, Law):
        raise TypeError(f"law is {law!r}; give a law of tea_stats.families, such as Normal()")
    if not law.moments_below > 1.0:
        raise ValueError(f"law is {law!r} and E|R| is infinite; give a law with a finite mean")
    N = as_count("N", N)
    if N > LARGEST_N:
        raise ValueError(f"N is {N}; give an integer in [1, 2**53]")
    return law, N


# --- methods by type of law: the most specific type counts --------------------------------------


def _unknown(law: Any, *_: Any) -> Any:
    raise TypeError(f"law is {law!r}; give a ContinuousLaw or a FiniteLaw")


_value, _gradient = singledispatch(_unknown), singledispatch(_unknown)
_advantage, _information = singledispatch(_unknown), singledispatch(_unknown)


_value.register(FiniteLaw, finite_sums.value)
_gradient.register(FiniteLaw, finite_sums.gradient)
_advantage.register(FiniteLaw, finite_sums.advantage)
_information.register(FiniteLaw, finite_sums.fisher_information)

_value.register(Recorded, recorded.value)
_gradient.register(Recorded, recorded.gradient)
_advantage.register(Recorded, recorded.advantage)
_information.register(Recorded, recorded.fisher_information)

_value.register(GenPareto, lambda law, N: closed_forms.gen_pareto(law, N)[0])
_gradient.register(GenPareto, lambda law, N: closed_forms.gen_pareto(law, N)[1])
_information.register(GenPareto, closed_forms.gen_pareto_information)

_advantage.register(ContinuousLaw, quadrature.advantage)
_information.register(ContinuousLaw, quadrature.fisher_information)


@_value.register(ContinuousLaw)
def _continuous_value(law: ContinuousLaw, N: int) -> float:
    mean = closed_forms.MEANS.get(type(law)) if N == 1 else None
    return quadrature.value(law, N) if mean is None else mean(law)[0]


@_gradient.register(ContinuousLaw)
def _continuous_gradient(law: ContinuousLaw, N: int) -> Array:
    mean = closed_forms.MEANS.get(type(law)) if N == 1 else None
    return quadrature.gradient(law, N) if mean is None else np.array(mean(law)[1])


def _centred(law: NormalMixture) -> tuple[NormalMixture, float]:
    """Return the law of R − centre, and the centre: a large location then costs no digits."""
    centre = law.loc1 if law.scale1 <= law.scale2 else law.loc2
    return replace(law, loc1=law.loc1 - centre, loc2=law.loc2 - centre), centre


@_value.register(NormalMixture)
def _(law: NormalMixture, N: int) -> float:
    centred, centre = _centred(law)
    return centre + _continuous_value(centred, N)


@_gradient.register(NormalMixture)
def _(law: NormalMixture, N: int) -> Array:
    return _continuous_gradient(_centred(law)[0], N)


@_advantage.register(NormalMixture)
def _(law: NormalMixture, N: int, r: Array) -> Array:
    centred, centre = _centred(law)
    return quadrature.advantage(centred, N, r - centre)


def _standard(law: Any) -> Any:
    """Return the law of W = (R − loc)/scale; a large loc then costs no digits."""
    return replace(law, loc=0.0, scale=1.0)


@lru_cache(maxsize=4096)
def _standard_value(standard: Any, N: int) -> float:
    family = type(standard)
    if family in closed_forms.STANDARD_VALUES:
        return closed_forms.STANDARD_VALUES[family](N)
    if N == 1 and family in closed_forms.STANDARD_MEANS:
        return closed_forms.STANDARD_MEANS[family]
    return quadrature.value(standard, N)


@_value.register(LocationScale)
def _(law: LocationScale, N: int) -> float:
    return law.loc + law.scale * _standard_value(_standard(law), N)


@_gradient.register(LocationScale)
def _(law: LocationScale, N: int) -> Array:
    return np.array([1.0, _standard_value(_standard(law), N)])


@_advantage.register(LocationScale)
def _(law: LocationScale, N: int, r: Array) -> Array:
    return law.scale * quadrature.advantage(_standard(law), N, (r - law.loc) / law.scale)


@_information.register(LocationScale)
def _(law: LocationScale) -> Array:
    return quadrature.fisher_information(_standard(law)) / law.scale**2
