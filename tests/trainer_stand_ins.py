"""A batch as trainers have it, and stand-ins for trainers that are not installed.

Where a trainer is installed the tests use it instead of a stand-in.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from tea_stats import torch_bridge


def have(module):
    """Return whether a module is installed, not only a package of the same name."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


HAVE_VERL = have("verl")
HAVE_SKYRL = have("skyrl")
HAVE_PRIME_RL = have("prime_rl.orchestrator.algo.base")
HAVE_NEMO_RL = have("nemo_rl.algorithms.grpo")
HAVE_ROLL = have("roll.utils.functionals")
HAVE_RLLM = have("rllm.trainer.algorithms.advantage")
HAVE_TINKER = have("tinker_cookbook.rl.train")
HAVE_SWIFT = have("swift.rl_core.advantage")
HAVE_OPENRLHF = have("openrlhf.trainer.ppo_utils.experience_maker")

VERL = "verl.trainer.ppo.core_algos"
SKYRL = "skyrl.backends.skyrl_train.utils.ppo_utils"
RLLM = "rllm.trainer.algorithms.advantage"


# --- a batch -----------------------------------------------------------------------------------

#: three prompts, their rollouts mixed, in groups of five, four and one
GROUPS = ["b", "a", "a", "b", "c", "b", "a", "b", "b", "a"]
REWARDS = torch.tensor([0.5, 1.0, -2.0, 3.0, 7.0, 0.0, 1.5, 2.5, -1.0, 4.0], dtype=torch.float64)


def by_hand(name, N=32, rewards=REWARDS, **options):
    """Return the advantages of REWARDS, 0 for the single rollout.

    One group at a time; auto TEA's groups learn from each other, whatever their sizes.
    """
    advantages = torch.zeros(len(GROUPS), dtype=torch.float64)
    places = [[i for i, group in enumerate(GROUPS) if group == label] for label in "ab"]
    if name == "auto_tea":
        exists = torch.tensor([[True] * 4 + [False], [True] * 5])
        table = torch.full((2, 5), torch.nan, dtype=torch.float64)
        table[exists] = rewards[places[0] + places[1]].double()
        found = torch_bridge.advantages(name, table, N, mask=exists, **options)
        advantages[places[0] + places[1]] = found[exists]
        return advantages
    for rows in places:
        advantages[rows] = torch_bridge.advantages(name, rewards[rows], N, **options)
    return advantages


#: token-level rewards and masks of ten responses of up to four tokens
MASK = (torch.arange(4) < torch.tensor([4, 1, 2, 3, 4, 2, 3, 1, 4, 2])[:, None]).float()
TOKENS = torch.zeros(10, 4).scatter_(
    1, (MASK.sum(1, keepdim=True) - 1).long(), REWARDS[:, None].float()
)


# --- stand-ins ---------------------------------------------------------------------------------


def install(monkeypatch, name, **contents):
    """Put a module of this dotted name, and the packages above it, into `sys.modules`."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        module = ModuleType(".".join(parts[:depth]))
        module.__path__ = []  # a package without files: nothing is found below it
        monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(module).update(contents)
    return module


@dataclass
class AlgoConfig(Mapping):
    """Part of verl's section `algorithm`: fields by name, and no others."""

    adv_estimator: str = "gae"

    def __getitem__(self, key):
        return getattr(self, key)

    def __iter__(self):
        return iter(vars(self))

    def __len__(self):
        return len(vars(self))


def verl(monkeypatch):
    """Stand in for verl 0.9.1: a name can be taken once; grpo and rloo are verl's own."""
    registry: dict[str, Any] = {"grpo": object(), "rloo": object()}

    def register_adv_est(name):
        def decorator(function):
            if registry.get(name, function) != function:
                raise ValueError(f"Adv estimator {name} has already been registered")
            registry[name] = function
            return function

        return decorator

    install(monkeypatch, "verl.trainer.config", AlgoConfig=AlgoConfig)
    return install(
        monkeypatch, VERL, ADV_ESTIMATOR_REGISTRY=registry, register_adv_est=register_adv_est
    )


def skyrl(monkeypatch):
    """Stand in for the registry of SkyRL 0.3.0, and for the call it makes."""
    registry: dict[str, Any] = {}

    def compute(token_level_rewards, response_mask, index, adv_estimator, config, **rest):
        more = {"values": None, "grpo_norm_by_std": True, "gamma": 1.0, "lambd": 1.0, **rest}
        return registry[adv_estimator](
            token_level_rewards=token_level_rewards,
            response_mask=response_mask,
            index=index,
            config=config,
            **more,
        )

    return install(
        monkeypatch,
        SKYRL,
        register_advantage_estimator=lambda name: lambda f: registry.setdefault(name, f),
        compute_advantages_and_returns=compute,
    )


# --- of which there is a part -------------------------------------------------------------------


def traces(rewards, agents=None):
    """Return prime-rl's episodes, one trace of three sampled tokens in each."""
    agents = ["agent"] * len(rewards) if agents is None else agents

    def trace(number, reward, agent):
        nodes = [
            SimpleNamespace(mask=[False, False], token_ids=[1, 2], advantages=None),
            SimpleNamespace(
                mask=[True, False, True, True], token_ids=[3, 4, 5, 6], advantages=None
            ),
        ]
        return SimpleNamespace(
            id=str(number),
            has_error=reward is None,
            agent=SimpleNamespace(name=agent, trainable=agent != "frozen"),
            nodes=nodes,
            reward=reward,
        )

    numbered = enumerate(zip(rewards, agents, strict=True))
    return [SimpleNamespace(traces=[trace(i, r, agent)]) for i, (r, agent) in numbered]


def credit(episodes):
    """Return the one advantage at all sampled tokens of each trace, None without one."""
    found = []
    for episode in episodes:
        for trace in episode.traces:
            values = trace.nodes[1].advantages
            assert values is None or (len(values) == 3 and len(set(values)) == 1)
            found.append(None if values is None else values[0])
    return found


def prime_rl(monkeypatch):
    """Stand in for prime-rl 0.8.1: the base class, what it trains on, what it writes."""

    class Algorithm:
        def __init__(self, config, policy_pool):
            self.policy_pool = policy_pool

    def iter_trainable_traces(episodes):
        for episode in episodes:
            for trace in episode.traces:
                if not trace.has_error and trace.agent.trainable:
                    yield episode, trace

    def assign_advantages(trace, value):
        for node in trace.nodes:
            node.advantages = [value] * sum(node.mask)

    home = "prime_rl.orchestrator.algo"
    install(
        monkeypatch,
        f"{home}.base",
        Algorithm=Algorithm,
        iter_trainable_traces=iter_trainable_traces,
    )
    base = sys.modules[f"{home}.base"]
    install(monkeypatch, f"{home}.routing", assign_advantages=assign_advantages)
    monkeypatch.setitem(sys.modules, f"{home}.base", base)
