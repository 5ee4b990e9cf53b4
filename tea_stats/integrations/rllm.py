"""rLLM: an estimator in its registry.

In the script that starts the training, before it does::

    from tea_stats.integrations import rllm

    rllm.register("auto_tea", N=128)

and `rllm.algorithm.adv_estimator=other` in its configuration. rLLM takes every name that it does
not know for "other", and looks "other" up: the estimator is registered under that name. For one
role of several, `traj_group_adv_estimator_map={"solver": "auto_tea"}` names it.

A trajectory is a rollout: rLLM gives its advantage to all of its steps. All groups of one role are
seen together.

Written to rLLM at commit 9beb6e0 (August 2026), whose `rllm.trainer.algorithms` was run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tea_stats.integrations.groups import check_request, nested_advantages


def advantage_function(
    estimator: str, N: int, *, unit_rms: bool = False, **options: Any
) -> Callable[..., tuple[list[Any], list[Any]]]:
    """Return an estimator in the form of rLLM's advantage functions.

    Parameters
    ----------
    estimator : str
        A key of `tea_stats.ESTIMATORS`.
    N : int
        Deployment budget of best-of-N.
    unit_rms : bool
        Divide by the root mean square of the batch's advantages, as in `torch_bridge.advantages`.
    **options
        The estimator's own options.

    Returns
    -------
    callable
        `(rewards, **unused)`, where `rewards` has one array for each group of trajectories, to a
        pair: the list of the groups' advantages, twice.
    """
    check_request(estimator, N, options)

    def compute(rewards: Sequence[Any], **unused: Any) -> tuple[list[Any], list[Any]]:
        nested = nested_advantages(estimator, rewards, N, options, unit_rms=unit_rms)
        arrays = [advantages.numpy() for advantages in nested]
        return arrays, arrays

    compute.__name__ = f"compute_{estimator}_advantage"
    return compute


def register(estimator: str, N: int, *, unit_rms: bool = False, **options: Any) -> str:
    """Register an estimator with rLLM, under its name and as "other"; return "other".

    Parameters
    ----------
    estimator, N, unit_rms, **options
        As in `advantage_function`.
    """
    compute = advantage_function(estimator, N, unit_rms=unit_rms, **options)
    from rllm.trainer.algorithms.advantage import register_rllm_adv_estimator

    for name in (estimator, "other"):
        register_rllm_adv_estimator(name)(compute)
    return "other"
