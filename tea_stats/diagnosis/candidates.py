"""Which estimators are compared on a log, and which laws are simulated for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from tea_stats.diagnosis.sets import Sets
from tea_stats.estimators import ESTIMATORS
from tea_stats.estimators.adaptive_tea import tail_weights
from tea_stats.families.affine import Affine
from tea_stats.families.law import ContinuousLaw
from tea_stats.families.mixture import NormalMixture
from tea_stats.families.skewed import Weibull
from tea_stats.linear.library import LIBRARY
from tea_stats.prediction.u_statistic import spread

#: options tried besides the defaults; where they do not exist at some m, they are left out there
VARIANTS: Mapping[str, tuple[Mapping[str, Any], ...]] = MappingProxyType(
    {
        "tea": ({"alpha": 0.1}, {"alpha": 0.5}, {"alpha": 1.0}),
        "prefix_tea": ({"alpha": 0.5},),
        "linear_tea": ({"k_min": 1},),
        "cvar": ({"alpha": 0.5},),
    }
)
#: total probability of the laws simulated, and their largest number
COVERED, MOST_LAWS = 0.9, 3
#: rollouts per prompt used to choose a law
LARGEST_FIT = 64


def label(name: str, options: Mapping[str, Any]) -> str:
    """Return the name of an estimator with its options.

    Examples
    --------
    >>> label("tea", {"alpha": 0.5})
    'tea(alpha=0.5)'
    """
    listed = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"{name}({listed})" if listed else name


def estimators(
    m: int, N: int, *, values: int | None, binary: bool
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the estimators that exist at this m, as `{label: (name, options)}`.

    Parameters
    ----------
    m, N : int
        Rollouts per group, deployment budget.
    values : int or None
        Number of distinct rewards; None: any number.
    binary : bool
        Whether they are 0 and 1.
    """
    existing = {}
    for name, estimator in ESTIMATORS.items():
        most = estimator.most_values
        if (estimator.binary and not binary) or (most and (values is None or values > most)):
            continue
        for options in ({}, *VARIANTS.get(name, ())):
            try:
                estimator.with_options(options).prepare(m, N)
            except ValueError:  # no such estimator at this m
                continue
            existing[label(name, options)] = (name, dict(options))
    return existing


def likely_laws(sets: Sets) -> dict[str, float]:
    """Return the likeliest laws of `linear.library.LIBRARY`, with weights that sum to one.

    Their likelihood is that of the pooled best-of-k curve, k up to 64, up to location and scale:
    what `adaptive_tea` looks at in a batch, here of the whole log.
    """
    m = min(sets.m, LARGEST_FIT)
    rewards = sets.rewards if m == sets.m else sets.rewards @ spread(np.eye(m), sets.m).T
    weights = tail_weights(rewards)
    kept: dict[str, float] = {}
    for name in sorted(weights, key=lambda name: -weights[name])[:MOST_LAWS]:
        if sum(kept.values()) < COVERED:
            kept[name] = weights[name]
    total = sum(kept.values())
    return {name: weight / total for name, weight in kept.items()}


def simulated(name: str) -> ContinuousLaw:
    """Return a law of the library as a policy moves it: in location and scale where it can.

    A mixture's own parameters are not for every policy: per unit of its weight the best of N moves
    by several rewards, and that one direction would dominate the error. Where the density does not
    vanish at an end of the support, a shift has no score, and the law keeps its own parameters.
    """
    law = LIBRARY[name]
    movable = isinstance(law, NormalMixture) or (isinstance(law, Weibull) and law.shape > 2.0)
    return Affine(law) if movable else law
