"""What an exact training study consists of, in the order of its worth.

An estimator whose advantages are the same at several N is trained once and serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from simulations.core import store
from simulations.lm.exact.schema import EXACT, ExactStudy, Part, Scenario
from tea_stats.estimators.record import same

#: what `all` runs, one after the other: a study that is cut short is worth most by its first parts
ORDER = (Part.core, Part.rates, Part.quality, Part.rest, Part.sweep)


@dataclass(frozen=True)
class Run:
    """One training run: an arm of a scenario at a step size, with a seed.

    `batch` is the number of prompts a step where it is not the study's.
    """

    scenario: str
    label: str
    rate: float
    seed: int
    batch: int | None = None


def runs(study: ExactStudy, part: Part) -> list[Run]:
    """Return the training runs of a part, in order, each once.

    Main arms come before exact ones, which take four times as long and hardly differ between seeds,
    all arms of a seed before the next seed.
    """
    rates, scenarios = study.training.rates, list(study.scenarios)
    main, exact = study.main, tuple(EXACT)
    others = tuple(label for label in study.estimators if label not in main)
    first = scenarios[:1]
    match part:
        case Part.core:
            found = [*_grid(study, first, rates[:1], main), *_grid(study, first, rates[:1], exact)]
        case Part.rates:
            found = [*_grid(study, first, rates[1:], main), *_grid(study, first, rates[1:], exact)]
        case Part.quality:
            found = []
        case Part.rest:
            # another reward says more than another N, and exact arms differ little between seeds
            firsts = _of_rewards(study)
            wide = [*firsts, *(label for label in scenarios if label not in firsts)]
            groups = (main, others, exact)
            found = [run for labels in groups for run in _grid(study, wide, rates, labels)]
        case Part.sweep:
            found = list(_sweep(study, first[0], rates[0]))
        case Part.all:
            found = [run for one in ORDER for run in runs(study, one)]
    return list(dict.fromkeys(found))


def _grid(
    study: ExactStudy, scenarios: Sequence[str], rates: Sequence[float], labels: Sequence[str]
) -> Iterator[Run]:
    for scenario in scenarios:
        for rate in rates:
            for seed in range(study.seeds):
                for label in labels:
                    yield Run(scenario, label, rate, seed)


def _sweep(study: ExactStudy, scenario: str, rate: float) -> Iterator[Run]:
    for seed in range(study.seeds):
        for batch in study.sweep.batches:
            for label in study.sweep.estimators:
                other = None if batch == study.training.batch else batch
                yield Run(scenario, label, rate, seed, other)


def measured_scenarios(study: ExactStudy, part: Part) -> list[str]:
    """Return the scenarios, one for each reward, of which a part measures the estimators.

    They do not depend on the N that a policy is trained for.
    """
    several = _of_rewards(study)
    return {Part.quality: several[:1], Part.rest: several, Part.all: several}.get(part, [])


def _of_rewards(study: ExactStudy) -> list[str]:
    """Return the first of the scenarios that differ in N alone, in order."""
    first: dict[str, str] = {}
    for label in study.scenarios:
        first.setdefault(folder_of(study, label), label)
    return list(first.values())


def serving(study: ExactStudy, scenario: Scenario, label: str) -> int:
    """Return the least N among scenarios that differ in N alone at which an arm is the same."""
    N = scenario.N
    family = [
        other.N
        for other in study.scenarios.values()
        if other.model_dump(exclude={"N"}) == scenario.model_dump(exclude={"N"})
    ]
    if label in EXACT:
        return N if EXACT[label] is None else min(family)
    estimator = study.estimators[label].record()

    def constants(budget: int) -> tuple[Any, ...]:
        slope = estimator.slope_constant(budget) if estimator.affine else 0.0
        return estimator.prepare(scenario.m, budget), slope

    return min(other for other in family if same(constants(other), constants(N)))


def folder_of(study: ExactStudy, label: str) -> str:
    """Return the name of a scenario's folder: all but N."""
    scenario = study.scenarios[label].model_dump(exclude={"N"})
    return f"{scenario['reward']}-{store.digest(scenario)[:6]}"
