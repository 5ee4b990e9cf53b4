"""The exact training study: `python -m analysis.lm_exact results/lm_exact`.

Draws the figures of `analysis.lm.exact_figures`, prints gains with their standard errors, the
pairs of arms that differ at every step size and, with --summary, writes a small copy of the tables.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from analysis.core.write import one_line_errors, save
from analysis.lm import exact_figures, read
from analysis.lm.exact_figures import Exact

CURE = "run `python -m simulations.validate_lm --preset exact` again"
TABLES = {
    "start": ["scenario", "split", "prompt", "kl", "sd", "most", "effective", "ceiling"],
    "gradients": ["scenario", "prompt", "N", "norm", "cosine"],
    "checks": ["scenario", "logprob_error", "derivative_error"],
    "runs": ["scenario", "estimator", "rate", "seed", "step", "split", "kl", "entropy"],
    "differences": ["scenario", "rate", "split", "N", "estimator", "against", "difference"],
    "quality": ["scenario", "prompt", "scores", "estimator", "m", "N", "gain", "cosine"],
}


def load(folder: Path) -> Exact:
    """Read and check a results folder; ResultsError names the problem and the cure."""
    return Exact(**read.tables(folder, TABLES, CURE, optional=("quality",)))


def report(study: Exact) -> str:
    """Return gains, frontier, cosines and significant pairs of every scenario as text."""
    parts = [ceiling(study)]
    for scenario, rate in study.stages:
        parts += ["", f"{scenario}, step size {rate:g}", gains(study, scenario, rate)]
    for scenario in dict.fromkeys(scenario for scenario, _ in study.stages):
        parts += ["", cosines(study, scenario), "", pairs(study, scenario)]
    return "\n".join(parts)


def ceiling(study: Exact) -> str:
    """Write which prompts are left out of averages, and how exact the rest is."""
    names = study.start.loc[study.start["ceiling"], "prompt"].unique()
    least, most = study.start["effective"].min(), study.start["effective"].max()
    left = ", ".join(names) or "none"
    worst = study.checks[["logprob_error", "derivative_error"]].max()
    return (
        f"Effective responses a prompt: {least:.0f} to {most:.0f}. At the ceiling: {left}.\n"
        f"Largest error of a log-probability {worst['logprob_error']:.1g}, of a derivative "
        f"{worst['derivative_error']:.1g}."
    )


def gains(study: Exact, scenario: str, rate: float) -> str:
    """Write each arm's exact gains after the last step, mean ± s.e. over seeds, and at KL = 1."""
    rows, N = study.stage(scenario, rate), study.budget(scenario)
    last = rows[rows["step"] == rows["step"].max()]
    table = {}
    for label in study.arms(rows):
        mine = last[last["estimator"] == label].set_index("split")
        row = {"seeds": str(mine["seed"].nunique())}
        for name in dict.fromkeys((1, N, max(study.configuration["N"]))):
            row[f"V_{name} trained"] = _mean(mine.loc[["trained"], f"V_{name}"])
        row[f"V_{N} held out"] = _mean(mine.loc[["held out"], f"V_{N}"])
        row["KL"] = f"{mine.loc[['trained'], 'kl'].mean():.2f}"
        row["entropy"] = f"{mine.loc[['trained'], 'entropy'].mean():.2f}"
        row[f"V_{N} at KL 1"] = f"{exact_figures.at_divergence(study, rows, label, N, 1.0):.3f}"
        table[label] = row
    return pd.DataFrame(table).T.to_string()


def _mean(values: pd.Series) -> str:
    se = values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.3f}" + (f" ± {se:.3f}" if len(values) > 1 else "")


def cosines(study: Exact, scenario: str) -> str:
    """Write the cosine of ∇V_N with ∇V_1, of the batch and over prompts."""
    rows = study.gradients[study.gradients["scenario"] == scenario]
    batch = rows[rows["prompt"] == "trained"].set_index("N")["cosine"]
    alone = rows[~rows["prompt"].isin(["trained", "held out"])].groupby("N")["cosine"].mean()
    text = ", ".join(f"N = {N}: {batch[N]:.2f} ({alone[N]:.2f})" for N in batch.index if N > 1)
    return f"{scenario}: cosine of ∇V_1 and ∇V_N, trained prompts' batch (mean by prompt): {text}"


def pairs(study: Exact, scenario: str) -> str:
    """Write which arms differ at V_N on held-out prompts, over seeds, at every step size."""
    rows = study.differences
    kept = (rows["scenario"] == scenario) & (rows["split"] == "held out")
    rows = rows[kept & (rows["N"] == study.budget(scenario))]
    sizes = rows["rate"].nunique()
    sure = rows[rows["difference"].abs() > rows["half_seeds"]]
    lines = [f"{scenario}: differ at {sizes} of {sizes} step sizes (95 % intervals over seeds)"]
    for (ours, theirs), part in sure.groupby(["estimator", "against"], sort=False):
        signs = part["difference"] > 0.0
        if part["rate"].nunique() == sizes and (signs.all() or not signs.any()):
            gaps = ", ".join(
                f"{x:+.3f} ± {h:.3f} (prompts ± {p:.3f})"
                for x, h, p in part[["difference", "half_seeds", "half_prompts"]].to_numpy()
            )
            lines.append(f"  {ours} − {theirs}: {gaps}")
    return "\n".join(lines if len(lines) > 1 else [*lines, "  none"])


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.validate_lm.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/lm_exact"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of the exact training study and print its tables."""
    with one_line_errors():
        study = load(results)
    scenario, rate = study.stages[0]
    figures = {
        "lm_exact_training": partial(exact_figures.training, study, scenario, rate),
        "lm_exact_gains": partial(exact_figures.final, study, scenario),
    }
    if study.quality is not None:
        draw = partial(exact_figures.prediction, study, scenario, rate)
        figures["lm_exact_prediction"] = draw
    save(figures, out)
    if summary:
        read.write_summary(study, results, summary)
    typer.echo(report(study))
    typer.echo(f"{len(figures)} figures, PNG and PDF: {out}")
