"""All figures of a results folder: `python -m analysis.figures results/paper --out figures/`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import typer

from analysis.benchmark import frontier as tradeoff, heatmap, performance_profile
from analysis.core.read import Absent, Results
from analysis.core.write import Draw, Folder, Out, opened, save
from analysis.grid import (
    bias_variance_vs_ratio,
    bias_vs_m,
    cosine,
    efficiency,
    frontier,
    overview,
    response,
    response_laws,
    variance_vs_m,
    winners,
)

#: one script, one figure
FIGURES: Mapping[str, Draw] = {
    "bias_vs_m": bias_vs_m.draw,
    "variance_vs_m": variance_vs_m.draw,
    "bias_variance_vs_ratio": bias_variance_vs_ratio.draw,
    "frontier": frontier.draw,
    "response": response.draw,
    "response_laws": response_laws.draw,
    "cosine": cosine.draw,
    "efficiency": efficiency.draw,
    "overview": overview.draw,
    "winners": winners.draw,
    "league": heatmap.draw,
    "regret": performance_profile.draw,
    "tradeoff": tradeoff.draw,
}
#: figures of batches; the others are of single groups
OF_BATCHES = ("league", "regret", "tradeoff")


def draw_all(results: Results, out: Path) -> dict[str, list[Path] | str]:
    """Draw every figure; a name's value is its files, or why the grid has no such figure."""
    found: dict[str, list[Path] | str] = {}
    for name, draw in FIGURES.items():
        if results.prompts > 1 and name not in OF_BATCHES:
            found[name] = f"this grid measures batches of {results.prompts} prompts"
            continue
        try:
            found[name] = save(draw, results, out)
        except Absent as reason:
            found[name] = str(reason)
    return found


def main(folder: Folder, out: Out = Path("figures")) -> None:
    """Draw all figures of a results folder, as PNG and PDF."""
    start = time.perf_counter()
    drawn = draw_all(opened(folder), out)
    for name, files in drawn.items():
        if isinstance(files, str):
            typer.echo(f"skipped {name}: {files}")
        else:
            typer.echo(f"{files[0]}, .pdf")
    count = sum(not isinstance(files, str) for files in drawn.values())
    typer.echo(f"{count} of {len(drawn)} figures in {time.perf_counter() - start:.0f} s: {out}")


if __name__ == "__main__":
    typer.run(main)
