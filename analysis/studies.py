"""The committed summaries that the article and the guide read, each read at its first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from analysis.bandit import read
from analysis.batches import read as batches
from analysis.core.read import Results, load
from analysis.lm import exact as lm_exact, pools, training
from analysis.lm.exact_figures import Exact
from analysis.lm.pool_figures import Pools
from analysis.lm.training_figures import Training

SUMMARIES = Path("analysis/summaries")


@dataclass(frozen=True)
class Studies:
    """Summaries of the studies, each read at its first use.

    Attributes
    ----------
    folder : Path
        Holds one folder a study.
    """

    folder: Path = SUMMARIES

    @cached_property
    def grid(self) -> Results:
        """Single groups: every estimator on 18 laws, all m and N."""
        return load(self.folder / "paper")

    @cached_property
    def theory(self) -> Results:
        """Single groups: the theory's rates, to m = 1024."""
        return load(self.folder / "theory")

    @cached_property
    def league(self) -> Results:
        """Batches: every estimator on 53 laws."""
        return load(self.folder / "league")

    @cached_property
    def batches(self) -> batches.League:
        """Batches as they are in training: many laws, units and rules of grading."""
        return batches.load(self.folder / "batches")

    @cached_property
    def rollouts(self) -> Results:
        """Batches: error against m, for how many rollouts an estimator needs."""
        return load(self.folder / "rollouts")

    @cached_property
    def bandit(self) -> read.Study:
        """Softmax policies trained with each estimator's gradient."""
        return read.load(self.folder / "bandit")

    @cached_property
    def lm_pool(self) -> Pools:
        """Pools of a language model's rollouts, each taken as a law."""
        return pools.load(self.folder / "lm_pool")

    @cached_property
    def lm_exact(self) -> Exact:
        """A language model trained where every response is enumerated: values are sums."""
        return lm_exact.load(self.folder / "lm_exact")

    @cached_property
    def lm_training(self) -> Training:
        """The model trained on completions of some length: three runs an arm, one step size."""
        return training.load(self.folder / "lm_cpu")
