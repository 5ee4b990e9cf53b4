"""Best-of-N policy gradients from m rollouts: laws, exact truth, estimators, measurement."""

from tea_stats import best_of_n, diagnosis, monte_carlo, prediction, reward_log, tails
from tea_stats.best_of_n import efficiency
from tea_stats.estimators import ESTIMATORS, RECOMMENDED, Estimator, advantages
from tea_stats.estimators.adaptive_tea import adaptive_tea
from tea_stats.estimators.auto_tea import auto_tea
from tea_stats.estimators.beta_binomial import beta_binomial
from tea_stats.estimators.binary import max_rl, pass_at_k
from tea_stats.estimators.bon_max import bon_max_mean, leave_one_out_max
from tea_stats.estimators.cat_bon import cat_bon
from tea_stats.estimators.cvar import cvar
from tea_stats.estimators.grpo import grpo
from tea_stats.estimators.linear_tea import linear_tea
from tea_stats.estimators.max_at_k import max_at_k
from tea_stats.estimators.prefix_tea import prefix_tea
from tea_stats.estimators.reinforce import dr_grpo, reinforce, rloo
from tea_stats.estimators.rs_grpo import rs_grpo
from tea_stats.estimators.tail_rl import tail_rl
from tea_stats.estimators.tea import tea
from tea_stats.families import (
    FAMILIES,
    Affine,
    Beta,
    Discrete,
    EmpiricalPool,
    Gamma,
    GaussianTail,
    GenPareto,
    Gumbel,
    GumbelMin,
    Law,
    Logistic,
    LogNormal,
    Normal,
    NormalMixture,
    SoftmaxBandit,
    StudentT,
    Weibull,
)
from tea_stats.linear.design import LinearDesign, linear_tea_design

__version__ = "0.1.0"

__all__ = [
    "Affine",
    "Beta",
    "Discrete",
    "ESTIMATORS",
    "EmpiricalPool",
    "Estimator",
    "FAMILIES",
    "Gamma",
    "GaussianTail",
    "GenPareto",
    "Gumbel",
    "GumbelMin",
    "Law",
    "LinearDesign",
    "LogNormal",
    "Logistic",
    "Normal",
    "NormalMixture",
    "RECOMMENDED",
    "SoftmaxBandit",
    "StudentT",
    "Weibull",
    "adaptive_tea",
    "advantages",
    "auto_tea",
    "best_of_n",
    "beta_binomial",
    "bon_max_mean",
    "cat_bon",
    "cvar",
    "diagnosis",
    "dr_grpo",
    "efficiency",
    "grpo",
    "leave_one_out_max",
    "linear_tea",
    "linear_tea_design",
    "max_at_k",
    "max_rl",
    "monte_carlo",
    "pass_at_k",
    "prediction",
    "prefix_tea",
    "reinforce",
    "reward_log",
    "rloo",
    "rs_grpo",
    "tail_rl",
    "tails",
    "tea",
]
