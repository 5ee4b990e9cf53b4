"""The methods of prediction: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tea_stats.prediction.beta_binomial import BetaBinomial
from tea_stats.prediction.fit import Method
from tea_stats.prediction.gaussian_tail import GaussianTail
from tea_stats.prediction.gen_pareto import GenPareto
from tea_stats.prediction.linear import Linear
from tea_stats.prediction.logit_normal import LogitNormal
from tea_stats.prediction.lognormal_tail import LogNormalTail
from tea_stats.prediction.max_at_k import MaxAtK
from tea_stats.prediction.pooled_shape import PooledShape
from tea_stats.prediction.stack import Stack

#: a method is fitted to a log by calling it: `METHODS[name](log, grid, alpha)`
METHODS: Mapping[str, type[Method]] = MappingProxyType(
    {
        "max_at_k": MaxAtK,
        "gaussian_tail": GaussianTail,
        "linear": Linear,
        "gen_pareto": GenPareto,
        "lognormal_tail": LogNormalTail,
        "beta_binomial": BetaBinomial,
        "logit_normal": LogitNormal,
        "stack": Stack,
        "pooled_shape": PooledShape,
    }
)
