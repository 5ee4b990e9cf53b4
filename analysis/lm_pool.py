"""What pools of a language model's rollouts say: `python -m analysis.lm_pool results/lm_pool`.

Draws the figures of `analysis.lm_pool_figures`, prints tails, cosines and errors with standard
errors and, with --summary, writes a small copy of the tables.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import typer

from analysis import _style, lm_pool_figures
from analysis._load import ResultsError, _parquet
from analysis.lm_pool_figures import NORMAL, POOL, Pools

#: columns that each table must have
TABLES = {
    "table": ["pool", "reward", "kind", "estimator", "m", "N", "relative_bias", "batch_nmse"],
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
    tables = {name: _parquet(folder / f"{name}.parquet", TABLES[name]) for name in TABLES}
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ResultsError(f"{folder / 'manifest.json'}: {problem}; {CURE}") from None
    return Pools(**tables, manifest=manifest)


# --- tables ---------------------------------------------------------------------------------------


def report(pools: Pools) -> str:
    """Return tails, and every estimator's cosine and error, as text."""
    parts = ["Tails: straightness of the upper quarter's normal QQ plot, and its Pareto shape"]
    parts.append(_tails(pools))
    for reward in pools.rewards:
        parts += ["", f"{reward}: of the model behind the pools (± jackknife standard error)"]
        parts.append(_model(pools, reward))
    parts += ["", findings(pools)]
    return "\n".join(parts)


def _tails(pools: Pools) -> str:
    """Write one line per reward: ranges over pools, beside what chance gives a Gaussian."""
    rows = {}
    for reward, part in pools.tails[pools.tails["pool"] != "chance"].groupby("reward", sort=False):
        rows[reward] = {name: _range(part[name]) for name in ("skew", "tied", "qq_r2", "shape")}
    chance = pools.chance
    rows["Gaussian, by chance"] = {
        name: f"{chance.loc['low', name]:.3f} to {chance.loc['high', name]:.3f}"
        for name in ("skew", "tied", "qq_r2", "shape")
    }
    return pd.DataFrame(rows).T.to_string()


def _range(values: pd.Series) -> str:
    if values.isna().all():
        return "–"
    return f"{values.median():.3f} ({values.min():.3f} to {values.max():.3f})"


def _model(pools: Pools, reward: str) -> str:
    rows = pools.model[pools.model["reward"] == reward]
    rows = rows.assign(
        budget=[f"{m}, {N}" for m, N in zip(rows["m"], rows["N"], strict=True)],
        text=[
            f"{c:.2f} ± {c_se:.2f}; {e:.2f} ± {e_se:.2f}"
            for c, c_se, e, e_se in zip(
                *(rows[x] for x in ("cosine", "cosine_se", "scaled_nmse", "scaled_nmse_se")),
                strict=True,
            )
        ],
    )
    parts = []
    for kind, part in rows.groupby("kind", sort=False):
        wide = part.pivot(index="estimator", columns="budget", values="text")
        wide = wide.loc[[x for x in _style.ordered(pools.options) if x in wide.index]]
        title = f"{kind}: cosine; error of a batch of 64 at its best length (m, N in the columns)"
        parts += [title, wide.rename_axis(None).rename_axis(None, axis=1).to_string()]
    return "\n".join(parts)


def findings(pools: Pools) -> str:
    """Say which estimator has the best cosine and least error of the first reward, per (m, N)."""
    rows = pools.model[(pools.model["reward"] == pools.rewards[0]) & (pools.model["kind"] == POOL)]
    lines = []
    for (m, N), part in rows.groupby(["m", "N"], sort=False):
        if part["cosine"].isna().all():
            lines.append(f"m = {m}, N = {N}: the pools do not tell the model's gradient from noise")
            continue
        near = part.loc[part["cosine"].idxmax()]
        least = part.loc[part["scaled_nmse"].idxmin()]
        lines.append(
            f"m = {m}, N = {N}: best cosine {near['estimator']} ({near['cosine']:.2f} ± "
            f"{near['cosine_se']:.2f}), least error {least['estimator']} "
            f"({least['scaled_nmse']:.2f} ± {least['scaled_nmse_se']:.2f})"
        )
    return "\n".join(lines)


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
            "lm_tails": lambda: lm_pool_figures.tails(pools),
            "lm_cosine": lambda: lm_pool_figures.cosine(pools),
            "lm_bias_variance": lambda: lm_pool_figures.bias_variance(pools),
            "lm_response": lambda: lm_pool_figures.response(pools),
        },
        out,
    )
    if summary:
        write_summary(pools, results, summary)
    typer.echo(report(pools))
    typer.echo(f"4 figures, PNG and PDF: {out}")


def save(figures: dict, out: Path) -> None:
    """Draw figures into PNG and PDF files."""
    out.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_style.RC):
        for name, draw in figures.items():
            figure = draw()
            figure.savefig(out / f"{name}.png")
            # no date, so that the same results give the same file
            figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None})
            plt.close(figure)


__all__ = ["NORMAL", "load", "main", "report", "save", "write_summary"]

if __name__ == "__main__":
    typer.run(main)
