"""One HTML page to explore a grid with: `python -m analysis.explorer results/paper`.

The page contains its numbers, its style and its program; it needs no server and no network. Style
and program are in the files beside this one, which selects and writes the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import ArrayLike

from analysis.core import style
from analysis.core.read import BATCH, Results
from analysis.core.write import Folder, opened
from analysis.explorer.svg import night, outline
from analysis.grid import responses as curves_of
from analysis.grid.frontier import FAR

PAGE = Path(__file__).parent
#: in the order in which they run
PROGRAM = ("state.js", "chart.js", "views.js", "table.js", "controls.js")
#: significant digits of numbers, and of their standard errors
DIGITS, ERROR_DIGITS = 6, 3


@dataclass(frozen=True)
class Metric:
    """A number of a cell: its name in the page and in `Results.cells`, and how it is drawn."""

    key: str
    column: str
    label: str
    short: str
    log: bool
    more_is_better: bool = False


METRICS = (
    Metric("error", "batch_nmse", f"Normalised error of a {BATCH}-prompt batch", "error", True),
    Metric("bias", "relative_bias", "Relative bias", "bias", True),
    Metric("sd", "sd", f"Relative standard deviation of a {BATCH}-prompt batch", "sd", True),
    Metric("cosine", "cosine", "Cosine with the exact gradient", "cosine", False, True),
    Metric("efficiency", "efficiency", "Efficiency", "efficiency", False, True),
)


def data(results: Results) -> dict[str, Any]:
    """Return the page's data, ready for JSON; a missing number is None."""
    rows = results.cells.copy()
    # the standard error of a root, to first order: se(v) / (2 √v)
    rows["sd"] = np.sqrt(rows["noise_part"].clip(lower=0.0))
    rows["sd_mcse"] = rows["noise_part_mcse"] / (2.0 * rows["sd"].where(rows["sd"] > 0.0))
    labels = style.ordered(results.options)
    rows["law"] = rows["law"].map({law: place for place, law in enumerate(results.laws)})
    rows["estimator"] = rows["estimator"].map({x: place for place, x in enumerate(labels)})
    rows = rows.sort_values(["law", "m", "N", "estimator"], kind="stable")
    notes = rows["note"].fillna("").astype("category")
    cells: dict[str, list[Any]] = {x: rows[x].tolist() for x in ("law", "estimator", "m", "N")}
    cells |= {"status": rows["status"].tolist(), "note": notes.cat.codes.tolist()}
    # a bias within 2 standard errors of zero: a logarithm shows its bound
    cells["flagged"] = rows["flagged"].astype(int).tolist()
    for metric in METRICS:
        cells[metric.key] = numbers(rows[metric.column], DIGITS)
        cells[f"{metric.key}_se"] = numbers(rows[f"{metric.column}_mcse"], ERROR_DIGITS)
    return {
        "about": about(results),
        "batch": BATCH,
        "z": style.Z,
        "far": FAR,
        "metrics": [asdict(metric) for metric in METRICS],
        "laws": laws(results),
        "estimators": estimators(results, labels),
        "start": start(results),
        "notes": notes.cat.categories.tolist(),
        "cells": cells,
        "responses": list(responses(results, labels)),
    }


def start(results: Results) -> list[int]:
    """Return the (m, N) that is shown first: one with response curves, else the middle."""
    if results.response is None:
        return list(results.middle)
    first = curves_of.drawn(results).iloc[0]
    return [int(first["m"]), int(first["N"])]


def numbers(values: ArrayLike, digits: int) -> list[float | None]:
    """Round to significant digits; numbers that are not finite become None.

    Examples
    --------
    >>> numbers([0.123456789, 1234.5, float("nan")], 3)
    [0.123, 1230.0, None]
    """
    numbers = np.asarray(values, dtype=float).tolist()
    return [float(f"{x:.{digits}g}") if np.isfinite(x) else None for x in numbers]


def laws(results: Results) -> list[dict[str, str]]:
    """Return name, family and part of each law, in the grid's order; parameters are shortened."""
    first = results.table.drop_duplicates("law").set_index("law")["family"]
    part = {law: name for name, members in results.parts.items() for law in members}
    first = first.str.replace(r"\d+\.\d{4,}", lambda match: f"{float(match[0]):.4g}", regex=True)
    return [{"name": x, "family": first[x], "part": part.get(x, "others")} for x in results.laws]


def estimators(results: Results, labels: list[str]) -> list[dict[str, Any]]:
    """Return name, method, options and look of each estimator, by day and by night."""
    looks = style.looks(results.options)
    main = style.chosen(results.options)
    return [
        {
            "name": label,
            "method": results.options[label]["name"],
            "options": {k: v for k, v in results.options[label].items() if k != "name"},
            "main": label in main,
            "day": looks[label].colour,
            "night": night(looks[label].colour),
            "marker": outline(looks[label].marker),
        }
        for label in labels
    ]


def responses(results: Results, labels: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the response curves of each (law, m, N) that has them, with the exact one."""
    if results.response is None:
        return
    for (m, N), rows in results.response.groupby(["m", "N"]):
        curves = curves_of.placed(rows, results.cells)
        off = curves_of.distances(curves)
        for law, here in curves.groupby("law", sort=False):
            parts = {x: here[here["estimator"] == x] for x in labels}
            first = next(part for part in parts.values() if len(part))
            yield {
                "law": results.laws.index(law),
                "m": int(m),
                "N": int(N),
                "q": numbers(first["q"], DIGITS),
                "place": numbers(first["place"], DIGITS),
                "exact": numbers(first["exact"], DIGITS),
                "curves": [
                    {
                        "estimator": place,
                        "response": numbers(part["response"], DIGITS),
                        "se": numbers(part["response_mcse"], ERROR_DIGITS),
                        "distance": numbers([off.get((law, label), np.nan)], ERROR_DIGITS)[0],
                    }
                    for place, (label, part) in enumerate(parts.items())
                    if len(part)
                ],
            }


def about(results: Results) -> dict[str, Any]:
    """Return which run the numbers come from, and the commands that remake them and the page."""
    manifest, name = results.manifest, results.folder.resolve().name
    runs = manifest.get("runs") or [{}]
    config = str(runs[-1].get("config", f"simulations/grids/{name}.toml"))
    return {
        "grid": name,
        "config": config,
        "dates": sorted({str(run.get("started", "unknown"))[:10] for run in runs}),
        "code": sorted({str(run.get("code", "unknown")) for run in runs}),
        "seed": manifest.get("configuration", {}).get("seed"),
        "hash": manifest.get("hash"),
        "cells": len(results.cells),
        "rebuild": [
            f"tea-stats grid {config} --out results/{name}",
            f"tea-stats explorer results/{name} --out explorer.html",
        ],
    }


def page(results: Results) -> str:
    """Return the whole page; the same results give the same text."""
    text = json.dumps(data(results), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    parts = {
        "style": _source("page.css"),
        "program": "\n".join(_source(name) for name in PROGRAM),
        # no text of a grid can end the element that holds it
        "data": text.replace("<", "\\u003c"),
    }
    html = _source("page.html")
    for name, part in parts.items():
        html = html.replace(f"@@{name}@@", part)
    return html


def _source(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8").strip()


def main(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("explorer.html"),
) -> None:
    """Write one HTML page that shows a grid's results, to be opened in a browser."""
    results = opened(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(results), encoding="utf-8", newline="\n")
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB; open it in a browser")
