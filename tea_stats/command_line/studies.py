"""`tea-stats grid`, `tea-stats figures` …: the studies, from an installed package as from a clone.

The commands themselves are those of `python -m simulations.grid` and the like. They are imported
when they are called, because they need more packages than the rest of the command line.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import typer

from tea_stats._studies import reach
from tea_stats.command_line import shared


class Study(NamedTuple):
    """A command of the studies.

    Attributes
    ----------
    target : str
        "module:name" of its function or its Typer application; for results of the other kinds see
        `KINDS`.
    help : str
        What it does, in a line.
    """

    target: str
    help: str


STUDIES: Mapping[str, Study] = {
    "grid": Study("simulations.grid.run:main", "Run or resume a simulation grid."),
    "batches": Study("simulations.batches.run:main", "Run or resume the league of batches."),
    "bandit": Study("simulations.bandit.run:main", "Train bandits with each estimator."),
    "pools": Study("simulations.lm_pool:app", "Estimators on rollouts of a language model."),
    "validate": Study("simulations.validate_lm:main", "Train language models, arm by arm."),
    "recipe": Study("simulations.recipes.command:app", "The paper's experiment, on your cards."),
    "figures": Study("analysis.figures:main", "Draw the figures of any study's results."),
    "report": Study("analysis.grid.report:main", "Print a grid's main results."),
    "ranking": Study("analysis.benchmark.ranking:main", "Print the ranking of a benchmark."),
    "league": Study("analysis.batches.__main__:main", "Print and draw a league of batches."),
    "slopes": Study("analysis.grid.slopes:main", "Print fitted rates in m."),
    "explorer": Study("analysis.explorer.page:main", "Write a page to explore a grid with."),
}

#: whose figures a folder of results has, by a file that no other study writes; else a grid's
KINDS: Mapping[str, str] = {
    "finals.parquet": "analysis.bandit.report:main",
    "tails.parquet": "analysis.lm.pools:main",
    "steps.parquet": "analysis.lm.training:main",
    "gradients.parquet": "analysis.lm.exact:main",
    "progress.parquet": "analysis.lm.recipe:main",
}

#: every argument goes to the study's own command, --help included
PASS_ON: Mapping[str, Any] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}


def add_to(app: typer.Typer) -> None:
    """Add the commands of the studies to the command line."""
    for name, study in STUDIES.items():
        add = app.command(
            name, help=study.help, rich_help_panel="Studies", context_settings=dict(PASS_ON)
        )
        add(_passed_on(name, study))


def _passed_on(name: str, study: Study) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        reach()
        try:
            target = kind(context.args) if name == "figures" else study.target
            run = _imported(target)
        except ModuleNotFoundError as missing:
            shared.fail(
                f"tea-stats {name} needs {missing.name}, which is not installed; "
                "pip install 'tea-stats[sim]'"
            )
        run(args=context.args, prog_name=f"tea-stats {name}")

    return command


def kind(arguments: list[str]) -> str:
    """Return the command that draws the figures of the first folder among the arguments."""
    located = importlib.import_module("analysis.core.read").located
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            files = (file for file in KINDS if (located(Path(word)) / file).is_file())
            return next((KINDS[file] for file in files), STUDIES["figures"].target)
        if "=" not in word:  # each option of these commands has a value
            next(words, None)
    return STUDIES["figures"].target


def _imported(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    command = getattr(importlib.import_module(module), name)
    if isinstance(command, typer.Typer):
        app = command
    else:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(context_settings={"help_option_names": ["-h", "--help"]})(command)
    return cast(Callable[..., Any], typer.main.get_command(app))
