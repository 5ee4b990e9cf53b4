"""What training language models found: `python -m analysis.lm_training results/lm_cpu`.

Draws the figures of `analysis.lm.training_figures`, prints differences with their intervals and
answers to read and, with --summary, writes a small copy of the tables.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import matplotlib
import pandas as pd
import typer

from analysis.core import style
from analysis.core.read import ResultsError, read_table
from analysis.lm import training_figures
from analysis.lm.pools import save
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
}
CURE = "run `python -m simulations.validate_lm` again"


def load(folder: Path) -> Training:
    """Read and check a results folder; ResultsError says what is wrong with it."""
    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such folder; {CURE}")
    tables = {name: read_table(folder / f"{name}.parquet", TABLES[name], CURE) for name in TABLES}
    path = folder / "oracle.parquet"
    tables["oracle"] = read_table(path, ["scenario", "cosine"], CURE) if path.exists() else None
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ResultsError(f"{folder / 'manifest.json'}: {problem}; {CURE}") from None
    return Training(**tables, manifest=manifest)


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
    """Write what each step size came to on the tuning prompts."""
    rows = training.tuning[training.tuning["scenario"] == scenario]
    table = rows.pivot(index="estimator", columns="rate", values="value").round(3)
    table = table.loc[style.ordered(training.options)].rename_axis(index=None, columns=None)
    return (
        f"Tuning: best of {rows['N'].iloc[0]} on other prompts, by step size\n{table.to_string()}"
    )


def gains(training: Training, scenario: str) -> str:
    """Write the gain over the start at each N, with 95 % intervals over prompts and seeds."""
    rows = training.against(scenario, START)
    sizes = sorted(rows["N"].unique())
    shown = [N for N in sizes if N in (1, 16, sizes[-1])]
    table = {}
    for label in style.ordered(training.options):
        mine = rows[rows["estimator"] == label].set_index("N")
        table[label] = {
            ("mean" if N == 1 else f"best of {N}"): _interval(mine.loc[N]) for N in shown
        }
        table[label]["rate"] = f"{training.rates(scenario)[label]:g}"
    seeds = training.manifest["configuration"]["seeds"]
    note = (
        "of this one training run of each arm" if seeds == 1 else f"over prompts and {seeds} seeds"
    )
    head = f"Gain over the start on held-out prompts; 95 % intervals {note}"
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
    head = f"First step's gradient (halves of the oracle: cosine {rows['reliability'].iloc[0]:.2f})"
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
            told = f"{label} ({here.loc[label, 'reward']:.2f}): {text}"
            parts += textwrap.wrap(
                told, 96, initial_indent="    ", subsequent_indent="      ", max_lines=2
            )
    return "\n".join(parts)


def write_summary(training: Training, results: Path, folder: Path) -> None:
    """Write the tables small enough to commit, in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in [*TABLES, "oracle"]:
        table = getattr(training, name)
        if table is None:
            continue
        small = table.astype(dict.fromkeys(table.select_dtypes("float64"), "float32"))
        small.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
    shutil.copyfile(results / "manifest.json", folder / "manifest.json")


def main(
    results: Annotated[list[Path], typer.Argument(help="Folders of simulations.validate_lm.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/lm"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of language-model training and print its tables.

    Of several folders: their gains in one figure.
    """
    matplotlib.use("Agg")
    try:
        studies = [load(folder) for folder in results]
        if summary and len(studies) > 1:
            raise ResultsError("--summary goes with one folder; give one at a time")
    except ResultsError as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from None
    if len(studies) > 1:
        save({"lm_gain": lambda: training_figures.gain(studies)}, out)
        return typer.echo(f"1 figure, PNG and PDF: {out}")
    (training,) = studies
    figures = {
        "lm_gain": lambda: training_figures.gain(studies),
        "lm_curves": lambda: training_figures.curves(training),
        "lm_progress": lambda: training_figures.progress(training),
        "lm_shift": lambda: training_figures.shift(training),
    }
    if training.oracle is not None:
        figures["lm_oracle"] = lambda: training_figures.oracle(training)
    save(figures, out)
    if summary:
        write_summary(training, results[0], summary)
    typer.echo(report(training))
    return typer.echo(f"{len(figures)} figures, PNG and PDF: {out}")
