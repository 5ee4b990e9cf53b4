"""What the default estimator takes a log for: its own report on a batch of the log's groups."""

from __future__ import annotations

import numpy as np

from tea_stats._validation import as_count
from tea_stats.diagnosis.findings import check_log
from tea_stats.estimators.batch_report import BatchReport, batch_report
from tea_stats.reward_log.log import RewardLog

#: groups of the batch, and rollouts of a group, at most
GROUPS, ROLLOUTS = 128, 64


def trust(log: RewardLog, N: int, *, m: int | None = None) -> BatchReport | None:
    """Return the default estimator's report on a batch of the log's own groups.

    Parameters
    ----------
    log : RewardLog
        Rewards by prompt.
    N : int
        Deployment budget of best-of-N.
    m : int, optional
        Rollouts of a group, at least 2; by default the median of the log's groups, at most 64.

    Returns
    -------
    BatchReport or None
        Of the first m rollouts of the first 128 prompts that have them; None without any.

    Examples
    --------
    >>> rewards = np.random.default_rng(0).normal(size=(64, 16))
    >>> trust(RewardLog.from_groups(rewards), 128).groups
    64
    """
    check_log(log)
    N = as_count("N", N)
    if m is None:
        m = min(ROLLOUTS, max(2, int(np.median(log.sizes))))
    size = as_count("m", m, at_least=2)
    places = np.flatnonzero(log.sizes >= size)[:GROUPS]
    if not len(places):
        return None
    return batch_report(log.rewards[log.offsets[places, None] + np.arange(size)], N)
