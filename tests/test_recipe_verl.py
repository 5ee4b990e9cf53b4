"""The recipe's verl configuration: what it says, and what verl itself makes of it.

verl brings its own torch, so CI does not have it; the tests called "real" are of verl 0.9.1, as far
as it goes without a card.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

for package in ("torch", "transformers", "trl", "peft", "requests"):
    pytest.importorskip(package)

from simulations.core import schema
from simulations.recipes import data, folder, models, server, verl, verl_reward
from simulations.recipes.client import Unreachable
from simulations.recipes.schema import Recipe
from tests.trainer_stand_ins import HAVE_VERL

pytestmark = [
    pytest.mark.torch,
    pytest.mark.xdist_group("recipe"),
    *([pytest.mark.filterwarnings("ignore")] if HAVE_VERL else []),
]

ROOT = Path(__file__).parents[1]
RECIPE = schema.read(Recipe, Path("recipe"))
DRY = schema.read(Recipe, Path("recipe_dry"))
RUN = next(run for run in DRY.runs if run.arm == "TEA")
REAL = pytest.mark.skipif(not HAVE_VERL, reason="verl is not installed")


def run_of(name):
    return next(run for run in RECIPE.runs if run.name == name)


def test_settings_are_those_of_the_recipe(tmp_path):
    run = run_of("Llama-3.1-8B, UltraFeedback/m64/TEA/N512/seed1")
    settings = verl.overrides(RECIPE, run, tmp_path, cards=8)
    assert settings["algorithm.adv_estimator"] == "tea"
    assert settings["+algorithm.tea_stats.N"] == 512
    assert settings["+algorithm.tea_stats.unit_rms"] is True
    assert settings["algorithm._target_"] == "tea_stats.integrations.verl.Algorithm"
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    assert settings[f"{rollout}.n"] == 64
    # one step of the optimiser for each batch of 32 prompts
    assert settings["data.train_batch_size"] == settings[f"{actor}.ppo_mini_batch_size"] == 32
    # the estimator's gradient, whatever the lengths (docs/trainers.md)
    assert settings[f"{actor}.loss_agg_mode"] == "seq-mean-token-sum-norm"
    assert settings[f"{actor}.loss_scale_factor"] == settings["data.max_response_length"] == 512
    assert settings[f"{actor}.optim.clip_grad"] == 1.0
    assert settings["actor_rollout_ref.model.path"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert settings["actor_rollout_ref.model.lora_rank"] == 32
    assert settings["trainer.total_training_steps"] == 100
    assert settings["trainer.n_gpus_per_node"] == 8


def test_arms_that_verl_has_itself_stay_its_own(tmp_path):
    run = run_of("Llama-3.2-1B, UltraFeedback/m16/GRPO/N128+512/seed0")
    settings = verl.overrides(RECIPE, run, tmp_path)
    assert settings["algorithm.adv_estimator"] == "grpo"
    assert not [name for name in settings if "tea_stats" in name]
    assert "actor_rollout_ref.model.lora_rank" not in settings


def test_options_of_an_estimator_are_passed_on(tmp_path):
    tables = {**DRY.estimators}
    tables["TEA"] = schema.EstimatorTable(name="linear_tea", tails=("normal", "gumbel"), k_min=2)
    study = DRY.model_copy(update={"estimators": tables})
    written = verl.arguments(verl.overrides(study, RUN, tmp_path))
    assert "+algorithm.tea_stats.tails=[normal,gumbel]" in written
    assert "+algorithm.tea_stats.k_min=2" in written


def test_command_lines_name_the_files(tmp_path):
    tmp_path = tmp_path / "with a space"
    lines = verl.command(DRY, RUN, tmp_path, "recipe_dry").replace("\\\n", " ").splitlines()
    train, merge, evaluate = map(shlex.split, lines)
    assert evaluate[:4] == ["tea-stats", "recipe", "evaluate", "recipe_dry"]
    assert train[:3] == ["python", "-m", "verl.trainer.main_ppo"]
    place = folder.of_run(DRY, RUN, tmp_path)
    rows = pd.read_parquet(place.path / "verl" / "train.parquet")
    chosen = data.part(data.chosen(DRY, "our own", tmp_path), "train")
    assert [list(turns) for turns in rows["prompt"]] == [turns for _, turns in chosen]
    assert [x["ground_truth"] for x in rows["reward_model"]] == [name for name, _ in chosen]
    assert merge[-1] == evaluate[-1] == str(place.path / "verl" / "policy")
    assert evaluate[evaluate.index("--only") + 1] == RUN.name


def test_verls_log_becomes_ours(tmp_path):
    place = folder.of_run(DRY, RUN, tmp_path)
    dumps = place.path / "verl" / "rollouts"
    dumps.mkdir(parents=True)
    for step in (10, 2):
        rows = [
            {"input": "?", "output": "!", "gts": name, "score": step + i, "step": step}
            for i, name in enumerate(["a", "a", "b"])
        ]
        (dumps / f"{step}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert verl.collect(place) == 6
    log = pd.read_json(place.rewards, lines=True)
    assert log["step"].tolist() == [1, 1, 1, 9, 9, 9]
    assert log["reward"].tolist() == [2, 3, 4, 10, 11, 12]
    assert log["group"].nunique() == 4 and log["prompt"].tolist() == ["a", "a", "b"] * 2
    assert verl.collect(folder.of_run(DRY, RUN, tmp_path / "none")) == 0


# --- the reward -----------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path):
    """Give the reward's file, the model, and the sizes of the requests that came."""
    label = DRY.scenario(RUN).reward
    table = DRY.rewards[label]
    rater = server.Rater(models.place(table, label, tmp_path), table, "cpu", "float32")
    sizes, rate = [], rater.rate
    rater.rate = lambda talk: sizes.append(len(talk)) or rate(talk)
    made = server.serve(rater, "127.0.0.1", 0)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    file = tmp_path / "reward.json"
    url = f"http://127.0.0.1:{made.server_address[1]}"
    content = {**table.model_dump(mode="json"), "urls": [url], "retries": 0}
    file.write_text(json.dumps(content))
    yield str(file), rate, sizes
    made.shutdown()
    made.server_close()
    verl_reward.gathered.cache_clear()


def calls(file, answers):
    """Return rewards as verl gets them: one call for each answer, side by side."""
    turns = [{"role": "user", "content": "Why?"}]

    async def all_of_them():
        return await asyncio.gather(
            *(
                verl_reward.compute_score(
                    data_source="tea_stats",
                    solution_str=answer,
                    ground_truth="id",
                    extra_info={"messages": json.dumps(turns), "num_turns": 2},
                    file=file,
                )
                for answer in answers
            )
        )

    talk = [[*turns, {"role": "assistant", "content": answer}] for answer in answers]
    return asyncio.run(all_of_them()), talk


def test_calls_side_by_side_are_one_request(served):
    file, rate, sizes = served
    answers = [f"answer {i}" * i for i in range(20)]
    rewards, talk = calls(file, answers)
    assert rewards == pytest.approx(rate(talk)[0], abs=1e-5)
    assert sizes == [20]  # a request takes 25
    calls(file, answers[:3])
    assert sizes == [20, 3]


def test_a_server_that_is_away_fails_every_call(served, tmp_path):
    file, _, _ = served
    content = json.loads(Path(file).read_text())
    away = tmp_path / "away.json"
    away.write_text(json.dumps({**content, "urls": ["http://127.0.0.1:9"]}))
    with pytest.raises(Unreachable, match="http://127.0.0.1:9 does not answer"):
        calls(str(away), ["x", "y"])


# --- verl itself ----------------------------------------------------------------------------------


@REAL
@pytest.mark.parametrize("arm", ["TEA", "GRPO"])
def test_real_verl_takes_the_configuration(arm, tmp_path, served):
    run = next(x for x in DRY.runs if x.arm == arm)
    verl.files(DRY, run, tmp_path)
    file, rate, _ = served
    target = folder.of_run(DRY, run, tmp_path).path / "verl"
    (target / "reward.json").write_text(Path(file).read_text())
    arguments = verl.arguments(verl.overrides(DRY, run, tmp_path))
    program = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import asyncio, json, numpy as np, torch, verl
import tea_stats.integrations.verl
from hydra import compose, initialize_config_module
from transformers import AutoTokenizer
from verl.trainer.ppo.ray_trainer import compute_advantage
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config
from verl.utils.dataset.rl_dataset import RLHFDataset
with initialize_config_module("verl.trainer.config", version_base=None):
    config = compose("ppo_trainer", {arguments!r})
assert not need_critic(config) and not need_reference_policy(config)
validate_config(config, need_reference_policy(config), need_critic(config))
algorithm = omega_conf_to_dataclass(config.algorithm)
tokenizer = AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path)
rows = RLHFDataset(config.data.train_files, tokenizer, config.data)
print("rows", len(rows), json.dumps([rows[0]["reward_model"]["ground_truth"]]))
score = get_custom_reward_fn(config)
async def ask():
    return await score(data_source="tea_stats", solution_str="yes", ground_truth="x",
                       extra_info=dict(rows[0]["extra_info"]))
print("score", asyncio.run(ask()), rows[0]["extra_info"]["messages"])
rewards = torch.arange(64.0).cos().reshape(-1, 1)
batch = verl.DataProto.from_dict(
    tensors={{"token_level_rewards": rewards, "response_mask": torch.ones(64, 1)}},
    non_tensors={{"uid": np.repeat(list("abcd"), 16).astype(object)}},
)
a = compute_advantage(batch, config.algorithm.adv_estimator, config=config.algorithm)
print("advantages", json.dumps(a.batch["advantages"][:, 0].tolist()))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert "advantages" in said, done.stderr
    assert said["rows"].startswith(f"{DRY.training.prompts} ")
    value, turns = said["score"].split(" ", 1)
    talk = [[*json.loads(turns), {"role": "assistant", "content": "yes"}]]
    assert float(value) == pytest.approx(rate(talk)[0][0], abs=1e-5)
    import torch

    from tea_stats import torch_bridge

    rewards = torch.arange(64.0).cos().reshape(4, 16)
    expected = torch_bridge.advantages(DRY.estimators[arm].name, rewards, RUN.N[0]).flatten()
    if arm == "TEA":
        expected /= expected.square().mean().sqrt()
    got = torch.tensor(json.loads(said["advantages"]))
    torch.testing.assert_close(got, expected.float(), rtol=1e-4, atol=1e-5)


@REAL
@pytest.mark.parametrize(
    ("estimator", "more", "kept"),
    [
        ("linear_tea", [], True),
        ("auto_tea", ["actor_rollout_ref.actor.fsdp_config.use_orig_params=true"], True),
        # each rollout divided by its own length: what the step is able to show
        ("linear_tea", ["actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean"], False),
    ],
)
def test_a_step_of_verls_trainer_and_worker_is_the_exact_sum(estimator, more, kept, tmp_path):
    policy = DRY.policies["tiny Llama"]
    where = models.place(policy, "tiny Llama", tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "tests" / "verl_step.py", where, estimator, *more],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("result ")]
    assert lines, done.stderr[-3000:]
    found = json.loads(lines[0].removeprefix("result "))
    assert found["norm"] > 0.1 and found["moved"] > 1e-4  # Adam's first step: the learning rate
    if kept:
        assert found["relative"] < 1e-5 and found["cosine"] > 1 - 1e-9
        assert found["verls_norm"] == pytest.approx(found["norm"], rel=1e-5)
    else:
        assert found["cosine"] < 0.99


@REAL
def test_real_entry_point_goes_as_far_as_the_card(tmp_path):
    """It reads configuration, plugin, tokenizer and data, and then looks for a card."""
    verl.files(DRY, RUN, tmp_path)
    arguments = verl.arguments(verl.overrides(DRY, RUN, tmp_path))
    # what one machine without cards has to be asked for
    arguments += ["transfer_queue.backend.SimpleStorage.num_data_storage_units=1"]
    arguments += ["ray_kwargs.ray_init.num_cpus=16"]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "verl.trainer.main_ppo", *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        text, _ = process.communicate(timeout=900)
    finally:
        with contextlib.suppress(ProcessLookupError):  # Ray's processes may outlive it
            os.killpg(process.pid, signal.SIGTERM)
    assert "All configuration checks passed" in text
    assert "Total available GPUs 0 is less than total desired GPUs 1" in text, text[-3000:]
