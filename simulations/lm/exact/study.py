"""The exact training study: each job a file of a folder, made once, so a killed run continues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from simulations.core.store import once, slug
from simulations.lm import models, prompts, rewards
from simulations.lm.exact import checks, law, mixed, pools, quality, train
from simulations.lm.exact.build import build
from simulations.lm.exact.plan import Run, folder_of, serving
from simulations.lm.exact.schema import EXACT, ExactStudy, Scenario
from simulations.lm.pools import sketch
from simulations.lm.prompts import Prompt
from simulations.lm.train import TRAIN, Arm, Course, put
from simulations.lm.tree import Array, Enumerated, Tree


class Study:
    """The jobs of a study; a policy and its trees are in memory, one scenario at a time."""

    def __init__(self, study: ExactStudy, out: Path):
        self.study, self.out = study, out
        self.loaded: Path | None = None
        self.checks: dict[str, dict[str, float]] = {}
        trees = study.trees
        self.trained = prompts.read(trees.prompts, trees.count)
        self.heldout = prompts.read(trees.heldout, trees.heldout_count)
        self.pooling = [x for x, table in study.estimators.items() if table.record().pools]

    def path(self, run: Run) -> Path:
        """Return the file of a training run."""
        scenario = self.study.scenarios[run.scenario]
        N = serving(self.study, scenario, run.label)
        name = f"{run.label}-{N}-{run.rate:g}-{run.seed}"
        if run.batch is not None:
            name += f"-batch-{run.batch}"
        return self.folder(run.scenario) / "arms" / f"{slug(name)}.parquet"

    def folder(self, label: str) -> Path:
        """Return the folder of a scenario; those that differ in N alone share it."""
        return self.out / "jobs" / folder_of(self.study, label)

    def load(self, label: str, doing: Callable[[str], None] = lambda text: None) -> None:
        """Load a scenario's policy, trees and rewards; those that are missing are made."""
        if self.folder(label) == self.loaded:
            return
        self.loaded = self.folder(label)
        scenario, adapter = self.study.scenarios[label], self.study.adapter
        doing(f"{label}: loading")
        self.policy = models.load(scenario.model, temperature=scenario.temperature)
        reward = rewards.load(scenario.reward, self.policy)
        models.adapt(self.policy, **adapter.model_dump(), seed=self.study.seed)
        self.model = Enumerated(self.policy, adapter.layers)
        self.weights = self.policy.trainable()
        self.start = [weight.detach().clone() for weight in self.weights]
        self.prompts = []
        for split, some in (("trained", self.trained), ("held out", self.heldout)):
            for prompt in some:
                doing(f"{label}: the tree of {prompt.id}")
                tree = self.tree(prompt, scenario)
                rated = self.rated(prompt, tree, scenario, reward)
                self.prompts.append(train.Rated(prompt.id, split, tree, rated))

    def tree(self, prompt: Prompt, scenario: Scenario) -> Tree:
        """Return the tree of a prompt; arms and rewards share it."""
        sizes, layers = self.study.trees.sizes, self.study.adapter.layers

        def grown() -> dict[str, Array]:
            tree = build(self.policy, prompt.text, sizes, layers)
            sets = {f"tokens_{depth}": tokens.numpy() for depth, tokens in enumerate(tree.sets)}
            return sets | {"entering": tree.entering.numpy(), "start": tree.start}

        arrays = once(self._of_model("trees", scenario, prompt.id), grown)
        sets = tuple(torch.from_numpy(arrays[f"tokens_{depth}"]) for depth in range(len(sizes)))
        entering, start = torch.from_numpy(arrays["entering"]), arrays["start"]
        prefixes = sum(len(tokens) for tokens in sets[1:])
        return Tree(prompt.text, len(entering) - prefixes, sets, entering, start)

    def rated(
        self, prompt: Prompt, tree: Tree, scenario: Scenario, reward: rewards.Reward
    ) -> Array:
        """Return the reward of every leaf; leaves with equal texts are rated once."""

        def judged() -> dict[str, Array]:
            texts = self.policy.tokenizer.batch_decode(tree.responses())
            opening = prompt.text if scenario.rated == "sentence" else ""
            distinct, place = np.unique([opening + text for text in texts], return_inverse=True)
            return {"rewards": reward([prompt.text] * len(distinct), distinct.tolist())[place]}

        assert self.loaded is not None
        return once(self.loaded / "rewards" / f"{slug(prompt.id)}.npz", judged)["rewards"]

    def files(self, label: str, prompt: Prompt) -> tuple[Path, Path, Path]:
        """Return the files of a prompt's tree, rewards and scores."""
        scenario = self.study.scenarios[label]
        return (
            self._of_model("trees", scenario, prompt.id),
            self.folder(label) / "rewards" / f"{slug(prompt.id)}.npz",
            self._of_model("scores", scenario, prompt.id),
        )

    def _of_model(self, kind: str, scenario: Scenario, prompt: str) -> Path:
        """Return a file that all rewards share."""
        name = slug(f"{scenario.model}-{scenario.temperature:g}")
        return self.out / "jobs" / kind / name / f"{slug(prompt)}.npz"

    def begin(self, label: str, doing: Callable[[str], None] = lambda text: None) -> None:
        """Write what holds before training: values, gradients' cosines, checks of exactness."""
        self.load(label, doing)
        folder = self.folder(label)
        doing(f"{label}: exact gradients")
        put(self.weights, self.start)
        once(folder / "start.parquet", self.values)
        once(folder / "gradients.parquet", self.cosines)
        checked = partial(checks.measure, self.policy, self.model, self.prompts[0])
        self.checks[label] = once(folder / "checks.json", checked)

    def values(self) -> pd.DataFrame:
        """Return exact values at the start, with spread, maximum and effective number of leaves."""
        table = train.evaluated(self.model, self.prompts, self.study.N)
        p = [np.exp(rated.tree.start) for rated in self.prompts]
        r = [rated.rewards for rated in self.prompts]
        spread = [float((q @ (x - q @ x) ** 2) ** 0.5) for q, x in zip(p, r, strict=True)]
        most = [float(x.max()) for x in r]
        return table.assign(sd=spread, most=most, effective=np.exp(table["entropy"]))

    def cosines(self) -> pd.DataFrame:
        """Return norms of exact gradients and their cosines with that of the mean."""
        budgets = [1, *(N for N in self.study.N if N > 1)]
        of_prompts = {r.id: train.gradients(self.model, r, budgets) for r in self.prompts}
        for split in ("trained", "held out"):
            ids = [rated.id for rated in self.prompts if rated.split == split]
            of_prompts[split] = np.mean([of_prompts[name] for name in ids], axis=0)
        rows = []
        for name, g in of_prompts.items():
            norm = np.linalg.norm(g, axis=1)
            cosine = g @ g[0] / (norm * norm[0])
            rows += [
                {"prompt": name, "N": N, "norm": norm[j], "cosine": cosine[j]}
                for j, N in enumerate(budgets)
            ]
        return pd.DataFrame(rows)

    def laws(self, label: str, kind: str) -> list[Path]:
        """Return the files of what is measured before training on the first prompts.

        `kind` is "quality", the estimators' moments, or "pools", what pools say of them.
        """
        study = self.study
        count = {"quality": study.quality.count, "pools": study.pools.count}[kind]
        some = self.trained[:count]
        return [self.folder(label) / kind / f"{slug(x.id)}.parquet" for x in some]

    def law(self, label: str, place: int) -> law.Leaves:
        """Return the law of a prompt, with the scores of its leaves; rewards share the scores."""
        self.load(label)
        scenario, plan, seed = self.study.scenarios[label], self.study.quality, self.study.seed
        rated = self.prompts[place]

        def scored() -> dict[str, Array]:
            put(self.weights, self.start)
            along = law.directions(self.model, plan.directions, seed)
            tokens = [self.policy.tokenizer(one.tree.prompt)["input_ids"] for one in self.prompts]
            head = sketch.choose(self.policy, tokens, plan.core, seed)
            adapter = law.adapter_scores(self.model, rated.tree, along)
            return {"adapter": adapter, "head": law.head_scores(self.model, rated.tree, head)}

        scores = once(self._of_model("scores", scenario, rated.id), scored)
        vectors = np.concatenate([scores["adapter"], scores["head"]], axis=1)
        return law.Leaves(rated.rewards, rated.tree.start, vectors)

    def measured(self, label: str, place: int, kind: str) -> pd.DataFrame:
        """Return a table of `laws`: estimators on the law of a prompt, or pools drawn from it."""
        leaves, seed, estimators = self.law(label, place), self.study.seed, self.study.estimators
        if kind == "pools":
            return pools.measured(self.study.pools, leaves, estimators, seed)
        return quality.measured(self.study.quality, leaves, estimators, seed)

    def mixed_path(self, label: str) -> Path:
        """Return the file of what estimators that pool do in batches of all prompts."""
        return self.folder(label) / "quality" / "mixed.parquet"

    def mixed(self, label: str) -> pd.DataFrame:
        """Return the table of `mixed_path`, in batches as in training and as in `quality`."""
        study = self.study
        laws = [self.law(label, place) for place in range(study.quality.count)]
        groups = (study.training.batch, quality.BATCH)
        return mixed.measured(study.quality, laws, study.estimators, groups, study.seed)

    def curve(self, run: Run) -> pd.DataFrame:
        """Train one arm from the start; return its exact evaluations along the way."""
        self.load(run.scenario)
        scenario, training = self.study.scenarios[run.scenario], self.study.training
        depth, key = len(self.study.trees.sizes), (TRAIN, run.seed)
        batch = run.batch or training.batch
        steps = training.batch * training.steps // batch
        evaluate = training.evaluate if batch == training.batch else (steps,)
        course = Course(self.trained, batch, steps, depth, self.study.seed, key, 1, 1)
        put(self.weights, self.start)
        # Adam's own steps do not shrink with the gradient's noise: the root rule
        arm = replace(self.built(run, scenario), rate=run.rate * (batch / training.batch) ** 0.5)
        return train.train(self.model, self.prompts, arm, course, self.study.N, evaluate)

    def built(self, run: Run, scenario: Scenario) -> Arm | train.Exact:
        """Return what a training run follows."""
        if run.label in EXACT:
            return train.Exact(EXACT[run.label] or scenario.N, run.rate)
        table = self.study.estimators[run.label]
        return Arm(table.name, table.options, scenario.m, scenario.N, run.rate)
