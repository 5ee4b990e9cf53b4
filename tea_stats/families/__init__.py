"""Reward laws. Each is an immutable value; `FAMILIES` lists them by name.

A new law needs two lines here: its import, and its place in the list. Imported by their own names,
laws are names of `tea_stats` as well.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tea_stats.families.affine import Affine as Affine
from tea_stats.families.bounded import Beta as Beta
from tea_stats.families.empirical_pool import EmpiricalPool as EmpiricalPool
from tea_stats.families.finite import Discrete as Discrete, SoftmaxBandit as SoftmaxBandit
from tea_stats.families.finite_law import FiniteLaw as FiniteLaw
from tea_stats.families.gaussian_tail import GaussianTail as GaussianTail
from tea_stats.families.gen_pareto import GenPareto as GenPareto
from tea_stats.families.law import ContinuousLaw as ContinuousLaw, Law as Law
from tea_stats.families.location_scale import (
    Gumbel as Gumbel,
    GumbelMin as GumbelMin,
    Logistic as Logistic,
    Normal as Normal,
)
from tea_stats.families.mixture import NormalMixture as NormalMixture
from tea_stats.families.recorded import Recorded as Recorded
from tea_stats.families.skewed import Gamma as Gamma, LogNormal as LogNormal, Weibull as Weibull
from tea_stats.families.student_t import StudentT as StudentT

_FAMILIES: tuple[type[Law], ...] = (
    *(Normal, GaussianTail, Logistic, Gumbel, GumbelMin, StudentT),
    *(Gamma, Weibull, LogNormal, GenPareto, Beta, NormalMixture),
    *(Discrete, SoftmaxBandit, EmpiricalPool),
)
FAMILIES: Mapping[str, type[Law]] = MappingProxyType({law.__name__: law for law in _FAMILIES})
