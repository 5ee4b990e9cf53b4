"""`tea-stats estimators`: the registry, or one of its estimators."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tea_stats.command_line import shared
from tea_stats.estimators import ESTIMATORS, RECOMMENDED, Estimator, lookup
from tea_stats.estimators.record import document

#: a shorter line ends its paragraph
FULL = 75

Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", show_default=False, help="Show this one, with its formula."),
]


@shared.one_line_errors
def command(name: Name = None, as_json: shared.Json = False) -> None:
    """List the estimators, or show one of them.

    For example:

      tea-stats estimators

      tea-stats estimators tea

      tea-stats estimators --json
    """
    shown = list(ESTIMATORS.values()) if name is None else [lookup(name, {})]
    if as_json:
        shared.print_json(None, {estimator.name: content(estimator) for estimator in shown})
    elif name is None:
        show_all(shared.console())
    else:
        show_one(shared.console(), *shown)


def content(estimator: Estimator) -> dict[str, Any]:
    """Return an estimator's record, for JSON."""
    sections = docstring(estimator)
    return {
        "recommended": estimator.name == RECOMMENDED,
        "unbiased_for": estimator.unbiased_for,
        "reference": estimator.reference,
        "options": dict(estimator.defaults),
        "uses_N": estimator.uses_N,
        "pools_prompts": estimator.pools,
        "rewards": rewards(estimator),
        "min_m": estimator.min_m,
        "summary": sections[""],
        "notes": sections.get("Notes", ""),
    }


def rewards(estimator: Estimator) -> str:
    """Return which rewards an estimator takes."""
    if estimator.binary:
        return "0 or 1"
    if estimator.most_values is not None:
        return f"at most {estimator.most_values} distinct"
    return "any"


def docstring(estimator: Estimator) -> dict[str, str]:
    """Return the sections of the function's docstring; "" is what comes before the first."""
    start, *rest = re.split(r"^(\w[\w ]*)\n-{3,}\n", document(estimator), flags=re.MULTILINE)
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return {"": start.strip(), **{title: body.strip() for title, body in pairs}}


def show_all(console: Console) -> None:
    """Print a table of the registry."""
    table = shared.table("estimator")
    for column in ("(1/m) Σ A S is unbiased for", "source"):
        table.add_column(column, overflow="fold")
    for estimator in ESTIMATORS.values():
        style = "bold" if estimator.name == RECOMMENDED else ""
        # as they are: brackets would be taken for markup
        facts = (Text(estimator.unbiased_for), Text(estimator.reference))
        table.add_row(Text(estimator.name, style=style), *facts)
    console.print(table)
    console.print(
        f"  The recommended default is {RECOMMENDED}; `tea-stats estimators NAME` describes one."
    )


def show_one(console: Console, estimator: Estimator) -> None:
    """Print one estimator: summary, formula, options, what it is unbiased for."""
    sections = docstring(estimator)
    console.print(Text(f"\n{estimator.name}", style="bold"))
    _indented(console, sections[""])
    facts = {
        "unbiased for": estimator.unbiased_for,
        "source": estimator.reference,
        "rewards": rewards(estimator),
        "smallest m": str(estimator.min_m),
        "uses": "the whole batch of prompts" if estimator.pools else "one group at a time",
        "options": ", ".join(f"{k}={v!r}" for k, v in estimator.defaults.items()) or "none",
    }
    for title, text in facts.items():
        console.print(Padding(Text.assemble((f"{title}: ", "bold"), text), (0, 0, 0, 2)))
    for title in ("Parameters", "Notes"):
        if title in sections:
            console.print(Text(f"\n  {title}", style="bold"))
            _indented(console, sections[title])


def _indented(console: Console, text: str) -> None:
    console.print(Padding(Text(unwrapped(text)), (0, 0, 1, 2)))


def unwrapped(text: str) -> str:
    r"""Return a docstring's text with the lines of a paragraph joined, for a console to wrap.

    A line goes on where the next has the same indentation and this one was full.

    Examples
    --------
    >>> full = "x" * FULL
    >>> unwrapped(f"{full}\nand on\n    formula") == f"{full} and on\n    formula"
    True
    """
    lines: list[str] = []
    before = ""
    for line in text.replace(".. math::\n\n", "").splitlines():
        if before and line.strip() and _indent(line) == _indent(before) and len(before) >= FULL:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
        before = line
    return "\n".join(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
