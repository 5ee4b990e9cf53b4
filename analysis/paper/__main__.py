"""Write the article's input: `python -m analysis.paper` fills `paper/generated/`.

numbers.tex has every number of the text as a macro, <table>.tex the rows of each table, and the
PDF files are the figures; `paper/README.md` lists the script and the grid of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.core.write import one_line_errors
from analysis.paper import figures, sources, tell
from analysis.paper.studies import SUMMARIES, ClaimError, Studies

PAPER = Path("paper")


def main(
    summaries: Annotated[Path, typer.Option(help="Folder of the studies' summaries.")] = SUMMARIES,
    out: Annotated[Path, typer.Option(help="Folder for what is written.")] = PAPER / "generated",
    readme: Annotated[
        bool, typer.Option(help="Renew the table of paper/README.md and paper/figures too.")
    ] = False,
) -> None:
    """Write the article's numbers, tables and figures."""
    studies = Studies(summaries)
    with one_line_errors(ClaimError, ValueError):
        written = [*tell.write(studies, out), *figures.draw(studies, out)]
        if readme:
            written.append(sources.renew(PAPER / "README.md", studies))
            written += figures.draw_for_pages(studies, PAPER / "figures")
    typer.echo(f"{len(written)} files: {out}")


if __name__ == "__main__":
    typer.run(main)
