"""The snippets of docs/trainers.md: Python is run, command lines are parsed."""

from __future__ import annotations

import asyncio
import functools
import importlib
import re
import runpy
import shlex
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import tea_stats
from tea_stats import torch_bridge
from tea_stats.integrations import groups, roll
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
    assert len(re.findall(r"^```\w+$", PAGE, re.MULTILINE)) == 15


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


def registers(section, monkeypatch, module, **names):
    """Run a snippet that ends in `register`; return what the adapter's `register` was given."""
    calls = []
    adapter = importlib.import_module(f"tea_stats.integrations.{module}")
    monkeypatch.setattr(adapter, "register", lambda *a, **k: calls.append((a, k)))
    run(section, **names)
    ((positional, named),) = calls
    assert positional[0] in tea_stats.ESTIMATORS
    return positional, named


@pytest.mark.parametrize(
    ("section", "module", "settings"),
    [
        ("OpenRLHF", "openrlhf", ["--algo.advantage.estimator dr_grpo"]),
        ("NeMo-RL", "nemo_rl", ["grpo.adv_estimator.name: grpo"]),
        ("ROLL", "roll", []),
        ("rLLM", "rllm", ["rllm.algorithm.adv_estimator=other"]),
        ("Tinker", "tinker", []),
        ("ms-swift", "ms_swift", ["--external_plugins best_of_128.py"]),
    ],
)
def test_snippets_that_register(section, module, settings, monkeypatch):
    started = []
    monkeypatch.setattr(runpy, "run_module", lambda name, run_name: started.append(name))
    assert registers(section, monkeypatch, module) == (("auto_tea",), {"N": 128})
    assert started == (["openrlhf.cli.train_ppo_ray"] if module == "openrlhf" else [])
    for setting in settings:
        assert setting in SECTIONS[section]
    # the docstring of the module says the same
    source = Path(importlib.import_module(f"tea_stats.integrations.{module}").__file__).read_text()
    assert f'{module}.register("auto_tea", N=128)' in source


def test_roll_configuration():
    lines = snippet("ROLL", "yaml").splitlines()
    settings = dict(line.split(": ") for line in lines)
    for key, needed in roll.NEEDED.items():
        if needed is not None and needed is not False:
            assert settings[key] == str(needed)
    assert settings["whiten_advantages"] == "false"
    assert settings["loss_agg_mode"] == "seq-mean-token-sum"


def test_prime_rl_snippet(monkeypatch):
    trainer_stand_ins.prime_rl(monkeypatch)
    classes = {"grpo": object()}
    run("prime-rl", ALGORITHM_CLASSES=classes)
    made = classes["grpo"](Namespace(), policy_pool=None)
    rows = np.random.default_rng(0).normal(size=(16, 16))
    for row in rows:
        episodes = trainer_stand_ins.traces(row.tolist())
        asyncio.run(made.score_group(episodes))
    expected = tea_stats.advantages("auto_tea", rows, N=128)[-1]
    np.testing.assert_allclose(trainer_stand_ins.credit(episodes), expected, rtol=1e-9)


@pytest.mark.xdist_group("trl")
def test_axolotl_snippet(monkeypatch):
    trl = pytest.importorskip("trl")
    from tea_stats.integrations.trl import BestOfNTrainer

    class AxolotlGRPOTrainer(trl.GRPOTrainer):
        pass

    home = "axolotl.core.trainers.grpo"
    trainer_stand_ins.install(monkeypatch, home, AxolotlGRPOTrainer=AxolotlGRPOTrainer)
    made = run("Axolotl, Oumi, Unsloth")["Trainer"]
    order = made.__mro__
    assert order.index(BestOfNTrainer) < order.index(AxolotlGRPOTrainer)
    assert order.index(AxolotlGRPOTrainer) < order.index(trl.GRPOTrainer)
    assert made.__name__ == "BestOfNAxolotlGRPOTrainer"


def test_settings_of_trl_are_counted():
    pytest.importorskip("trl")
    from tests.trl_settings import SETTINGS

    assert re.findall(r"(\d+)\s+settings", PAGE) == [str(len(SETTINGS))] * 2


def test_slime_snippet():
    words = shlex.split(snippet("slime", "bash"))
    # without it each rollout's sum over tokens is divided by its length
    words.remove("--calculate-per-token-loss")
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
