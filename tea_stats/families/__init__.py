"""Reward laws. Each is an immutable value; `FAMILIES` lists them by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tea_stats.families.affine import Affine
from tea_stats.families.bounded import Beta
from tea_stats.families.empirical_pool import EmpiricalPool
from tea_stats.families.finite import Discrete, SoftmaxBandit
from tea_stats.families.finite_law import FiniteLaw
from tea_stats.families.gaussian_tail import GaussianTail
from tea_stats.families.gen_pareto import GenPareto
from tea_stats.families.law import ContinuousLaw, Law
from tea_stats.families.location_scale import Gumbel, GumbelMin, Logistic, Normal
from tea_stats.families.mixture import NormalMixture
from tea_stats.families.skewed import Gamma, LogNormal, Weibull
from tea_stats.families.student_t import StudentT

_FAMILIES: tuple[type[Law], ...] = (
    *(Normal, GaussianTail, Logistic, Gumbel, GumbelMin, StudentT),
    *(Gamma, Weibull, LogNormal, GenPareto, Beta, NormalMixture),
    *(Discrete, SoftmaxBandit, EmpiricalPool),
)
FAMILIES: Mapping[str, type[Law]] = MappingProxyType({law.__name__: law for law in _FAMILIES})

__all__ = [
    "FAMILIES",
    "Affine",
    "Beta",
    "ContinuousLaw",
    "Discrete",
    "EmpiricalPool",
    "FiniteLaw",
    "Gamma",
    "GaussianTail",
    "GenPareto",
    "Gumbel",
    "GumbelMin",
    "Law",
    "LogNormal",
    "Logistic",
    "Normal",
    "NormalMixture",
    "SoftmaxBandit",
    "StudentT",
    "Weibull",
]
