"""The training study: jobs in folders, each finished, to be continued, or to be begun."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from simulations.core import store
from simulations.lm import evaluation, oracle, policies, prompts, rewards, rollouts, train
from simulations.lm.policies import Policy
from simulations.lm.prompts import Prompt
from simulations.lm.schema import START, Scenario, Study
from simulations.lm.train import EVALUATE, TRAIN, TUNE, Arm, Course

#: told how many rollouts and tokens were just done
After = Callable[[int, int], None]


@dataclass(frozen=True)
class Loaded:
    """A scenario's policy and reward in memory, and the weights that every arm starts from."""

    policy: Policy
    reward: tuple[str, rewards.Reward]
    start: list[Any]

    def restart(self) -> None:
        """Put the policy back to its start."""
        train.put(self.policy.trainable(), self.start)


def loaded(study: Study, scenario: Scenario) -> Loaded:
    """Load a scenario's policy and reward, and make parameters trainable."""
    record = rewards.REWARDS.get(scenario.reward)
    if record is not None and not record.trainable:
        raise ValueError(
            f"reward is {scenario.reward!r}, which is to be measured only; give another"
        )
    policy = policies.load(
        scenario.model,
        temperature=scenario.temperature,
        device=study.device,
        dtype=study.dtype,
    )
    reward = rewards.load(scenario.reward, policy)
    if study.adapter.rank:
        policies.adapt(policy, **study.adapter.model_dump(), seed=study.seed)
    else:
        policies.unfreeze(policy)
    start = [weight.detach().clone() for weight in policy.trainable()]
    return Loaded(policy, (scenario.reward, reward), start)


def slug(*names: object) -> str:
    """Return a folder name; different names stay different by a short hash.

    Examples
    --------
    >>> slug("TEA .25", 0)
    'TEA-.25-0-9c2e'
    """
    text = "-".join(map(str, names))
    return re.sub(r"[^\w.]+", "-", text).strip("-") + "-" + store.digest(text)[:4]


# --- how much there is to do ----------------------------------------------------------------------


def work(study: Study) -> int:
    """Return the rollouts of the whole study, as the progress bar counts them."""
    total = 0
    for scenario in study.scenarios.values():
        m, arms = scenario.m, len(study.estimators)
        evaluated = study.evaluation.count * study.evaluation.rollouts
        tuned = study.training.batch * m * study.tuning.steps
        tuned += study.tuning.count * study.tuning.rollouts
        trained = study.training.batch * m * study.training.steps + evaluated
        total += evaluated + arms * (len(study.tuning.choices) * tuned + study.seeds * trained)
        if study.oracle is not None:
            total += study.oracle.count * (study.oracle.rollouts + study.oracle.batches * m)
    return total


# --- what is done ---------------------------------------------------------------------------------


def run(study: Study, out: Path, after: After, told: Callable[[str], None]) -> None:
    """Run what `out` lacks of a study.

    Parameters
    ----------
    study : Study
        The configuration.
    out : Path
        Results folder; whatever is finished in it is kept.
    after : callable
        Told how many rollouts and tokens were just done, or were found done (tokens 0).
    told : callable
        Told what is being done.
    """
    for label, scenario in study.scenarios.items():
        folder = out / "jobs" / slug(label)
        told(f"{label}: loading")
        here = _Scenario(study, label, scenario, folder, after, told)
        here.everything()


class _Scenario:
    """The jobs of one scenario, in order: start, oracle, tuning, then seed by seed every arm."""

    def __init__(
        self,
        study: Study,
        label: str,
        scenario: Scenario,
        folder: Path,
        after: After,
        told: Callable[[str], None],
    ):
        self.study, self.label, self.scenario, self.folder = study, label, scenario, folder
        self.after, self.told = after, told
        self.heldout = prompts.read(study.evaluation.prompts, study.evaluation.count)
        self.tuning = prompts.read(study.tuning.prompts, study.tuning.count)
        self.train = prompts.read(study.training.prompts)
        self.here = loaded(study, scenario)
        for asked in (self.heldout, self.tuning, self.train):
            rollouts.encode(self.here.policy, [p.text for p in asked], study.new_tokens)

    def everything(self) -> None:
        self.evaluate(START, 0, self.folder / "start")
        if self.study.oracle is not None:
            self.oracle()
        rates = {label: self.tune(label) for label in self.study.estimators}
        store.write(rates, self.folder / "rates.json")
        for seed in range(self.study.seeds):
            for label, rate in rates.items():
                self.arm(label, seed, rate)

    def arm_of(self, label: str, rate: float) -> Arm:
        table, scenario = self.study.estimators[label], self.scenario
        kl = self.study.training.kl
        return Arm(table.name, table.options, scenario.m, scenario.N, rate, kl)

    def course(self, asked: list[Prompt], steps: int, key: tuple[int, ...]) -> Course:
        study, plan = self.study, self.study.training
        sizes = {"rows": study.rows, "train_rows": study.train_rows, "save_every": plan.save_every}
        return Course(asked, plan.batch, steps, study.new_tokens, study.seed, key=key, **sizes)

    def evaluate(self, label: str, seed: int, folder: Path) -> None:
        """Evaluate the policy as it is, unless that is done."""
        path = folder / "evaluation.parquet"
        plan = self.study.evaluation
        if path.exists():
            store.read(path, columns=["reward"])
            return self.after(plan.count * plan.rollouts, 0)
        self.told(f"{self.label}: {label}, evaluation")
        # the same uniform numbers for every arm and seed
        shape = (len(self.heldout), plan.rollouts, self.study.new_tokens)
        draws = rollouts.uniforms(self.study.seed, (EVALUATE,), shape)
        table = evaluation.evaluate(
            self.here.policy,
            self.heldout,
            draws,
            self.here.reward,
            rows=self.study.rows,
            after=self.after,
        )
        table.insert(0, "seed", seed)
        table.insert(0, "estimator", label)
        table.insert(0, "scenario", self.label)
        store.write(table, path)

    def arm(self, label: str, seed: int, rate: float) -> None:
        """Train one arm from the start, and evaluate it."""
        folder = self.folder / "arms" / slug(label, seed)
        course = self.course(self.train, self.study.training.steps, (TRAIN, seed))
        finished = folder / "steps.parquet"
        if finished.exists() and (folder / "evaluation.parquet").exists():
            self.after(course.steps * course.batch * self.scenario.m, 0)
            return self.evaluate(label, seed, folder)
        self.told(f"{self.label}: {label}, seed {seed}")
        log = self._trained(label, rate, course, folder, self.after)
        log = log.assign(scenario=self.label, estimator=label, seed=seed, rate=rate)
        store.write(log, finished)
        return self.evaluate(label, seed, folder)

    def _trained(
        self, label: str, rate: float, course: Course, folder: Path, after: After
    ) -> pd.DataFrame:
        self.here.restart()
        arm = self.arm_of(label, rate)
        return train.train(self.here.policy, arm, course, self.here.reward, folder, after)

    def tune(self, label: str) -> float:
        """Return the step size whose policy has the best best-of-N on the tuning prompts."""
        plan = self.study.tuning
        if not plan.choices:
            return plan.rates[0]
        scores = {}
        for rate in plan.choices:
            folder = self.folder / "tuning" / slug(label, rate)
            path = folder / "score.json"
            cost = self.study.training.batch * self.scenario.m * plan.steps
            if path.exists():
                scores[rate] = read_json(path)["value"]
                self.after(cost + plan.count * plan.rollouts, 0)
                continue
            self.told(f"{self.label}: {label}, tuning {rate:g}")
            course = self.course(self.tuning, plan.steps, (TUNE, 0))
            self._trained(label, rate, course, folder, self.after)
            draws = rollouts.uniforms(
                self.study.seed, (TUNE, 1), (plan.count, plan.rollouts, self.study.new_tokens)
            )
            table = evaluation.evaluate(
                self.here.policy,
                self.tuning,
                draws,
                self.here.reward,
                rows=self.study.rows,
                after=self.after,
            )
            scores[rate] = float(evaluation.best_of(evaluation.by_prompt(table), plan.N).mean())
            store.write({"rate": rate, "N": plan.N, "value": scores[rate]}, path)
            (folder / "state.pt").unlink()
        return max(scores, key=scores.__getitem__)

    def oracle(self) -> None:
        """Compare every arm's first gradient with the oracle's."""
        plan = self.study.oracle
        assert plan is not None
        path = self.folder / "oracle.parquet"
        batch_cost = plan.count * self.scenario.m
        if path.exists():
            return self.after(plan.count * plan.rollouts + plan.batches * batch_cost, 0)
        self.told(f"{self.label}: oracle gradient")
        self.here.restart()
        study, asked = self.study, self.train[: plan.count]
        common = {
            "reward": self.here.reward,
            "seed": study.seed,
            "new_tokens": study.new_tokens,
            "rows": (study.rows, study.train_rows),
        }
        halves = oracle.oracle(
            self.here.policy,
            asked,
            plan.rollouts,
            plan.N,
            folder=self.folder,
            after=self.after,
            **common,
        )
        # nothing is updated, so that no step size is needed
        arms = {label: self.arm_of(label, math.nan) for label in study.estimators}
        arms = {label: replace(arm, N=plan.N) for label, arm in arms.items()}
        tables = []
        for batch in range(plan.batches):
            part = self.folder / "oracle" / f"{batch}.parquet"
            fresh = not part.exists()
            if fresh:
                table = oracle.cosines(self.here.policy, arms, asked, halves, batch=batch, **common)
                store.write(table, part)
            tables.append(store.read(part))
            self.after(batch_cost, int(tables[-1]["tokens"].iloc[0]) if fresh else 0)
        table = pd.concat(tables, ignore_index=True)
        table = table.assign(scenario=self.label, reliability=oracle.reliability(halves))
        store.write(table, path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a tuning's score; ValueError with the cure if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to tune again") from None
