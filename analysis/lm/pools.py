"""Pools of a language model's rollouts: `python -m analysis.lm_pool results/lm_pool`.

Draws the figures of `analysis.lm.pool_figures`, prints the tables of `analysis.lm.pool_tables`
and, with --summary, writes a small copy of the results.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from analysis.core.write import one_line_errors, save
from analysis.lm import pool_figures, pool_tables, read
from analysis.lm.pool_figures import Pools

#: columns that each table must have
TABLES = {
    "table": ["pool", "reward", "kind", "estimator", "m", "N", "relative_bias", "scaled_nmse"],
    "model": ["reward", "kind", "estimator", "m", "N", "cosine", "cosine_se", "scaled_nmse"],
    "response": ["pool", "reward", "kind", "estimator", "m", "N", "q", "response", "exact"],
    "tails": ["pool", "reward", "skew", "tied", "qq_r2", "shape"],
    "quantiles": ["pool", "reward", "z", "r"],
    "noise": ["pool", "reward", "N", "share", "rule"],
}
FIGURES = {
    "lm_tails": pool_figures.tails,
    "lm_cosine": pool_figures.cosine,
    "lm_bias_variance": pool_figures.bias_variance,
    "lm_response": pool_figures.response,
}


def load(folder: Path) -> Pools:
    """Read and check a results folder; ResultsError names the problem and the cure."""
    return Pools(**read.tables(folder, TABLES, "run `tea-stats pools measure` again"))


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.lm_pool measure.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/lm_pool"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of language-model pools and print their tables."""
    with one_line_errors():
        pools = load(results)
    save({name: partial(draw, pools) for name, draw in FIGURES.items()}, out)
    if summary:
        read.write_summary(pools, results, summary)
    typer.echo(pool_tables.report(pools))
    typer.echo(f"{len(FIGURES)} figures, PNG and PDF: {out}")
