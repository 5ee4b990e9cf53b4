"""Run an exact training study: what a results folder lacks, then its tables."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import torch

from simulations.core import progress, store
from simulations.lm import packages
from simulations.lm.exact import summary
from simulations.lm.exact.schema import ExactStudy, Part
from simulations.lm.exact.study import Run, Study, folder_of, runs


def run_study(study: ExactStudy, out: Path, part: Part = Part.all) -> None:
    """Run a study or a part of it; tables of all that is finished are written after every seed."""
    # sums keep their order whatever the machine
    torch.set_num_threads(1)
    plan = store.describe(study.model_dump(mode="json"))
    planned = list(runs(study, part))
    # estimators before training do not depend on the N that a policy is trained for
    measured = {} if part is Part.core else {folder_of(study, x): x for x in study.scenarios}
    with store.run(out, plan, ["seeds"], packages=packages()) as manifest:
        with progress.bar(len(planned) + len(measured) * study.quality.count) as account:
            jobs = Study(study, out, account)
            for (label, _, _), some in groupby(planned, key=_stage):
                jobs.begin(label)
                for one in some:
                    jobs.arm(one)
                summary.summarise(jobs, out)
            for label in measured.values():
                jobs.begin(label)
                jobs.quality(label)
                summary.summarise(jobs, out)
        manifest["checks"] = jobs.checks


def _stage(run: Run) -> tuple[str, float, int]:
    return run.scenario, run.rate, run.seed
