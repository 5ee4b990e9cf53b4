"""`BestOfNTrainer` in real training steps of TRL: whole groups, split groups, missing rewards.

`torch_bridge.advantages` is the independent implementation here, on rewards that a table fixes.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

import torch
import transformers
import trl
from trl.trainer import grpo_trainer

import tea_stats
from simulations.lm import models
from tea_stats import batch_report, torch_bridge
from tea_stats.integrations import groups
from tea_stats.integrations.trl_programs import install, trainer_class
from tests import enumeration
from tests.trl_runs import CUT, SPLIT, TABLE, Recorded, Recorder, table, trainer

pytestmark = [
    pytest.mark.torch,
    pytest.mark.xdist_group("trl"),
    # warnings of TRL and transformers
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

NORMAL = np.random.default_rng(7).normal(size=16).round(3).tolist()
NAN = float("nan")


class Plain(Recorder, trl.GRPOTrainer):
    """TRL as it is."""


def bridge(name, rewards, m, N=32, **options):
    """Return the advantages of whole groups, NaN standing for no reward, in TRL's precision."""
    grouped = torch.tensor(rewards, dtype=torch.float32).reshape(-1, m)
    mask = None if not grouped.isnan().any() else ~grouped.isnan()
    return torch_bridge.advantages(name, grouped, N, mask=mask, **options).flatten().float()


def step(kind, reward_funcs, **settings):
    """Return a trainer after one step."""
    built = trainer(kind, reward_funcs, **settings)
    built.train()
    return built


# --- advantages ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "options"),
    [
        ("tea", {"alpha": 0.5}),
        ("linear_tea", {"k_min": 2}),
        ("max_at_k", {}),
        ("max_at_k", {"k": 3}),
        (None, {}),
    ],
)
def test_step_uses_the_advantages_of_the_estimator(estimator, options):
    settings = {"estimator": estimator, "estimator_options": options} if estimator else {}
    built = step(Recorded, table(NORMAL), m=8, batch=16, N=32, **settings)
    expected = bridge(estimator or "auto_tea", NORMAL, m=8, **options)
    assert expected.abs().max() > 0.1
    assert torch.equal(built.scored[0], expected)
    # TRL shuffles before it learns
    assert torch.equal(built.in_loss[0].sort().values, expected.sort().values)


def test_batch_of_several_steps_of_learning_is_pooled():
    built = step(
        Recorded, table(NORMAL), m=8, batch=8, gradient_accumulation_steps=2, N=32,
        estimator="adaptive_tea",
    )  # fmt: skip
    expected = bridge("adaptive_tea", NORMAL, m=8)
    assert torch.equal(built.scored[0], expected)
    assert [len(part) for part in built.in_loss] == [8, 8]
    assert torch.equal(torch.cat(built.in_loss).sort().values, expected.sort().values)
    # a group on its own has other advantages
    alone = torch.cat([bridge("adaptive_tea", part, m=8) for part in (NORMAL[:8], NORMAL[8:])])
    assert not torch.allclose(expected, alone, rtol=1e-3)


@pytest.mark.parametrize("scale", ["group", "none"])
def test_grpo_is_trls_own_up_to_its_small_constant(scale):
    name = "grpo" if scale == "group" else "dr_grpo"
    ours = step(Recorded, table(NORMAL), m=8, batch=16, N=32, estimator=name)
    theirs = step(Plain, table(NORMAL), m=8, batch=16, scale_rewards=scale)
    spread = torch.tensor(NORMAL).reshape(2, 8).std(-1).repeat_interleave(8)
    factor = spread / (spread + 1e-4) if scale == "group" else 1.0
    torch.testing.assert_close(theirs.scored[0], ours.scored[0] * factor, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_two_processes_share_a_group(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "-m", "tests.trl_runs", str(tmp_path)]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert [part["processes"].item() for part in parts] == [2, 2]
    # both remember the three groups, though neither has drawn them all
    beside = tea_stats.Memory()
    beside.advantages(np.array(TABLE, np.float32).reshape(3, 4), 32)
    assert [json.loads(part["memory"]) for part in parts] == [beside.state_dict()] * 2
    one = step(Recorded, table(TABLE), batch=12, **SPLIT)
    rewards = [NAN if i in CUT else r for i, r in enumerate(TABLE)]
    expected = bridge(SPLIT["estimator"], rewards, m=4)
    assert torch.equal(one.scored[0], expected)
    # six rollouts each, groups of four: the second group lies in both
    assert torch.equal(parts[0]["scored"], expected[:6])
    assert torch.equal(parts[1]["scored"], expected[6:])
    for rank, part in enumerate(parts):
        mine = expected[6 * rank : 6 * rank + 6]
        assert torch.equal(part["in_loss"].sort().values, mine.sort().values)
        assert torch.equal(part["logged"], expected)


def test_programs_that_make_the_trainer_themselves(monkeypatch):
    # Axolotl's way: a class of its own, made with TRL's arguments
    axolotl = trainer_class(N=32, estimator="linear_tea", base=Plain)
    expected = bridge("linear_tea", TABLE, m=4)
    built = step(axolotl, table(TABLE))
    assert list(built._logs["advantages"]) == expected.tolist()
    assert torch.equal(built.in_loss[0].sort().values, expected.sort().values)
    # Oumi's: TRL's class, looked up when it is needed
    for module in (trl, trl.trainer):
        monkeypatch.setattr(module, "GRPOTrainer", module.GRPOTrainer)
    install(N=32, estimator="linear_tea", unit_rms=True)
    built = step(trl.GRPOTrainer, table(TABLE))
    unit = expected / expected.square().mean().sqrt()
    assert torch.allclose(torch.tensor(list(built._logs["advantages"])), unit, rtol=1e-6)
    with pytest.raises(TypeError, match="base is .*Trainer'>, not derived from trl.GRPOTrainer"):
        trainer_class(N=32, base=transformers.Trainer)


# --- rewards ------------------------------------------------------------------------------------


def test_several_functions_are_summed_with_their_weights():
    other = (10.0 * np.arange(12)).tolist()
    other[5] = None  # no reward from this function, one from the other
    built = step(
        Recorded,
        [table(TABLE, "first"), table(other, "second")],
        reward_weights=[2.0, 0.25],
        N=32,
        estimator="linear_tea",
    )
    total = [2.0 * a + 0.25 * (b or 0.0) for a, b in zip(TABLE, other, strict=True)]
    torch.testing.assert_close(built.scored[0], bridge("linear_tea", total, m=4), rtol=1e-5, atol=0)


def test_rollout_without_reward_leaves_a_smaller_group():
    rewards = [*TABLE]
    rewards[1] = rewards[4] = rewards[5] = None
    for place in (8, 9, 10):
        rewards[place] = None
    built = step(Recorded, table(rewards), N=32, estimator="max_at_k", estimator_options={"k": 2})
    scored = built.scored[0]
    assert torch.equal(scored[[0, 2, 3]], bridge("max_at_k", [TABLE[i] for i in (0, 2, 3)], 3, k=2))
    assert torch.equal(scored[[6, 7]], bridge("max_at_k", TABLE[6:8], 2, k=2))
    # the third group has one rollout left, too few for the estimator
    assert not scored[[1, 4, 5, 8, 9, 10, 11]].any()
    assert built.state.log_history[0]["frac_groups_left_out"] == pytest.approx(1 / 3)


def test_no_reward_at_all_is_no_advantage():
    built = step(Recorded, table([None] * 12), N=32, estimator="tea")
    assert torch.equal(built.scored[0], torch.zeros(12))
    assert built.state.log_history[0]["frac_groups_left_out"] == 1.0


def test_a_reward_of_minus_infinity_is_a_missing_one(caplog):
    rewards = [*TABLE]
    rewards[1] = rewards[5] = -np.inf
    built = step(Recorded, table(rewards), N=32, estimator="linear_tea")
    without = [NAN if r == -np.inf else r for r in rewards]
    assert torch.equal(built.scored[0], bridge("linear_tea", without, m=4))
    assert "2 of 12 rollouts have the reward -inf" in caplog.text
    log = built.state.log_history[0]
    assert log["frac_rollouts_without_reward"] == pytest.approx(2 / 12)
    # TRL's own means leave them out
    assert log["rewards/table/mean"] == pytest.approx(np.nanmean(without), rel=1e-6)
    with pytest.raises(ValueError, match="the reward of rollout 3 is inf; return a finite reward"):
        step(Recorded, table([0.0] * 3 + [np.inf] * 9), N=32, estimator="linear_tea")


def test_unit_rms_is_one_number_for_the_batch():
    built = step(Recorded, table(NORMAL), m=8, batch=16, N=32, estimator="tea", unit_rms=True)
    expected = bridge("tea", NORMAL, m=8)
    assert torch.allclose(built.scored[0], expected / expected.square().mean().sqrt(), rtol=1e-6)


@pytest.mark.parametrize("masked", [True, False])
def test_truncated_rollouts_leave_the_group_where_trl_masks_them(masked):
    end = 0
    script = [[5, 6, end]] * 12
    for place in (2, 3, 7):
        script[place] = [5, 6, 7, 8]  # as long as completions may be, and no end
    built = step(
        Recorded,
        table(TABLE),
        script=script,
        mask_truncated_completions=masked,
        N=32,
        estimator="rloo",
    )
    rewards = [NAN if masked and i in (2, 3, 7) else r for i, r in enumerate(TABLE)]
    assert torch.equal(built.scored[0], bridge("rloo", rewards, m=4))
    assert built.scored[0][[2, 3, 7]].any() != masked


def test_evaluation_has_groups_of_its_own_size():
    settings = {"num_generations_eval": 2, "per_device_eval_batch_size": 8, "N": 32}
    built = trainer(Recorded, table(NORMAL), estimator="max_at_k", **settings)
    metrics = built.evaluate()
    assert torch.equal(built.scored[0], bridge("max_at_k", NORMAL[:8], m=2))
    assert metrics["eval_reward"] == pytest.approx(np.mean(NORMAL[:8]), abs=1e-6)


def test_evaluation_of_single_rollouts_has_no_advantages():
    # a batch larger than what TRL keeps for its log: four prompts, two of them logged
    settings = {"num_generations_eval": 1, "per_device_eval_batch_size": 4, "N": 32}
    built = trainer(Recorded, table(NORMAL), batch=2, m=2, estimator="max_at_k", **settings)
    built.evaluate()
    assert torch.equal(built.scored[0], torch.zeros(4))
    assert list(built._logs["advantages"]) == [0.0, 0.0]


# --- logging ------------------------------------------------------------------------------------


def test_trl_logs_what_it_logs_and_the_advantages_used():
    ours = step(Recorded, table(TABLE), N=32, estimator="linear_tea", max_steps=2)
    theirs = step(Plain, table(TABLE), max_steps=2)
    assert list(ours._logs["advantages"]) == ours.scored[1].tolist()
    assert list(ours._logs["rewards"]["table"]) == list(theirs._logs["rewards"]["table"])
    for name in ("reward", "reward_std", "frac_reward_zero_std", "rewards/table/mean"):
        assert ours.state.log_history[0][name] == theirs.state.log_history[0][name]
    assert set(ours.state.log_history[0]) - set(theirs.state.log_history[0]) == {
        "frac_groups_left_out",
        "frac_rollouts_without_reward",
    }


def test_what_auto_tea_takes_a_batch_for_is_among_trls_metrics():
    built = step(Recorded, table(TABLE), N=32)
    expected = batch_report(np.array(TABLE, dtype=float).reshape(3, 4), 32).metrics()
    logged = built.state.log_history[0]
    for name, value in expected.items():
        assert logged[f"auto_tea/{name}"] == pytest.approx(value, abs=1e-4)


# --- memory -------------------------------------------------------------------------------------


def test_trl_remembers_earlier_steps_but_not_evaluations():
    """Step by step what a memory beside the trainer gives; an evaluation leaves it alone."""
    memory, beside = tea_stats.Memory(), tea_stats.Memory()
    built = step(Recorded, table(NORMAL), m=8, batch=16, N=32, memory=memory, max_steps=3)
    rewards = np.array(NORMAL).reshape(2, 8)
    first, second, third = (beside.advantages(rewards, 32).ravel() for _ in range(3))
    for found, expected in zip(built.scored, (first, second, third), strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)
    assert np.abs(first - third).max() > 0.1
    assert built.memory is memory
    state = memory.state_dict()
    assert len(memory) == 6
    built.evaluate()
    assert memory.state_dict() == state


def test_a_batch_that_serves_several_steps_is_remembered_once():
    """Two optimiser steps for each generation batch, each step in two parts, and both twice."""
    memory = tea_stats.Memory()
    built = step(
        Recorded, table(NORMAL), m=4, batch=4, N=32, memory=memory, max_steps=8,
        gradient_accumulation_steps=2, steps_per_generation=4, num_iterations=2,
    )  # fmt: skip
    assert len(built.in_loss) == 16 and len(built.scored) == 2
    # four groups of four in each of two generation batches
    assert len(memory) == 8 and memory.state_dict()["ages"] == [4] * 4 + [0] * 4


def test_a_training_that_resumes_goes_on_with_its_memory(caplog):
    settings = {"m": 8, "batch": 16, "N": 32, "max_steps": 3, "save_strategy": "steps"}
    settings |= {"save_steps": 1}
    whole = step(Recorded, table(NORMAL), memory=tea_stats.Memory(), **settings)
    checkpoint = Path(whole.args.output_dir) / "checkpoint-2"
    again = trainer(Recorded, table(NORMAL), memory=tea_stats.Memory(), **settings)
    again.train(resume_from_checkpoint=str(checkpoint))
    assert again.memory.state_dict() == whole.memory.state_dict() and len(again.memory) == 6
    assert len(again.scored) == 1 and torch.equal(again.scored[0], whole.scored[2])
    assert not torch.equal(whole.scored[0], whole.scored[2])
    # a checkpoint of a training without a memory
    (checkpoint / "tea_stats_memory.json").unlink()
    other = trainer(Recorded, table(NORMAL), memory=tea_stats.Memory(), **settings)
    other.train(resume_from_checkpoint=str(checkpoint))
    assert len(other.memory) == 2 and "has no tea_stats_memory.json" in caplog.text


def test_an_evaluation_may_draw_one_rollout_a_prompt():
    settings = {"m": 8, "batch": 16, "N": 32, "num_generations_eval": 1}
    built = step(Recorded, table(NORMAL), per_device_eval_batch_size=4, **settings)
    measured = built.evaluate()
    mean = measured["eval_rewards/table/mean"]
    assert mean == pytest.approx(np.mean(NORMAL[:4]), abs=1e-6)
    assert not any(key.startswith("eval_auto_tea") for key in measured)


def test_trl_refuses_a_memory_where_nothing_is_learnt():
    memory = tea_stats.Memory()
    with pytest.raises(TypeError, match="memory is given with tea"):
        trainer(Recorded, table(NORMAL), m=8, batch=16, N=32, estimator="tea", memory=memory)


# --- why a reward function cannot do it -----------------------------------------------------------


def test_returning_advantages_as_rewards_loses_the_groups_mean():
    advantages = bridge("max_at_k", TABLE, m=4)
    trick = step(Plain, table(advantages.tolist()), scale_rewards="none")
    mean = advantages.reshape(3, 4).mean(-1).repeat_interleave(4)
    assert mean.max() > 1.0
    torch.testing.assert_close(trick.scored[0], advantages - mean, rtol=1e-5, atol=1e-6)
    # of the form without a baseline nothing is left at k = m
    raw = bridge("max_at_k", TABLE, m=4, k=4, form="s")
    nothing = step(Plain, table(raw.tolist()), scale_rewards="none")
    torch.testing.assert_close(nothing.scored[0], torch.zeros(12), rtol=0, atol=1e-5)


@pytest.mark.parametrize("law", enumeration.LAWS, ids=str)
@pytest.mark.parametrize(("k", "form"), [(2, "s"), (3, "s"), (4, "s"), (4, "loo-1")])
def test_losing_the_mean_shrinks_or_replaces_the_gradient(law, k, form):
    m = 4

    def gradient(k):
        return enumeration.gradient_of_expectation(law, k, lambda r: r.max(-1))

    def kept(rewards):
        tensor = torch.from_numpy(np.ascontiguousarray(rewards))
        return torch_bridge.advantages("max_at_k", tensor, k, form=form).numpy()

    def trick(rewards):
        return kept(rewards) - kept(rewards).mean(-1, keepdims=True)

    assert np.linalg.norm(gradient(k)) > 1e-3
    without_mean = (1 - k / m) * gradient(k) if form == "s" else gradient(k - 1)
    for advantages, expected in ((kept, gradient(k)), (trick, without_mean)):
        result = enumeration.expected_gradient(law, m, advantages)
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": "best"}, "estimator 'best' is unknown"),
        ({"N": 0}, "N is 0"),
        ({"estimator": "max_at_k", "estimator_options": {"k": 5}}, "k is 5, more than the m = 4"),
        (
            {"multi_objective_aggregation": "normalize_then_sum"},
            "multi_objective_aggregation is 'normalize_then_sum'",
        ),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        trainer(Recorded, table(TABLE), **{"N": 32, **settings})


@pytest.mark.filterwarnings("default:a batch has", "default:loss_type is")
@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({"estimator": "auto_tea"}, "a batch has 3 groups, and auto_tea learns"),
        ({"estimator": "tea", "loss_type": "grpo"}, "'grpo', which divides each rollout's sum"),
        ({"estimator": "tea", "loss_type": "sapo"}, "'sapo', which divides each rollout's sum"),
        (
            {"estimator": "tea", "loss_type": "bnpo", "gradient_accumulation_steps": 2},
            "'bnpo', which divides each part of the batch",
        ),
    ],
)
def test_settings_that_cost_are_warned_of_once(settings, warning, monkeypatch):
    monkeypatch.setattr(groups, "_warned", set())
    with pytest.warns(UserWarning, match=warning):
        trainer(Recorded, table(TABLE), N=32, **settings)
    with warnings.catch_warnings(record=True) as seen:
        trainer(Recorded, table(TABLE), N=32, **settings)
        for loss_type in ("dr_grpo", "dapo", "bnpo", "cispo"):
            trainer(Recorded, table(TABLE), N=32, estimator="tea", loss_type=loss_type)
    assert not [w for w in seen if "a batch has" in str(w.message) or "loss_type" in str(w.message)]


def test_trained_weights_in_half_precision_are_refused():
    half = models.tiny()[0].to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"is trained in torch.bfloat16.*model_init_kwargs"):
        trainer(Recorded, table(TABLE), N=32, model=half, bf16=False)
    # frozen ones below adapters may be
    half.requires_grad_(False)
    next(half.parameters()).requires_grad_(True).data = next(half.parameters()).data.float()
    trainer(Recorded, table(TABLE), N=32, model=half, bf16=False)


def test_unknown_option_is_named():
    with pytest.raises(TypeError, match="tea has no option 'beta'"):
        trainer(Recorded, table(TABLE), N=32, estimator="tea", estimator_options={"beta": 1})


@pytest.mark.parametrize(
    ("key", "change", "settings", "message"),
    [
        ("advantages", lambda a: a.flip(0), {"N": 32}, "another order than rewards.*trl==1.16.0"),
        ("completion_mask", torch.ones_like, SPLIT, "other rollouts count as truncated"),
    ],
)
def test_other_inner_workings_are_noticed(key, change, settings, message, monkeypatch):
    original = trl.GRPOTrainer._generate_and_score_completions

    def changed(self, inputs):
        output = original(self, inputs)
        return {**output, key: change(output[key])}

    monkeypatch.setattr(trl.GRPOTrainer, "_generate_and_score_completions", changed)
    with pytest.raises(RuntimeError, match=message):
        step(Recorded, table(TABLE), **settings)


def test_missing_method_is_noticed(monkeypatch):
    monkeypatch.delattr(trl.GRPOTrainer, "_calculate_rewards")
    with pytest.raises(RuntimeError, match="GRPOTrainer has no method _calculate_rewards"):
        trainer(Recorded, table(TABLE), N=32)


# --- a hook that TRL may get ----------------------------------------------------------------------


def with_hook(call):
    """Return TRL's method with the hook of huggingface/trl#7298 where that puts it."""
    source = textwrap.dedent(inspect.getsource(trl.GRPOTrainer._generate_and_score_completions))
    line = "advantages = torch.nan_to_num(advantages, nan=0.0)\n"
    assert source.count(line) == 1
    source = source.replace(line, f"{line}    {call}\n")
    namespace = dict(vars(grpo_trainer))
    exec(source, namespace)
    return namespace["_generate_and_score_completions"]


def test_upstream_hook_is_answered(monkeypatch):
    method = with_hook("advantages = self._transform_advantages(advantages)")
    monkeypatch.setattr(trl.GRPOTrainer, "_generate_and_score_completions", method)
    built = step(Recorded, table(TABLE), N=32, estimator="linear_tea")
    expected = bridge("linear_tea", TABLE, m=4)
    assert built._hooked
    assert torch.equal(built.scored[0], expected)
    assert list(built._logs["advantages"]) == expected.tolist()


def test_hook_whose_answer_is_changed_is_noticed(monkeypatch):
    method = with_hook("advantages = 2.0 * self._transform_advantages(advantages)")
    monkeypatch.setattr(trl.GRPOTrainer, "_generate_and_score_completions", method)
    with pytest.raises(RuntimeError, match="advantages changed after the hook"):
        step(Recorded, table(TABLE), N=32, estimator="linear_tea")
