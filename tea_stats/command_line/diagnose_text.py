"""What `tea-stats diagnose` prints: verdicts, what to do about them, and the recommendation."""

from __future__ import annotations

import math

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tea_stats.command_line import shared
from tea_stats.diagnosis import ASSUMPTIONS, Diagnosis, Finding, Kind, Recommendation, Tail, Verdict
from tea_stats.diagnosis.recommendation import CLEARLY, SATURATED, SMALL_ERROR, TEA

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


def verdicts(console: Console, file: str, found: Diagnosis) -> None:
    """Print what the log is, a table of verdicts, and what to do about those that do not hold."""
    values = found.values
    sizes = f"{values.smallest}"
    if values.largest > values.smallest:
        sizes = f"{values.smallest} to {values.largest} (median {values.median})"
    console.print(Text(f"\n{file}", style="bold"))
    console.print(
        f"{values.prompts:,} prompts, {values.rollouts:,} rollouts, {sizes} each; "
        f"{values.kind} rewards, {values.distinct:,} distinct; "
        f"{values.top_share:.1%} of the rollouts have the largest, {values.top:g}"
    )
    table = shared.table("assumption", "verdict", "found, 95 % interval", "tolerated")
    for finding in found.findings:
        assumption = ASSUMPTIONS[finding.name]
        table.add_row(
            assumption.title,
            Text(finding.verdict, style=COLOURS[finding.verdict]),
            number(finding),
            tolerated(finding.name),
        )
    console.print(table)
    for line in _remarks(found):
        console.print(Padding(line, INDENT))
    if found.tail is not None:
        console.print(Padding(_seen(found, found.tail), INDENT))


def _seen(found: Diagnosis, tail: Tail) -> str:
    """Say in which rollouts the tail was seen."""
    if found.cut:
        return (
            f"Few prompts: the tail was seen in {tail.sets} sets of {tail.m} rollouts of "
            f"{found.tail_prompts} of them; its intervals are for these prompts, not for others."
        )
    return (
        f"The tail was seen in {found.tail_prompts:,} of {found.values.prompts:,} prompts, by "
        f"{tail.m} rollouts each."
    )


def _remarks(found: Diagnosis) -> list[str | Text]:
    """Say what to do about the assumptions that do not hold."""
    remarks: list[str | Text] = []
    for finding in found.findings:
        assumption = ASSUMPTIONS[finding.name]
        title = (f"{assumption.title} ", COLOURS[finding.verdict])
        advice = f"({assumption.quantity}): {assumption.otherwise}."
        if finding.verdict in (Verdict.FAILS, Verdict.DOUBTFUL) and not finding.note:
            remarks.append(Text.assemble(title, advice))
    if found.tail is None and found.values.kind is not Kind.CONTINUOUS:
        remarks.append(f"Rewards of {found.values.distinct} values have no tail to extrapolate.")
    unknown = [
        ASSUMPTIONS[finding.name].title
        for finding in found.findings
        if finding.verdict is Verdict.CANNOT_TELL
    ]
    if unknown:
        remarks.append(f"Too few data to tell: {', '.join(unknown)}.")
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


def advice(console: Console, found: Recommendation) -> None:
    """Print the recommendation, its reason, and the table of errors."""
    console.print(Text(f"\nFor best-of-{found.N}: {found.estimator}", style="bold"))
    lines = [reason(found)]
    if found.saturation < SATURATED:
        lines.append(
            f"Saturated: at this N the gradient has {found.saturation:.2g} of the length of the "
            "mean reward's. Little is left to learn; take a smaller N or harder prompts."
        )
    elif found.score(found.estimator).error > 1.0:
        lines.append("No step at all has error 1: more rollouts are needed.")
    alphas = _error(found, TEA[found.alpha]), _error(found, "tea")
    lines.append(f"alpha, if TEA is used: {found.alpha:g}, error {alphas[0]} (0.25: {alphas[1]}).")
    lines.append(how_many(found))
    for line in lines:
        console.print(Padding(line, INDENT))
    sizes = sorted({score.m for score in found.scores})
    table = shared.table("error", *(f"m = {m}" for m in sizes))
    ranked = [score.estimator for score in found.at(found.m)[:SHOWN]]
    for label in dict.fromkeys([*ranked, found.default, *ALWAYS_SHOWN]):
        here = {score.m: f"{score.error:.2g}" for score in found.scores if score.estimator == label}
        table.add_row(label, *(here.get(m, "") for m in sizes))
    console.print(table)
    laws = ", ".join(f"{law} ({weight:.0%})" for law, weight in found.laws.items())
    console.print(
        Padding(
            f"Error: E‖ĝ − ∇V_N‖²/‖∇V_N‖² of the mean gradient of {found.prompts} prompts; "
            f"{found.batches} batches simulated from {laws}. A policy can move in other directions "
            'than the law\'s parameters: docs/diagnose.md, "Where it can mislead".',
            INDENT,
        )
    )


def _error(found: Recommendation, label: str) -> str:
    score = found.score(label)
    return f"{score.error:.3g} ± {score.error_mcse:.1g}"


def reason(found: Recommendation) -> str:
    """Say how the choice compares with the default, or the default with the best."""
    best, default = found.score(found.best), found.score(found.default)
    mine = f"{found.estimator} has error {_error(found, found.estimator)} at m = {found.m}"
    apart = f"{abs(best.difference):.2g} ± {best.difference_mcse:.1g}"
    if found.estimator != found.default:
        return f"{mine}, the default {found.default} {_error(found, found.default)}: {apart} more."
    if best.difference >= 0.0:
        return f"{mine}, the least of all. It is the default."
    why = "no clear difference"
    if -best.difference > CLEARLY * best.difference_mcse:
        why = f"not by a third of {default.error:.2g}, and the law is an estimate"
    return f"{mine}. It is the default; {found.best} has {apart} less: {why}."


def how_many(found: Recommendation) -> str:
    """Say how many rollouts are enough."""
    if found.enough_m is None:
        largest = max(score.m for score in found.scores)
        return f"m: up to {largest} rollouts every doubling pays."
    error = found.score(found.estimator, found.enough_m).error
    why = f"at most {SMALL_ERROR}" if error <= SMALL_ERROR else "hardly less with twice as many"
    return f"m: {found.enough_m} rollouts are enough: error {error:.2g}, {why}."
