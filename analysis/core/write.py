"""From a function that draws to PNG and PDF files, and to a command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import matplotlib
import typer
from matplotlib.figure import Figure

from analysis.core import style
from analysis.core.read import Absent, Results, ResultsError, load

Draw = Callable[[Results], Figure]

Folder = Annotated[Path, typer.Argument(help="Results folder of simulations.grid.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the PNG and PDF files.")]


def save(draw: Draw, results: Results, out: Path) -> list[Path]:
    """Draw one figure and write `<name>.png` and `<name>.pdf`; the name is the module's."""
    matplotlib.use("Agg")
    name = Path(draw.__code__.co_filename).stem
    out.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(style.RC):
        figure = draw(results)
        png, pdf = out / f"{name}.png", out / f"{name}.pdf"
        figure.savefig(png)
        # the layout is found once, so that both files show the same
        figure.set_layout_engine("none")
        # no date, so that the same results give the same file
        figure.savefig(pdf, metadata={"CreationDate": None})
    return [png, pdf]


def opened(folder: Path) -> Results:
    """Load a results folder, or end the program with one line that says what is wrong."""
    try:
        return load(folder)
    except ResultsError as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from None


def command(draw: Draw) -> None:
    """Run one figure's script: `python -m analysis.<name> FOLDER --out FIGURES`."""

    def run(folder: Folder, out: Out = Path("figures")) -> None:
        try:
            files = save(draw, opened(folder), out)
        except Absent as reason:
            typer.echo(f"nothing drawn: {reason}", err=True)
            raise typer.Exit(1) from None
        typer.echo("\n".join(map(str, files)))

    run.__doc__ = draw.__doc__
    typer.run(run)
