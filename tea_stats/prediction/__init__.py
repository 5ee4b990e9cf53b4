"""Predict best-of-N from the rewards of m rollouts: curves by several methods, with intervals.

::

    from tea_stats import prediction, reward_log

    forecast = prediction.predict(reward_log.read("rewards.jsonl"), N=1024)
    forecast.curves[forecast.recommended].value
"""

from tea_stats.prediction.backtest import Backtest
from tea_stats.prediction.curves import TARGETS, predict
from tea_stats.prediction.fit import Method
from tea_stats.prediction.forecast import Curve, Forecast, budgets
from tea_stats.prediction.inverse import Reach, budget_for
from tea_stats.prediction.methods import METHODS
from tea_stats.prediction.u_statistic import Prediction, linear_value
from tea_stats.prediction.verdict import BEYOND

__all__ = [
    "BEYOND",
    "Backtest",
    "Curve",
    "Forecast",
    "METHODS",
    "Method",
    "Prediction",
    "Reach",
    "TARGETS",
    "budget_for",
    "budgets",
    "linear_value",
    "predict",
]
