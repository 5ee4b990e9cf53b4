"""What `tea-stats diagnose` prints: verdicts, remedies and the recommendation."""

from __future__ import annotations

import math

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tea_stats.command_line import shared
from tea_stats.diagnosis import ASSUMPTIONS, Diagnosis, Finding, Kind, Recommendation, Tail, Verdict
from tea_stats.diagnosis.recommendation import CLEARLY, SATURATED, SMALL_ERROR, TEA
from tea_stats.reward_log import Reading

COLOURS = {
    Verdict.HOLDS: "green",
    Verdict.DOUBTFUL: "yellow",
    Verdict.FAILS: "red",
    Verdict.CANNOT_TELL: "bright_black",
}
#: estimators in the table of errors, least error first
SHOWN = 5
ALWAYS_SHOWN = ("tea", "rloo", "grpo")
INDENT = (0, 0, 0, 2)


def verdicts(
    console: Console, file: str, result: Diagnosis, reading: Reading | None = None
) -> None:
    """Print a summary of the log, a table of verdicts, and remedies for those that do not hold."""
    values = result.values
    sizes = f"{values.smallest}"
    if values.largest > values.smallest:
        sizes = f"{values.smallest} to {values.largest} (median {values.median})"
    console.print(Text(f"\n{shared.printable(file)}", style="bold"))
    for read in reading.lines() if reading is not None else ():
        console.print(shared.printable(read), highlight=False, markup=False)
    console.print(
        f"{values.prompts:,} prompts, {values.rollouts:,} rollouts, {sizes} each; "
        f"{values.kind} rewards, {values.distinct:,} distinct; "
        f"{values.top_share:.1%} of the rollouts have the largest, {values.top:g}"
    )
    table = shared.table("assumption", "verdict", "estimate, 95 % interval", "tolerated")
    for finding in result.findings:
        assumption = ASSUMPTIONS[finding.name]
        table.add_row(
            assumption.title,
            Text(finding.verdict, style=COLOURS[finding.verdict]),
            number(finding),
            tolerated(finding.name),
        )
    console.print(table)
    for line in _remarks(result):
        console.print(Padding(line, INDENT))
    if result.tail is not None:
        console.print(Padding(_tail_sample(result, result.tail), INDENT))


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


def _remarks(result: Diagnosis) -> list[str | Text]:
    """Return remedies for the assumptions that do not hold."""
    remarks: list[str | Text] = []
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


def advice(console: Console, choice: Recommendation) -> None:
    """Print the recommendation, its reason, and the table of errors."""
    console.print(Text(f"\nFor best-of-{choice.N}: {choice.estimator}", style="bold"))
    lines = [reason(choice)]
    if choice.saturation < SATURATED:
        lines.append(
            f"Saturated: at this N the gradient is {choice.saturation:.2g} times as long as the "
            "mean reward's. Little is left to learn; use a smaller N or harder prompts."
        )
    elif choice.score(choice.estimator).error > 1.0:
        lines.append("Its error exceeds 1, that of taking no step: more rollouts are needed.")
    alphas = _error(choice, TEA[choice.alpha]), _error(choice, "tea")
    lines.append(f"Best alpha for TEA: {choice.alpha:g}, error {alphas[0]} (0.25: {alphas[1]}).")
    lines.append(how_many(choice))
    for line in lines:
        console.print(Padding(line, INDENT))
    sizes = sorted({score.m for score in choice.scores})
    table = shared.table("error", *(f"m = {m}" for m in sizes))
    ranked = [score.estimator for score in choice.at(choice.m)[:SHOWN]]
    for label in dict.fromkeys([*ranked, choice.default, *ALWAYS_SHOWN]):
        here = {
            score.m: f"{score.error:.2g}" for score in choice.scores if score.estimator == label
        }
        table.add_row(label, *(here.get(m, "") for m in sizes))
    console.print(table)
    laws = ", ".join(f"{law} ({weight:.0%})" for law, weight in choice.laws.items())
    console.print(
        Padding(
            f"Error: E‖ĝ − ∇V_N‖²/‖∇V_N‖² of the mean gradient of {choice.prompts} prompts; "
            f"{choice.batches} batches simulated from {laws}. A policy can move in directions "
            'other than the law\'s parameters: docs/diagnose.md, "Where it can mislead".',
            INDENT,
        )
    )


def _error(choice: Recommendation, label: str) -> str:
    score = choice.score(label)
    return f"{score.error:.3g} ± {score.error_mcse:.1g}"


def reason(choice: Recommendation) -> str:
    """Return how the choice compares with the default, or the default with the best."""
    name, usual = choice.estimator, choice.default
    best = choice.score(choice.best)
    error = f"{name} has error {_error(choice, name)} at m = {choice.m}"
    difference = f"{abs(best.difference):.2g} ± {best.difference_mcse:.1g}"
    if name != usual:
        return f"{error}, the default {usual} {_error(choice, usual)}: {difference} more."
    if best.difference >= 0.0:
        return f"{error}, the smallest of all. It is the default."
    why = f"not significant at {CLEARLY:g} s.e."
    if -best.difference > CLEARLY * best.difference_mcse:
        why = "less than a third, too little to choose by, as the law is an estimate"
    return f"{error}. It is the default; {best.estimator} has {difference} less ({why})."


def how_many(choice: Recommendation) -> str:
    """Return how many rollouts are enough."""
    if choice.enough_m is None:
        largest = max(score.m for score in choice.scores)
        return f"m: every doubling up to {largest} rollouts is worthwhile."
    error = choice.score(choice.estimator, choice.enough_m).error
    why = f"at most {SMALL_ERROR}" if error <= SMALL_ERROR else "hardly lower with twice as many"
    return f"m: {choice.enough_m} rollouts are enough (error {error:.2g}, {why})."
