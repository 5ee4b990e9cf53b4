"""Run an exact training study: what a results folder lacks, then its tables.

What is costly and common (trees, rewards, exact gradients) is made here; training runs and laws are
jobs of worker processes, each of which loads the policy once.
"""

from __future__ import annotations

from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch

from simulations.core import engines, jobs, manifests, progress, store
from simulations.core.jobs import Job
from simulations.core.progress import Account
from simulations.lm import packages
from simulations.lm.exact import summary
from simulations.lm.exact.plan import ORDER, Run, measured_scenarios, runs
from simulations.lm.exact.schema import ExactStudy, Part
from simulations.lm.exact.study import Study

#: jobs between two writings of the tables, which read every finished job
TABLES_EVERY = 100


def run_study(study: ExactStudy, out: Path, part: Part = Part.all, workers: int = 1) -> None:
    """Run a study or a part of it, and keep its manifest."""
    plan = manifests.describe(study.model_dump(mode="json"))
    with manifests.run(out, plan, ["seeds"], packages=packages()) as manifest:
        with engines.local(workers) as (executor, parallel), progress.bar(0) as account:
            for one in ORDER if part is Part.all else (part,):
                checked = run(study, out, one, executor, parallel, account)
                manifest["checks"] = manifest.get("checks", {}) | checked


def run(
    study: ExactStudy, out: Path, part: Part, executor: Executor, parallel: int, account: Account
) -> dict[str, dict[str, float]]:
    """Make what `out` lacks; return the checks of exactness, by scenario.

    The tables of all that is finished are written again and again, so that a killed run leaves
    them.
    """
    torch.set_num_threads(1)
    main = Study(study, out)
    planned, laws = runs(study, part), measured_scenarios(study, part)
    for label in dict.fromkeys([*(one.scenario for one in planned), *laws]):
        main.begin(label, account.doing)
    todo = _lacking(main, planned, laws)
    account.more(len(todo))
    account.doing(", ".join(dict.fromkeys(one.scenario for one in planned)) or "laws")
    for done, _ in enumerate(jobs.compute(todo, executor, parallel), 1):
        account.done()
        if done % TABLES_EVERY == 0:
            summary.summarise(main)
    summary.summarise(main)
    return main.checks


def _lacking(main: Study, planned: list[Run], laws: list[str]) -> list[Job]:
    """Return the jobs that are not done, in order; runs that several N share are one."""
    text = main.study.model_dump_json()
    some: dict[Path, Job] = {}
    for one in planned:
        path = main.path(one)
        some.setdefault(path, Job(path, _marks(main, path), trained, (text, main.out, one)))
    for label in laws:
        for kind in ("quality", "pools"):
            for place, path in enumerate(main.laws(label, kind)):
                arguments = text, main.out, label, place, kind
                some.setdefault(path, Job(path, _marks(main, path), measured, arguments))
        if main.pooling:
            path = main.mixed_path(label)
            some.setdefault(path, Job(path, _marks(main, path), mixed, (text, main.out, label)))
    return [job for job in some.values() if not job.kept()]


def _marks(main: Study, path: Path) -> dict[str, str]:
    """Return what a file carries: its place, so that another job's file is noticed there."""
    return {"job": store.digest(path.relative_to(main.out).as_posix())}


# --- in a worker ----------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _loaded(text: str, out: Path) -> Study:
    torch.set_num_threads(1)
    return Study(ExactStudy.model_validate_json(text), out)


def trained(text: str, out: Path, one: Run) -> pd.DataFrame:
    """Return the curve of a training run."""
    return _loaded(text, out).curve(one)


def measured(text: str, out: Path, label: str, place: int, kind: str) -> pd.DataFrame:
    """Return what is measured before training on one prompt's law."""
    return _loaded(text, out).measured(label, place, kind)


def mixed(text: str, out: Path, label: str) -> pd.DataFrame:
    """Return what is measured before training in batches of all prompts."""
    return _loaded(text, out).mixed(label)
