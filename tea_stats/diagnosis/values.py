"""The rewards as a list of values: how many distinct ones, ties, ceilings, prompts without any."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from tea_stats.diagnosis.sets import LEAST_SIZE
from tea_stats.diagnosis.verdicts import LEVEL, UNKNOWN, Interval
from tea_stats.estimators.beta_binomial import MOST_VALUES
from tea_stats.families.law import Array
from tea_stats.reward_log.log import RewardLog

#: rewards are few-valued if each distinct one occurs as often as this, on average
REPEATS = 2


class Kind(enum.StrEnum):
    """What kind of rewards a log has."""

    CONSTANT = "one value"
    BINARY = "0/1"
    FEW_VALUED = "few-valued"
    CONTINUOUS = "continuous"


@dataclass(frozen=True)
class Values:
    """Counts and shares of a log.

    Attributes
    ----------
    kind : Kind
        Few-valued: `beta_binomial` takes such a log as one batch. It has at most 64 distinct
        rewards, each occurring twice on average.
    prompts, rollouts, distinct : int
        How many there are.
    smallest, median, largest : int
        Rollouts of a prompt.
    single : int
        Prompts with one rollout.
    top : float
        The largest reward.
    top_share : float
        Share of the rollouts that have it.
    enough, degenerate, tied, at_ceiling : Interval
        The shares behind the verdicts (`ASSUMPTIONS`), with exact binomial intervals: prompts are
        treated as a sample. `enough` is a count of this log's own, without uncertainty.
    """

    kind: Kind
    prompts: int
    rollouts: int
    distinct: int
    smallest: int
    median: int
    largest: int
    single: int
    top: float
    top_share: float
    enough: Interval
    degenerate: Interval
    tied: Interval
    at_ceiling: Interval


def count(log: RewardLog) -> Values:
    """Count values, ties and prompts of each kind."""
    sizes, values = log.sizes, np.unique(log.rewards)
    starts = log.offsets[:-1]
    best = np.maximum.reduceat(log.rewards, starts)
    several = sizes >= 2
    differ = several & (best > np.minimum.reduceat(log.rewards, starts))
    tied = np.zeros(len(log), dtype=bool)
    for places, groups in log.by_size():
        if groups.shape[1] >= 2:
            first_two = np.partition(groups, -2, axis=1)[:, -2:]
            tied[places] = first_two[:, 0] == first_two[:, 1]
    at_top = int((best == values[-1]).sum())
    enough = float((sizes >= LEAST_SIZE).mean())
    return Values(
        kind=_kind(values, len(log.rewards)),
        prompts=len(log),
        rollouts=len(log.rewards),
        distinct=len(values),
        smallest=int(sizes.min()),
        median=int(np.median(sizes)),
        largest=int(sizes.max()),
        single=int((~several).sum()),
        top=float(values[-1]),
        top_share=float((log.rewards == values[-1]).mean()),
        enough=Interval(enough, enough, enough),
        degenerate=share(int((several & ~differ).sum()), int(several.sum())),
        tied=share(int((differ & tied).sum()), int(differ.sum())),
        # one prompt has the largest reward by definition
        at_ceiling=share(at_top - 1, len(log) - 1),
    )


def _kind(values: Array, rollouts: int) -> Kind:
    if len(values) == 1:
        return Kind.CONSTANT
    if len(values) == 2 and set(values.tolist()) == {0.0, 1.0}:
        return Kind.BINARY
    if len(values) <= MOST_VALUES and REPEATS * len(values) <= rollouts:
        return Kind.FEW_VALUED
    return Kind.CONTINUOUS


def share(successes: int, trials: int) -> Interval:
    """Return a share with its Clopper-Pearson interval; `UNKNOWN` without trials.

    Examples
    --------
    >>> [round(float(value), 3) for value in share(1, 10)]
    [0.1, 0.003, 0.445]
    """
    if trials == 0:
        return UNKNOWN
    from scipy import stats

    ends = stats.binomtest(successes, trials).proportion_ci(LEVEL, method="exact")
    return Interval(successes / trials, float(ends.low), float(ends.high))
