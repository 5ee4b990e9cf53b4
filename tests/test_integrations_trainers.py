"""The adapters of prime-rl, OpenRLHF, NeMo-RL, ROLL, rLLM, Tinker and ms-swift.

These bring their own torch, or are in no package index, so CI does not have them: there stand-ins
make their calls. Where one is installed its own code is run instead, from the place where it calls
for advantages; docs/trainers.md says which were.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tea_stats import torch_bridge
from tea_stats.integrations import (
    groups,
    ms_swift,
    nemo_rl,
    openrlhf,
    prime_rl,
    replacing,
    rllm,
    roll,
    tinker,
)
from tea_stats.integrations.recent import RecentGroups
from tests import trainer_drives as drives, trainer_stand_ins as stand_ins
from tests.trainer_drives import TABLE, by_label
from tests.trainer_stand_ins import GROUPS, REWARDS, by_hand

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),
]

NAN = float("nan")

# --- groups that come as lists, or one at a time ---


@pytest.mark.parametrize("name", ["tea", "linear_tea", "max_at_k", "rloo"])
def test_groups_as_lists(name):
    result = groups.nested_advantages(name, by_label(REWARDS.tolist()), 32)
    assert [a.tolist() for a in result] == by_label(by_hand(name).tolist())
    missing = groups.nested_advantages(name, [[1.0, None, 3.0, 2.0], [], [NAN, 1.0, 0.0, 5.0]], 32)
    assert [len(a) for a in missing] == [4, 0, 4]
    assert missing[0][1] == missing[2][0] == 0.0
    expected = torch_bridge.advantages(name, torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64), 32)
    assert torch.equal(missing[0][[0, 2, 3]], expected)
    assert groups.nested_advantages(name, [], 32) == []


@pytest.mark.parametrize("name", ["auto_tea", "adaptive_tea", "beta_binomial", "tea"])
def test_a_group_is_seen_in_the_batch_of_those_before_it(name):
    rng = np.random.default_rng(0)
    batch = torch.from_numpy(
        rng.normal(size=(20, 8))
        if name != "beta_binomial"
        else rng.integers(0, 2, (20, 8)).astype(float)
    )
    recent = RecentGroups(name, 64, keep=15)
    one_by_one = [recent.advantages(row.tolist()) for row in batch]
    for place in (0, 4, 19):
        seen = batch[max(place - 15, 0) : place + 1]
        expected = torch_bridge.advantages(name, seen, 64)[-1]
        torch.testing.assert_close(one_by_one[place], expected, rtol=1e-12, atol=1e-12)
    assert len(recent.recent) == (0 if name == "tea" else 15)


def test_groups_that_shrink_or_fail_do_not_end_a_run():
    recent = RecentGroups("max_at_k", 64, unit_rms=True)
    full = recent.advantages([0.0, 1.0, 2.0, 5.0])
    assert full.square().mean().item() == pytest.approx(1.0)
    assert recent.advantages([3.0]).tolist() == [0.0]
    assert recent.advantages([None, None]).tolist() == [0.0, 0.0]
    smaller = recent.advantages([1.0, None, 2.0])
    assert smaller[1] == 0.0 and smaller[2] > 0.0
    assert recent.advantages([]).tolist() == []
    with pytest.raises(ValueError, match="keep is -1; give the number of earlier groups"):
        RecentGroups("tea", 64, keep=-1)
    with pytest.raises(ValueError, match=r"is inf; drop or repair such rollouts"):
        recent.advantages([1.0, float("inf")])


def test_one_number_for_all_groups_that_are_kept():
    recent = RecentGroups("tea", 64, unit_rms=True, keep=1)
    for row in TABLE:
        last = recent.advantages(row.tolist())
    pair = torch_bridge.advantages("tea", TABLE[1:], 64)
    torch.testing.assert_close(last, (pair / pair.square().mean().sqrt())[1], rtol=1e-9, atol=0)


def test_few_groups_that_are_kept_are_reported(monkeypatch):
    monkeypatch.setattr(groups, "_warned", set())
    with pytest.warns(UserWarning, match="a batch has 8 groups, and auto_tea learns.*raise keep"):
        RecentGroups("auto_tea", 64, keep=7)


# --- each trainer, through its own call ---

DRIVES = [
    drives.drive_prime_rl,
    drives.drive_nemo_rl,
    drives.drive_rllm,
    drives.drive_tinker,
    drives.drive_swift_dynamic,
]


@pytest.mark.parametrize("drive", DRIVES, ids=lambda f: f.__name__.removeprefix("drive_"))
@pytest.mark.parametrize(
    ("name", "options"), [("tea", {"alpha": 0.5}), ("linear_tea", {}), ("max_at_k", {"k": 3})]
)
def test_uneven_groups_get_the_advantages_of_the_estimator(drive, name, options, monkeypatch):
    result = drive(monkeypatch, name, **options)
    expected = by_hand(name, **options)
    assert expected.abs().max() > 1.0
    torch.testing.assert_close(result.double(), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("drive", DRIVES[1:], ids=lambda f: f.__name__.removeprefix("drive_"))
def test_unit_rms_reaches_each_trainer(drive, monkeypatch):
    result = drive(monkeypatch, "tea", unit_rms=True)
    expected = groups.batch_advantages("tea", REWARDS, GROUPS, 32, unit_rms=True)
    torch.testing.assert_close(result.double(), expected, rtol=2e-6, atol=1e-6)


# --- trainers whose groups are blocks of the batch ---


@pytest.mark.parametrize("name", ["tea", "linear_tea", "max_at_k"])
def test_openrlhf(name, monkeypatch):
    result, mask, _ = drives.drive_openrlhf(monkeypatch, name)
    expected = torch_bridge.advantages(name, TABLE, 32).flatten().float()
    torch.testing.assert_close(result, expected[:, None] * mask, rtol=1e-5, atol=1e-6)


def test_openrlhf_subtracts_its_penalty_from_each_token_on(monkeypatch):
    result, mask, kl = drives.drive_openrlhf(monkeypatch, "tea", penalty=0.2)
    expected = torch_bridge.advantages("tea", TABLE, 32).flatten().float()
    for row in range(12):
        for token in range(5):
            ahead = sum(float(kl[row, t]) for t in range(token, 5) if mask[row, t])
            value = (float(expected[row]) - 0.2 * ahead) * float(mask[row, token])
            assert float(result[row, token]) == pytest.approx(value, abs=1e-5)


def test_openrlhfs_other_estimators_are_refused(monkeypatch):
    made = object.__new__(openrlhf.maker_class(object, "tea", N=32))
    advantage = SimpleNamespace(estimator="reinforce")
    made.strategy = SimpleNamespace(args=SimpleNamespace(algo=SimpleNamespace(advantage=advantage)))
    with pytest.raises(ValueError, match="is 'reinforce', which normalises.*estimator dr_grpo"):
        made.compute_advantages_and_returns([])


def test_openrlhfs_actors_are_replaced(monkeypatch):
    class Trainer:
        def __init__(self, strategy):
            self.experience_maker = type("Maker", (), {"compute_advantages_and_returns": None})()

    def remote(cls):
        return SimpleNamespace(__ray_metadata__=SimpleNamespace(modified_class=cls))

    trainers = stand_ins.install(
        monkeypatch, "openrlhf.trainer.ppo_trainer", PPOTrainer=remote(Trainer)
    )
    home = sys.modules["openrlhf.trainer"]
    home.ppo_trainer = trainers
    home.ppo_trainer_async = SimpleNamespace(TrainingActor=remote(Trainer))
    stand_ins.install(monkeypatch, "ray", remote=remote)
    openrlhf.register("tea", N=32)
    for actor in (home.ppo_trainer.PPOTrainer, home.ppo_trainer_async.TrainingActor):
        maker = actor.__ray_metadata__.modified_class("strategy").experience_maker
        assert type(maker).__name__ == "BestOfNExperienceMaker"
        assert type(maker).__mro__[1].__name__ == "Maker"


@pytest.mark.parametrize("name", ["tea", "linear_tea", "max_at_k"])
def test_roll(name, monkeypatch):
    result = drives.drive_roll(monkeypatch, name)
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 2] = False
    expected = torch_bridge.advantages(name, TABLE, 32, mask=mask).flatten().float()
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"adv_estimator": "grpo"}, "adv_estimator is 'grpo'.*set adv_estimator: reinforce"),
        ({"gamma": 0.99}, "gamma is 0.99.*set gamma: 1.0"),
        ({"whiten_advantages": True}, "set whiten_advantages: False"),
        ({"whiten_rewards": True}, "set whiten_rewards: False"),
        ({"reward_clip": 10}, "reward_clip is 10.*set reward_clip: null"),
        ({"advantage_clip": 2.0}, "set advantage_clip: null"),
    ],
)
def test_rolls_settings_that_change_advantages_are_refused(change, cure):
    made = roll.reward_postprocess_function("tea", N=32)
    data = SimpleNamespace(batch={"response_level_rewards": TABLE.flatten()})
    with pytest.raises(ValueError, match=cure):
        made(data, drives.roll_config(**change))
    with pytest.raises(ValueError, match="11 rows, no multiple of num_return_sequences = 4"):
        made(
            SimpleNamespace(batch={"response_level_rewards": TABLE.flatten()[:11]}),
            drives.roll_config(),
        )


def test_swifts_groups_of_one_size(monkeypatch):
    module = drives.swift_module(monkeypatch)
    ms_swift.register("linear_tea", N=32)
    rewards = TABLE.flatten()
    per_function = torch.stack([rewards, torch.full_like(rewards, NAN)], dim=1)
    per_function[5, 0] = NAN
    weights = torch.tensor([2.0, 1.0], dtype=torch.float64)
    settings = {"advantage_estimator": "rloo", "scale_rewards": "none", "kl_in_reward": True}
    kl = torch.linspace(0, 1, 12, dtype=torch.float64)
    advantages, returned = module.compute_advantages(
        per_function, weights, num_generations=4, beta=0.5, kl_values=kl, **settings
    )
    expected = 2.0 * rewards - 0.5 * kl
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 1] = False
    by_bridge = torch_bridge.advantages("linear_tea", expected.reshape(3, 4), 32, mask=mask)
    torch.testing.assert_close(advantages, by_bridge.flatten(), rtol=1e-12, atol=1e-12)
    assert torch.equal(returned[[0, 11]], expected[[0, 11]]) and returned[5] == -0.5 * kl[5]
    # an evaluation with one rollout a prompt has no advantages
    assert not module.compute_advantages(per_function, weights, num_generations=1, **settings)[
        0
    ].any()


# --- what is special to one ---


def test_prime_rls_agents_are_groups_of_their_own(monkeypatch):
    if not stand_ins.HAVE_PRIME_RL:
        stand_ins.prime_rl(monkeypatch)
    made = prime_rl.algorithm("rloo", N=16)(SimpleNamespace(), policy_pool=None)
    rewards = [1.0, 10.0, 3.0, None, 30.0, 5.0]
    agents = ["first", "second", "first", "first", "second", "frozen"]
    episodes = stand_ins.traces(rewards, agents)
    asyncio.run(made.score_group(episodes))
    assert stand_ins.credit(episodes) == [-2.0, -20.0, 2.0, None, 20.0, None]


def test_prime_rls_environments_do_not_share_what_they_learn(monkeypatch):
    if not stand_ins.HAVE_PRIME_RL:
        stand_ins.prime_rl(monkeypatch)
    kind = prime_rl.algorithm("auto_tea", N=64)
    first, second = (kind(SimpleNamespace(), policy_pool=None) for _ in range(2))
    rng = np.random.default_rng(0)
    for row in rng.normal(size=(20, 8)):
        asyncio.run(first.score_group(stand_ins.traces(row.tolist())))
    assert len(first.agents["agent"].recent) == 20 and not second.agents


def test_prime_rls_length_penalty_is_refused(monkeypatch):
    if not stand_ins.HAVE_PRIME_RL:
        stand_ins.prime_rl(monkeypatch)
    kind = prime_rl.algorithm("tea", N=64)
    with pytest.raises(ValueError, match="length_penalty is set, which tea does not know"):
        kind(SimpleNamespace(length_penalty=object()), policy_pool=None)


def test_nemo_rls_filtered_rollout_leaves_its_group(monkeypatch):
    made = nemo_rl.advantage_class("rloo", N=16)()
    prompts, mask = torch.tensor([[1], [1], [1], [2], [2]]), torch.ones(5, 3)
    mask[1] = 0.0
    values = made.compute_advantage(prompts, torch.tensor([0.0, 9.0, 2.0, 5.0, 1.0]), mask)
    assert values[:, 0].tolist() == [-2.0, 0.0, 2.0, 4.0, -4.0]


@pytest.mark.parametrize(
    "make",
    [
        prime_rl.algorithm, nemo_rl.advantage_class, rllm.advantage_function,
        tinker.advantage_function, ms_swift.advantage_functions, roll.reward_postprocess_function,
        lambda *args, **options: openrlhf.maker_class(object, *args, **options),
    ],
)  # fmt: skip
def test_each_checks_its_settings_before_the_run(make, monkeypatch):
    if not stand_ins.HAVE_PRIME_RL:
        stand_ins.prime_rl(monkeypatch)
    with pytest.raises(ValueError, match="estimator 'best' is unknown"):
        make("best", 32)
    with pytest.raises(ValueError, match="N is 0"):
        make("tea", 0)
    with pytest.raises(TypeError, match="tea has no option 'beta'"):
        make("tea", 32, beta=1.0)


def test_another_version_of_a_trainer_is_noticed(monkeypatch):
    home = stand_ins.install(monkeypatch, "some_trainer.core", other=1)
    with pytest.raises(RuntimeError, match="some_trainer.core has no compute: this version"):
        replacing.replace(home, "compute", object())


def test_a_module_is_changed_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "late_module_of_a_trainer.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    name = "late_module_of_a_trainer"
    replacing.when_imported(name, lambda module: setattr(module, "value", module.value + 1))
    module = importlib.import_module(name)
    assert module.value == 2
    # loaded: at once
    replacing.when_imported(name, lambda module: setattr(module, "value", 7))
    assert module.value == 7
    monkeypatch.delitem(sys.modules, name)
    assert importlib.import_module(name).value == 1
