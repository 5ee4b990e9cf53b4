"""The configuration of the recipe: checked as a whole before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from simulations.core import store
from simulations.core.schema import EstimatorTable, Table, undefined

#: the arm that is not trained
START = "start"
Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
#: keys that change neither rollouts nor weights: expectations, addresses, how memory is shared
ASIDE = {
    "policies": ("mean_tokens",),
    "prompts": ("mean_tokens",),
    "rewards": ("urls", "batch", "timeout_s", "retries", "micro_tokens"),
    "backend": ("vllm_share", "vllm_share_alone"),
    "training": ("save_every",),
}
#: built from its architecture with random weights, for tests
RANDOM = "random"


class Model(Table):
    """A model: where it comes from, and the sizes that memory and arithmetic follow from.

    The sizes are those of its config.json: vocabulary is vocab_size, width hidden_size, layers
    num_hidden_layers, heads num_attention_heads, kv_heads num_key_value_heads, head_size head_dim,
    inner intermediate_size, tied tie_word_embeddings. Loading checks them.
    """

    source: str = Field(description="Hub name, folder, or 'random'.")
    kind: Literal["llama", "qwen3"]
    vocabulary: Count
    width: Count
    layers: Count
    heads: Count
    kv_heads: Count
    head_size: Count
    inner: Count
    tied: bool = False


class Policy(Model):
    """One `[policies."LABEL"]`: a causal language model, and how it is trained.

    `lora_rank` is 0 where every weight is trained. `micro_batch` rollouts go through the model at
    a time. `mean_tokens` of an answer are an expectation, for the plan.
    """

    lora_rank: int = Field(0, ge=0)
    rate: Positive
    micro_batch: Count
    mean_tokens: Positive


class Reward(Model):
    """One `[rewards."LABEL"]`: a sequence classifier with one output, and where it is served.

    A request has `batch` conversations; one that fails is tried `retries` more times. The server
    computes `micro_tokens` at a time, and refuses a conversation of more than `longest` tokens.
    """

    urls: tuple[str, ...] = Field(min_length=1)
    batch: Count = 64
    timeout_s: Positive = 600.0
    retries: int = Field(5, ge=0)
    micro_tokens: Count = 16384
    longest: Count = 4096


class Prompts(Table):
    """One `[prompts."LABEL"]`: a data set of the Hub, or without `source` files of JSON lines.

    `train` and `heldout` are its splits, or the files (as in simulations/prompts). `form` of the
    column: "text", or "dialogue" where a transcript's last answer is to be left out.
    """

    source: str | None = None
    folder: str | None = None
    train: str
    heldout: str
    column: str = "prompt"
    form: Literal["text", "dialogue"] = "text"
    longest_bytes: Count = Field(2048, description="Longer prompts are left out, UTF-8.")
    mean_tokens: Positive = Field(150, description="An expectation, for the plan.")


class Scenario(Table):
    """One `[scenarios."LABEL"]`: every arm is trained in it, for each m and N."""

    policy: str
    prompts: str
    reward: str
    m: tuple[Annotated[int, Field(ge=2)], ...] = Field(min_length=1)
    N: tuple[Annotated[int, Field(ge=2)], ...] = Field(min_length=1)


class Backend(Table):
    """What generates and trains: vLLM on a card, or transformers anywhere."""

    generation: Literal["vllm", "transformers"] = "vllm"
    device: str = "cuda"
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    vllm_share: Share = Field(0.4, description="Of a card's memory, for vLLM while training.")
    vllm_share_alone: Share = Field(0.85, description="The same, in the evaluation.")


class Training(Table):
    """Equal for all arms."""

    prompts: Count = Field(2048, description="Prompts to draw batches from.")
    batch: Count = Field(32, description="Prompts a step; each has m rollouts.")
    steps: Count = 100
    new_tokens: Count = 512
    temperature: Positive = 1.0
    kl: float = Field(0.0, ge=0.0)
    clip_norm: Positive = 1.0
    unit_rms: bool = Field(True, description="Steps of one length, whatever the reward's unit.")
    save_every: Count = 20


class Evaluation(Table):
    """Held-out rollouts before and after: best-of-N from `rollouts`, KL from the first `kl`."""

    prompts: int = Field(128, ge=2)
    rollouts: int = Field(1024, ge=2)
    kl: Count = 16
    prompts_at_a_time: Count = 16
    resamples: int = Field(2000, ge=100)
    against: str = Field(description="The arm that differences are taken from.")


class Card(Table):
    """`[card]`: one accelerator as the plan sees it; the shares are of its peak numbers."""

    name: str
    memory_GB: Positive
    bf16_TFLOPs: Positive
    bandwidth_TBs: Positive
    training_share: Share
    reading_share: Share
    decoding_share: Share
    decoding_ms: float = Field(0.0, ge=0.0, description="Of a decoding step, beside its reading.")
    reserve_GB: float = Field(ge=0.0)


class Published(Table):
    """One `[[published]]`: a difference that a paper reports, drawn beside ours."""

    estimator: str
    against: str
    N: int
    m: int | None = None
    difference: float
    source: str


@dataclass(frozen=True)
class Run:
    """A training run: one arm in one scenario.

    `N` are the budgets it serves: several where the arm's advantages do not differ between them;
    training is given the first. `seed` counts the runs of an arm.
    """

    scenario: str
    m: int
    arm: str
    N: tuple[int, ...]
    seed: int

    @property
    def name(self) -> str:
        """The run's name on command lines, such as "S/m16/TEA/N128/seed0"."""
        budgets = "+".join(map(str, self.N))
        return f"{self.scenario}/m{self.m}/{self.arm}/N{budgets}/seed{self.seed}"


class Recipe(Table):
    """The whole file."""

    seed: int = Field(ge=0)
    seeds: Count = 3
    policies: dict[str, Policy] = Field(min_length=1)
    rewards: dict[str, Reward] = Field(min_length=1)
    prompts: dict[str, Prompts] = Field(min_length=1)
    scenarios: dict[str, Scenario] = Field(min_length=1)
    backend: Backend = Backend()
    training: Training = Training()
    evaluation: Evaluation
    card: Card
    published: tuple[Published, ...] = ()
    estimators: dict[str, EstimatorTable] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if START in self.estimators:
            raise ValueError(f"estimators has the label {START!r}, which is the untrained arm's")
        if self.evaluation.against not in self.estimators:
            raise ValueError(
                f"evaluation.against is {self.evaluation.against!r}, which is not an arm; give one "
                f"of {', '.join(self.estimators)}"
            )
        if self.evaluation.kl > self.evaluation.rollouts:
            raise ValueError(
                f"evaluation has kl = {self.evaluation.kl} and rollouts = "
                f"{self.evaluation.rollouts}; the first kl rollouts are used: give fewer"
            )
        if self.training.prompts < self.training.batch:
            raise ValueError(
                f"training has prompts = {self.training.prompts} and batch = "
                f"{self.training.batch}; a batch draws different prompts: give more of them"
            )
        for label, scenario in self.scenarios.items():
            self._check_scenario(f'scenarios."{label}"', scenario)
        return self

    def _check_scenario(self, where: str, scenario: Scenario) -> None:
        tables = {"policy": self.policies, "reward": self.rewards, "prompts": self.prompts}
        for key, table in tables.items():
            name = getattr(scenario, key)
            if name not in table:
                raise ValueError(
                    f"{where}: {key} is {name!r}, which is unknown; give one of {', '.join(table)}"
                )
        if max(scenario.N) > self.evaluation.rollouts:
            raise ValueError(
                f"{where}: N has {max(scenario.N)} and evaluation.rollouts is "
                f"{self.evaluation.rollouts}; best-of-N needs at least N rollouts a prompt"
            )
        for name in ("m", "N"):
            if len(set(getattr(scenario, name))) < len(getattr(scenario, name)):
                raise ValueError(f"{where}: {name} has a value twice; give each once")
        micro = self.policies[scenario.policy].micro_batch
        for m in scenario.m:
            if (self.training.batch * m) % micro:
                raise ValueError(
                    f"{where}: {self.training.batch} prompts of {m} rollouts do not divide into "
                    f"micro-batches of {micro}; give another training.batch or micro_batch"
                )
            for arm, table in self.estimators.items():
                if table.m is not None and m not in table.m:
                    continue
                if reason := undefined(table, m, scenario.N):
                    raise ValueError(f'estimators."{arm}" in {where}: {reason}')

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All training runs, an arm that is the same for several N only once."""
        return tuple(self._runs())

    def _runs(self) -> Iterator[Run]:
        for label, scenario in self.scenarios.items():
            for m in scenario.m:
                for arm, table in self.estimators.items():
                    if table.m is None or m in table.m:
                        for N in same_advantages(table, m, scenario.N):
                            for seed in range(self.seeds):
                                yield Run(label, m, arm, N, seed)

    def scenario(self, run: Run) -> Scenario:
        """Return the scenario of a run."""
        return self.scenarios[run.scenario]

    def policy(self, run: Run) -> Policy:
        """Return the policy of a run."""
        return self.policies[self.scenario(run).policy]

    def reward(self, run: Run) -> Reward:
        """Return the reward model of a run."""
        return self.rewards[self.scenario(run).reward]

    @property
    def content(self) -> dict[str, Any]:
        """What the manifest has: all but what may change while a study runs (`ASIDE`)."""
        content = self.model_dump(mode="json", exclude={"card"})
        for name, keys in ASIDE.items():
            tables = [content[name]] if name in ("backend", "training") else content[name].values()
            for table in tables:
                for key in keys:
                    del table[key]
        return content

    @property
    def identity(self) -> str:
        """A hash of what a run's results depend on: not more seeds, or what others published."""
        aside = ("seeds", "published")
        return store.digest({x: y for x, y in self.content.items() if x not in aside})


def same_advantages(
    table: EstimatorTable, m: int, budgets: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Return the budgets in groups for which an estimator's advantages are the same.

    Examples
    --------
    >>> same_advantages(EstimatorTable(name="grpo"), 8, (32, 64))
    [(32, 64)]
    >>> same_advantages(EstimatorTable(name="tea"), 8, (32, 64))
    [(32,), (64,)]
    """
    estimator = table.record()
    if not estimator.uses_N:
        return [budgets]
    # max@k uses N, but is max@m for every N above m
    rewards = np.random.default_rng(0).normal(size=(16, m))
    groups: dict[bytes, tuple[int, ...]] = {}
    for N in budgets:
        key = estimator.advantages(rewards, N).tobytes()
        groups[key] = (*groups.get(key, ()), N)
    return list(groups.values())
