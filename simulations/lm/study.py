"""The training study: each job a file of a folder, made once, so that a killed run continues."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd

from simulations.core import store
from simulations.core.progress import Account
from simulations.core.store import once
from simulations.lm import engine, evaluation, models, oracle, prompts, rewards, train
from simulations.lm.prompts import Prompt
from simulations.lm.schema import START, Scenario, Study
from simulations.lm.train import EVALUATE, TRAIN, TUNE, Arm, Course


def slug(*names: object) -> str:
    """Return a folder name; different names stay different by a short hash.

    Examples
    --------
    >>> slug("TEA .25", 0)
    'TEA-.25-0-9c2e'
    """
    return store.slug("-".join(map(str, names)))


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


def run(study: Study, out: Path, account: Account) -> None:
    """Run what `out` lacks of a study; whatever is finished in it is kept."""
    for label, scenario in study.scenarios.items():
        account.doing(f"{label}: loading")
        jobs = _Jobs(study, label, scenario, out / "jobs" / slug(label), account)
        jobs.evaluate_start()
        if study.oracle is not None:
            jobs.oracle()
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

    def evaluate_start(self) -> None:
        plan = self.study.evaluation
        once(
            self.folder / "start" / "evaluation.parquet",
            lambda: self.evaluated(START, 0),
            skipped=lambda: self.account.kept(plan.count * plan.rollouts),
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
        if store.kept(log) is not None and store.kept(judged) is not None:
            trained = plan.batch * self.scenario.m * plan.steps
            return self.account.kept(trained + held_out.count * held_out.rollouts)
        self.account.doing(f"{self.label}: {label}, seed {seed}")
        steps = self.trained(label, rate, self.train, plan.steps, (TRAIN, seed), folder)
        store.write(steps.assign(scenario=self.label, estimator=label, seed=seed, rate=rate), log)
        return store.write(self.evaluated(label, seed), judged)

    def trained(
        self,
        label: str,
        rate: float,
        on: list[Prompt],
        steps: int,
        key: tuple[int, ...],
        folder: Path,
    ) -> pd.DataFrame:
        """Train the policy from the start, or from the folder's checkpoint; return the log."""
        study, plan = self.study, self.study.training
        course = Course(
            on,
            plan.batch,
            steps,
            study.new_tokens,
            study.seed,
            key=key,
            rows=study.rows,
            train_rows=study.train_rows,
            save_every=plan.save_every,
        )
        train.put(self.policy.trainable(), self.start)
        arm = self.arm_of(label, rate)
        return train.train(self.policy, arm, course, self.reward, folder, self.account.after)

    def arm_of(self, label: str, rate: float) -> Arm:
        table, scenario = self.study.estimators[label], self.scenario
        kl = self.study.training.kl
        return Arm(table.name, table.options, scenario.m, scenario.N, rate, kl)

    def tune(self, label: str) -> float:
        """Return the step size whose policy has the best best-of-N on the tuning prompts."""
        plan = self.study.tuning
        cost = self.study.training.batch * self.scenario.m * plan.steps
        cost += plan.count * plan.rollouts
        scores = {}
        for rate in plan.choices:
            folder = self.folder / "tuning" / slug(label, rate)

            def score(rate: float = rate, folder: Path = folder) -> dict[str, float]:
                self.account.doing(f"{self.label}: {label}, tuning {rate:g}")
                self.trained(label, rate, self.tuning, plan.steps, (TUNE, 0), folder)
                table = self.judged(self.tuning, plan.rollouts, (TUNE, 1))
                value = evaluation.best_of(evaluation.by_prompt(table), plan.N).mean()
                return {"rate": rate, "N": plan.N, "value": float(value)}

            path = folder / "score.json"
            scores[rate] = once(path, score, skipped=lambda: self.account.kept(cost))["value"]
            (folder / "state.pt").unlink(missing_ok=True)
        return max(scores, key=scores.__getitem__) if scores else plan.rates[0]

    def oracle(self) -> None:
        """Compare every arm's first gradient with the oracle's."""
        plan = self.study.oracle
        assert plan is not None
        batch_cost = plan.count * self.scenario.m
        once(
            self.folder / "oracle.parquet",
            self.cosines,
            skipped=lambda: self.account.kept(
                plan.count * plan.rollouts + plan.batches * batch_cost
            ),
        )

    def cosines(self) -> pd.DataFrame:
        study, plan = self.study, self.study.oracle
        assert plan is not None
        self.account.doing(f"{self.label}: oracle gradient")
        train.put(self.policy.trainable(), self.start)
        on = self.train[: plan.count]
        common = {
            "reward": self.reward,
            "seed": study.seed,
            "new_tokens": study.new_tokens,
            "rows": (study.rows, study.train_rows),
        }
        halves = oracle.oracle(
            self.policy,
            on,
            plan.rollouts,
            plan.N,
            folder=self.folder,
            after=self.account.after,
            **common,
        )
        # nothing is updated, so no step size is needed
        arms = {
            label: replace(self.arm_of(label, math.nan), N=plan.N) for label in study.estimators
        }
        cost = plan.count * self.scenario.m
        tables = []
        for batch in range(plan.batches):

            def compare(batch: int = batch) -> pd.DataFrame:
                table = oracle.cosines(self.policy, arms, on, halves, batch=batch, **common)
                self.account.done(cost, int(table["tokens"].iloc[0]))
                return table

            part = self.folder / "oracle" / f"{batch}.parquet"
            tables.append(once(part, compare, skipped=lambda: self.account.kept(cost)))
        table = pd.concat(tables, ignore_index=True)
        return table.assign(scenario=self.label, reliability=oracle.reliability(halves))
