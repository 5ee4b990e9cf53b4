"""A few real steps on a card, compared with the plan: what deviates is printed.

Takes twenty minutes or less, most of it loading; `minutes` says how long the steps should take.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import typer

from simulations.core import store
from simulations.core.command import one_line_errors
from simulations.recipes import folder, plan
from simulations.recipes.schema import Recipe, Run

#: a ratio of measured and planned further from 1 than this is marked
TOLERANCE = 1.3
STEPS, PROMPTS = 3, 4


@dataclass(frozen=True)
class Line:
    """A quantity as planned and as measured."""

    what: str
    planned: float
    measured: float
    unit: str

    @property
    def ratio(self) -> float:
        """Measured over planned."""
        return self.measured / self.planned

    @property
    def deviates(self) -> bool:
        """Whether the two differ by more than the tolerance."""
        return not 1 / TOLERANCE <= self.ratio <= TOLERANCE


def small(recipe: Recipe) -> Recipe:
    """Return the recipe with a few steps and held-out prompts, all else as it is."""
    held_out = recipe.evaluation.model_copy(
        update={"prompts": min(PROMPTS, recipe.evaluation.prompts), "prompts_at_a_time": PROMPTS}
    )
    training = recipe.training.model_copy(update={"steps": STEPS, "save_every": STEPS})
    return recipe.model_copy(update={"training": training, "evaluation": held_out})


def minutes(recipe: Recipe, run: Run) -> float:
    """Return how long the check's steps and evaluation take by the plan, without loading."""
    return 60 * plan.speed(small(recipe), run).hours(STEPS)


def check(recipe: Recipe, run: Run, out: Path) -> list[Line]:
    """Train and evaluate a little of a run in a folder of its own; compare with the plan."""
    little = small(recipe)
    shutil.rmtree(folder.of_run(little, run, out).path, ignore_errors=True)  # measured anew
    for part in (_train, _evaluate):
        _apart(part, little, run, out)
    place = folder.of_run(little, run, out)
    steps = store.read(place.steps, **place.mark)
    return compare(little, run, steps, store.read(place.evaluation, **place.mark))


def _train(recipe: Recipe, run: Run, out: Path) -> None:
    from simulations.recipes import training

    training.train(recipe, run, out)


def _evaluate(recipe: Recipe, run: Run, out: Path) -> None:
    from simulations.recipes import evaluate

    evaluate.evaluate(recipe, run, out)


def _apart(part: Callable[[Recipe, Run, Path], None], recipe: Recipe, run: Run, out: Path) -> None:
    """Call a function, on a card in a process of its own: its end gives the card's memory back."""
    if recipe.backend.device == "cpu":
        return part(recipe, run, out)
    process = get_context("spawn").Process(target=_to_the_end, args=(part, recipe, run, out))
    process.start()
    process.join()
    if process.exitcode:
        raise ValueError(f"the check ended in {part.__name__[1:]} (see above)")
    return None


def _to_the_end(
    part: Callable[[Recipe, Run, Path], None], recipe: Recipe, run: Run, out: Path
) -> None:
    """Call a function in the process that was made for it; what a user can correct is one line."""
    try:
        with one_line_errors():
            part(recipe, run, out)
    except typer.Exit as end:
        sys.exit(end.exit_code)


def compare(recipe: Recipe, run: Run, steps: pd.DataFrame, held_out: pd.DataFrame) -> list[Line]:
    """Return planned and measured speeds, memory and lengths; the first step is a warm-up."""
    speed, policy = plan.speed(recipe, run), recipe.policy(run)
    rollouts = recipe.training.batch * run.m
    tokens = recipe.prompts[recipe.scenario(run).prompts].mean_tokens + policy.mean_tokens
    warm = steps[steps["step"] > 0] if len(steps) > 1 else steps
    one = held_out.drop_duplicates("draw_s")
    processes = int(steps["processes"].iloc[0])
    evaluated = recipe.evaluation.prompts * recipe.evaluation.rollouts * policy.mean_tokens

    def rate(count: str, seconds: str) -> float:
        return float(warm[count].sum() / warm[seconds].sum()) / processes

    return [
        Line(
            "drawing while training",
            rollouts * policy.mean_tokens / speed.draw.value,
            rate("drawn_tokens", "draw_s"),
            "tokens/s",
        ),
        Line(
            "updating",
            rollouts * tokens / speed.update.value,
            rate("trained_tokens", "update_s"),
            "tokens/s",
        ),
        Line(
            "rating",
            rollouts * tokens / speed.rate.value,
            float(warm["rated_tokens"].sum() / warm["rate_s"].sum()),
            "tokens/s",
        ),
        Line(
            "drawing held-out rollouts",
            evaluated / speed.evaluation_draw.value,
            float(held_out["tokens"].sum() / one["draw_s"].sum()),
            "tokens/s",
        ),
        Line(
            "memory of a training card",
            plan.memory(recipe, run).training_peak,
            float(steps["memory_GB"].max()),
            "GB",
        ),
        Line("length of an answer", policy.mean_tokens, float(steps["length"].mean()), "tokens"),
    ]


def report(lines: list[Line]) -> str:
    """Return a table, and a sentence that names what deviates."""
    rows = [f"{'':28}{'planned':>12}{'measured':>12}  ratio"]
    for line in lines:
        mark = "  deviates" if line.deviates else ""
        rows.append(
            f"{line.what:28}{line.planned:12.4g}{line.measured:12.4g}  {line.ratio:.2f} "
            f"({line.unit}){mark}"
        )
    wrong = [line.what for line in lines if line.deviates]
    rows.append(
        f"Deviates by more than {TOLERANCE:g}: {', '.join(wrong)}. Correct the shares in [card], "
        "decoding_ms, or mean_tokens, and plan again."
        if wrong
        else f"All within a factor of {TOLERANCE:g} of the plan."
    )
    return "\n".join(rows)
