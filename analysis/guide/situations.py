"""The situations of the guide "Which estimator when", and the cells that represent them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

#: best-of-N nearly always succeeds where it expects more successes than this
FEW_SUCCESSES = 4.0


@dataclass(frozen=True)
class Situation:
    """What a user knows of the rewards, and the cells that represent it.

    Attributes
    ----------
    name : str
        Heading of the section, and line of the decision table.
    about : str
        How to recognise it; Markdown.
    laws : tuple of str
        Labels of laws in the grid; none: all of them.
    grid : str
        Folder of the summary.
    where : callable
        Maps rows to a boolean for each: further conditions on the cell.
    """

    name: str
    about: str
    laws: tuple[str, ...] = ()
    grid: str = "league"
    where: Callable[[pd.DataFrame], pd.Series] = field(default=lambda rows: rows["m"] > 0)

    @property
    def anchor(self) -> str:
        """Name of the section's heading in a link."""
        return re.sub(r"[^\w\- ]", "", self.name.lower()).replace(" ", "-")

    def holds(self, rows: pd.DataFrame) -> pd.Series:
        """Return for each row of performance ratios whether its cell belongs here."""
        inside = rows["law"].isin(self.laws) if self.laws else rows["m"] > 0
        return inside & self.where(rows)


def expected_successes(rows: pd.DataFrame) -> pd.Series:
    """Return N times the probability of the reward 1, nan where the law is not on 0 and 1.

    Examples
    --------
    >>> laws = ['{"values": [0.0, 1.0], "logits": [0.0, 0.0]}', '{"loc": 0.0}']
    >>> expected_successes(pd.DataFrame({"law_parameters": laws, "N": [8, 8]})).tolist()
    [4.0, nan]
    """

    def log_odds(parameters: str) -> float:
        law = json.loads(parameters)
        failure, success = law["logits"] if law.get("values") == [0.0, 1.0] else (np.nan, np.nan)
        return failure - success

    return rows["N"] / (1.0 + np.exp(rows["law_parameters"].map(log_odds)))


VERIFIERS = ("10 % verifier", "1 % verifier", "0.1 % verifier")

SITUATIONS = (
    Situation(
        "A verifier: rewards are 0 or 1, successes rare",
        "One deployment of best-of-N sees a few successes, or none.",
        VERIFIERS,
        where=lambda rows: expected_successes(rows) <= FEW_SUCCESSES,
    ),
    Situation(
        "A saturated verifier",
        "Best-of-N nearly always succeeds already: little gradient is left, and every "
        "extrapolation overestimates it.",
        VERIFIERS,
        where=lambda rows: expected_successes(rows) > FEW_SUCCESSES,
    ),
    Situation(
        "Few values: Likert scores, test counts",
        "A handful of distinct rewards, each of which occurs many times in a batch.",
        ("Likert 1-5",),
    ),
    Situation(
        "A Gaussian upper tail",
        "Sums and means of many parts; the upper end of a QQ plot against the normal law is "
        "straight.",
        ("Normal", "GaussianTail", "GaussianTail(0.1)", "GaussianTail(0.4)"),
    ),
    Situation(
        "An exponential upper tail",
        "Somewhat heavier than Gaussian: the mean excess over a threshold stays about constant, or "
        "falls slowly.",
        (
            *("Logistic", "Gumbel", "Gamma(0.7)", "exponential", "Gamma(1.4)", "Gamma(2)"),
            *("Gamma(2.5) moved", "Gamma(6)", "Weibull(1.2)", "Weibull(1.5)", "Weibull(1.8)"),
            *("Weibull(2.2) moved", "Weibull(3)", "LogNormal(0.35)"),
        ),
    ),
    Situation(
        "A heavy upper tail",
        "The mean excess rises with the threshold; a few rollouts dominate every mean.",
        (
            *("Student t(2.5)", "Student t(3)", "Student t(3.5)", "Student t(5)", "Student t(6)"),
            *("Weibull(0.8)", "LogNormal(0.5) moved", "LogNormal(0.75)", "LogNormal(1) moved"),
            *("GenPareto(0.1)", "GenPareto(0.2)", "GenPareto(0.25)"),
        ),
    ),
    Situation(
        "Skewed to the left",
        "Most rollouts are near the top, and a long tail of failures lies below.",
        ("GumbelMin", "left skew moved"),
    ),
    Situation(
        "Bounded rewards that learning moves",
        "There is a largest reward, and the policy learns by shifting and stretching the whole "
        "law.",
        (
            *("GenPareto(-0.35)", "GenPareto(-0.2)", "Beta(3, 3) moved", "Beta(5, 3) moved"),
            *("Beta(2.5, 6) moved", "Beta(8, 2.5) moved"),
        ),
    ),
    Situation(
        "Bounded rewards that learning reshapes",
        "There is a largest reward, and the policy learns by changing how much of the law lies "
        "near it, which moves the best of N hardly at all.",
        ("Beta(2, 2)", "Beta(8, 1.5)"),
    ),
    Situation(
        "A rare good mode that learning moves",
        "Two kinds of answers, or outliers; the policy learns by shifting and stretching the whole "
        "law.",
        (
            *("2 % good mode moved", "5 % good mode moved", "10 % good mode moved"),
            *("35 % good mode moved", "wide outliers moved", "15 % outliers moved"),
        ),
    ),
    Situation(
        "A rare good mode that learning makes more frequent",
        "The same, but the policy also learns the share, the place and the width of each mode.",
        ("2 % good mode", "10 % good mode", "wide outliers"),
    ),
    Situation(
        "As many rollouts as the deployment has: m at least N",
        "Nothing has to be extrapolated, and max@N itself (here called max@m) has no bias. "
        "Measured on the laws of the full grid, which does not include the default.",
        grid="paper",
        where=lambda rows: rows["m"] >= rows["N"],
    ),
    Situation(
        "Nothing is known",
        "All laws that the default was not chosen on and whose parameters are location and scale.",
        where=lambda rows: rows["part"] == "held out",
    ),
)
