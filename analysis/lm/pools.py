"""What pools of a language model's rollouts say: `python -m analysis.lm_pool results/lm_pool`.

Draws the figures of `analysis.lm.pool_figures`, prints the tables of `analysis.lm.pool_tables`
and, with --summary, writes a small copy of what both are made of.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import matplotlib
import matplotlib.pyplot as plt
import typer

from analysis.core import style
from analysis.core.read import ResultsError, read_table
from analysis.lm import pool_figures, pool_tables
from analysis.lm.pool_figures import Pools

#: columns that each table must have
TABLES = {
    "table": ["pool", "reward", "kind", "estimator", "m", "N", "relative_bias", "scaled_nmse"],
    "model": ["reward", "kind", "estimator", "m", "N", "cosine", "cosine_se", "scaled_nmse"],
    "response": ["pool", "reward", "kind", "estimator", "m", "N", "q", "response", "exact"],
    "tails": ["pool", "reward", "skew", "tied", "qq_r2", "shape"],
    "quantiles": ["pool", "reward", "z", "r"],
}
CURE = "run `python -m simulations.lm_pool measure` again"


def load(folder: Path) -> Pools:
    """Read and check a results folder; ResultsError says what is wrong with it."""
    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such folder; {CURE}")
    tables = {name: read_table(folder / f"{name}.parquet", TABLES[name], CURE) for name in TABLES}
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ResultsError(f"{folder / 'manifest.json'}: {problem}; {CURE}") from None
    return Pools(**tables, manifest=manifest)


def write_summary(pools: Pools, results: Path, folder: Path) -> None:
    """Write the tables small enough to commit: float32, and of the laws' table only whole cells."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        table = getattr(pools, name)
        small = table.astype(dict.fromkeys(table.select_dtypes("float64"), "float32"))
        small.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
    shutil.copyfile(results / "manifest.json", folder / "manifest.json")


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.lm_pool measure.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/lm_pool"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of language-model pools and print their tables."""
    matplotlib.use("Agg")
    try:
        pools = load(results)
    except ResultsError as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from None
    save(
        {
            "lm_tails": lambda: pool_figures.tails(pools),
            "lm_cosine": lambda: pool_figures.cosine(pools),
            "lm_bias_variance": lambda: pool_figures.bias_variance(pools),
            "lm_response": lambda: pool_figures.response(pools),
        },
        out,
    )
    if summary:
        write_summary(pools, results, summary)
    typer.echo(pool_tables.report(pools))
    typer.echo(f"4 figures, PNG and PDF: {out}")


def save(figures: dict, out: Path) -> None:
    """Draw figures into PNG and PDF files."""
    out.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(style.RC):
        for name, draw in figures.items():
            figure = draw()
            figure.savefig(out / f"{name}.png")
            # no date, so that the same results give the same file
            figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None})
            plt.close(figure)
