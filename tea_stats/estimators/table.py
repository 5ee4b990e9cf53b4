"""The table of estimators. A new one needs two lines here: its import, and its row.

Imported by their own names, classes and functions are names of `tea_stats` as well.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tea_stats.estimators.adaptive_tea import (
    AdaptiveTEA as AdaptiveTEA,
    adaptive_tea as adaptive_tea,
)
from tea_stats.estimators.auto_tea import AutoTEA as AutoTEA, auto_tea as auto_tea
from tea_stats.estimators.beta_binomial import (
    BetaBinomial as BetaBinomial,
    beta_binomial as beta_binomial,
)
from tea_stats.estimators.bon_max_mean import BonMaxMean as BonMaxMean, bon_max_mean as bon_max_mean
from tea_stats.estimators.bon_rl import BonRL as BonRL, bon_rl as bon_rl
from tea_stats.estimators.cat_bon import CatBon as CatBon, cat_bon as cat_bon
from tea_stats.estimators.cvar import CVaR as CVaR, cvar as cvar
from tea_stats.estimators.dr_grpo import DrGRPO as DrGRPO, dr_grpo as dr_grpo
from tea_stats.estimators.entropic import Entropic as Entropic, entropic as entropic
from tea_stats.estimators.grpo import GRPO as GRPO, grpo as grpo
from tea_stats.estimators.grpo_z import GRPOZ as GRPOZ, grpo_z as grpo_z
from tea_stats.estimators.leave_one_out_max import (
    LeaveOneOutMax as LeaveOneOutMax,
    leave_one_out_max as leave_one_out_max,
)
from tea_stats.estimators.linear_tea import LinearTEA as LinearTEA, linear_tea as linear_tea
from tea_stats.estimators.max_at_k import MaxAtK as MaxAtK, max_at_k as max_at_k
from tea_stats.estimators.max_rl import MaxRL as MaxRL, max_rl as max_rl
from tea_stats.estimators.order_statistic import (
    OrderStatistic as OrderStatistic,
    order_statistic as order_statistic,
)
from tea_stats.estimators.pass_at_k import PassAtK as PassAtK, pass_at_k as pass_at_k
from tea_stats.estimators.prefix_tea import PrefixTEA as PrefixTEA, prefix_tea as prefix_tea
from tea_stats.estimators.record import Estimator
from tea_stats.estimators.reinforce import Reinforce as Reinforce, reinforce as reinforce
from tea_stats.estimators.rloo import RLOO as RLOO, rloo as rloo
from tea_stats.estimators.rs_grpo import RSGRPO as RSGRPO, rs_grpo as rs_grpo
from tea_stats.estimators.tail_rl import TailRL as TailRL, tail_rl as tail_rl
from tea_stats.estimators.tea import TEA as TEA, tea as tea

#: every estimator at its defaults, in the order in which tables and legends list them
ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "tea": TEA(),
        "prefix_tea": PrefixTEA(),
        "linear_tea": LinearTEA(),
        "adaptive_tea": AdaptiveTEA(),
        "beta_binomial": BetaBinomial(),
        "auto_tea": AutoTEA(),
        "max_at_k": MaxAtK(),
        "order_statistic": OrderStatistic(),
        "bon_rl": BonRL(),
        "rloo": RLOO(),
        "grpo": GRPO(),
        "grpo_z": GRPOZ(),
        "dr_grpo": DrGRPO(),
        "reinforce": Reinforce(),
        "leave_one_out_max": LeaveOneOutMax(),
        "bon_max_mean": BonMaxMean(),
        "cat_bon": CatBon(),
        "rs_grpo": RSGRPO(),
        "entropic": Entropic(),
        "cvar": CVaR(),
        "tail_rl": TailRL(),
        "max_rl": MaxRL(),
        "pass_at_k": PassAtK(),
    }
)

#: the default where nothing is known about the tail of the rewards
RECOMMENDED = AutoTEA.name
