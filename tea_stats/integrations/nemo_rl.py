"""NeMo-RL: an estimator in place of its GRPO estimator.

In the script that starts the training (a copy of `examples/run_grpo.py`), before it does::

    from tea_stats.integrations import nemo_rl

    nemo_rl.register("auto_tea", N=128)

with `grpo.adv_estimator.name: grpo`, the default. `normalize_rewards` and
`use_leave_one_out_baseline` then have no effect. The driver computes the advantages of whole steps;
all trainers there make their estimator in one place, so that this covers synchronous, asynchronous
and single-controller training. As for NeMo-RL's own, rows with the same prompt are a group.

Written to NeMo-RL at commit 7ea279a (August 2026), whose `_create_advantage_estimator` was run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tea_stats.integrations.groups import batch_advantages, check_request
from tea_stats.integrations.replacing import replace


def advantage_class(estimator: str, N: int, *, unit_rms: bool = False, **options: Any) -> type[Any]:
    """Return an estimator in the form of NeMo-RL's advantage estimators.

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
    type
        A class with `compute_advantage(prompt_ids, rewards, mask, **unused)`.
    """
    check_request(estimator, N, options)

    class BestOfNAdvantageEstimator:
        """An advantage estimator of NeMo-RL that trains for best-of-N."""

        def __init__(self, estimator_config: Any = None, loss_config: Any = None) -> None:
            pass

        def compute_advantage(
            self, prompt_ids: Tensor, rewards: Tensor, mask: Tensor, **unused: Any
        ) -> Tensor:
            """Return advantages, shape (B, T).

            A row of `mask`, shape (B, T), without a 1 (NeMo-RL's overlong filtering makes them)
            leaves its group. Rows of `prompt_ids`, shape (B, S), that are equal are a group.
            """
            _, groups = torch.unique(prompt_ids, dim=0, return_inverse=True)
            counted = rewards.float().masked_fill(~mask.bool().any(-1), torch.nan)
            a = batch_advantages(
                estimator, counted, groups.flatten(), N, options, unit_rms=unit_rms
            )
            # in the loss the mask applies
            return a[:, None].expand(mask.shape)

    return BestOfNAdvantageEstimator


def register(estimator: str, N: int, *, unit_rms: bool = False, **options: Any) -> None:
    """Let NeMo-RL make this estimator where its configuration says `grpo`.

    Parameters
    ----------
    estimator, N, unit_rms, **options
        As in `advantage_class`.
    """
    made = advantage_class(estimator, N, unit_rms=unit_rms, **options)
    from nemo_rl.algorithms import grpo

    # all of its trainers make their estimator in one function of this module
    replace(grpo, "GRPOAdvantageEstimator", made)
