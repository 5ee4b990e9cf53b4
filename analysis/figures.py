"""The figures of a results folder: `python -m analysis.figures results/paper --out figures/`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

from analysis.benchmark import frontier as benchmark_frontier, heatmap, performance_profile
from analysis.core.read import Absent, Results
from analysis.core.write import Folder, Out, opened, save
from analysis.grid import (
    bias_variance_vs_ratio,
    bias_vs_m,
    cosine,
    efficiency,
    frontier,
    overview,
    responses,
    variance_vs_m,
    winners,
)

#: name of a figure's files, and what draws it
FIGURES: Mapping[str, Callable[[Results], Figure]] = {
    "bias_vs_m": bias_vs_m.draw,
    "variance_vs_m": variance_vs_m.draw,
    "bias_variance_vs_ratio": bias_variance_vs_ratio.draw,
    "frontier": frontier.draw,
    "response": responses.draw_one_law,
    "response_laws": responses.draw_all_laws,
    "cosine": cosine.draw,
    "efficiency": efficiency.draw,
    "overview": overview.draw,
    "winners": winners.draw,
    "heatmap": heatmap.draw,
    "performance_profile": performance_profile.draw,
    "benchmark_frontier": benchmark_frontier.draw,
}
#: figures of batches; the others are of single groups
OF_BATCHES = ("heatmap", "performance_profile", "benchmark_frontier")


def draw_all(
    results: Results, out: Path, names: Iterable[str] = tuple(FIGURES)
) -> dict[str, list[Path] | str]:
    """Draw the named figures; a name's value is its files, or why the grid has no such figure."""
    files: dict[str, list[Path] | str] = {}
    for name in names:
        if results.prompts > 1 and name not in OF_BATCHES:
            files[name] = f"this grid measures batches of {results.prompts} prompts"
            continue
        try:
            files[name] = save({name: partial(FIGURES[name], results)}, out)
        except Absent as reason:
            files[name] = str(reason)
    return files


def main(
    folder: Folder,
    out: Out = Path("figures"),
    only: Annotated[
        list[str] | None, typer.Option(help="A figure to draw; may be repeated. Default: all.")
    ] = None,
) -> None:
    """Draw figures of a results folder, as PNG and PDF."""
    for name in only or ():
        if name not in FIGURES:
            typer.echo(f"error: only is {name!r}; give one of {', '.join(FIGURES)}", err=True)
            raise typer.Exit(1)
    start = time.perf_counter()
    drawn = draw_all(opened(folder), out, only or FIGURES)
    for name, files in drawn.items():
        typer.echo(f"skipped {name}: {files}" if isinstance(files, str) else f"{files[0]}, .pdf")
    count = sum(not isinstance(files, str) for files in drawn.values())
    typer.echo(f"{count} of {len(drawn)} figures in {time.perf_counter() - start:.0f} s: {out}")


if __name__ == "__main__":
    typer.run(main)
