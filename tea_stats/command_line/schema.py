"""`tea-stats schema`: what `--json` prints, as JSON Schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tea_stats.command_line import shared
from tea_stats.command_line.schemas import SCHEMAS, schema


@shared.one_line_errors
def command(
    name: Annotated[str, typer.Argument(metavar="COMMAND", help=f"One of {', '.join(SCHEMAS)}.")],
) -> None:
    """Print the JSON Schema of what a command prints with --json.

    For example:

      tea-stats schema compare > compare.schema.json
    """
    typer.echo(json.dumps(schema(name), ensure_ascii=True, indent=2))
