"""Test the assumptions of best-of-N estimators on a log of rewards; name troubles and their cost.

::

    from tea_stats import diagnosis, reward_log

    result = diagnosis.diagnose(reward_log.read("rewards.jsonl"))
    {finding.name: finding.verdict for finding in result.findings}
"""

from __future__ import annotations

from tea_stats.diagnosis.costs import TROUBLES, Trouble, troubles
from tea_stats.diagnosis.findings import Diagnosis, Finding, diagnose
from tea_stats.diagnosis.recommendation import Recommendation, recommend
from tea_stats.diagnosis.tail import Tail, Threshold
from tea_stats.diagnosis.trust import trust
from tea_stats.diagnosis.values import Kind, Values
from tea_stats.diagnosis.verdicts import ASSUMPTIONS, Assumption, Interval, Verdict, judge

__all__ = [
    "ASSUMPTIONS",
    "Assumption",
    "Diagnosis",
    "Finding",
    "Interval",
    "Kind",
    "Recommendation",
    "TROUBLES",
    "Tail",
    "Threshold",
    "Trouble",
    "Values",
    "Verdict",
    "diagnose",
    "judge",
    "recommend",
    "troubles",
    "trust",
]
