"""Train language models for best-of-N, arm by arm, to see whether better gradients train better.

python -m simulations.validate_lm --preset smoke|cpu|gpu      completions of some length
python -m simulations.validate_lm --preset exact [--part core]  three tokens, every one enumerated

Aim: rank estimators by the policies they train. Data: rollouts of a language model on prompts
written for this project. Estimand: unbiased best-of-N on held-out prompts, N = 1 … 256. Methods:
one arm per estimator, equal in all else, step size chosen from three on other prompts. Performance:
paired differences between arms with bootstrap intervals over prompts and seeds; the cosine of one
step's gradient with a large-sample one. In an exact study values and gradients are sums over all
responses. A killed study continues where it was.
"""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from simulations.core import manifests, progress, schema
from simulations.core.command import one_line_errors, tell
from simulations.lm import INSTALL, packages
from simulations.lm.exact.schema import ExactStudy, Part
from simulations.lm.schema import Study

GRIDS = Path(__file__).parent / "grids"


class Preset(StrEnum):
    """The configurations that come with the project: simulations/grids/lm_<preset>.toml."""

    smoke = "smoke"
    cpu = "cpu"
    gpu = "gpu"
    exact = "exact"
    exact_smoke = "exact_smoke"


def kind(path: Path) -> type[Study] | type[ExactStudy]:
    """Return what a configuration describes: a file with a table `trees` is of an exact study."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return Study  # `schema.read` names the reason
    return ExactStudy if "trees" in content else Study


def changed(study: Any, **changes: Any) -> Any:
    """Return a study with some keys changed: None changes nothing, model and reward go deeper."""
    content = study.model_dump()
    for name in ("model", "reward"):
        value = changes.pop(name)
        for scenario in content["scenarios"].values():
            scenario[name] = scenario[name] if value is None else value
    content |= {name: value for name, value in changes.items() if value is not None}
    try:
        return type(study).model_validate(content)
    except ValidationError as error:
        raise ValueError(schema.first_problem(error, type(study))) from None


def run_study(study: Study, out: Path) -> None:
    """Run what `out` lacks of a study; then write its tables."""
    try:
        from simulations.lm import study as jobs, summary
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name or error} is not installed; {INSTALL}") from None
    # a further training run of each arm is a job of its own
    plan = manifests.describe(study.model_dump(mode="json"))
    with manifests.run(out, plan, ["seeds"], packages=packages()) as manifest:
        with progress.bar(jobs.work(study)) as account:
            jobs.run(study, out, account)
        summary.summarise(study, out)
        manifest["runs"][-1]["tokens"] = account.drawn


def size_of(study: Study) -> str:
    """Return the size of a study in words."""
    from simulations.lm import study as jobs

    rollouts, steps = jobs.work(study), jobs.steps(study)
    rows = rollouts * study.new_tokens / steps
    return (
        f"{rollouts:,} rollouts of {study.new_tokens} tokens at most; {steps:,} decode steps one "
        f"after the other, with {rows:.0f} of {study.rows} rows used on average"
    )


def run_exact(study: ExactStudy, out: Path, part: Part, workers: int) -> None:
    """Run what `out` lacks of an exact study, or of a part; then write its tables."""
    try:
        from simulations.lm.exact import run
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name or error} is not installed; {INSTALL}") from None
    run.run_study(study, out, part, workers)


def main(
    preset: Annotated[Preset, typer.Option(help="A configuration of simulations/grids.")] = (
        Preset.smoke
    ),
    config: Annotated[Path | None, typer.Option(help="Another configuration.")] = None,
    out: Annotated[Path | None, typer.Option(help="Default: results/<configuration>.")] = None,
    model: Annotated[str | None, typer.Option(help="Hub name, folder or .gguf file.")] = None,
    reward: Annotated[str | None, typer.Option(help="A reward's name, or hf:MODEL.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Training runs of each arm.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rollouts side by side, sampling.")] = None,
    train_rows: Annotated[int | None, typer.Option(help="The same, training.")] = None,
    device: Annotated[str | None, typer.Option(help="Such as cuda.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Such as bfloat16.")] = None,
    tf32: Annotated[bool | None, typer.Option("--tf32/--no-tf32", help="On a card.")] = None,
    part: Annotated[Part | None, typer.Option(help="Of an exact study; default: all.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Exact study: worker processes.")] = 1,
    size: Annotated[bool, typer.Option(help="Say how large the study is, and end.")] = False,
) -> None:
    """Train language models by a preset or a configuration; whatever is finished is kept."""
    path = config or GRIDS / f"lm_{preset}.toml"
    out = out or Path("results") / path.stem
    changes = {"model": model, "reward": reward, "seeds": seeds, "rows": rows}
    changes |= {"train_rows": train_rows, "device": device, "dtype": dtype, "tf32": tf32}
    with one_line_errors():
        study = changed(schema.read(kind(path), path), **changes)
        if isinstance(study, ExactStudy):
            if size:
                raise ValueError(f"{path} is an exact study, whose size is in it; leave out --size")
            run_exact(study, out, part or Part.all, workers)
        elif part is not None:
            raise ValueError(f"part is {part.value!r} and {path} is no exact study; leave it out")
        elif size:
            return tell(size_of(study))
        else:
            run_study(study, out)
    tell(f"{out}: tables are written")


if __name__ == "__main__":
    typer.run(main)
