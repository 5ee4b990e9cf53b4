"""Write README.md and docs/findings from their templates: `python -m analysis.readme`.

The templates are docs/templates/README.md and docs/templates/findings/; every number comes from the
committed summaries, as in the article, or from what a command prints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.core.read import Absent, ResultsError
from analysis.paper.studies import SUMMARIES, ClaimError, Studies
from analysis.readme.pages import ROOT, pages


def main(
    summaries: Annotated[Path, typer.Option(help="Folder of the studies' summaries.")] = SUMMARIES,
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = ROOT,
) -> None:
    """Write README.md and the pages of docs/findings."""
    try:
        texts = pages(Studies(summaries))
    except (ResultsError, ClaimError, Absent, ValueError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from None
    for name, text in texts.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        typer.echo(path)


if __name__ == "__main__":
    typer.run(main)
