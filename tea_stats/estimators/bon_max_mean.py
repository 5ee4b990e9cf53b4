"""BoN max-mean: the best rollout of the group against its mean."""

from __future__ import annotations

from dataclasses import dataclass

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function


@dataclass(frozen=True, kw_only=True)
class BonMaxMean(Estimator):
    r"""BoN max-mean: the best rollout against the group's mean.

    .. math:: A_i = \frac{1}{T} 1\{r_i = \max_j r_j\} (r_i − \bar r)

    T rollouts that tie for the maximum get 1/T of it each: the average over which of them a
    coin would have called the best, so that no rollout is preferred for its place in the batch.

    Notes
    -----
    Not unbiased for any best-of-N: the mean is not what the group would have reached without its
    best rollout. The formula is in common use; the treatment of ties is ours.

    Examples
    --------
    >>> bon_max_mean([1, 2, 6], N=16)
    array([0., 0., 3.])
    """

    name = "bon_max_mean"
    title = "BoN max-mean"
    unbiased_for = "nothing: the mean is no baseline for a maximum"
    objective = unbiased_for
    reference = "best-of-n policy gradient with a mean baseline, in common use"
    marks = (({}, Mark("#C8B560", "<")),)
    kernel = staticmethod(_kernels.bon_max_mean)


bon_max_mean = as_function(BonMaxMean)
