"""ROLL: an estimator as the reward processing of its RLVR pipelines.

In the script that starts the training (a copy of `examples/start_rlvr_pipeline.py`), before it
does::

    from tea_stats.integrations import roll

    roll.register("auto_tea", N=128)

with `adv_estimator: reinforce` in its configuration, `norm_mean_type` and `norm_std_type` left out,
and `gamma: 1.0`. What would change the advantages afterwards (`whiten_advantages`,
`whiten_rewards`, `reward_clip`, `advantage_clip`) is refused. Of ROLL's `loss_agg_mode`, its
default `seq-mean-token-mean` divides each rollout by its own length: take `seq-mean-token-sum`.

Groups are ROLL's: `num_return_sequences` consecutive rows of a domain. Estimators that learn from
the batch see one domain at a time. A row that ROLL masks leaves its group.

Written to ROLL at commit 8eb27cc (August 2026), whose reward processing was run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tea_stats.integrations.groups import batch_advantages, check_request
from tea_stats.integrations.replacing import replace

#: modules that import `reward_postprocess`
CALLERS = ("roll.pipeline.rlvr.rlvr_pipeline", "roll.pipeline.rlvr.rlvr_vlm_pipeline")

#: the settings under which ROLL leaves the advantages as they are
NEEDED = {
    "adv_estimator": "reinforce",
    "gamma": 1.0,
    "whiten_advantages": False,
    "whiten_rewards": False,
    "reward_clip": None,
    "advantage_clip": None,
}


def reward_postprocess_function(
    estimator: str, N: int, *, unit_rms: bool = False, **options: Any
) -> Callable[..., tuple[Any, dict[str, float]]]:
    """Return an estimator in the form of ROLL's `reward_postprocess`.

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
        `(data, pipeline_config, running_ctrl)` to data, in which the advantages are in the place
        of `response_level_rewards`, and ROLL's metrics.
    """
    check_request(estimator, N, options)

    def reward_postprocess(
        data: Any, pipeline_config: Any, running_ctrl: Any = None
    ) -> tuple[Any, dict[str, float]]:
        for key, needed in NEEDED.items():
            value = getattr(pipeline_config, key, needed)
            if value != needed and not (value is None and not needed):
                raise ValueError(
                    f"{key} is {value!r}, which changes the advantages of {estimator}; "
                    f"set {key}: {'null' if needed is None else needed}"
                )
        rewards = data.batch["response_level_rewards"].float()
        if "final_response_mask" in data.batch.keys():
            kept = data.batch["final_response_mask"].bool().any(-1)
            rewards = rewards.masked_fill(~kept, torch.nan)
        m = pipeline_config.actor_infer.generating_args.num_return_sequences
        if len(rewards) % m:
            raise ValueError(
                f"a domain has {len(rewards)} rows, no multiple of num_return_sequences = {m}"
            )
        groups = torch.arange(len(rewards)) // m
        data.batch["response_level_rewards"] = batch_advantages(
            estimator, rewards, groups, N, options, unit_rms=unit_rms
        )
        return data, {"critic/reward_clip_frac": 0.0}

    return reward_postprocess


def register(estimator: str, N: int, *, unit_rms: bool = False, **options: Any) -> None:
    """Let ROLL's RLVR pipelines, of text and of images, use this estimator.

    Parameters
    ----------
    estimator, N, unit_rms, **options
        As in `reward_postprocess_function`.
    """
    from roll.utils import functionals

    made = reward_postprocess_function(estimator, N, unit_rms=unit_rms, **options)
    replace(functionals, "reward_postprocess", made, CALLERS)
