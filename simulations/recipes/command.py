"""`python -m simulations.recipes`: the commands of the recipe, in the order of their use."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import typer

from simulations.core import manifests, schema, store
from simulations.core.command import Config, one_line_errors
from simulations.core.progress import tell
from simulations.recipes import INSTALL, folder, packages, plan_text
from simulations.recipes.schema import RANDOM, Recipe, Run

app = typer.Typer(
    help="The experiment of arXiv:2605.10716: plan, check, train, evaluate.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
Only = Annotated[str, typer.Option(help="Runs whose name fits, such as 'Llama-3.2-1B*/m16/TEA/*'.")]
Out = Annotated[Path | None, typer.Option(help="Default: results/<name of CONFIG>.")]
#: the configuration of random models
TINY = Path("recipe_dry")


@app.command("try")
def try_out(config: Config = TINY, out: Out = None) -> None:
    """Do all of it with random models: no card, nothing to download, minutes.

    Reward servers, training, evaluation and tables; their numbers mean nothing.
    """
    with one_line_errors(), needed():
        recipe, place = schema.read(Recipe, config), results(config, out)
        with noted(recipe, place), served(recipe, place) as ready:
            train_all(ready, ready.runs, place)
            evaluate_all(ready, ready.runs, place)
            write_tables(ready, place)
        tell(f"draw the figures: tea-stats figures {place} --out figures/{config.stem}")


@app.command()
def plan(
    config: Config,
    only: Only = "*",
    cards: Annotated[list[int] | None, typer.Option(min=1, help="Default: 1 and 8.")] = None,
) -> None:
    """Print memory, tokens and hours, with their arithmetic."""
    with one_line_errors():
        recipe = schema.read(Recipe, config)
        typer.echo(plan_text.report(recipe, chosen(recipe, only), cards or [1, 8]))


@app.command()
def runs(
    config: Config,
    only: Only = "*",
    out: Out = None,
    missing: Annotated[bool, typer.Option(help="Those that are not evaluated yet.")] = False,
) -> None:
    """Print the names of runs, one a line, for --only."""
    with one_line_errors():
        recipe = schema.read(Recipe, config)
        for run in chosen(recipe, only):
            if not (missing and folder.of_run(recipe, run, results(config, out)).evaluated()):
                typer.echo(run.name)


@app.command()
def serve(
    config: Config,
    reward: Annotated[str | None, typer.Option(help="Its label; needed if there are more.")] = None,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen.")] = 8100,
    out: Out = None,
) -> None:
    """Serve a reward model over HTTP, until interrupted."""
    with one_line_errors(), needed():
        from simulations.recipes import models, server

        recipe = schema.read(Recipe, config)
        label = reward or next(iter(recipe.rewards))
        if label not in recipe.rewards or (reward is None and len(recipe.rewards) > 1):
            labels = ", ".join(map(repr, recipe.rewards))
            raise ValueError(f"reward is {reward!r}; give --reward with one of {labels}")
        table, backend, place = recipe.rewards[label], recipe.backend, results(config, out)
        models.check_device(backend.device)
        # a random model is made in the results folder
        with noted(recipe, place) if table.source == RANDOM else nullcontext():
            where = models.place(table, label, place)
        rater = server.Rater(where, table, backend.device, backend.dtype)
        with server.serve(rater, host, port) as listening:
            tell(f"{table.source} at http://{host}:{port}; end it with Ctrl-C")
            try:
                listening.serve_forever()
            except KeyboardInterrupt:
                tell("ended")


@app.command()
def train(config: Config, only: Only = "*", out: Out = None) -> None:
    """Train runs with TRL, alone or on every process of torchrun or accelerate."""
    with one_line_errors(), needed():
        recipe, place = schema.read(Recipe, config), results(config, out)
        todo = [x for x in chosen(recipe, only) if not folder.of_run(recipe, x, place).trained()]
        if len(todo) > 1 and recipe.backend.generation == "vllm":
            raise ValueError(
                f"{len(todo)} runs are to be trained, and a process holds one vLLM only; give one "
                "with --only (`runs` prints their names)"
            )
        with noted(recipe, place):
            train_all(recipe, todo, place)


@app.command()
def verl(config: Config, only: Only, out: Out = None) -> None:
    """Write what verl needs to train one run, and print its command line."""
    with one_line_errors(), needed():
        from simulations.recipes import verl as verls

        recipe, place = schema.read(Recipe, config), results(config, out)
        typer.echo(verls.command(recipe, one(recipe, only), place, str(config)))


@app.command()
def evaluate(
    config: Config,
    only: Only = "*",
    out: Out = None,
    policy: Annotated[Path | None, typer.Option(help="Trained elsewhere: its folder.")] = None,
) -> None:
    """Draw and rate held-out rollouts of trained runs, and of the starts."""
    with one_line_errors(), needed():
        recipe, place = schema.read(Recipe, config), results(config, out)
        mine = [one(recipe, only)] if policy else chosen(recipe, only)
        if not policy:
            mine = [run for run in mine if folder.of_run(recipe, run, place).trained()]
        if not mine:
            raise ValueError(f"no run that fits {only!r} is trained in {place}; `train` first")
        with noted(recipe, place):
            evaluate_all(recipe, mine, place, policy)


@app.command()
def tables(config: Config, out: Out = None) -> None:
    """Write the tables of all finished runs, for `python -m analysis.recipe`."""
    with one_line_errors(), needed():
        recipe, place = schema.read(Recipe, config), results(config, out)
        with noted(recipe, place):
            write_tables(recipe, place)


@app.command()
def check(config: Config, only: Only = "*", out: Out = None) -> None:
    """Train and evaluate a little, in twenty minutes, and compare speed and memory with the plan.

    Of the runs that fit, the first. Start its reward server before.
    """
    with one_line_errors(), needed():
        from simulations.recipes import check as checks

        recipe = schema.read(Recipe, config)
        run = chosen(recipe, only)[0]
        place = (out or Path("results") / f"{config.stem}_check") / "check"
        tell(f"{run.name}: {checks.minutes(recipe, run):.0f} minutes by the plan, and loading")
        typer.echo(checks.report(checks.check(recipe, run, place)))


# --- the work, which the commands share -----------------------------------------------------------


def train_all(recipe: Recipe, todo: Sequence[Run], place: Path) -> None:
    """Train runs, and note with what."""
    from simulations.recipes import training

    for run in todo:
        done = training.train(recipe, run, place)
        if first_process():
            note(recipe, run.scenario, place, done, "training")


def evaluate_all(
    recipe: Recipe, mine: Sequence[Run], place: Path, policy: Path | None = None
) -> None:
    """Evaluate the starts of runs and the runs, and note with what."""
    from simulations.recipes import evaluate as evaluation, verl as verls

    for label in dict.fromkeys(run.scenario for run in mine):
        done = evaluation.evaluate_start(recipe, label, place)
        note(recipe, label, place, done, "evaluation")
    for run in mine:
        done = evaluation.evaluate(recipe, run, place, policy)
        verls.collect(done)
        note(recipe, run.scenario, place, done, "evaluation")


def write_tables(recipe: Recipe, place: Path) -> None:
    """Write the tables of all finished runs."""
    from simulations.recipes import tables as summary

    count = summary.summarise(recipe, place)
    tell(f"{place}: tables of {count} of {len(recipe.runs)} runs are written")


@contextmanager
def served(recipe: Recipe, place: Path) -> Iterator[Recipe]:
    """Serve all random reward models from this process; give the recipe with their addresses."""
    from simulations.recipes import models, server

    sources = [x.source for x in (*recipe.policies.values(), *recipe.rewards.values())]
    if any(source != RANDOM for source in sources):
        raise ValueError(
            f"the configuration has models other than {RANDOM!r} ones, whose rewards are served "
            "apart: `serve`, then `check`, `train` and `evaluate`"
        )
    backend, rewards = recipe.backend, {}
    with ExitStack() as stack:
        for label, table in recipe.rewards.items():
            rater = server.Rater(
                models.place(table, label, place), table, backend.device, backend.dtype
            )
            listening = stack.enter_context(server.serve(rater, "127.0.0.1", 0))
            threading.Thread(target=listening.serve_forever, daemon=True).start()
            stack.callback(listening.shutdown)
            url = f"http://127.0.0.1:{listening.server_address[1]}"
            rewards[label] = table.model_copy(update={"urls": (url,)})
        yield recipe.model_copy(update={"rewards": rewards})


# --- helpers --------------------------------------------------------------------------------------


def results(config: Path, out: Path | None) -> Path:
    """Return the results folder."""
    return out or Path("results") / config.stem


def chosen(recipe: Recipe, only: str) -> Sequence[Run]:
    """Return the runs whose name fits a pattern, or is it; ValueError if there are none."""
    found = [x for x in recipe.runs if x.name == only or fnmatchcase(x.name, only)]
    if not found:
        raise ValueError(f"only is {only!r}, which fits no run; `runs` prints their names")
    return found


def one(recipe: Recipe, only: str) -> Run:
    """Return the run whose name fits; ValueError if there are more."""
    found = chosen(recipe, only)
    if len(found) > 1:
        raise ValueError(f"only is {only!r}, which fits {len(found)} runs; give one's name")
    return found[0]


def first_process() -> bool:
    """Return whether this is the first of torchrun's processes, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def needed() -> Iterator[None]:
    """Name the extra where a package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; {INSTALL}") from None


@contextmanager
def noted(recipe: Recipe, out: Path) -> Iterator[None]:
    """Keep the folder's manifest; it refuses results of another configuration."""
    if not first_process():
        yield
        return
    with manifests.run(out, manifests.describe(recipe.content), ["seeds"], packages=packages()):
        yield


def note(recipe: Recipe, label: str, out: Path, done: folder.Folder, what: str) -> None:
    """Write with what a run was trained or evaluated; runs side by side have a file each."""
    from simulations.recipes import models
    from simulations.recipes.client import Client

    path, scenario = done.path / f"{what}.json", recipe.scenarios[label]
    if not path.exists():
        where = models.place(recipe.policies[scenario.policy], scenario.policy, out)
        circumstances: dict[str, Any] = manifests.circumstances(
            packages=packages(),
            policy=models.revision(where),
            reward=Client(recipe.rewards[scenario.reward]).check(),
        )
        store.write(circumstances, path)
