"""What `tea-stats plan` prints, and its JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.text import Text

from tea_stats.command_line import shared
from tea_stats.command_line.figures import STYLE, WIDTH, budgets
from tea_stats.command_line.shared import Part
from tea_stats.planning import Design, Plan
from tea_stats.prediction import METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: rows of a grid's plan shown
SHOWN = 12


def parts(plan: Plan, names: list[str]) -> Iterator[Part]:
    """Yield the goal, the best design, and the table of all."""
    what = f"best-of-{plan.N:,}"
    of = f"the difference in {what}" if plan.paired else what
    yield "pilot: " + " and ".join(names)
    yield (
        f"{plan.pilot_prompts:,} prompts; {of} in the pilot: {plan.value:.4g}"
        if (plan.assumed is None)
        else f"{plan.pilot_prompts:,} prompts; {what} in the pilot: {plan.value:.4g}"
    )
    yield Text(f"For {goal(plan)}: {sizes(plan.best, plan)}", style="bold")
    if plan.cheapest != plan.best:
        bias = f", bias {plan.cheapest.bias:+.2g}" if plan.cheapest.bias else ""
        yield (
            f"With fewer rollouts, extrapolated by {METHODS[plan.cheapest.method].title}: "
            f"{sizes(plan.cheapest, plan)}{bias}."
        )
    table = shared.table(
        "rollouts m", "prompts", f"in {plan.assurance:.0%} of pilots", "rollouts in all",
        "sd between", "sd within", "bias", "method",
    )  # fmt: skip
    for design in plan.designs:
        table.add_row(
            f"{design.m:,}",
            f"{design.prompts:,}",
            f"{design.assured:,}",
            f"{design.rollouts:,}",
            f"{design.between**0.5:.3g}",
            f"{design.within**0.5:.3g}",
            f"{design.bias:+.2g}" if design.method != "max_at_k" else "0",
            METHODS[design.method].title,
        )
    yield table
    yield (
        "prompts: enough if the pilot's variances are the true ones; next to it, enough in "
        f"{plan.assurance:.0%} of pilots like this one. sd: of one prompt's value, between prompts "
        "and from its m rollouts."
    )
    yield from (f"note: {note}" for note in notes(plan))


def goal(plan: Plan) -> str:
    """Return the goal in words."""
    if plan.half_width is not None:
        return f"a {plan.level:.0%} interval of ± {plan.half_width:g}"
    return (
        f"a difference of {plan.difference:g}, detected with power {plan.power:.0%} at level "
        f"{1 - plan.level:.2g}"
    )


def sizes(design: Design, plan: Plan) -> str:
    """Return a design in words."""
    each = " of each policy" if plan.paired else ""
    return f"{design.assured:,} prompts × {design.m:,} rollouts{each}"


def notes(plan: Plan) -> Iterator[str]:
    """Yield what the plan takes for granted."""
    if plan.extrapolated:
        yield (
            f"the pilot has fewer than N = {plan.N:,} rollouts of a prompt: the plan rests on the "
            "tail fitted to them; with heavy tails it is too small"
        )
    if plan.assumed is None and plan.best.between <= 0.0:
        yield (
            f"the {plan.pilot_prompts:,} prompts of the pilot show no difference in best-of-"
            f"{plan.N:,}: how much prompts differ is not known from them, and the numbers above "
            "are the least there could be; take a pilot of more prompts"
        )
    if plan.assumed is not None:
        yield (
            f"without a second pilot, the true difference is taken to vary between prompts by "
            f"{plan.assumed:.3g} (--varies), and the second policy to be as noisy as the first"
        )
    if plan.paired:
        yield "both policies answer the same prompts"


def content(plan: Plan, names: list[str]) -> dict[str, Any]:
    """Return everything, for JSON."""
    return {"files": names, **dataclasses.asdict(plan)}


def draw(plan: Plan) -> Figure:
    """Return the figure: prompts and rollouts in all, by rollouts of a prompt."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    m = [design.m for design in plan.designs]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        for axes, numbers, title in (
            (upper, [design.assured for design in plan.designs], "Prompts"),
            (lower, [design.rollouts for design in plan.designs], "Rollouts in all"),
        ):
            axes.plot(m, numbers, "o-", color="#1f5fa8", ms=4, lw=1.2)
            axes.set_ylim(bottom=0)
            axes.set_title(f"{title}, for {goal(plan)}".replace(", detected", ",\ndetected"))
            axes.axvline(plan.N, color="#8a8a8a", lw=0.8, ls=":")
        budgets(lower, m)
        lower.set_xlabel("rollouts of a prompt, m")
    return figure


# --- replications of a grid ----------------------------------------------------------------------


def grid_parts(table: pd.DataFrame, folder: str, error: float) -> Iterator[Part]:
    """Yield the replications that a grid needs, by m, and the cells that need most."""
    yield f"{folder}: {len(table):,} cells"
    by_m = table.groupby("m")["needed"].max()
    listed = ", ".join(f"{m} = {needed}" for m, needed in by_m.items())
    yield Text(
        f"For a relative Monte Carlo error of {error:g}: reps = {{ {listed} }}", style="bold"
    )
    rows = shared.table("law", "estimator", "m", "N", "error", "± now", "reps now", "needed")
    for row in table.sort_values("needed", ascending=False).head(SHOWN).itertuples():
        rows.add_row(
            str(row.law), str(row.estimator), f"{row.m}", f"{row.N}", f"{row.error:.3g}",
            f"{row.mcse:.1g}", f"{row.reps:,}", f"{row.needed:,}",
        )  # fmt: skip
    yield rows
    yield (
        "error: that of a batch, relative to the exact gradient; variances fall as 1/reps. All "
        "estimators of a law see the same rollouts, so that the largest number of an m counts."
    )
