"""The methods of prediction: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tea_stats.prediction import gaussian_tail, gen_pareto, linear
from tea_stats.prediction.beta_binomial import BetaBinomial
from tea_stats.prediction.fit import Counts, Fit
from tea_stats.prediction.gaussian_tail import GaussianTail
from tea_stats.prediction.gen_pareto import GenPareto
from tea_stats.prediction.linear import Linear
from tea_stats.prediction.max_at_k import MaxAtK
from tea_stats.reward_log.log import RewardLog


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes
    ----------
    title : str
        What tables and figures call it.
    fit : callable
        `(log, grid, alpha) -> Fit`.
    unbiased_on : str
        The laws on which the predicted V_N is exact on average.
    formula : str
        V̂_N in one line.
    reference : str
        Source.
    least : int
        Fewest rollouts of a prompt.
    extrapolates : bool
        Whether it predicts beyond the group's size.
    binary : bool
        Whether rewards must be 0 or 1.
    """

    title: str
    fit: Callable[[RewardLog, Counts, float], Fit]
    unbiased_on: str
    formula: str
    reference: str
    least: int = 1
    extrapolates: bool = True
    binary: bool = False


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "max_at_k": Method(
            title="unbiased max@k",
            fit=MaxAtK,
            unbiased_on="every law, N ≤ m only",
            formula="V̂_k = Σ_j C(j−1, k−1)/C(m, k) r_(j)",
            reference="Chen et al. (2021), arXiv:2107.03374, for 0/1; Walder and Karkhanis (2025), "
            "arXiv:2505.15201",
            extrapolates=False,
        ),
        "gaussian_tail": Method(
            title="Gaussian tail",
            fit=GaussianTail,
            unbiased_on="Normal; a Gaussian upper tail, nearly",
            formula="V̂_N = μ̂_α + (c_N − E μ̂_α)/E σ̂_α · σ̂_α over the best αm rollouts",
            reference="Li, Qian and Mou (2026), arXiv:2605.10716, the functional of TEA; finite-m "
            "constants ours",
            least=gaussian_tail.LEAST,
        ),
        "linear": Method(
            title="linear",
            fit=Linear,
            unbiased_on="Normal; elsewhere for Σ w_k V_k",
            formula="V̂_N = Σ_k w_k V̂_k over k ≤ m/2",
            reference="this project: linear TEA",
            least=linear.LEAST,
        ),
        "gen_pareto": Method(
            title="generalised Pareto",
            fit=GenPareto,
            unbiased_on="generalised Pareto, as the number of prompts grows",
            formula="V̂_N = u + A(ξ̂) l₁ over the best αm rollouts, ξ̂ = 2 − Σ l₁/Σ l₂ over prompts",
            reference="Pickands (1975); L-moments: Hosking (1990), Hosking and Wallis (1997)",
            least=gen_pareto.LEAST,
        ),
        "beta_binomial": Method(
            title="beta-binomial",
            fit=BetaBinomial,
            unbiased_on="0/1 rewards with p of a beta law, as the number of prompts grows",
            formula="V̂_N = E[1 − B(a, b + N)/B(a, b)] over the posterior of (a, b)",
            reference="conjugate beta-binomial model; for N → ∞ as in SABER, arXiv:2601.22636",
            binary=True,
        ),
    }
)
