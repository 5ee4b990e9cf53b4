"""Beta-binomial: rewards of few values, each prompt's p a draw from one beta law.

V_N = 1 − E(1 − p)^N = 1 − B(a, b + N)/B(a, b) for a prompt that can be solved. The prior of the
mean is Jeffreys's for a probability, that of the evenness (a + b) · mean · (1 − mean) uniform in
its logarithm between .002 and 50, that of the share of prompts that are never solved a half at 0
and a half uniform.
"""

from __future__ import annotations

import numpy as np

from tea_stats.estimators.beta_binomial import log_beta
from tea_stats.families.law import Array
from tea_stats.prediction.few_valued import FewValued
from tea_stats.prediction.fit import Counts
from tea_stats.prediction.success_laws import BETA


class BetaBinomial(FewValued):
    """Beta-binomial fit; the value of a prompt is E[1 − (1 − p)^N] given its own successes too."""

    title = "beta-binomial"
    colour = "#00868B"
    unbiased_on = "rewards of few values with p of a beta law, as the number of prompts grows"
    formula = "V̂_N = Σ_j (v_j − v_{j−1}) E[(1 − π)(1 − B(a, b + N)/B(a, b))] over the posterior"
    reference = "conjugate beta-binomial model; for N → ∞ as in SABER, arXiv:2601.22636"
    families = (BETA,)


def best_of(a: Array, b: Array, N: Counts) -> Array:
    """Return 1 − E(1 − p)^N for p of a beta law.

    Examples
    --------
    >>> best_of(np.array(1.0), np.array(1.0), np.array([1, 3])).round(6).tolist()
    [0.5, 0.75]
    """
    return np.asarray(-np.expm1(log_beta(a, b + N) - log_beta(a, np.asarray(b, dtype=float))))
