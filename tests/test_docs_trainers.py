"""The snippets of docs/trainers.md: what can run is run, the rest is read by what it is for."""

from __future__ import annotations

import functools
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
from tea_stats.integrations import slime
from tests import trainer_stand_ins
from tests.trainer_stand_ins import Sample

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
        found = run("Plain torch")
    history = found["history"]
    # letters are drawn about evenly at first, which is 12.5 on average
    assert history[0] == pytest.approx(12.5, abs=1.0)
    assert np.mean(history[-5:]) > history[0] + 4.0
    assert found["advantages"].shape == (found["PROMPTS"], found["m"])
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


def test_verl_snippet(monkeypatch):
    words = shlex.split(snippet("verl", "bash"))
    settings = dict(word.lstrip("+").split("=") for word in words if "=" in word)
    assert settings["algorithm.adv_estimator"] in tea_stats.ESTIMATORS
    given = {
        key.removeprefix("algorithm.tea_stats."): value
        for key, value in settings.items()
        if key.startswith("algorithm.tea_stats.")
    }
    assert given == {"N": "128"}


@pytest.mark.parametrize("section", ["SkyRL", "rLLM"])
def test_registering_snippet(section, monkeypatch):
    asked = []

    def register(name):
        return lambda function: asked.append((name, function))

    home, decorator = {
        "SkyRL": (trainer_stand_ins.SKYRL, "register_advantage_estimator"),
        "rLLM": (trainer_stand_ins.RLLM, "register_rllm_adv_estimator"),
    }[section]
    trainer_stand_ins.install(monkeypatch, home, **{decorator: register})
    run(section)
    ((name, function),) = asked
    assert f"{'advantage_estimator' if section == 'SkyRL' else 'adv_estimator'}={name}" in PAGE
    rewards = np.random.default_rng(1).normal(size=(3, 16))
    expected = tea_stats.advantages(name, rewards, N=128)
    if section == "rLLM":
        found = np.stack(function(rewards=list(rewards), algorithm_config=None)[0])
    else:
        tokens, labels = torch.from_numpy(rewards).reshape(48, 1), np.repeat([0, 1, 2], 16)
        found = function(tokens, torch.ones(48, 1), index=labels)[0].numpy().reshape(3, 16)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_slime_snippet():
    yaml = pytest.importorskip("yaml")
    words = shlex.split(snippet("slime", "bash"))
    options = dict(zip(words[::2], words[1::2], strict=True))
    path = options["--custom-reward-post-process-path"]
    assert path == f"{slime.__name__}.{slime.reward_post_process.__name__}"
    assert options["--advantage-estimator"] == "grpo"
    args = Namespace(reward_key=None, **yaml.safe_load(snippet("slime", "yaml")))
    rewards = np.random.default_rng(1).normal(size=(3, 16))
    samples = [Sample(float(r), g) for g, group in enumerate(rewards) for r in group]
    _, advantages = slime.reward_post_process(args, samples)
    expected = tea_stats.advantages("linear_tea", rewards, N=128, k_min=4)
    np.testing.assert_allclose(advantages, expected.ravel(), rtol=1e-9, atol=1e-9)
