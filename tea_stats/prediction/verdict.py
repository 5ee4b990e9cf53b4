"""What is said with a prediction: which curve is recommended, why, and with what caveats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction import evidence
from tea_stats.prediction.backtest import Backtest
from tea_stats.prediction.evidence import Repeats
from tea_stats.prediction.few_valued import thresholds
from tea_stats.prediction.fit import Method
from tea_stats.prediction.methods import METHODS
from tea_stats.prediction.pool import Agreement
from tea_stats.reward_log.log import RewardLog

#: how many times the least backtest error the stack's may be and pass without mention: the least of
#: several noisy errors is the smaller one by chance
LARGER = 1.25
BEYOND = "beyond what this log can tell"


def recommended(
    log: RewardLog, N: int, names: Sequence[str], backtest: Backtest | None, few_valued: bool
) -> str:
    """Return max@k where every prompt has N rollouts or none can be extrapolated, else the stack.

    Where the stack is not among the methods, the method of least backtest error.
    """
    if "max_at_k" in names and log.sizes.min() >= N:
        return "max_at_k"
    beyond = [name for name in names if METHODS[name].extrapolates]
    if "stack" in beyond and (few_valued or log.sizes.max() >= evidence.FEWEST_TAIL):
        return "stack"
    beyond = [name for name in beyond if name != "stack"]
    if backtest is None or not beyond:
        return beyond[0] if beyond else names[0]
    return min(beyond, key=lambda name: backtest.errors.get(name, np.inf))


def reason(
    log: RewardLog,
    N: int,
    name: str,
    value: Array,
    fits: Mapping[str, Method],
    backtest: Backtest | None,
    reach: int,
    agreement: Agreement,
) -> str:
    """Return one line on why this curve is recommended, or why there is no number at N."""
    title = METHODS[name].title
    fewest = evidence.FEWEST_TAIL
    if name == "max_at_k" and log.sizes.min() >= N:
        return f"{title} is unbiased here: every prompt has at least {N} rollouts"
    if thresholds(log) is None and log.sizes.max() < fewest:
        return (
            f"{log.sizes.max()} rollouts of a prompt cannot be extrapolated: {fewest} are needed "
            f"at least; {title} ends at N = {log.sizes.max()}"
        )
    if name != "stack":
        return _least_error(title, backtest)
    if np.isnan(value[-1]):
        return _beyond(log, N, reach, agreement)
    weights = fits["stack"].details.get("weights")
    if weights is None:
        laws = fits["stack"].details.get("laws", {})
        shares = [(law, share) for law, share in laws.items() if share >= 0.005]
        return "stacked by evidence, laws of the chance of success: " + _listed(shares)
    shares = [(METHODS[part].title, weight) for part, weight in weights.items() if weight >= 0.005]
    how = (
        "without a backtest"
        if backtest is None
        else f"backtest from {backtest.m} of {backtest.M} rollouts, {backtest.prompts:,} prompts"
    )
    pooled = "; all prompts together differ: the interval holds both" if agreement.differs else ""
    return f"stacked: {_listed(shares)}; {how}{_excess(backtest)}{pooled}"


def notes(
    log: RewardLog,
    N: int,
    fits: Mapping[str, Method],
    top: float | None,
    repeats: Repeats | None,
) -> Iterator[str]:
    """Yield caveats about the log: few values, ceilings, repeats, prompts left out."""
    values = thresholds(log)
    constant = values is not None and len(values) == 1
    if values is not None and len(values) > 1 and not log.is_binary:
        yield (
            f"the rewards take {len(values)} values, {values[0]:g} to {values[-1]:g}: predicted "
            f"threshold by threshold, never above {values[-1]:g}"
        )
    if values is not None and constant:
        yield f"every reward is {values[0]:g}: nothing tells how often others occur"
    if values is None and top is not None:
        yield (
            f"{(log.rewards == top).mean():.0%} of the rewards are {top:g}, the largest: taken for "
            "a ceiling that best-of-N cannot exceed"
        )
    if (
        top is not None
        and N > 1
        and not constant
        and (done := evidence.at_ceiling(log, top)) > len(log) / 2
    ):
        yield f"{done:,} of {len(log):,} prompts reach {top:g} already: more rollouts add little"
    if repeats is not None:
        yield _repeated(repeats)
    inside = fits.get("max_at_k")
    if inside is not None and inside.details["prompts"] < len(log):
        yield (
            f"unbiased max@k averages the same {inside.details['prompts']:,} of {len(log):,} "
            f"prompts at every k, those with {inside.details['rollouts']} rollouts or more"
        )


def _beyond(log: RewardLog, N: int, reach: int, agreement: Agreement) -> str:
    values, M = thresholds(log), evidence.depth(log)
    few = values is not None
    if values is not None and len(values) == 1 and not log.is_binary:
        return f"{BEYOND}: every reward is {values[0]:g}, and nothing tells what others there are"
    if reach == agreement.until:
        return (
            f"{BEYOND}: past N = {reach:,} the prompts by themselves and the rewards of all of "
            f"them together disagree, each outside the other's interval; {M} rollouts a prompt "
            "seem to miss a rare kind of answer: draw more of each"
        )
    needed = next(M for M in 2 ** np.arange(64) if evidence.reach(int(M), few) >= N)
    return (
        f"{BEYOND}: {M} rollouts a prompt cannot be backtested; N = {N:,} needs {needed:,}"
        if reach == M
        else f"{BEYOND}: a backtest of {M} rollouts a prompt reaches half way to N = {reach:,} at "
        f"most; N = {N:,} needs {needed:,}"
    )


def _repeated(repeats: Repeats) -> str:
    what = "completion" if repeats.by_text else "reward, to the last digit,"
    if repeats.copies > 1:
        return (
            f"every rollout is there {repeats.copies} times (same {what} of the same prompt): "
            "counted once"
        )
    cure = "" if repeats.by_text else "; completions or a rollout id would tell (--rollout)"
    return (
        f"{repeats.share:.0%} of the rollouts repeat the {what} of another of their prompt: copies "
        f"of rows, or a policy that repeats itself; the interval covers both{cure}"
    )


def _least_error(title: str, test: Backtest | None) -> str:
    if test is None:
        return (
            f"{title} is chosen without a backtest, which needs at least {evidence.LEAST_TAIL} "
            "rollouts per prompt, two of them in the tail"
        )
    return (
        f"{title} has the smallest backtest error: from {test.m} of {test.M} rollouts to the "
        f"best of k = {test.grid[0]} … {test.M}, {test.prompts:,} prompts, {test.splits} splits"
    )


def _excess(test: Backtest | None) -> str:
    """Say so where a single method would have had a smaller error in the backtest."""
    if test is None or "stack" not in test.errors:
        return ""
    errors = {name: error for name, error in test.errors.items() if METHODS[name].extrapolates}
    best = min(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    if errors[best] == 0.0 or not errors["stack"] > LARGER * errors[best]:
        return ""
    return f", its error {errors['stack'] / errors[best]:.2f} times {METHODS[best].title}'s"


def _listed(shares: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {share:.2f}" for name, share in shares)
