"""The exact training study: `python -m analysis.lm_exact results/lm_exact`.

Draws the figures of `analysis.lm.exact_figures`, prints the tables of `analysis.lm.exact_tables`
and what of the study is missing and, with --summary, writes a small copy of the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.figure import Figure

from analysis.core.write import one_line_errors, save
from analysis.lm import exact_figures, exact_tables, read
from analysis.lm.exact_figures import Exact

CURE = "run `python -m simulations.validate_lm --preset exact` again"
TABLES = {
    "start": ["scenario", "split", "prompt", "kl", "sd", "most", "effective", "ceiling"],
    "gradients": ["scenario", "prompt", "N", "norm", "cosine"],
    "checks": ["scenario", "logprob_error", "derivative_error"],
    "runs": ["scenario", "estimator", "rate", "seed", "step", "split", "kl", "entropy"],
    "differences": ["scenario", "rate", "split", "N", "estimator", "against", "difference"],
    "frontier": ["scenario", "rate", "split", "estimator", "kl", "gain", "half_seeds"],
    "quality": ["scenario", "prompt", "scores", "estimator", "m", "N", "gain", "groups"],
    "pools": ["reward", "prompt", "kind", "M", "N", "draw"],
    "prediction": ["scenario", "rate", "step", "split", "figure", "correlation", "low", "high"],
    "sweep": ["scenario", "estimator", "batch", "seed", "split"],
}
OPTIONAL = ("quality", "pools", "prediction", "sweep")


def load(folder: Path) -> Exact:
    """Read and check a results folder; ResultsError names the problem and the cure."""
    content = read.tables(folder, TABLES, CURE, optional=OPTIONAL)
    rates = np.array(content["manifest"]["configuration"]["training"]["rates"])
    for name, table in content.items():
        if name in TABLES and table is not None and "rate" in table:
            # a summary is in single precision; step sizes are compared with the configuration's
            nearest = np.abs(table["rate"].to_numpy(float)[:, None] - rates).argmin(axis=1)
            content[name] = table.assign(rate=rates[nearest])
    return Exact(**content)


def report(study: Exact) -> str:
    """Return everything that is known as text, and what is missing."""
    parts = [ceiling(study)]
    for scenario, rate in study.stages:
        table = exact_tables.gains(study, scenario, rate).to_string()
        parts += ["", f"{scenario}, step size {rate:g}", table]
    for scenario in dict.fromkeys(scenario for scenario, _ in study.stages):
        tails = exact_tables.of_tails(study, scenario)
        parts += ["", cosines(study, scenario), "", pairs(study, scenario)]
        if len(tails):
            N = study.budget(scenario)
            parts += ["", f"{scenario}: V_{N} on held-out prompts", tails.to_string(index=False)]
    if study.quality is not None:
        for scenario in study.quality["scenario"].unique():
            for m, N, table in exact_tables.quality(study, scenario):
                head = f"{scenario}: before training, m = {m}, N = {N}, 64 groups"
                parts += ["", head, table.round(3).to_string()]
    if study.pools is not None:
        parts += ["", "pools: share of the squared gradient that is noise"]
        parts += [exact_tables.noise(study).round(3).to_string(index=False)]
        parts += ["", "pools: rank correlation of one-step gains on the pool and on its law"]
        parts += [exact_tables.orders(study).round(2).to_string(index=False)]
    for head, table in (
        ("rank correlation with gains", exact_tables.predictions(study)),
        ("gain on held-out prompts by rollouts a step", exact_tables.swept(study)),
    ):
        if len(table):
            parts += ["", head, table.to_string()]
    lacking = exact_tables.missing(study)
    return "\n".join([*parts, "", "missing:", *(f"  {line}" for line in lacking or ["nothing"])])


def ceiling(study: Exact) -> str:
    """Write which prompts are left out of averages, and how exact the rest is."""
    rows = study.start[study.start["ceiling"]]
    names = rows.groupby("prompt")["scenario"].first()
    least, most = study.start["effective"].min(), study.start["effective"].max()
    worst = study.checks[["logprob_error", "derivative_error"]].max()
    return (
        f"Effective responses a prompt: {least:.0f} to {most:.0f}. "
        f"At the ceiling: {', '.join(names.index) or 'none'}.\n"
        f"Largest error of a log-probability {worst['logprob_error']:.1g}, of a derivative "
        f"{worst['derivative_error']:.1g}."
    )


def cosines(study: Exact, scenario: str) -> str:
    """Write the cosine of ∇V_N with ∇V_1, of the batch and over prompts."""
    batch, alone = exact_figures.of_the_mean(study, scenario)
    text = ", ".join(f"N = {N}: {batch[N]:.2f} ({alone[N]:.2f})" for N in batch.index if N > 1)
    return f"{scenario}: cosine of ∇V_1 and ∇V_N, trained prompts' batch (mean by prompt): {text}"


def pairs(study: Exact, scenario: str) -> str:
    """Write which arms differ at V_N on held-out prompts, over seeds, at every step size."""
    sizes = len(exact_tables.rates(study))
    head = (
        f"{scenario}: differ at {sizes} of {sizes} step sizes (95 % intervals over at least "
        f"{exact_tables.SEEDS} seeds)"
    )
    lines = []
    for better, other, rows in exact_tables.apart(study, scenario):
        gaps = ", ".join(
            f"{x:+.3f} ± {h:.3f} (prompts ± {p:.3f})"
            for x, h, p in rows[["difference", "half_seeds", "half_prompts"]].to_numpy()
        )
        lines.append(f"  {better} − {other}: {gaps}")
    return "\n".join([head, *(lines or ["  none"])])


def figures(study: Exact) -> dict[str, Callable[[], Figure]]:
    """Return what can be drawn, by the name of its file."""
    scenario, rate = study.stages[0]
    drawn: dict[str, Callable[[], Figure]] = {
        "lm_exact_training": partial(exact_figures.training, study, scenario, rate),
        "lm_exact_gains": partial(exact_figures.final, study, scenario),
    }
    if len(exact_tables.predictions(study)):
        drawn["lm_exact_prediction"] = partial(exact_figures.prediction, study, rate)
    if study.pools is not None:
        drawn["lm_exact_pools"] = partial(exact_figures.pools, exact_tables.noise(study))
    return drawn


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.validate_lm.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/lm_exact"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of the exact training study and print its tables."""
    with one_line_errors():
        study = load(results)
    drawn = figures(study)
    save(drawn, out)
    if summary:
        read.write_summary(study, results, summary)
    typer.echo(report(study))
    typer.echo(f"{len(drawn)} figures, PNG and PDF: {out}")
