"""The estimators: each maps the m rewards of a group to m advantages.

`ESTIMATORS` is the registry; the gradient estimate is always ĝ = (1/m) Σ A_i S_i.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from numpy.typing import ArrayLike

from tea_stats.estimators.adaptive_tea import ADAPTIVE_TEA
from tea_stats.estimators.auto_tea import AUTO_TEA
from tea_stats.estimators.beta_binomial import BETA_BINOMIAL
from tea_stats.estimators.binary import MAX_RL, PASS_AT_K
from tea_stats.estimators.bon_max import BON_MAX_MEAN, LEAVE_ONE_OUT_MAX
from tea_stats.estimators.cat_bon import CAT_BON
from tea_stats.estimators.cvar import CVAR
from tea_stats.estimators.grpo import GRPO
from tea_stats.estimators.linear_tea import LINEAR_TEA
from tea_stats.estimators.max_at_k import MAX_AT_K
from tea_stats.estimators.prefix_tea import PREFIX_TEA
from tea_stats.estimators.record import Array, Estimator
from tea_stats.estimators.reinforce import DR_GRPO, REINFORCE, RLOO
from tea_stats.estimators.rs_grpo import RS_GRPO
from tea_stats.estimators.tail_rl import TAIL_RL
from tea_stats.estimators.tea import TEA

ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "tea": TEA,
        "prefix_tea": PREFIX_TEA,
        "linear_tea": LINEAR_TEA,
        "adaptive_tea": ADAPTIVE_TEA,
        "beta_binomial": BETA_BINOMIAL,
        "auto_tea": AUTO_TEA,
        "max_at_k": MAX_AT_K,
        "rloo": RLOO,
        "grpo": GRPO,
        "dr_grpo": DR_GRPO,
        "reinforce": REINFORCE,
        "leave_one_out_max": LEAVE_ONE_OUT_MAX,
        "bon_max_mean": BON_MAX_MEAN,
        "cat_bon": CAT_BON,
        "rs_grpo": RS_GRPO,
        "cvar": CVAR,
        "tail_rl": TAIL_RL,
        "max_rl": MAX_RL,
        "pass_at_k": PASS_AT_K,
    }
)

#: the default for who has no reason to choose another
RECOMMENDED = AUTO_TEA.name


def lookup(name: str, options: Mapping[str, Any]) -> Estimator:
    """Return the registry's record, after checking that the name and every option exist."""
    if not isinstance(name, str) or name not in ESTIMATORS:
        raise ValueError(f"estimator {name!r} is unknown; give one of {', '.join(ESTIMATORS)}")
    estimator = ESTIMATORS[name]
    for option in options:
        if option not in estimator.defaults:
            known = ", ".join(estimator.defaults) or "none"
            raise TypeError(f"{name} has no option {option!r}; its options: {known}")
    return estimator


def advantages(name: str, rewards: ArrayLike, N: int, **options: Any) -> Array:
    """Return the advantages of the named estimator.

    Parameters
    ----------
    name : str
        A key of `ESTIMATORS`.
    rewards : array_like, shape (..., m)
        Rewards of m rollouts per group, any real dtype.
    N : int
        Deployment budget of best-of-N; estimators that do not use it only check it.
    **options
        The estimator's own options; `ESTIMATORS[name].defaults` lists them.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages, float64, in the order of the input; ĝ = (1/m) Σ A_i S_i.

    Raises
    ------
    ValueError
        For an unknown name or a value out of range.
    TypeError
        For an unknown option or a value of the wrong type.

    Examples
    --------
    >>> advantages("tea", [0.0, 1.0, 2.0, 4.0], N=16, alpha=0.5)
    array([0., 0., 0., 4.])
    """
    return lookup(name, options).function(rewards, N, **options)


__all__ = ["ESTIMATORS", "Estimator", "RECOMMENDED", "advantages", "lookup"]
