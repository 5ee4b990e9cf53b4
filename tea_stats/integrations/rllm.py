"""rLLM: an estimator of the registry as a value of `rllm.algorithm.adv_estimator`.

The script that starts the training says, before it does, which estimator for which N::

    from tea_stats.integrations import rllm

    rllm.register("auto_tea", N=128)

Then `rllm.algorithm.adv_estimator=auto_tea`, with `rllm.algorithm.use_rllm=true`, chooses it, and
so does the name in `traj_group_adv_estimator_map`. Trajectories that lack a reward are refused by
rLLM itself.

Written to the signature that rLLM documents for registered estimators, and tested on calls of that
form; rLLM is in no package index and was not run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tea_stats.integrations.groups import batch_advantages, check_request

Rewards = list[NDArray[np.float64]]

#: where rLLM keeps `register_rllm_adv_estimator`, newest first
HOMES = ("rllm.trainer.algorithms.advantage", "rllm.experimental.common.advantage")


def advantage_function(
    estimator: str, N: int, **options: Any
) -> Callable[..., tuple[Rewards, Rewards]]:
    """Return an estimator in the form of rLLM's.

    Parameters
    ----------
    estimator : str
        A key of `tea_stats.ESTIMATORS`.
    N : int
        Deployment budget of best-of-N.
    **options
        The estimator's own options.

    Returns
    -------
    callable
        `(rewards, **unused)` to a pair: the advantages twice. `rewards` has one array per group of
        trajectories, and so have the advantages; groups may be of several sizes.

    Raises
    ------
    ValueError, TypeError
        For an unknown estimator, option, or an N out of range.
    """
    check_request(estimator, N, options)

    def compute(
        rewards: Sequence[NDArray[np.float64]], algorithm_config: Any = None, **unused: Any
    ) -> tuple[Rewards, Rewards]:
        if not len(rewards):
            return [], []
        sizes = [len(group) for group in rewards]
        together = torch.from_numpy(np.concatenate(rewards).astype(np.float64))
        labels = np.repeat(np.arange(len(sizes)), sizes)
        found = batch_advantages(estimator, together, labels, N, options).numpy()
        by_group = np.split(found, np.cumsum(sizes)[:-1])
        return by_group, by_group

    return compute


def register(estimator: str, N: int, *, name: str | None = None, **options: Any) -> str:
    """Register an estimator with rLLM, and return the name to put into its configuration.

    Parameters
    ----------
    estimator, N, **options
        As in `advantage_function`.
    name : str, optional
        Name in rLLM's registry; the estimator's own by default. rLLM lets a new function take the
        place of one of its own under the same name, such as "grpo".

    Returns
    -------
    str
        The name.

    Raises
    ------
    ModuleNotFoundError
        If rLLM is not installed, or keeps its registry in a place not known here.
    """
    chosen = estimator if name is None else name
    compute = advantage_function(estimator, N, **options)
    for home in HOMES:
        try:
            register_estimator = import_module(home).register_rllm_adv_estimator
        except ModuleNotFoundError:
            continue
        register_estimator(chosen)(compute)
        return chosen
    raise ModuleNotFoundError(
        f"rLLM's registry of advantage estimators is in none of {', '.join(HOMES)}; install rllm, "
        "or give advantage_function(...) to the registry of your version"
    )
