"""The results of a grid, printed: `python -m analysis.report results/quick`.

Tables of the best estimator on each law, of the main estimators in one cell, and of TEA's bias
beside the theory; then the files of results and figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from analysis.core import style
from analysis.core.read import BATCH, Results
from analysis.core.style import plus_minus
from analysis.core.write import Folder, opened, text_table
from analysis.grid import slopes
from analysis.grid.winners import BANDS, by_band, winners

#: SPEC 6: mean of TEA's ĝ minus ∇V_N for (loc, scale), standard Normal, alpha = .25, N = 128;
#: computed independently of this project, good to ±.005 (±.002 from m = 256 on)
REFERENCE = {
    16: (-0.349, -1.323),
    32: (-0.230, -0.835),
    64: (-0.137, -0.485),
    128: (-0.075, -0.267),
    256: (-0.0400, -0.1425),
    512: (-0.0207, -0.0746),
}
REFERENCE_N = 128


def head(results: Results) -> str:
    """Return the grid's laws, estimators, m and N, and how many cells have which status."""
    statuses = results.cells["status"].value_counts()
    counts = ", ".join(f"{count} {name or 'measured'}" for name, count in statuses.items())
    return (
        f"{results.folder}: {len(results.laws)} laws, {len(results.options)} estimators, "
        f"m = {_list(results.m)}, N = {_list(results.N)}\n{len(results.cells)} cells: {counts}"
    )


def _list(values: list[int]) -> str:
    return ", ".join(map(str, values))


def best(results: Results) -> Iterator[Table | str]:
    """Yield the estimator of least error on each law, by m/N."""
    every = winners(results)
    yield f"Least error of a {BATCH}-prompt batch: most frequent winner, and in how many (m, N)"
    table = text_table("law", *(name for name, *_ in BANDS), "marked*")
    for law in [*results.laws, "all laws"]:
        rows = every if law == "all laws" else every[every["law"] == law]
        bands = by_band(rows)
        marked = int((rows["status"] != "").sum())
        if law == "all laws":
            table.add_row()
        table.add_row(law, *(_first(bands.get(x)) for x, *_ in BANDS), str(marked or ""))
    yield table
    yield "  * not counted: saturated, or no estimator with a finite variance"


def _first(wins: pd.Series | None) -> str:
    if wins is None:
        return "–"
    won, total = wins.iloc[0], wins.sum()
    return f"{wins.index[0]} " + (f"{won}/{total}" if total < 100 else f"{100 * won / total:.0f} %")


def main_ones(results: Results, law: str) -> Iterator[Table | str]:
    """Yield the main estimators' numbers in the middle of the grid, on one law."""
    m, N = results.middle
    rows = results.single[results.single["law"] == law].set_index("estimator")
    yield f"{law}, m = {m}, N = {N}; bias and sd over ‖∇V_N‖; ± Monte Carlo standard errors"
    table = text_table("estimator", "bias %", f"sd of {BATCH} %", "cosine", "efficiency %")
    for label in style.chosen(results.options, 12):
        if label not in rows.index:
            continue
        row = rows.loc[label]
        if row["status"] in ("undefined", "infinite"):
            table.add_row(label, *[row["status"]] * 4)
            continue
        noise = np.sqrt(row["noise_part"])
        noise_mcse = row["noise_part_mcse"] / (2.0 * noise) if noise > 0.0 else np.nan
        table.add_row(
            label,
            plus_minus(row["relative_bias"], row["relative_bias_mcse"], 100.0),
            plus_minus(noise, noise_mcse, 100.0),
            plus_minus(row["cosine"], row["cosine_mcse"]),
            plus_minus(row["efficiency"], row["efficiency_mcse"], 100.0),
        )
    yield table
    if (rows["status"] == "saturated").any():
        yield "  saturated: hardly any gradient is left, and numbers relative to it mean little"


def theory(results: Results) -> Iterator[Table | str]:
    """Yield TEA's bias against m, and m times it, on the laws with a Gaussian upper tail."""
    tea = next((x for x in style.ordered(results.options) if _is_tea(results.options[x])), None)
    N = REFERENCE_N if REFERENCE_N in results.N else results.middle[1]
    for law in results.theory_laws if tea else ():
        rows = results.table[(results.table["estimator"] == tea) & (results.table["N"] == N)]
        rows = rows[(rows["law"] == law) & (rows["parameter"] != "all")]
        parameters = list(rows["parameter"].unique())
        standard = N == REFERENCE_N and (results.families[law], results.law_parameters[law]) == (
            "Normal",
            {"loc": 0.0, "scale": 1.0},
        )
        yield f"{law}, N = {N}: bias of {tea}; in theory m · bias tends to a constant"
        heads = [[name, f"m · {name}", *(["ref."] if standard else [])] for name in parameters]
        table = text_table("m", *(text for head in heads for text in head))
        for m, pair in rows.groupby("m"):
            cells = []
            for row in pair.itertuples():
                cells.append(plus_minus(row.bias, row.bias_mcse))
                cells.append(plus_minus(row.bias, row.bias_mcse, m))
                cells += [_reference(row)] if standard else []
            table.add_row(str(m), *cells)
        yield table
        if standard:
            yield "  ref.: computed independently; good to .005, from m = 256 on to .002"
        yield from _rates(slopes.table(results, law=[law], estimator=[tea], parameter=["all"]), N)


def _is_tea(options: dict[str, object]) -> bool:
    return options["name"] == "tea" and options.get("alpha", 0.25) == 0.25


def _reference(row: pd.Series) -> str:
    expected = dict(zip(("loc", "scale"), REFERENCE.get(row.m, ()), strict=False))
    return style.number(expected[row.parameter], 3) if expected else "–"


def _rates(fits: pd.DataFrame, N: int) -> Iterator[str]:
    for row in fits[fits["N"] == N].itertuples():
        span = f"log {row.quantity} on log m, m = {row.from_m} to {row.to_m}"
        yield f"  slope of {span}: {slopes.text(row._asdict())}; theory −1"
    growth = fits[fits["quantity"] == "growth"]
    for row in growth[growth["m"] == growth["m"].max()].itertuples():
        yield f"  variance at m = {row.m} is linear in log N to R² = {row.r2:.4f}"


def files(results: Results, figures: Path) -> Iterator[str]:
    """Yield the files of results and figures."""
    for name in ("table.parquet", "response.parquet", "manifest.json"):
        if (results.folder / name).exists():
            yield f"  {results.folder / name}"
    drawn = sorted(figures.glob("*.png"))
    if drawn:
        yield from (f"  {path} (and .pdf)" for path in drawn)
    else:
        yield f"  no figures yet: tea-stats figures {results.folder} --out {figures}"


def show(results: Results, figures: Path, law: str | None, console: Console) -> None:
    """Print everything."""
    console.print(head(results), style="bold", highlight=False, soft_wrap=True)
    shown = law or (results.theory_laws or results.laws)[0]
    for part in (*best(results), *main_ones(results, shown), *theory(results)):
        if isinstance(part, str):
            console.print(f"\n{part}" if not part.startswith(" ") else part, highlight=False)
        else:
            console.print(part)
    console.print("\nFiles", style="bold")
    for line in files(results, figures):
        console.print(line, highlight=False, soft_wrap=True)


def main(
    folder: Folder,
    law: Annotated[str | None, typer.Option(help="Law of the table of main estimators.")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder of its figures; default: figures/<its name>.")
    ] = None,
) -> None:
    """Print a grid's main results and the names of its files."""
    results = opened(folder)
    if law is not None and law not in results.laws:
        typer.echo(f"error: law is {law!r}; give one of {', '.join(results.laws)}", err=True)
        raise typer.Exit(1)
    show(results, figures or Path("figures") / folder.name, law, Console(markup=False))
