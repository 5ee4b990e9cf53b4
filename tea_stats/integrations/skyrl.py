"""SkyRL: the estimators as values of `trainer.algorithm.advantage_estimator`.

SkyRL's configuration has no place for N, so register the estimator in the script that starts the
training, before it does::

    from tea_stats.integrations import skyrl

    skyrl.register("auto_tea", N=128)

Then set `trainer.algorithm.advantage_estimator=auto_tea`. Each row of a batch counts as a rollout
(of step-wise trajectories SkyRL passes the last row only), the rows of one `uid` are a group, and
rows that SkyRL adds as padding get advantage 0. Leave `trainer.algorithm.advantage_batch_normalize`
off: it would rescale the advantages.

Tested with SkyRL 0.3.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from tea_stats.integrations.groups import check_request, outcome_advantages


def advantage_function(
    estimator: str, N: int, **options: Any
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return an estimator in the form of SkyRL's advantage functions.

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
        `(token_level_rewards, response_mask, index, **unused)` to a pair: the advantages, shape
        (B, T), twice, as SkyRL's own outcome estimators return them.

    Raises
    ------
    ValueError, TypeError
        For an unknown estimator, option, or an N out of range.
    """
    check_request(estimator, N, options)

    def compute(
        token_level_rewards: Tensor, response_mask: Tensor, index: Sequence[str], **unused: Any
    ) -> tuple[Tensor, Tensor]:
        a = outcome_advantages(estimator, token_level_rewards, response_mask, index, N, options)
        return a, a

    compute.__name__ = f"compute_{estimator}_advantage"
    return compute


def register(estimator: str, N: int, *, name: str | None = None, **options: Any) -> str:
    """Register an estimator with SkyRL, and return the name to put into its configuration.

    Parameters
    ----------
    estimator, N, **options
        As in `advantage_function`.
    name : str, optional
        Name in SkyRL's registry; the estimator's own by default.

    Returns
    -------
    str
        The name.
    """
    compute = advantage_function(estimator, N, **options)
    from skyrl.backends.skyrl_train.utils.ppo_utils import register_advantage_estimator

    chosen = estimator if name is None else name
    register_advantage_estimator(chosen)(compute)
    return chosen
