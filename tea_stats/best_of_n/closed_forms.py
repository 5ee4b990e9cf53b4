"""Best-of-N truths that have a closed form for every parameter: for all N, or for N = 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy import special

from tea_stats.families.bounded import Beta
from tea_stats.families.gen_pareto import GenPareto
from tea_stats.families.law import Array, ContinuousLaw
from tea_stats.families.location_scale import Gumbel, GumbelMin, Logistic, Normal
from tea_stats.families.mixture import NormalMixture
from tea_stats.families.skewed import Gamma, LogNormal, Weibull
from tea_stats.families.student_t import StudentT

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_UNIT, _UNIT_WEIGHTS = 0.5 * (1.0 + _POINTS), 0.5 * _WEIGHTS

#: V_N of the standard law (loc 0, scale 1)
STANDARD_VALUES: Mapping[type, Callable[[int], float]] = MappingProxyType(
    {
        # F^N is F shifted by log N
        Gumbel: lambda N: np.euler_gamma + math.log(N),
        # the harmonic number H_{N−1}
        Logistic: lambda N: np.euler_gamma + float(special.digamma(N)),
    }
)


#: V_1 of the others
STANDARD_MEANS: Mapping[type, float] = MappingProxyType(
    {Normal: 0.0, GumbelMin: -np.euler_gamma, StudentT: 0.0}
)


def gen_pareto(law: GenPareto, N: int) -> tuple[float, Array]:
    """V_N and ∇V_N of a generalized Pareto law.

    V_N = scale · (e^ℓ − 1)/ξ with e^ℓ = Γ(N + 1) Γ(1 − ξ)/Γ(N + 1 − ξ) = Π_{k≤N} 1/(1 − ξ/k).
    """
    # ℓ = ξ h, h = ∫₀¹ [digamma(N + 1 − ξt) − digamma(1 − ξt)] dt: the points at hand make this
    # and its derivative exact to rounding, at ξ → 0 and at N = 1e9, where log Γ's are not
    xi, t = law.shape, _UNIT
    h = _UNIT_WEIGHTS @ (special.digamma(N + 1.0 - xi * t) - special.digamma(1.0 - xi * t))
    h_by_xi = (_UNIT_WEIGHTS * t) @ (
        special.polygamma(1, 1.0 - xi * t) - special.polygamma(1, N + 1.0 - xi * t)
    )
    # (e^ℓ − 1)/ξ = h ∫₀¹ e^{ℓs} ds
    growth = np.exp(xi * h * t)
    mean, slope = _UNIT_WEIGHTS @ growth, (_UNIT_WEIGHTS * t) @ growth
    unit = h * mean
    unit_by_xi = h_by_xi * mean + h * slope * (h + xi * h_by_xi)
    return float(law.scale * unit), np.array([law.scale * unit_by_xi, unit])


def gen_pareto_information(law: GenPareto) -> Array:
    """Fisher information of (shape, scale): Smith (1984); it diverges at shape −1/2."""
    xi, scale = law.shape, law.scale
    cross = 1.0 / (scale * (1.0 + xi) * (1.0 + 2.0 * xi))
    by_shape, by_scale = 2.0 * scale * cross, 1.0 / (scale * scale * (1.0 + 2.0 * xi))
    return np.array([[by_shape, cross], [cross, by_scale]])


def _gamma_mean(law: Gamma) -> tuple[float, list[float]]:
    return law.shape * law.scale, [law.scale, law.shape]


def _weibull_mean(law: Weibull) -> tuple[float, list[float]]:
    power = 1.0 + 1.0 / law.shape
    unit = float(special.gamma(power))
    by_shape = -law.scale * unit * float(special.digamma(power)) / law.shape**2
    return law.scale * unit, [by_shape, unit]


def _log_normal_mean(law: LogNormal) -> tuple[float, list[float]]:
    mean = float(np.exp(law.meanlog + 0.5 * law.sdlog**2))
    return mean, [mean, law.sdlog * mean]


def _beta_mean(law: Beta) -> tuple[float, list[float]]:
    total = law.a + law.b
    return law.a / total, [law.b / total**2, -law.a / total**2]


def _mixture_mean(law: NormalMixture) -> tuple[float, list[float]]:
    rest = 1.0 - law.weight
    mean = rest * law.loc1 + law.weight * law.loc2
    return mean, [law.loc2 - law.loc1, rest, 0.0, law.weight, 0.0]


#: V_1 = E R and its gradient
MEANS: Mapping[type[ContinuousLaw], Callable[..., tuple[float, list[float]]]] = MappingProxyType(
    {
        Gamma: _gamma_mean,
        Weibull: _weibull_mean,
        LogNormal: _log_normal_mean,
        Beta: _beta_mean,
        NormalMixture: _mixture_mean,
    }
)
