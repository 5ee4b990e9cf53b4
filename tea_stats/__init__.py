"""Best-of-N policy gradients from m rollouts: laws, exact truth, estimators, measurement."""

from tea_stats import (
    best_of_n,
    comparison,
    diagnosis,
    monte_carlo,
    planning,
    prediction,
    resampling,
    reward_log,
    tails,
)
from tea_stats.best_of_n import efficiency
from tea_stats.estimators import ESTIMATORS, RECOMMENDED, Estimator, advantages
from tea_stats.estimators.batch_report import BatchReport, batch_report
from tea_stats.estimators.memory import Memory
from tea_stats.estimators.table import *  # noqa: F403  # each estimator, as a value and a function
from tea_stats.families import *  # noqa: F403
from tea_stats.families import FAMILIES, Affine, Law, Recorded
from tea_stats.linear.design import LinearDesign, linear_tea_design

__version__ = "0.2.0"

__all__ = [
    "Affine",
    "BatchReport",
    "ESTIMATORS",
    "Estimator",
    "FAMILIES",
    "Law",
    "LinearDesign",
    "Memory",
    "RECOMMENDED",
    "Recorded",
    "advantages",
    "batch_report",
    "best_of_n",
    "comparison",
    "diagnosis",
    "efficiency",
    "linear_tea_design",
    "monte_carlo",
    "planning",
    "prediction",
    "resampling",
    "reward_log",
    "tails",
    *ESTIMATORS,
    *FAMILIES,
]
