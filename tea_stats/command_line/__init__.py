"""The command line, one module per command; `COMMANDS` is the table of them.

Those of the studies are in `studies.STUDIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from tea_stats.command_line import (
    compare,
    diagnose,
    estimators,
    plan,
    predict,
    schema,
    simulate,
    studies,
)

COMMANDS: Mapping[str, Callable[..., None]] = {
    "predict": predict.command,
    "diagnose": diagnose.command,
    "compare": compare.command,
    "plan": plan.command,
    "estimators": estimators.command,
    "simulate": simulate.command,
    "schema": schema.command,
}

app = typer.Typer(
    name="tea-stats",
    help="Best-of-N from the rewards of m rollouts. Each command has --help with examples.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _several_commands() -> None:
    """Keep the command's name part of the command line, however few there are."""


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
studies.add_to(app)

__all__ = ["COMMANDS", "app"]
