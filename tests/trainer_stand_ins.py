"""A batch as trainers have it, and stand-ins for trainers that are not installed.

Where a trainer is installed the tests use it instead of a stand-in.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch

from tea_stats import torch_bridge

HAVE_VERL = find_spec("verl") is not None
HAVE_SKYRL = find_spec("skyrl") is not None

VERL = "verl.trainer.ppo.core_algos"
SKYRL = "skyrl.backends.skyrl_train.utils.ppo_utils"
RLLM = "rllm.trainer.algorithms.advantage"


# --- a batch -----------------------------------------------------------------------------------

#: three prompts, their rollouts mixed, in groups of five, four and one
GROUPS = ["b", "a", "a", "b", "c", "b", "a", "b", "b", "a"]
REWARDS = torch.tensor([0.5, 1.0, -2.0, 3.0, 7.0, 0.0, 1.5, 2.5, -1.0, 4.0], dtype=torch.float64)


def by_hand(name, N=32, rewards=REWARDS, **options):
    """Return the advantages of REWARDS, one group at a time, 0 for the single rollout."""
    advantages = torch.zeros(len(GROUPS), dtype=torch.float64)
    for label in "ab":
        rows = [i for i, group in enumerate(GROUPS) if group == label]
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
