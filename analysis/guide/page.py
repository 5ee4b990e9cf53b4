"""The page "Which estimator when" of the documentation: `python -m analysis.guide`.

Its text is `docs/templates/which_estimator.md`; every number is computed from the committed
summaries of the grids, of the bandit study, and of a language model's pools and training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.core.read import BATCH
from analysis.core.write import one_line_errors
from analysis.grid import sample_efficiency
from analysis.guide import tables
from analysis.guide.situations import FEW_SUCCESSES, SITUATIONS
from analysis.guide.sources import Sources

ROOT = Path(__file__).parents[2]
SUMMARIES = ROOT / "analysis" / "summaries"
TEMPLATE = ROOT / "docs" / "templates" / "which_estimator.md"
PAGE = ROOT / "docs" / "which_estimator.md"


def page(folder: Path) -> str:
    """Return the page, from a folder of summaries; ResultsError if one cannot be used."""
    sources = Sources(folder)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(
        decisions=tables.decisions(sources),
        situations=[(s, tables.leaders(sources, s)) for s in SITUATIONS],
        losses=tables.losses(sources),
        parts=tables.parts(sources),
        worth=tables.worth(sources),
        training=tables.training(sources),
        pools=tables.pools(sources),
        pools_won=tables.pools_won(sources),
        trained=tables.trained(sources),
        prompts=len(sources.lm_pool.prompts),
        names=tables.names(sources),
        default=sources.default,
        tea=sources.tea,
        batch=BATCH,
        clear=f"{100.0 * (1.0 - tables.CLEAR):.0f} %",
        saturated=f"{FEW_SUCCESSES:g}",
        laws=len(sources.league.laws),
        m=listed(sources.league.m),
        ratios=listed(sources.league.manifest["configuration"]["N_over_m"]),
        few=sample_efficiency.FEW,
        target=sources.bandit.targets[tables.TARGET],
    )


def listed(numbers: list[int]) -> str:
    """Write a list of numbers.

    Examples
    --------
    >>> listed([8, 16, 32])
    '8, 16 and 32'
    """
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def write(folder: Path = SUMMARIES, out: Path = PAGE) -> None:
    """Write the page unless the file has this text already."""
    text = page(folder)
    if not out.exists() or out.read_text(encoding="utf-8") != text:
        out.write_text(text, encoding="utf-8")


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the summaries.")] = SUMMARIES,
    out: Annotated[Path, typer.Option(help="File to write.")] = PAGE,
) -> None:
    """Write the page "Which estimator when" from the summaries."""
    with one_line_errors():
        write(folder, out)
    typer.echo(out)
