"""The snippets of docs/trainers.md: Python is run, command lines are parsed."""

from __future__ import annotations

import functools
import importlib
import re
import shlex
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import tea_stats
from tea_stats import torch_bridge
from tea_stats.integrations import groups
from tests import trainer_stand_ins
from tests.trainer_stand_ins import GROUPS, REWARDS, by_hand

pytestmark = [
    pytest.mark.torch,
    # batches of tests are small
    pytest.mark.filterwarnings("ignore:a batch has .* group"),
]

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
    rewards = np.random.default_rng(0).normal(size=256).tolist()
    trainer = run(
        "TRL",
        model=model,
        tokenizer=tokenizer,
        reward=lambda completions, **columns: rewards[: len(completions)],
        dataset=Dataset.from_dict({"prompt": [f"Once {i}" for i in range(16)]}),
    )["trainer"]
    assert trainer.state.global_step == 1
    table = torch.tensor(rewards).float().reshape(16, 16)
    expected = torch_bridge.advantages("auto_tea", table, 128).flatten().float()
    assert (
        list(trainer._logs["advantages"]) == expected.tolist()[-len(trainer._logs["advantages"]) :]
    )


def test_verl_snippet():
    words = shlex.split(snippet("verl", "bash"))
    settings = dict(word.lstrip("+").split("=") for word in words if "=" in word)
    assert settings["algorithm.adv_estimator"] in tea_stats.ESTIMATORS
    own = {key: value for key, value in settings.items() if ".tea_stats." in key}
    assert own == {"algorithm.tea_stats.N": "128"}
    # one number divides every sum over tokens
    actor = "actor_rollout_ref.actor."
    assert settings[f"{actor}loss_agg_mode"] == "seq-mean-token-sum-norm"
    assert settings[f"{actor}loss_scale_factor"] == settings["data.max_response_length"]
    assert int(settings["data.train_batch_size"]) >= groups.FEWEST_GROUPS


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


def test_slime_snippet():
    words = shlex.split(snippet("slime", "bash"))
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--advantage-estimator"] == "grpo"
    module, function = options["--custom-reward-post-process-path"].rsplit(".", 1)
    post_process = getattr(importlib.import_module(module), function)
    lines = snippet("slime", "yaml").splitlines()
    settings = dict(line.split(": ") for line in lines)
    args = Namespace(**settings | {"tea_stats_N": int(settings["tea_stats_N"])})
    samples = [
        Namespace(group_index=group, get_reward_value=lambda _, reward=reward: reward)
        for reward, group in zip(REWARDS.tolist(), GROUPS, strict=True)
    ]
    expected = by_hand("auto_tea", N=128).tolist()
    assert post_process(args, samples) == (REWARDS.tolist(), expected)
