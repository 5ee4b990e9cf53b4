"""The training study: each job a file of a folder, made once, so that a killed run continues."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from simulations.core import store
from simulations.core.progress import Account
from simulations.core.store import once
from simulations.lm import engine, evaluation, models, oracle, prompts, rewards, train
from simulations.lm.prompts import Prompt
from simulations.lm.schema import START, Oracle, Scenario, Study
from simulations.lm.train import EVALUATE, ORACLE, TRAIN, TUNE, Arm, Course


def slug(*names: object) -> str:
    """Return a folder name; different names stay different by a short hash.

    Examples
    --------
    >>> slug("TEA .25", 0)
    'TEA-.25-0-9c2e'
    """
    return store.slug("-".join(map(str, names)))


@dataclass(frozen=True)
class Draws:
    """A part of a study: so many times, n rollouts of each of some prompts."""

    times: int
    prompts: int
    n: int

    @property
    def rollouts(self) -> int:
        """All of them."""
        return self.times * self.prompts * self.n

    def calls(self, rows: int) -> int:
        """Return how often `engine.sample` decodes, with so many rollouts side by side."""
        together = max(1, rows // self.n)
        return self.times * math.ceil(self.prompts / together) * math.ceil(self.n / rows)


def parts(study: Study) -> list[Draws]:
    """Return what a study draws: evaluation, tuning, training and the oracle of each scenario."""
    arms, plan, tuning = len(study.estimators), study.training, study.tuning
    runs, tried = arms * study.seeds, arms * len(tuning.choices)
    drawn = []
    for scenario in study.scenarios.values():
        m = scenario.m
        drawn += [
            Draws(1 + runs, study.evaluation.count, study.evaluation.rollouts),
            Draws(runs * plan.steps + tried * tuning.steps, plan.batch, m),
            Draws(tried, tuning.count, tuning.rollouts),
        ]
        if (oracle := study.oracle) is not None:
            drawn.append(Draws(oracle.count, 1, oracle.rollouts))
            drawn.append(Draws(oracle.batches, oracle.count, m))
    return drawn


def work(study: Study) -> int:
    """Return the rollouts of the whole study, as the progress bar counts them."""
    return sum(part.rollouts for part in parts(study))


def steps(study: Study) -> int:
    """Return its decode steps: one after the other, each draws a token for up to `rows` rollouts.

    On a card whose rows are filled, their number is what the time goes with.
    """
    return study.new_tokens * sum(part.calls(study.rows) for part in parts(study))


def run(study: Study, out: Path, account: Account) -> None:
    """Run what `out` lacks of a study; whatever is finished in it is kept."""
    with models.precision(study.tf32):
        _run(study, out, account)


def _run(study: Study, out: Path, account: Account) -> None:
    for label, scenario in study.scenarios.items():
        account.doing(f"{label}: loading")
        jobs = _Jobs(study, label, scenario, out / "jobs" / slug(label), account)
        jobs.evaluate_start()
        if study.oracle is not None:
            jobs.oracle(study.oracle)
        rates = {arm: jobs.tune(arm) for arm in study.estimators}
        store.write(rates, jobs.folder / "rates.json")
        for seed in range(study.seeds):
            for arm, rate in rates.items():
                jobs.arm(arm, seed, rate)


class _Jobs:
    """The jobs of one scenario; its policy and reward are in memory, and train in turns."""

    def __init__(
        self, study: Study, label: str, scenario: Scenario, folder: Path, account: Account
    ):
        self.study, self.label, self.scenario = study, label, scenario
        self.folder, self.account = folder, account
        # a further training run of each arm is a job of its own
        self.identity = store.digest(study.model_dump(mode="json", exclude={"seeds"}))
        record = rewards.REWARDS.get(scenario.reward)
        if record is not None and not record.trainable:
            raise ValueError(
                f"reward is {scenario.reward!r}, which is to be measured only; give another"
            )
        self.heldout = prompts.read(study.evaluation.prompts, study.evaluation.count)
        self.tuning = prompts.read(study.tuning.prompts, study.tuning.count)
        self.train = prompts.read(study.training.prompts)
        self.policy = models.load(
            scenario.model,
            temperature=scenario.temperature,
            device=study.device,
            dtype=study.dtype,
        )
        self.reward = rewards.load(scenario.reward, self.policy)
        if study.adapter.rank:
            models.adapt(self.policy, **study.adapter.model_dump(), seed=study.seed)
        else:
            models.unfreeze(self.policy)
        #: the weights that every arm starts from
        self.start = [weight.detach().clone() for weight in self.policy.trainable()]
        # a prompt that is too long is refused before anything is trained
        self.policy.encode(
            [p.text for p in (*self.heldout, *self.tuning, *self.train)], study.new_tokens
        )

    def mark(self, *names: object) -> dict[str, str]:
        """Return the mark of a job's files: without it another arm's could take their place."""
        return {"job": store.digest([self.identity, self.label, *names])}

    def evaluate_start(self) -> None:
        plan = self.study.evaluation
        once(
            self.folder / "start" / "evaluation.parquet",
            lambda: self.evaluated(START, 0),
            skipped=lambda: self.account.kept(plan.count * plan.rollouts),
            **self.mark(START, "evaluation"),
        )

    def evaluated(self, label: str, seed: int) -> pd.DataFrame:
        """Evaluate the policy as it is, with the same uniform numbers for every arm and seed."""
        self.account.doing(f"{self.label}: {label}, evaluation")
        table = self.judged(self.heldout, self.study.evaluation.rollouts, (EVALUATE,))
        table.insert(0, "seed", seed)
        table.insert(0, "estimator", label)
        table.insert(0, "scenario", self.label)
        return table

    def judged(self, on: list[Prompt], rollouts: int, key: tuple[int, ...]) -> pd.DataFrame:
        draws = engine.uniforms(self.study.seed, key, (len(on), rollouts, self.study.new_tokens))
        return evaluation.evaluate(
            self.policy, on, draws, self.reward, rows=self.study.rows, after=self.account.after
        )

    def arm(self, label: str, seed: int, rate: float) -> None:
        """Train one arm from the start, and evaluate it."""
        folder = self.folder / "arms" / slug(label, seed)
        log, judged = folder / "steps.parquet", folder / "evaluation.parquet"
        plan, held_out = self.study.training, self.study.evaluation
        logs, judges = self.mark(label, seed, "steps"), self.mark(label, seed, "evaluation")
        if store.kept(log, **logs) is not None and store.kept(judged, **judges) is not None:
            trained = plan.batch * self.scenario.m * plan.steps
            return self.account.kept(trained + held_out.count * held_out.rollouts)
        self.account.doing(f"{self.label}: {label}, seed {seed}")
        course = self.course(self.train, plan.batch, plan.steps, TRAIN, seed)
        steps = self.trained(label, rate, course, folder)
        steps = steps.assign(scenario=self.label, estimator=label, seed=seed, rate=rate)
        store.write(steps, log, **logs)
        return store.write(self.evaluated(label, seed), judged, **judges)

    def course(self, on: list[Prompt], batch: int, steps: int, *key: int) -> Course:
        study = self.study
        sizes = (study.rows, study.train_rows, study.training.save_every)
        return Course(on, batch, steps, study.new_tokens, study.seed, key, *sizes)

    def trained(self, label: str, rate: float, course: Course, folder: Path) -> pd.DataFrame:
        """Train the policy from the start, or from the folder's checkpoint; return the log."""
        train.put(self.policy.trainable(), self.start)
        arm = self.arm_of(label, self.scenario.N, rate)
        return train.train(self.policy, arm, course, self.reward, folder, self.account.after)

    def arm_of(self, label: str, N: int, rate: float = math.nan) -> Arm:
        table = self.study.estimators[label]
        kl = self.study.training.kl
        return Arm(table.name, table.options, self.scenario.m, N, rate, kl)

    def tune(self, label: str) -> float:
        """Return the step size whose policy has the best best-of-N on the tuning prompts."""
        plan = self.study.tuning
        if not plan.choices:
            return plan.rates[0]
        trained = self.study.training.batch * self.scenario.m * plan.steps
        cost = trained + plan.count * plan.rollouts
        scores = {}
        for rate in plan.choices:
            folder = self.folder / "tuning" / slug(label, rate)
            scores[rate] = once(
                folder / "score.json",
                partial(self.score, label, rate, folder),
                skipped=lambda: self.account.kept(cost),
                **self.mark(label, "tuning", rate),
            )["value"]
            (folder / "state.pt").unlink(missing_ok=True)
        return max(scores, key=scores.__getitem__)

    def score(self, label: str, rate: float, folder: Path) -> dict[str, float]:
        """Train an arm for a few steps of one size, and evaluate it on the tuning prompts."""
        plan = self.study.tuning
        self.account.doing(f"{self.label}: {label}, tuning {rate:g}")
        course = self.course(self.tuning, self.study.training.batch, plan.steps, TUNE, 0)
        self.trained(label, rate, course, folder)
        table = self.judged(self.tuning, plan.rollouts, (TUNE, 1))
        value = evaluation.best_of(evaluation.by_prompt(table), plan.N).mean()
        return {"rate": rate, "N": plan.N, "value": float(value)}

    def oracle(self, plan: Oracle) -> None:
        """Compare every arm's first gradient with the oracle's."""
        cost = plan.count * (plan.rollouts + plan.batches * self.scenario.m)
        once(
            self.folder / "oracle.parquet",
            partial(self.cosines, plan),
            skipped=lambda: self.account.kept(cost),
            **self.mark("oracle"),
        )

    def cosines(self, plan: Oracle) -> pd.DataFrame:
        self.account.doing(f"{self.label}: oracle gradient")
        train.put(self.policy.trainable(), self.start)
        course = self.course(self.train[: plan.count], plan.count, 1, ORACLE)
        halves, mean = oracle.oracle(
            self.policy,
            course,
            plan.rollouts,
            plan.N,
            self.reward,
            self.folder,
            self.account.after,
        )
        arms = {label: self.arm_of(label, plan.N) for label in self.study.estimators}
        cost = plan.count * self.scenario.m
        tables = []
        for batch in range(plan.batches):

            def compare(batch: int = batch) -> pd.DataFrame:
                table = oracle.cosines(self.policy, course, arms, halves, self.reward, batch)
                self.account.done(cost, int(table["tokens"].iloc[0]))
                return table

            part = self.folder / "oracle" / f"{batch}.parquet"
            mark = self.mark("oracle", batch)
            tables.append(once(part, compare, skipped=lambda: self.account.kept(cost), **mark))
        table = pd.concat(tables, ignore_index=True)
        return table.assign(
            scenario=self.label,
            reliability=oracle.reliability(halves),
            mean_reliability=oracle.reliability(mean),
            mean_cosine=oracle.cosine(halves, mean),
        )
