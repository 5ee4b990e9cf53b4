"""Tinker: an estimator as the function that the cookbook's training loop calls.

In the script that starts the training, before it does::

    from tea_stats.integrations import tinker

    tinker.register("auto_tea", N=128)

In a loop of your own, `tinker.advantage_function("auto_tea", N=128)` takes the place of
`tinker_cookbook.rl.data_processing.compute_advantages`: groups of trajectories to a list of their
advantages. Tinker's losses sum over tokens, which keeps the direction.

A trajectory is a rollout: the cookbook gives its advantage to all data it makes of it. Where the
cookbook trains in minibatches as they come (`stream_minibatch_config`), each is a batch of its own.

Tested with tinker-cookbook 0.6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from torch import Tensor

from tea_stats.integrations.groups import check_request, nested_advantages
from tea_stats.integrations.replacing import replace

#: other modules of the cookbook that import the function
CALLERS = (
    "tinker_cookbook.distillation.train_on_policy",
    "tinker_cookbook.distillation.sdft",
)


def advantage_function(
    estimator: str, N: int, *, unit_rms: bool = False, **options: Any
) -> Callable[[Sequence[Any]], list[Tensor]]:
    """Return an estimator in the form of the cookbook's `compute_advantages`.

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
        A sequence of objects with `get_total_rewards()` to a list of tensors in float32, one
        advantage for each trajectory.
    """
    check_request(estimator, N, options)

    def compute_advantages(trajectory_groups_P: Sequence[Any]) -> list[Tensor]:
        rewards = [group.get_total_rewards() for group in trajectory_groups_P]
        nested = nested_advantages(estimator, rewards, N, options, unit_rms=unit_rms)
        return [advantages.float() for advantages in nested]

    return compute_advantages


def register(estimator: str, N: int, *, unit_rms: bool = False, **options: Any) -> None:
    """Let the cookbook's training loops call this estimator.

    Parameters
    ----------
    estimator, N, unit_rms, **options
        As in `advantage_function`.
    """
    compute = advantage_function(estimator, N, unit_rms=unit_rms, **options)
    from tinker_cookbook.rl import data_processing, train

    own = data_processing.compute_advantages
    replace(train, "compute_advantages", compute, CALLERS)
    # it prints four trajectories of a group, which no estimator of whole groups should see: there
    # the cookbook's own advantages stay
    shown = train.print_group
    names = {**vars(train), "compute_advantages": own}
    train.print_group = FunctionType(shown.__code__, names, shown.__name__)
