"""The snippets of docs/trainers.md: Python is run, command lines are parsed."""

from __future__ import annotations

import functools
import re
import shlex
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import tea_stats
from tea_stats import torch_bridge
from tests import trainer_stand_ins
from tests.trainer_stand_ins import GROUPS, REWARDS, by_hand

pytestmark = pytest.mark.torch

PAGE = (Path(__file__).parents[1] / "docs" / "trainers.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", PAGE, re.MULTILINE))


def snippet(section, language):
    """Return the one block of a language in a section of the page."""
    (block,) = re.findall(
        rf"^```{language}\n(.*?)^```", SECTIONS[section], re.MULTILINE | re.DOTALL
    )
    return block.replace("\\\n", " ")


def run(section, **names):
    """Execute the Python block of a section; return its variables."""
    exec(compile(snippet(section, "python"), f"docs/trainers.md, {section}", "exec"), names)
    return names


def test_every_snippet_is_tested():
    assert len(re.findall(r"^```\w+$", PAGE, re.MULTILINE)) == 7


def test_plain_torch_loop_learns():
    with torch.random.fork_rng():
        names = run("Plain torch")
    history = names["history"]
    # letters are drawn about evenly at first, which is 12.5 on average
    assert history[0] == pytest.approx(12.5, abs=1.0)
    assert np.mean(history[-5:]) > history[0] + 4.0
    assert names["advantages"].shape == (names["PROMPTS"], names["m"])
    assert len(snippet("Plain torch", "python").splitlines()) <= 40


@pytest.mark.xdist_group("trl")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_trl_snippet(tmp_path, monkeypatch):
    pytest.importorskip("trl")
    import trl
    from datasets import Dataset

    from simulations.lm import models

    monkeypatch.chdir(tmp_path)
    quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "max_steps": 1}
    monkeypatch.setattr(trl, "GRPOConfig", functools.partial(trl.GRPOConfig, **quiet))
    model, tokenizer = models.tiny()
    tokenizer.pad_token = "<unknown>"
    rewards = np.random.default_rng(0).normal(size=16).tolist()
    trainer = run(
        "TRL",
        model=model,
        tokenizer=tokenizer,
        reward=lambda completions, **columns: rewards,
        dataset=Dataset.from_dict({"prompt": ["Once"]}),
    )["trainer"]
    assert trainer.state.global_step == 1
    expected = torch_bridge.advantages("auto_tea", torch.tensor([rewards]).float(), 128)[0]
    assert list(trainer._logs["advantages"]) == expected.float().tolist()


def test_verl_snippet():
    words = shlex.split(snippet("verl", "bash"))
    settings = dict(word.lstrip("+").split("=") for word in words if "=" in word)
    assert settings["algorithm.adv_estimator"] in tea_stats.ESTIMATORS
    own = {key: value for key, value in settings.items() if ".tea_stats." in key}
    assert own == {"algorithm.tea_stats.N": "128"}


def registered(section, home, decorator, monkeypatch):
    """Run a snippet that registers one estimator; return its name and the function."""
    calls = []
    stand_in = {decorator: lambda name: lambda function: calls.append((name, function))}
    trainer_stand_ins.install(monkeypatch, home, **stand_in)
    run(section)
    ((name, function),) = calls
    assert f"adv_estimator={name}" in PAGE or f"advantage_estimator={name}" in PAGE
    return name, function


def test_skyrl_snippet(monkeypatch):
    home = trainer_stand_ins.SKYRL
    name, function = registered("SkyRL", home, "register_advantage_estimator", monkeypatch)
    rewards = np.random.default_rng(1).normal(size=(3, 16))
    tokens, labels = torch.from_numpy(rewards).reshape(48, 1), np.repeat([0, 1, 2], 16)
    advantages, _ = function(tokens, torch.ones(48, 1), index=labels)
    assert np.array_equal(advantages.reshape(3, 16), tea_stats.advantages(name, rewards, N=128))


def test_rllm_snippet(monkeypatch):
    home = trainer_stand_ins.RLLM
    _, function = registered("rLLM", home, "register_rllm_adv_estimator", monkeypatch)
    groups = [REWARDS[[g == label for g in GROUPS]].numpy() for label in "abc"]
    advantages, returns = function(
        rewards=groups, algorithm_config=object(), traj_groups=[object()] * 3
    )
    expected = by_hand("auto_tea", N=128)
    for label, of_group, same in zip("abc", advantages, returns, strict=True):
        assert np.array_equal(of_group, expected[[g == label for g in GROUPS]])
        assert np.array_equal(of_group, same)
    assert function(rewards=[], algorithm_config=object()) == ([], [])


@dataclass
class Sample:
    """The part of slime's Sample that the snippet uses."""

    reward: float | dict[str, float] | None
    group_index: int | None

    def get_reward_value(self, args):
        """Return the reward, or the one of several that `--reward-key` names."""
        return self.reward if not args.reward_key else self.reward[args.reward_key]


def test_slime_snippet():
    words = shlex.split(snippet("slime", "bash"))
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--advantage-estimator"] == "grpo"
    module, function = options["--custom-reward-post-process-path"].split(".")
    assert f"`{module}.py`" in PAGE
    post_process = run("slime")[function]
    args = Namespace(reward_key=None)
    samples = [Sample(r, "abc".index(g)) for r, g in zip(REWARDS.tolist(), GROUPS, strict=True)]
    raw, advantages = post_process(args, samples)
    assert (raw, advantages) == (REWARDS.tolist(), by_hand("auto_tea", N=128).tolist())
    # before slime flattens them, groups are lists
    assert post_process(args, [samples[:6], samples[6:]]) == (raw, advantages)
    assert post_process(args, []) == ([], [])
    # a rollout without a reward leaves its group
    rewards = (1.0, None, 5.0, 3.0)
    _, advantages = post_process(args, [Sample(r, 0) for r in rewards])
    a, b, c = tea_stats.auto_tea([1.0, 5.0, 3.0], 128)
    assert advantages == [a, 0.0, b, c]
    keyed = [Sample({"score": r, "length": 9.0}, 0) for r in (1.0, 5.0, 3.0)]
    assert post_process(Namespace(reward_key="score"), keyed) == ([1.0, 5.0, 3.0], [a, b, c])
    with pytest.raises(ValueError, match="the group label of rollout 1 is None"):
        post_process(args, [Sample(1.0, 0), Sample(1.0, None)])
