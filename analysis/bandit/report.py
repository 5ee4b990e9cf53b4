"""What bandit training found: `python -m analysis.bandit results/bandit --out figures/bandit`.

Draws the figures of `analysis.bandit.figures`, prints lost shares and rollouts needed and, with
--summary, writes a small copy of the tables from which all of that can be made again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray

from analysis.bandit import figures as bandit_figures
from analysis.bandit.read import CURVES, Scenario, Study, load
from analysis.core import style
from analysis.core.read import ResultsError

#: every so many steps stay in the summary
THINNED = 5
#: significant bits there: four digits
BITS = 13
#: ratios of rollouts from here to 1 are not told from 1
ALIKE = 0.999
EDGES = {"lowest": "↓", "highest": "↑"}


# --- tables -------------------------------------------------------------------------------------


def report(study: Study) -> str:
    """Return lost shares and rollouts needed, a table of each per scenario, and who needs fewer."""
    parts = ["Lost share of the exact path's gain, % ± Monte Carlo standard error"]
    for scenario in study.scenarios:
        parts += ["", str(scenario), _by_law(study, scenario, "share", 100.0, 1)]
    parts += ["", "↓ ↑ the tuned step size is the smallest or the largest one offered"]
    for name, target in study.targets.items():
        parts += ["", "", f"Rollouts until {target}, over those of {study.reference}"]
        for scenario in study.scenarios:
            parts += ["", str(scenario), _by_law(study, scenario, f"ratio_{name}", 1.0, 2)]
    parts += ["", "inf: never; 0: the reference never; –: neither", "", fewer(study)]
    return "\n".join(parts)


def _by_law(study: Study, scenario: Scenario, name: str, scale: float, digits: int) -> str:
    """Write a measure and its standard error, estimators by laws."""
    rows = study.rows(scenario)
    if rows[name].isna().all():
        return "no estimator gets there"
    marks = rows["edge"].map(EDGES).fillna(" ") if name == "share" else [""] * len(rows)
    text = [
        _plus_minus(scale * value, scale * se, digits) + mark
        for value, se, mark in zip(rows[name], rows[f"{name}_se"], marks, strict=True)
    ]
    table = rows.assign(text=text).pivot(index="estimator", columns="law", values="text")
    return _text(study, table[[law for law in study.laws if law in table]])


def _plus_minus(value: float, se: float, digits: int) -> str:
    if np.isnan(value):
        return "–"
    if not np.isfinite(value) or np.isnan(se):
        return f"{value:.{digits}f}" if np.isfinite(value) and value else f"{value:.0f}"
    return f"{value:.{digits}f} ± {se:.{digits}f}"


def fewer(study: Study) -> str:
    """Return on how many laws each estimator needs fewer rollouts than the reference."""
    parts = [
        f"Laws on which fewer rollouts are needed than by {study.reference}, of those on which the",
        "estimator is defined and either gets there (in brackets: by more than 2 standard errors)",
    ]
    for name, target in study.targets.items():
        parts += ["", f"until {target}", _text(study, wins(study, name))]
    return "\n".join(parts)


def wins(study: Study, target: str) -> pd.DataFrame:
    """Return a row for each estimator but the reference and a column for each scenario.

    Its text says on how many laws fewer rollouts are needed until the target, a key of
    `study.targets`, than by the reference (see `fewer`).
    """
    columns = {}
    for scenario in study.scenarios:
        rows = study.rows(scenario)
        ratio, se = rows[f"ratio_{target}"], rows[f"ratio_{target}_se"].fillna(np.inf)
        counts = pd.DataFrame(
            {
                "estimator": rows["estimator"],
                "less": ratio < ALIKE,
                "clear": ratio + 2.0 * se < ALIKE,
                "all": ratio.notna(),
            }
        )
        counts = counts.groupby("estimator")[["less", "clear", "all"]].sum()
        columns[str(scenario)] = [
            f"{row.less} of {row.all} ({row.clear})" for row in counts.itertuples()
        ]
    return pd.DataFrame(columns, index=counts.index).drop(index=study.reference)


def _text(study: Study, table: pd.DataFrame) -> str:
    order = [label for label in style.ordered(study.options) if label in table.index]
    return table.loc[order].fillna("").rename_axis(None).rename_axis(None, axis=1).to_string()


# --- summary ------------------------------------------------------------------------------------


def write_summary(study: Study, results: Path, folder: Path) -> dict[Path, int]:
    """Write the tables small enough to commit, and the manifest; return their sizes in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = study.curves["step"]
    tables = {
        "curves": study.curves.loc[(steps % THINNED == 0) | (steps == steps.max()), CURVES],
        "finals": study.finals,
    }
    for name, table in tables.items():
        numbers = list(table.select_dtypes("float64"))
        small = table.assign(**{x: rounded(table[x].to_numpy()) for x in numbers})
        pq.write_table(
            pa.Table.from_pandas(small, preserve_index=False),
            folder / f"{name}.parquet",
            compression="zstd",
            compression_level=19,
            use_dictionary=[x for x in small if x not in numbers],
            # bytes of like rank stand beside each other, so that the empty ones take no room
            use_byte_stream_split=numbers,
        )
    manifest = json.loads((results / "manifest.json").read_text(encoding="utf-8"))
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    return {path: path.stat().st_size for path in sorted(folder.iterdir())}


def rounded(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to single precision with few significant bits, which compress well.

    Examples
    --------
    >>> rounded(np.array([1.0, 1.23456789, np.inf])).tolist()
    [1.0, 1.234619140625, inf]
    """
    bits = np.asarray(values, dtype=np.float32).view(np.int32)
    spare = 24 - BITS
    near = ((bits + (1 << (spare - 1))) & -(1 << spare)).view(np.float32)
    return np.where(np.isfinite(values), near, values.astype(np.float32))


# --- the command --------------------------------------------------------------------------------


def draw_all(study: Study, out: Path) -> list[Path]:
    """Draw every figure as PNG and PDF; return the PNG files."""
    out.mkdir(parents=True, exist_ok=True)
    figures = {"quality": bandit_figures.quality, "shares": bandit_figures.shares}
    for scenario in study.scenarios:
        name = f"regret_{scenario.policy}_m{scenario.m}_N{scenario.N}".replace(" ", "-")
        figures[name] = lambda study, scenario=scenario: bandit_figures.regret(study, scenario)
    files = []
    with matplotlib.rc_context(style.RC):
        for name, draw in figures.items():
            figure = draw(study)
            files.append(out / f"{name}.png")
            figure.savefig(files[-1])
            # the layout is found once; no date, so that the same results give the same file
            figure.set_layout_engine("none")
            figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None})
            plt.close(figure)
    return files


def main(
    results: Annotated[Path, typer.Argument(help="Folder of simulations.bandit.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures/bandit"),
    summary: Annotated[Path | None, typer.Option(help="Folder for a small copy.")] = None,
) -> None:
    """Draw the figures of a bandit study and print its tables."""
    matplotlib.use("Agg")
    try:
        study = load(results)
    except ResultsError as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from None
    files = draw_all(study, out)
    typer.echo(report(study))
    typer.echo(f"\n{len(files)} figures, PNG and PDF: {out}")
    if summary:
        for path, size in write_summary(study, results, summary).items():
            typer.echo(f"{path}: {size / 1e3:.0f} kB")
