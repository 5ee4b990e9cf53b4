"""Training language models: `python -m analysis.lm_training results/lm_cpu`.

Draws the figures of `analysis.lm.training_figures`, prints differences with their intervals and
answers to read and, with --summary, writes a small copy of the tables.
"""

from __future__ import annotations

import textwrap
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from analysis.core import style
from analysis.core.read import ResultsError
from analysis.core.write import one_line_errors, save
from analysis.lm import read, training_figures
from analysis.lm.training_figures import START, Training

TABLES = {
    "tuning": ["scenario", "estimator", "rate", "N", "value"],
    "steps": ["scenario", "estimator", "seed", "step", "reward", "best", "rate"],
    "curves": ["scenario", "estimator", "N", "value", "low", "high"],
    "runs": ["scenario", "estimator", "seed", "N", "value"],
    "differences": ["scenario", "estimator", "against", "N", "difference", "low", "high"],
    "behaviour": ["scenario", "estimator", "seed", "reward", "length", "entropy", "kl"],
    "histogram": ["scenario", "estimator", "seed", "low", "high", "count"],
    "samples": ["scenario", "estimator", "seed", "prompt", "kind", "reward", "completion"],
    "oracle": ["scenario", "cosine"],
}


def load(folder: Path) -> Training:
    """Read and check a results folder; ResultsError names the problem and the cure."""
    cure = "run `tea-stats validate` again"
    return Training(**read.tables(folder, TABLES, cure, optional=("oracle",)))


# --- tables ---------------------------------------------------------------------------------------


def report(training: Training) -> str:
    """Return every arm's gain with its interval, behaviour, cosine, and answers to read."""
    parts = []
    for scenario in training.scenarios:
        parts += ["", scenario]
        if len(training.tuning):
            parts += ["", tuning(training, scenario)]
        parts += ["", gains(training, scenario), "", behaviour(training, scenario)]
        if training.oracle is not None:
            parts += ["", cosines(training, scenario)]
        parts += ["", answers(training, scenario)]
    return "\n".join(parts).lstrip("\n")


def tuning(training: Training, scenario: str) -> str:
    """Write the value of each step size on the tuning prompts."""
    rows = training.tuning[training.tuning["scenario"] == scenario]
    table = rows.pivot(index="estimator", columns="rate", values="value").round(3)
    table = table.loc[style.ordered(training.options)].rename_axis(index=None, columns=None)
    return (
        f"Tuning: best of {rows['N'].iloc[0]} on other prompts, by step size\n{table.to_string()}"
    )


def gains(training: Training, scenario: str) -> str:
    """Write the gain over the start at each N, with 95 % intervals over prompts and seeds."""
    rows = training.against(scenario, START)
    shown = [N for N in sorted(rows["N"].unique()) if N in (1, 16, training.most)]
    table = {}
    for label in style.ordered(training.options):
        mine = rows[rows["estimator"] == label].set_index("N")
        table[label] = {
            ("mean" if N == 1 else f"best of {N}"): _interval(mine.loc[N]) for N in shown
        }
        table[label]["rate"] = f"{training.rates(scenario)[label]:g}"
    seeds = training.manifest["configuration"]["seeds"]
    over = (
        "of this one training run of each arm" if seeds == 1 else f"over prompts and {seeds} seeds"
    )
    head = f"Gain over the start on held-out prompts; 95 % intervals {over}"
    return f"{head}\n{pd.DataFrame(table).T.to_string()}"


def _interval(row: pd.Series) -> str:
    return f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def behaviour(training: Training, scenario: str) -> str:
    """Write what policies do, means over seeds."""
    rows = training.behaviour[training.behaviour["scenario"] == scenario]
    names = ["reward", "sd", "q0.99", "length", "entropy", "kl", "distinct"]
    table = rows.groupby("estimator", sort=False)[[n for n in names if n in rows]].mean()
    return table.rename_axis(None).round(3).to_string()


def cosines(training: Training, scenario: str) -> str:
    """Write the cosine of one step's gradient with the oracle's, mean ± standard error."""
    assert training.oracle is not None
    rows = training.oracle[training.oracle["scenario"] == scenario]
    by = rows.groupby("estimator", sort=False)[["cosine", "cosine_corrected"]]
    mean, se = by.mean(), by.sem()
    text = mean.map("{:.3f}".format) + " ± " + se.map("{:.3f}".format)
    halves = rows["reliability"].iloc[0]
    head = f"First step's gradient, cosine with the oracle's (between its halves: {halves:.2f})"
    return f"{head}\n{text.rename_axis(None).to_string()}"


def answers(training: Training, scenario: str, count: int = 2) -> str:
    """Write the best answer of each arm to a few prompts."""
    rows = training.samples[training.samples["scenario"] == scenario]
    best = rows[rows["kind"] == "best"].sort_values("reward", ascending=False)
    best = best.drop_duplicates(["estimator", "prompt"])
    parts = ["Best answers"]
    for prompt in sorted(best["prompt"].unique())[:count]:
        parts.append(f"  {prompt}")
        here = best[best["prompt"] == prompt].set_index("estimator")
        for label in [START, *style.ordered(training.options)]:
            text = " ".join(here.loc[label, "completion"].split())
            answer = f"{label} ({here.loc[label, 'reward']:.2f}): {text}"
            parts += textwrap.wrap(
                answer, 96, initial_indent="    ", subsequent_indent="      ", max_lines=2
            )
    return "\n".join(parts)


# --- the command ----------------------------------------------------------------------------------


def main(
    results: Annotated[list[Path], typer.Argument(help="Folders of simulations.validate_lm.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/lm"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of language-model training and print its tables.

    Of several folders: their gains in one figure.
    """
    with one_line_errors():
        studies = [load(folder) for folder in results]
        if summary and len(studies) > 1:
            raise ResultsError("--summary goes with one folder; give one at a time")
    first, figures = studies[0], {"lm_gain": partial(training_figures.gain, studies)}
    if len(studies) == 1:
        figures |= {
            "lm_curves": partial(training_figures.curves, first),
            "lm_progress": partial(training_figures.progress, first),
            "lm_shift": partial(training_figures.shift, first),
        }
        if first.oracle is not None:
            figures["lm_oracle"] = partial(training_figures.oracle, first)
    save(figures, out)
    if summary:
        read.write_summary(first, results[0], summary)
    if len(studies) == 1:
        typer.echo(report(first))
    typer.echo(f"{len(figures)} figures, PNG and PDF: {out}")
