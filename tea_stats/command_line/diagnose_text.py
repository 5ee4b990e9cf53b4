"""What `tea-stats diagnose` prints: verdicts, remedies and the recommendation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.text import Text

from tea_stats import BatchReport
from tea_stats.command_line import shared
from tea_stats.command_line.shared import Part
from tea_stats.diagnosis import (
    ASSUMPTIONS,
    Diagnosis,
    Finding,
    Kind,
    Recommendation,
    Tail,
    Trouble,
    Verdict,
)
from tea_stats.diagnosis.recommendation import SATURATED, SMALL_ERROR, TEA
from tea_stats.diagnosis.simulation import Score

COLOURS = {
    Verdict.HOLDS: "green",
    Verdict.DOUBTFUL: "yellow",
    Verdict.FAILS: "red",
    Verdict.CANNOT_TELL: "bright_black",
}
#: estimators in the table of errors, least error first
SHOWN = 5
ALWAYS_SHOWN = ("tea", "rloo", "grpo")


def headline(file: str, result: Diagnosis) -> Iterator[Part]:
    """Yield a summary of the log."""
    values = result.values
    sizes = f"{values.smallest}"
    if values.largest > values.smallest:
        sizes = f"{values.smallest} to {values.largest} (median {values.median})"
    yield Text(shared.printable(file), style="bold")
    yield (
        f"{values.prompts:,} prompts, {values.rollouts:,} rollouts, {sizes} each; "
        f"{values.kind} rewards, {values.distinct:,} distinct; "
        f"{values.top_share:.1%} of the rollouts have the largest, {values.top:g}"
    )


def verdicts(result: Diagnosis) -> Iterator[Part]:
    """Yield a table of verdicts, and remedies for those that do not hold."""
    table = shared.table("assumption", "verdict", "estimate, 95 % interval", "tolerated")
    for finding in result.findings:
        assumption = ASSUMPTIONS[finding.name]
        table.add_row(
            assumption.title,
            Text(finding.verdict, style=COLOURS[finding.verdict]),
            number(finding),
            tolerated(finding.name),
        )
    yield table
    yield from _remarks(result)
    if result.tail is not None:
        yield _tail_sample(result, result.tail)


def costs(named: Sequence[Trouble]) -> Iterator[Part]:
    """Yield what troubles the log, with its cost."""
    if not named:
        return
    table = shared.table("trouble", "cost", title="What troubles this log")
    for trouble in named:
        table.add_row(trouble.title, f"{trouble.cost:.3g} ± {trouble.cost_mcse:.1g}")
    yield table
    for trouble in named:
        yield (
            f"{trouble.title}: {trouble.found}. Cost: {trouble.meaning}, {trouble.cost:.3g}. "
            f"Cure: {trouble.cure}."
        )


def _tail_sample(result: Diagnosis, tail: Tail) -> str:
    """Return which rollouts the estimates of the tail come from."""
    if result.cut:
        return (
            f"Few prompts: the tail is estimated from {tail.sets} sets of {tail.m} rollouts of "
            f"{result.tail_prompts} prompts; its intervals are for these prompts only."
        )
    return (
        f"The tail is estimated from {result.tail_prompts:,} of {result.values.prompts:,} "
        f"prompts, {tail.m} rollouts each."
    )


def _remarks(result: Diagnosis) -> list[Part]:
    """Return remedies for the assumptions that do not hold."""
    remarks: list[Part] = []
    for finding in result.findings:
        assumption = ASSUMPTIONS[finding.name]
        title = (f"{assumption.title} ", COLOURS[finding.verdict])
        advice = f"({assumption.quantity}): {assumption.otherwise}."
        if finding.verdict in (Verdict.FAILS, Verdict.DOUBTFUL) and not finding.note:
            remarks.append(Text.assemble(title, advice))
    if result.tail is None and result.values.kind is not Kind.CONTINUOUS:
        remarks.append(f"Rewards of {result.values.distinct} values have no tail to extrapolate.")
    unknown = [
        ASSUMPTIONS[finding.name].title
        for finding in result.findings
        if finding.verdict is Verdict.CANNOT_TELL
    ]
    if unknown:
        remarks.append(f"Too few data for a verdict: {', '.join(unknown)}.")
    return remarks


def number(finding: Finding) -> str:
    """Return estimate and interval as text, or the reason why there is none."""
    estimate, low, high = finding.interval
    if finding.note:
        return finding.note
    if ASSUMPTIONS[finding.name].percent:
        ends = "" if low == high else f" [{100 * low:.1f}, {100 * high:.1f}]"
        return f"{100 * estimate:.1f} %{ends}"
    return f"{estimate:+.2f} [{low:+.2f}, {high:+.2f}]"


def tolerated(name: str) -> str:
    """Return what is tolerated as text.

    Examples
    --------
    >>> tolerated("signal"), tolerated("gaussian_shape"), tolerated("finite_variance")
    ('0 to 20 %', '-0.1 to 0.1', 'up to 0.5')
    """
    low, high = ASSUMPTIONS[name].tolerated
    if ASSUMPTIONS[name].percent:
        return f"{100 * low:g} to {100 * high:g} %"
    return f"up to {high:g}" if low == -math.inf else f"{low:g} to {high:g}"


def advice(choice: Recommendation, believed: BatchReport | None = None) -> Iterator[Part]:
    """Yield the recommendation, its reason, and the table of errors."""
    yield Text(f"For best-of-{choice.N}: {choice.estimator}", style="bold")
    yield from reasons(choice)
    if believed is not None:
        yield f"{choice.default} takes a batch of this log for: {believed}"
    if choice.saturation < SATURATED:
        yield (
            f"Saturated: at this N the gradient is {choice.saturation:.2g} times as long as the "
            "mean reward's. Little is left to learn; use a smaller N or harder prompts."
        )
    elif choice.score(choice.estimator).error > 1.0:
        yield "Its error exceeds 1, that of taking no step: more rollouts are needed."
    alphas = _error(choice, TEA[choice.alpha]), _error(choice, "tea")
    yield f"Best alpha for TEA: {choice.alpha:g}, error {alphas[0]} (0.25: {alphas[1]})."
    yield how_many(choice)
    sizes = sorted({score.m for score in choice.scores})
    itself = [f"the log itself, m = {choice.m}"] if choice.resampled else []
    table = shared.table("error", *itself, *(f"m = {m}" for m in sizes))
    ranked = [score.estimator for score in choice.at(choice.m)[:SHOWN]]
    own = sorted(choice.resampled, key=lambda score: score.error)[:SHOWN]
    labels = [choice.estimator, *(score.estimator for score in own), *ranked, choice.default]
    for label in dict.fromkeys([*labels, *ALWAYS_SHOWN]):
        here = {
            score.m: f"{score.error:.2g}" for score in choice.scores if score.estimator == label
        }
        on_log = choice.on_the_log(label)
        first = [f"{on_log.error:.2g}" if on_log else ""] if itself else []
        table.add_row(label, *first, *(here.get(m, "") for m in sizes))
    yield table
    laws = ", ".join(f"{law} ({weight:.0%})" for law, weight in choice.laws.items())
    log = "The log itself: its own prompts and rewards, drawn again. " if choice.resampled else ""
    yield (
        f"Error: E‖ĝ − ∇V_N‖²/‖∇V_N‖² of the mean gradient of {choice.prompts} prompts; "
        f"{choice.batches} batches simulated. {log}m = …: {laws}. A policy can move in directions "
        'other than these: docs/diagnose.md, "Where it can mislead".'
    )


def _error(choice: Recommendation, label: str) -> str:
    return _text(choice.score(label))


def reasons(choice: Recommendation) -> Iterator[str]:
    """Yield how the choice compares with the default, and the default with the best."""
    name, usual = choice.estimator, choice.default
    mine, other = choice.on_the_log(name), choice.on_the_log(usual)
    where = "on the log itself" if choice.resampled else "on the log's own prompts"
    if mine is None or other is None:
        mine, other = choice.score(name), choice.score(usual)
    error = f"{name} has error {_text(mine)} {where} at m = {choice.m}"
    if name != usual:
        more = f"{abs(mine.difference):.2g} ± {mine.difference_mcse:.1g}"
        yield f"{error}, the default {usual} {_text(other)}: {more} more."
    else:
        yield f"{error}. It is the default."
    best = choice.score(choice.best)
    if name == usual and not choice.resampled and best.difference < 0.0:
        yield f"{choice.best} has {abs(best.difference):.2g} ± {best.difference_mcse:.1g} less."
    if choice.resampled:
        yield f"On laws fitted to the log: {_error(choice, name)}."


def _text(score: Score) -> str:
    return f"{score.error:.3g} ± {score.error_mcse:.1g}"


def how_many(choice: Recommendation) -> str:
    """Return how many rollouts are enough."""
    if choice.enough_m is None:
        largest = max(score.m for score in choice.scores)
        return f"m: every doubling up to {largest} rollouts is worthwhile."
    error = choice.score(choice.estimator, choice.enough_m).error
    why = f"at most {SMALL_ERROR}" if error <= SMALL_ERROR else "hardly lower with twice as many"
    return f"m: {choice.enough_m} rollouts are enough (error {error:.2g}, {why})."
