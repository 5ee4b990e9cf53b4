"""`tea-stats plan`: prompts and rollouts from a pilot log, replications of a grid."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from tea_stats import planning, reward_log
from tea_stats._studies import reach
from tea_stats.command_line import figures, plan_text, report as _report, shared

Pilots = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PILOT [OTHER]",
        show_default=False,
        help="Rewards of a pilot run, and of a second policy on the same prompts.",
    ),
]


@shared.one_line_errors
def command(
    pilots: Pilots = None,
    N: Annotated[int | None, typer.Option("--N", "-N", min=1, help="Budget of best-of-N.")] = None,
    half_width: Annotated[
        float | None,
        typer.Option(
            help="Half the width of the interval to reach, in reward units: of best-of-N, or with "
            "two pilots of their difference.",
            show_default=False,
        ),
    ] = None,
    difference: Annotated[
        float | None,
        typer.Option(
            help="Difference of two policies to detect, in reward units.", show_default=False
        ),
    ] = None,
    sizes: Annotated[
        list[int] | None,
        typer.Option(
            "--m",
            min=1,
            show_default=False,
            help="Rollouts per prompt; may be repeated (default: N/8 to 4 N).",
        ),
    ] = None,
    level: Annotated[float, typer.Option(help="Nominal coverage of the interval.")] = 0.95,
    power: Annotated[float, typer.Option(help="Chance to detect the difference.")] = 0.8,
    assurance: Annotated[
        float, typer.Option(help="Share of pilots like this one whose plan is large enough.")
    ] = 0.8,
    varies: Annotated[
        float,
        typer.Option(
            help="With one pilot: standard deviation between prompts of the true difference, as a "
            "multiple of it."
        ),
    ] = 1.0,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Results folder of a grid, instead of a pilot: how many replications it needs.",
            show_default=False,
        ),
    ] = None,
    error: Annotated[
        float, typer.Option(help="With --results: relative Monte Carlo error to reach.")
    ] = 0.05,
    figure: Annotated[
        Path | None,
        typer.Option(help="Draw prompts and rollouts by m (.png, .pdf, .svg).", show_default=False),
    ] = None,
    report: shared.Report = None,
    prompt: shared.Prompt = None,
    reward: shared.Reward = None,
    step: shared.Step = None,
    rollout: shared.Rollout = None,
    where: shared.Where = None,
    success: shared.Success = None,
    wide: shared.Wide = False,
    drop_missing: shared.DropMissing = False,
    as_json: shared.Json = False,
    seed: shared.Seed = 0,
) -> None:
    """Plan how many prompts and rollouts an evaluation needs, from a pilot log.

    For an interval of best-of-N of a wanted width, or to tell two policies apart on the same
    prompts; or, from the results of a grid, how many replications it needs.

    For example:

      tea-stats plan pilot.jsonl --N 64 --half-width 0.02

      tea-stats plan before.jsonl after.jsonl --N 64 --difference 0.05 --power 0.9

      tea-stats plan pilot.csv --N 16 --difference 0.1 --m 16 --m 32 --report plan.html

      tea-stats plan --results results/quick --error 0.02
    """
    figures.check(figure)
    _report.check(report)
    if results is not None:
        _grid(results, error, as_json, bool(pilots or figure or report))
        return
    if not pilots or len(pilots) > 2 or N is None:
        raise ValueError(
            "plan needs one pilot log or two, and --N; or --results with the folder of a grid"
        )
    columns = shared.columns(prompt, reward, rollout, where, success, wide, drop_missing)
    logs = [reward_log.read(file, step=step, **columns) for file in pilots]
    plan = planning.plan(
        logs[0],
        N,
        half_width=half_width,
        difference=difference,
        against=logs[1] if len(logs) > 1 else None,
        varies=varies,
        m=sizes or None,
        level=level,
        power=power,
        assurance=assurance,
        seed=seed,
    )
    parts = list(plan_text.parts(plan, pilots))
    read = [line for log in logs for line in shared.read_lines(log)]
    if figure is not None or report is not None:
        drawn = plan_text.draw(plan)
        if figure is not None:
            figures.save(drawn, figure)
        if report is not None:
            sections: list[tuple[str, list[shared.Part]]] = [
                ("", [*read, *parts[:3]]),
                ("Designs", parts[3:]),
            ]
            caption = "Prompts, and rollouts in all, by rollouts of a prompt; dotted: m = N"
            _report.write(report, f"Plan for best-of-{N:,}", sections, drawn, caption)
    if as_json:
        shared.print_json("plan", plan_text.content(plan, pilots))
        return
    shared.show([*parts, *read])
    shared.show(shared.written(figure=figure, report=report))


def _grid(folder: Path, error: float, as_json: bool, more: bool) -> None:
    """Print the replications that a grid needs."""
    if more:
        raise ValueError("--results takes no pilot, --figure or --report; leave them out")
    table = grid_table(folder, error)
    if as_json:
        rows = table.to_dict(orient="records")
        by_m = {str(m): int(needed) for m, needed in table.groupby("m")["needed"].max().items()}
        content = {"results": str(folder), "error": error, "reps": by_m, "cells": rows}
        shared.print_json("replications", content)
        return
    shared.show(plan_text.grid_parts(table, str(folder), error))


def grid_table(folder: Path, error: float) -> pd.DataFrame:
    """Return the cells of a grid with the replications that each needs."""
    reach()
    try:
        read = importlib.import_module("analysis.core.read")
    except ModuleNotFoundError as missing:
        raise ValueError(
            f"--results needs {missing.name}, which is not installed; pip install 'tea-stats[sim]'"
        ) from None
    try:
        cells = read.load(folder).cells
    except read.ResultsError as problem:
        raise ValueError(str(problem)) from None
    cells = cells[cells["finite_second_moment"] & (cells["reps"] > 0)]
    cells = cells.rename(columns={"batch_nmse": "error", "batch_nmse_mcse": "mcse"})
    cells = cells[["law", "estimator", "m", "N", "reps", "error", "mcse"]].dropna()
    cells["needed"] = planning.replications(
        cells["error"].to_numpy(), cells["mcse"].to_numpy(), cells["reps"].to_numpy(), error=error
    )
    return cells.reset_index(drop=True)
