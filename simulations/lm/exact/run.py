"""Run an exact training study: what a results folder lacks, then its tables."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import torch

from simulations.core import progress, store
from simulations.lm import packages
from simulations.lm.exact import summary
from simulations.lm.exact.schema import ExactStudy
from simulations.lm.exact.study import Run, Study, runs


def run_study(study: ExactStudy, out: Path, core: bool = False) -> None:
    """Run a study, or its core; tables of all that is finished are written after every seed."""
    # sums keep their order whatever the machine
    torch.set_num_threads(1)
    plan = store.describe(study.model_dump(mode="json"))
    planned = list(runs(study, core))
    with store.run(out, plan, ["seeds"], packages=packages()) as manifest:
        with progress.bar(len(planned)) as account:
            jobs = Study(study, out, account)
            for (label, _, _), some in groupby(planned, key=_stage):
                jobs.begin(label)
                for one in some:
                    jobs.arm(one)
                summary.summarise(jobs, out)
        manifest["checks"] = jobs.checks


def _stage(run: Run) -> tuple[str, float, int]:
    return run.scenario, run.rate, run.seed
