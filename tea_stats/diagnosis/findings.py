"""A verdict on each assumption, from a log of rewards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tea_stats._validation import as_seed
from tea_stats.diagnosis import sets as _sets, tail as _tail, values as _values
from tea_stats.diagnosis.tail import Tail
from tea_stats.diagnosis.values import Kind, Values
from tea_stats.diagnosis.verdicts import ASSUMPTIONS, UNKNOWN, Interval, Verdict, judge
from tea_stats.reward_log.log import RewardLog

#: verdicts on the tail of few-valued rewards, which have none
WITHOUT_TAIL = {
    "gaussian_shape": Verdict.FAILS,
    "straight_plot": Verdict.FAILS,
    "finite_variance": Verdict.HOLDS,
    "stable_shape": Verdict.FAILS,
}


@dataclass(frozen=True)
class Finding:
    """A verdict and its evidence.

    Attributes
    ----------
    name : str
        Key of `ASSUMPTIONS`.
    interval : Interval
        Estimate behind the verdict; nan where there is none.
    verdict : Verdict
        Whether the assumption holds.
    note : str
        Why there is no estimate, or empty.
    """

    name: str
    interval: Interval
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """Verdicts of a log on the assumptions behind best-of-N estimators.

    Attributes
    ----------
    values : Values
        Counts and shares.
    tail : Tail or None
        The upper tail; None for few-valued rewards, and without groups of 4 rollouts.
    tail_prompts, tail_rollouts : int
        How many of them the tail is estimated from.
    cut : bool
        Whether prompts were few and were cut into sets: intervals are then for these prompts only.
    findings : tuple of Finding
        One for each of `ASSUMPTIONS`, in that order.
    """

    values: Values
    tail: Tail | None
    tail_prompts: int
    tail_rollouts: int
    cut: bool
    findings: tuple[Finding, ...]


def diagnose(log: RewardLog, *, seed: int = 0) -> Diagnosis:
    """Return a verdict on each of `ASSUMPTIONS`.

    Parameters
    ----------
    log : RewardLog
        Rewards by prompt, groups of any sizes.
    seed : int
        Seed of the cuts, where prompts are few; nothing else is random.

    Returns
    -------
    Diagnosis
        Verdicts, each with its estimate and 95 % confidence interval.

    Notes
    -----
    The tail is pooled over prompts without standardising any: `tea_stats.diagnosis.tail` explains
    how, and why small groups do not distort it. Verdicts follow from interval and tolerance by one
    rule, `judge`. If an assumption holds exactly, it is called doubtful or failing in some 5 % of
    logs, whatever their size; the share in which it holds grows with the size.

    Examples
    --------
    >>> from tea_stats import Normal
    >>> from tea_stats.reward_log import RewardLog
    >>> rewards = Normal().sample((2000, 32), np.random.default_rng(0))
    >>> result = diagnose(RewardLog.from_groups(rewards))
    >>> [str(finding.verdict) for finding in result.findings[:6]]
    ['holds', 'holds', 'holds', 'holds', 'holds', 'holds']
    """
    check_log(log)
    values = _values.count(log)
    rng = np.random.default_rng(as_seed("seed", seed))
    intervals = {
        "groups": values.enough,
        "signal": values.degenerate,
        "no_ties": values.tied,
        "no_ceiling": values.at_ceiling,
    }
    if not _has_tail(values):
        counted = "1 value" if values.distinct == 1 else f"{values.distinct} distinct values"
        return _diagnosis(values, None, None, intervals, f"{counted}: no tail")
    sets = _sets.sets(log, rng)
    if sets is None:
        return _diagnosis(values, None, None, intervals, f"no group of {_sets.LEAST_SIZE} rollouts")
    tail = _tail.examine(sets)
    intervals |= {
        "gaussian_shape": tail.excess_shape,
        "straight_plot": tail.bend,
        "finite_variance": tail.shape,
        "stable_shape": tail.further_shape,
    }
    return _diagnosis(values, tail, sets, intervals, "too few data")


def _diagnosis(
    values: Values,
    tail: Tail | None,
    sets: _sets.Sets | None,
    intervals: dict[str, Interval],
    note: str,
) -> Diagnosis:
    findings = []
    for name, assumption in ASSUMPTIONS.items():
        interval = intervals.get(name, UNKNOWN)
        verdict = judge(assumption, interval)
        if name in WITHOUT_TAIL and not _has_tail(values):
            verdict = WITHOUT_TAIL[name]
        findings.append(
            Finding(name, interval, verdict, note if np.isnan(interval.estimate) else "")
        )
    used = (sets.prompts, sets.rollouts, sets.cut) if sets else (0, 0, False)
    return Diagnosis(values, tail, *used, tuple(findings))


def _has_tail(values: Values) -> bool:
    """Whether there is a tail to look at; rewards rounded to a few values may have one."""
    ties = judge(ASSUMPTIONS["no_ties"], values.tied)
    few = values.kind in (Kind.CONSTANT, Kind.BINARY)
    return values.kind is Kind.CONTINUOUS or not (few or ties is Verdict.FAILS)


def check_log(log: RewardLog) -> None:
    """Refuse what is not a log."""
    if not isinstance(log, RewardLog):
        raise TypeError(
            f"log is of type {type(log).__name__}; give a RewardLog: reward_log.read(path), or "
            "RewardLog.from_groups(rewards) for an array"
        )
