"""What bandit training found: `python -m analysis.bandit results/bandit --out figures/bandit`.

Draws the figures of `analysis.bandit_figures`, prints the lost shares and, with --summary, writes
a small copy of the tables. Reads curves.parquet, finals.parquet and manifest.json, whose columns
`simulations.bandit` explains.
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

from analysis import _style, bandit_figures
from analysis.bandit_figures import Study

HEAD = ["law", "policy", "estimator", "m", "N"]
CURVES = [*HEAD, "step", "rollouts", "value_mean", "regret_mean", "band"]
FINALS = [*HEAD, "runs", "step_size", "edge", "cosine", "cosine_se", "share", "share_se"]
#: every so many steps stay in the summary
THINNED = 4
EDGES = {"lowest": "↓", "highest": "↑"}


def load(folder: Path) -> Study:
    """Read a results folder; ValueError with one line that names the file and the cure."""
    tables = []
    for name, columns in (("curves", CURVES), ("finals", FINALS)):
        path = folder / f"{name}.parquet"
        try:
            table = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path}: {reason}; run python -m simulations.bandit first") from None
        if lacking := [column for column in columns if column not in table]:
            raise ValueError(
                f"{path}: no column {', '.join(lacking)}; run simulations.bandit again"
            )
        tables.append(table.astype(dict.fromkeys(table.select_dtypes("float32"), "float64")))
    arms = json.loads((folder / "manifest.json").read_text())["configuration"]["estimators"]
    return Study(*tables, {arm["label"]: {"name": arm["name"], **arm["options"]} for arm in arms})


def report(study: Study) -> str:
    """Lost shares in per cent with their standard errors, one table per scenario."""
    parts = ["Lost share of the exact path's gain, % ± Monte Carlo standard error"]
    for scenario in study.scenarios:
        rows = study.rows("finals", scenario)
        text = [
            f"{100 * share:.1f} ± {100 * se:.1f}{EDGES.get(edge, ' ')}"
            for share, se, edge in zip(rows["share"], rows["share_se"], rows["edge"], strict=True)
        ]
        table = rows.assign(text=text).pivot(index="estimator", columns="law", values="text")
        table = table[rows["law"].unique()]
        means = study.means.loc[tuple(scenario)]
        table["all laws"] = [
            f"{100 * means.share[arm]:.1f} ± {100 * means.share_se[arm]:.1f}"
            if arm in means.index
            else ""
            for arm in table.index
        ]
        table = table.loc[_style.ordered(study.options)].rename_axis(None).rename_axis(None, axis=1)
        parts += ["", str(scenario), table.to_string()]
    parts += ["", "↓ ↑ the tuned step size is the smallest or the largest one offered"]
    return "\n".join(parts)


def write_summary(results: Path, study: Study, folder: Path) -> None:
    """Write the tables small enough to commit: float32, every fourth step, and the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    curves = study.curves.loc[study.curves["step"] % THINNED == 0, CURVES]
    for name, table in (("curves", curves), ("finals", study.finals)):
        small = table.astype(dict.fromkeys(table.select_dtypes("float64"), "float32"))
        small.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
    shutil.copyfile(results / "manifest.json", folder / "manifest.json")


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.bandit.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/bandit"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of a bandit study and print its table."""
    matplotlib.use("Agg")
    try:
        study = load(results)
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    out.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_style.RC):
        figures = {"shares": bandit_figures.shares(study), "quality": bandit_figures.quality(study)}
        for scenario in study.scenarios:
            name = f"regret_{scenario.policy}_m{scenario.m}_N{scenario.N}"
            figures[name] = bandit_figures.regret(study, scenario)
        for name, figure in figures.items():
            figure.savefig(out / f"{name}.png")
            # no date, so that the same results give the same file
            figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None})
            plt.close(figure)
    if summary:
        write_summary(results, study, summary)
    typer.echo(report(study))
    typer.echo(f"{len(figures)} figures, PNG and PDF: {out}")


if __name__ == "__main__":
    typer.run(main)
