"""The assumptions behind best-of-N estimators, and the rule from an interval to a verdict."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

INF = math.inf
#: of every confidence interval
LEVEL = 0.95


class Verdict(enum.StrEnum):
    """Whether an assumption holds on a log."""

    HOLDS = "holds"
    DOUBTFUL = "doubtful"
    FAILS = "fails"
    CANNOT_TELL = "cannot tell"


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % confidence interval; nan where there is none."""

    estimate: float
    low: float
    high: float


#: the interval of a log without enough data
UNKNOWN = Interval(math.nan, -INF, INF)


@dataclass(frozen=True)
class Assumption:
    """One row of `ASSUMPTIONS`.

    Attributes
    ----------
    title : str
        The assumption, in a few words.
    quantity : str
        The number behind the verdict.
    ideal, tolerated : (float, float)
        Where the number lies if the assumption is true, and where it does no harm.
    reason : str
        Why this tolerance.
    otherwise : str
        What to do where the assumption fails.
    percent : bool
        Whether the number is a share.
    """

    title: str
    quantity: str
    ideal: tuple[float, float]
    tolerated: tuple[float, float]
    reason: str
    otherwise: str
    percent: bool = False


ASSUMPTIONS: Mapping[str, Assumption] = MappingProxyType(
    {
        "groups": Assumption(
            "enough rollouts",
            "share of prompts with 4 rollouts or more",
            ideal=(1.0, 1.0),
            tolerated=(0.9, 1.0),
            reason="smaller groups show no tail; even if they differ, 10 % hardly matter",
            otherwise="draw at least 4 rollouts of every prompt, or name the right prompt column",
            percent=True,
        ),
        "signal": Assumption(
            "rewards differ",
            "share of prompts whose rewards are all equal",
            ideal=(0.0, 0.0),
            tolerated=(0.0, 0.2),
            reason="such prompts have no gradient; at 20 % the others' mean has 1.25 times the "
            "variance",
            otherwise="leave out prompts that always or never succeed, or draw more rollouts",
            percent=True,
        ),
        "no_ties": Assumption(
            "no ties at the top",
            "share of the other prompts whose two best rollouts tie",
            ideal=(0.0, 0.0),
            tolerated=(0.0, 0.05),
            reason="a continuous law has none; at 5 % the uppermost spacing is 5 % short",
            otherwise="few-valued rewards: use beta_binomial, or auto_tea, which detects them",
            percent=True,
        ),
        "no_ceiling": Assumption(
            "no ceiling",
            "share of prompts, except one, whose best rollout has the log's largest reward",
            ideal=(0.0, 0.0),
            tolerated=(0.0, 0.2),
            reason="such prompts have nothing to gain from more draws",
            otherwise="the reward saturates: use harder prompts or a finer reward",
            percent=True,
        ),
        "gaussian_shape": Assumption(
            "Gaussian tail",
            "tail shape in the best quarter, minus that of normal rewards",
            ideal=(0.0, 0.0),
            tolerated=(-0.1, 0.1),
            reason="within 0.1, Gaussian extrapolation misses some 20 % of the rise from m to 64 m",
            otherwise="TEA and linear TEA extrapolate wrongly: take the estimator recommended, or "
            "max_at_k",
        ),
        "straight_plot": Assumption(
            "straight QQ plot",
            "log of its slope in the last doubling over that in the one before",
            ideal=(0.0, 0.0),
            tolerated=(-0.1, 0.1),
            reason="a slope that changes by 10 % a doubling changes by half from m to 64 m",
            otherwise="the plot cannot be extended as a line: draw more rollouts, or take "
            "the estimator recommended",
        ),
        "finite_variance": Assumption(
            "finite variance",
            "tail shape in the best quarter",
            ideal=(-INF, 0.25),
            tolerated=(-INF, 0.5),
            reason="beyond 1/2 rewards have infinite variance; beyond 1/4, so has its estimate",
            otherwise="a few rewards dominate every gradient: clip or rank them",
        ),
        "stable_shape": Assumption(
            "stable tail shape",
            "tail shape in the best eighth, minus that in the best quarter",
            ideal=(0.0, 0.0),
            tolerated=(-0.1, 0.1),
            reason="as for a Gaussian tail: 0.1 of shape is some 20 % of the rise",
            otherwise="the tail changes further out: do not trust a generalised-Pareto "
            "extrapolation from the best quarter",
        ),
    }
)


def judge(assumption: Assumption, interval: Interval) -> Verdict:
    """Return the verdict on an assumption.

    It holds if the whole interval is tolerated, and fails if none of it is. Between them it is
    doubtful if the interval leaves out the ideal, and open otherwise.

    Examples
    --------
    >>> judge(ASSUMPTIONS["gaussian_shape"], Interval(0.16, 0.02, 0.3)).value
    'doubtful'
    """
    low, high = assumption.tolerated
    if math.isnan(interval.estimate):
        return Verdict.CANNOT_TELL
    if low <= interval.low and interval.high <= high:
        return Verdict.HOLDS
    if interval.low > high or interval.high < low:
        return Verdict.FAILS
    if interval.low > assumption.ideal[1] or interval.high < assumption.ideal[0]:
        return Verdict.DOUBTFUL
    return Verdict.CANNOT_TELL
