"""Groups that arrive one at a time, each evaluated with those that came before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tea_stats.integrations.groups import (
    check_number_of_groups,
    check_request,
    report_missing,
    table_advantages,
)

#: the groups that are kept, so that the newest one is seen in a batch of 64
KEPT = 63


class RecentGroups:
    """Advantages for a trainer that scores each group as soon as it is complete.

    Such a trainer never shows a whole batch. An estimator that learns from the other groups of a
    batch learns from the last groups that came instead: the advantages are those of the newest
    group in the batch of all that are kept. The first groups of a run see few others. Rewards of
    groups that came earlier are from slightly older policies, as in any asynchronous trainer.

    Parameters
    ----------
    estimator : str
        A key of `tea_stats.ESTIMATORS`.
    N : int
        Deployment budget of best-of-N.
    keep : int
        How many earlier groups are kept. An estimator that does not learn from other groups needs
        none, unless `unit_rms` is set.
    unit_rms : bool
        Divide by the root mean square of the advantages of all groups that are kept.
    **options
        The estimator's own options.
    """

    def __init__(
        self,
        estimator: str,
        N: int,
        *,
        keep: int = KEPT,
        unit_rms: bool = False,
        **options: Any,
    ) -> None:
        pools = check_request(estimator, N, options).pools
        if keep < 0:
            raise ValueError(f"keep is {keep}; give the number of earlier groups, 0 or more")
        check_number_of_groups(estimator, keep + 1, "raise keep")
        self.estimator, self.N, self.options, self.unit_rms = estimator, N, options, unit_rms
        self.recent: deque[Tensor] = deque(maxlen=keep if pools or unit_rms else 0)

    def advantages(self, rewards: Sequence[float | None]) -> Tensor:
        """Return the advantages of the next group, and keep its rewards.

        Parameters
        ----------
        rewards : sequence of m values
            None, NaN or −inf for a rollout without a reward.

        Returns
        -------
        Tensor, shape (m,)
            Advantages in float64; 0 for rollouts without a reward, and for all of a group that
            has fewer rewards than the estimator needs.
        """
        values = [torch.nan if reward is None else float(reward) for reward in rewards]
        newest = torch.tensor(values, dtype=torch.float64)
        rows = [*self.recent, newest]
        table = torch.full((len(rows), max(map(len, rows))), torch.nan, dtype=torch.float64)
        for row, group in zip(table, rows, strict=True):
            row[: len(group)] = group
        report_missing(table[-1:], len(newest))
        result, _ = table_advantages(
            self.estimator, table, self.N, self.options, unit_rms=self.unit_rms
        )
        self.recent.append(newest)
        return result[-1, : len(newest)]
