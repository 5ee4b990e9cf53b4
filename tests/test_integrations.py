"""How a batch becomes groups, and the adapter of SkyRL.

SkyRL brings its own torch, so CI does not have it: there a stand-in makes SkyRL's calls. The tests
called "real" are of SkyRL itself.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st

pytest.importorskip("torch")

import torch

from tea_stats import ESTIMATORS, batch_report, torch_bridge
from tea_stats.integrations import groups, skyrl, slime
from tests import trainer_stand_ins
from tests.trainer_stand_ins import GROUPS, HAVE_SKYRL, MASK, REWARDS, TOKENS, by_hand

pytestmark = [
    pytest.mark.torch,
    # batches of tests are small
    pytest.mark.filterwarnings("ignore:a batch has .* group"),
    # warnings of SkyRL and its packages while they are imported
    *([pytest.mark.filterwarnings("ignore")] if HAVE_SKYRL else []),
]

NAN = float("nan")

# --- groups -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tea", "linear_tea", "max_at_k", "rloo", "cvar"])
def test_groups_are_those_of_the_labels(name):
    result = groups.batch_advantages(name, REWARDS, GROUPS, 32)
    assert torch.equal(result, by_hand(name))
    numbers = torch.tensor(["abc".index(label) for label in GROUPS])
    for labels in (numbers, numbers.numpy(), np.array(GROUPS, dtype=object)):
        assert torch.equal(groups.batch_advantages(name, REWARDS, labels, 32), result)


def test_estimators_that_pool_see_the_groups_of_one_size():
    rng = np.random.default_rng(0)
    table = torch.from_numpy(rng.normal(size=(6, 8)))
    order = torch.from_numpy(rng.permutation(48))
    labels = torch.arange(6).repeat_interleave(8)
    result = groups.batch_advantages("adaptive_tea", table.flatten()[order], labels[order], 128)
    expected = torch_bridge.advantages("adaptive_tea", table, 128).flatten()[order]
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=24),
    seed=st.integers(0, 2**32 - 1),
    missing=st.floats(0, 0.5),
)
def test_order_of_the_batch_does_not_matter(labels, seed, missing):
    rng = np.random.default_rng(seed)
    rewards = torch.from_numpy(rng.normal(size=len(labels)))
    rewards[torch.from_numpy(rng.random(len(labels)) < missing)] = torch.nan
    order = rng.permutation(len(labels))
    if max(np.unique(labels, return_counts=True)[1]) < 2:
        with pytest.raises(ValueError, match="groups have m = 1 rollouts"):
            groups.batch_advantages("max_at_k", rewards, labels, 8)
        return
    result = groups.batch_advantages("max_at_k", rewards, labels, 8)
    mixed = groups.batch_advantages("max_at_k", rewards[order], np.array(labels)[order], 8)
    torch.testing.assert_close(mixed, result[order], rtol=1e-12, atol=1e-12)
    assert not result[rewards.isnan()].any()
    assert torch.isfinite(result).all()


def test_groups_too_small_are_left_out_and_counted():
    table = torch.tensor([[1.0, 2.0, 3.0], [NAN, 5.0, 1.0], [NAN, NAN, 1.0], [NAN, NAN, NAN]])
    advantages, left_out = groups.table_advantages("rloo", table, 16)
    assert left_out.tolist() == [False, False, True, True]
    expected = [[-1.5, 0.0, 1.5], [0.0, 4.0, -4.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert advantages.tolist() == expected


def test_every_rollout_needs_a_label():
    with pytest.raises(ValueError, match="3 group labels and 10 rewards"):
        groups.batch_advantages("rloo", REWARDS, ["a", "b", "c"], 32)
    with pytest.raises(ValueError, match="the group label of rollout 1 is None; give the prompt"):
        groups.batch_advantages("rloo", REWARDS[:3], ["a", None, "a"], 32)


@pytest.mark.parametrize(
    ("label", "error"),
    [
        (None, ValueError), (NAN, ValueError), (np.nan, ValueError), (float("inf"), ValueError),
        (-1, ValueError), (-1.0, ValueError), (np.int64(-1), ValueError), ("", ValueError),
        (" ", ValueError), (np.datetime64("NaT"), ValueError), (["a"], TypeError),
        ({"uid": 1}, TypeError), (np.zeros(2), TypeError), (torch.zeros(2), TypeError),
    ],
)  # fmt: skip
@pytest.mark.parametrize("argument", ["groups", "rollouts"])
def test_missing_and_odd_labels_are_refused(label, error, argument):
    good = [0 if isinstance(label, int | np.integer) else "a"] * 3
    odd = {"groups": good, argument: [good[0], label, label]}
    with pytest.raises(error, match=f"the {argument[:-1]} label of rollout 1 is .*; give"):
        groups.batch_advantages("rloo", REWARDS[:3], odd.pop("groups"), 32, **odd)


def test_labels_of_several_types_are_refused():
    for labels in (["1", 1, "1"], [1, 1.0, 1], [True, 1, 1]):
        with pytest.raises(
            TypeError, match="the group label of rollout 1 is .*; give labels of one"
        ):
            groups.batch_advantages("rloo", REWARDS[:3], labels, 32)


def test_numbers_in_tensors_are_equal_by_value():
    labels = ["abc".index(label) for label in GROUPS]
    expected = groups.batch_advantages("rloo", REWARDS, labels, 32)
    for kind in (torch.tensor, np.int64, np.array):
        result = groups.batch_advantages("rloo", REWARDS, [kind(i) for i in labels], 32)
        assert torch.equal(result, expected)


def test_what_auto_tea_takes_a_batch_for_is_logged(caplog):
    """On request, by name and as numbers; the same as the report on the rewards that exist."""
    rewards = REWARDS.clone()
    rewards[3] = -torch.inf
    with caplog.at_level("INFO", logger="tea_stats"):
        groups.batch_advantages("rloo", rewards, GROUPS, 32)
        assert not any("auto_tea" in message for message in caplog.messages)
        groups.batch_advantages("auto_tea", rewards, GROUPS, 32)
    (logged,) = (text for text in caplog.messages if text.startswith("auto_tea"))
    for key in ("auto_tea/law_none", "auto_tea/effective_N", "auto_tea/few_valued"):
        assert key in logged
    table = torch.tensor([[0.0, 1.0, torch.nan], [0.0, 2.0, 1.0]])
    found = groups.batch_metrics("auto_tea", table, 32)
    report = batch_report(table.numpy(), 32, ~np.isnan(table.numpy())).metrics()
    assert found == {f"auto_tea/{key}": value for key, value in report.items()}
    assert groups.batch_metrics("tea", table, 32) == {}


def test_rewards_of_minus_infinity_are_missing_and_counted(caplog):
    rewards, missing = REWARDS.clone(), REWARDS.clone()
    rewards[[3, 7]], missing[[3, 7]] = -torch.inf, torch.nan
    result = groups.batch_advantages("auto_tea", rewards, GROUPS, 32)
    assert caplog.messages[0].startswith("2 of 10 rollouts have no reward")
    assert torch.equal(result, groups.batch_advantages("auto_tea", missing, GROUPS, 32))
    assert not result[[3, 7]].any() and result[[0, 5, 8]].any()
    rewards[3] = torch.inf
    with pytest.raises(ValueError, match=r"is inf; drop or repair such rollouts"):
        groups.batch_advantages("rloo", rewards, GROUPS, 32)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float16])
def test_rewards_of_any_dtype_give_floats(dtype):
    rewards = torch.tensor([1, 0, 1, 0]).to(dtype)
    expected = torch.tensor([2 / 3, -2 / 3, 2 / 3, -2 / 3])
    advantages = groups.batch_advantages("rloo", rewards, "aaaa", 16)
    torch.testing.assert_close(advantages.float(), expected, rtol=1e-3, atol=0)
    tokens = torch.tensor([[0, 1], [0, 0], [0, 1], [0, 0]]).to(dtype)
    by_token = groups.outcome_advantages("rloo", tokens, torch.ones(4, 2), "aaaa", 16)
    torch.testing.assert_close(by_token[:, 1].float(), expected, rtol=1e-3, atol=0)


def test_a_rollout_without_a_token_leaves_its_group():
    tokens = torch.tensor([[0.0, 100.0], [0.0, 1.0], [0.0, 0.0]])
    mask = torch.tensor([[0, 0], [1, 1], [1, 1]])
    advantages = groups.outcome_advantages("rloo", tokens, mask, "aaa", 16)
    assert advantages[:, 0].tolist() == [0.0, 1.0, -1.0]


def test_parts_of_a_rollout_count_once_and_share_its_advantage():
    parts = torch.tensor([0, 0, 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 9, 9])
    # the same numbers in another group are other rollouts
    names = [0, 0, 0, 1, 1, 0, 0, 0, 2, 2, 3, 4, 3, 3]
    result = groups.batch_advantages(
        "tea", REWARDS[parts], [GROUPS[i] for i in parts], 32, rollouts=names
    )
    assert len({(GROUPS[i], name) for i, name in zip(parts, names, strict=True)}) == 10
    assert torch.equal(result, by_hand("tea")[parts])
    with pytest.raises(ValueError, match="samples 0 and 1 are of one rollout, 7, and have the rew"):
        groups.batch_advantages("rloo", REWARDS[:3], "aaa", 32, rollouts=[7, 7, 8])


def test_one_number_gives_the_batch_a_root_mean_square_of_one():
    plain = groups.batch_advantages("tea", REWARDS, GROUPS, 32)
    scaled = groups.batch_advantages("tea", REWARDS * 5.0 + 3.0, GROUPS, 32, unit_rms=True)
    # the group of one is left out
    assert scaled.square().sum().item() == pytest.approx(9.0, rel=1e-12)
    torch.testing.assert_close(scaled / scaled.norm(), plain / plain.norm(), rtol=1e-9, atol=1e-12)


def test_few_groups_are_reported_once_to_estimators_that_pool(monkeypatch):
    monkeypatch.setattr(groups, "_warned", set())
    rewards, labels = REWARDS.repeat(8), np.repeat(np.arange(16), 5)
    with pytest.warns(UserWarning, match="a batch has 3 groups, and auto_tea learns.*16 or more"):
        groups.batch_advantages("auto_tea", REWARDS, GROUPS, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, batch in (("auto_tea", (REWARDS, GROUPS)), ("adaptive_tea", (rewards, labels))):
            groups.batch_advantages(name, *batch, 32)
        groups.batch_advantages("linear_tea", REWARDS, GROUPS, 32)


def test_missing_rewards_do_not_stall_the_first_step():
    rng = np.random.default_rng(0)

    def seconds(sizes):
        table = torch.from_numpy(rng.normal(size=(len(sizes), 23)))
        table[torch.arange(23) >= torch.tensor(sizes)[:, None]] = torch.nan
        start = time.process_time()
        groups.table_advantages("adaptive_tea", table, 101)
        return time.process_time() - start

    seconds([23] * 2)
    # a new size took .9 s when nothing was kept, and takes .02 s
    assert seconds([11, 13, 17, 19, 21, 22]) < 1.5


@pytest.mark.parametrize("name", ESTIMATORS)
def test_settings_are_refused_as_the_estimator_refuses_them(name):
    if ESTIMATORS[name].min_m > 1:
        with pytest.raises(ValueError, match="m = 1 rollouts"):
            groups.check_settings(name, 1, 16, {})
    with pytest.raises(ValueError, match="N is 0"):
        groups.check_settings(name, 16, 0, {})
    with pytest.raises(TypeError, match="has no option 'wrong'"):
        groups.check_settings(name, 16, 16, {"wrong": 1})
    groups.check_settings(name, 16, 64, {})


# --- SkyRL ----------------------------------------------------------------------------------------


@pytest.fixture
def ppo_utils(monkeypatch):
    """Return SkyRL's module of advantage estimators."""
    if not HAVE_SKYRL:
        return trainer_stand_ins.skyrl(monkeypatch)
    module = importlib.import_module(trainer_stand_ins.SKYRL)
    monkeypatch.setattr(
        module.AdvantageEstimatorRegistry,
        "_functions",
        dict(module.AdvantageEstimatorRegistry._functions),
    )
    return module


def test_skyrl_advantages(ppo_utils):
    assert skyrl.register("tea", N=32, alpha=0.5) == "tea"
    assert skyrl.register("rloo", N=32, name="rloo_32") == "rloo_32"
    for name, expected in {"tea": by_hand("tea", alpha=0.5), "rloo_32": by_hand("rloo")}.items():
        advantages, returns = ppo_utils.compute_advantages_and_returns(
            token_level_rewards=TOKENS,
            response_mask=MASK,
            index=GROUPS,
            adv_estimator=name,
            config=None,
        )
        torch.testing.assert_close(advantages, expected.float()[:, None] * MASK, rtol=1e-6, atol=0)
        assert torch.equal(advantages, returns)


def test_skyrls_padding_has_no_advantage(ppo_utils):
    # SkyRL pads with copies of the first row, each a group of its own
    skyrl.register("linear_tea", N=32)
    rows = [*range(10), 0, 0]
    advantages, _ = ppo_utils.compute_advantages_and_returns(
        token_level_rewards=TOKENS[rows],
        response_mask=MASK[rows],
        index=[*GROUPS, "pad0", "pad1"],
        adv_estimator="linear_tea",
        config=None,
    )
    assert not advantages[10:].any()
    expected = by_hand("linear_tea").float()[:, None] * MASK
    torch.testing.assert_close(advantages[:10], expected, rtol=1e-6, atol=0)


@pytest.mark.skipif(not HAVE_SKYRL, reason="SkyRL is not installed")
def test_real_skyrls_rloo_is_ours(ppo_utils):
    ppo_utils.repopulate_all_registries()
    rloo, _ = ppo_utils.compute_advantages_and_returns(
        TOKENS.clone(), MASK, np.array(GROUPS), "rloo", config=None
    )
    expected = by_hand("rloo").float()[:, None] * MASK
    torch.testing.assert_close(rloo, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not HAVE_SKYRL, reason="SkyRL is not installed")
def test_real_skyrl_can_send_it_to_its_workers(ppo_utils):
    skyrl.register("tea", N=32)
    cloudpickle = pytest.importorskip("cloudpickle")
    function = ppo_utils.AdvantageEstimatorRegistry.get("tea")
    sent = cloudpickle.loads(cloudpickle.dumps(function))
    tea, _ = sent(token_level_rewards=TOKENS, response_mask=MASK, index=GROUPS)
    torch.testing.assert_close(tea, by_hand("tea").float()[:, None] * MASK, rtol=1e-6, atol=0)


def test_unit_rms_reaches_the_advantages():
    batch = {"token_level_rewards": TOKENS, "response_mask": MASK, "index": GROUPS}
    advantages, _ = skyrl.advantage_function("tea", N=32, unit_rms=True)(**batch)
    expected = groups.batch_advantages("tea", REWARDS.float(), GROUPS, 32, unit_rms=True)
    torch.testing.assert_close(advantages, expected[:, None] * MASK, rtol=1e-6, atol=0)


def test_registering_checks_the_settings():
    with pytest.raises(ValueError, match="estimator 'best' is unknown"):
        skyrl.register("best", N=32)
    with pytest.raises(ValueError, match="N is 0"):
        skyrl.register("tea", N=0)
    with pytest.raises(TypeError, match="tea has no option 'beta'"):
        skyrl.register("tea", N=32, beta=1.0)


# --- slime ----------------------------------------------------------------------------------------


def samples(rewards, labels, rollouts=None):
    """Return what slime hands over, in the part that counts here."""
    rollouts = [None] * len(labels) if rollouts is None else rollouts
    return [
        SimpleNamespace(group_index=label, rollout_id=rollout, get_reward_value=lambda _, r=r: r)
        for r, label, rollout in zip(rewards, labels, rollouts, strict=True)
    ]


def test_slime_takes_whole_groups_nested_or_not():
    args = SimpleNamespace(tea_stats_N=32, tea_stats_estimator="tea")
    batch = samples(REWARDS.tolist(), GROUPS)
    raw, advantages = slime.reward_post_process(args, batch)
    assert (raw, advantages) == (REWARDS.tolist(), by_hand("tea").tolist())
    assert slime.reward_post_process(args, [batch[:6], batch[6:]]) == (raw, advantages)
    assert slime.reward_post_process(args, []) == ([], [])
    args.tea_stats_unit_rms, args.tea_stats_options = True, {"alpha": 0.5}
    scaled = torch.tensor(slime.reward_post_process(args, batch)[1])
    assert scaled.square().sum().item() == pytest.approx(9.0)


def test_slimes_samples_of_one_rollout_count_once():
    args = SimpleNamespace(tea_stats_N=16, tea_stats_estimator="rloo")
    batch = samples([1.0, 1.0, 1.0, 0.0, None], [0] * 5, [0, 0, 0, 1, 2])
    assert slime.reward_post_process(args, batch)[1] == [1.0, 1.0, 1.0, -1.0, 0.0]
    with pytest.raises(ValueError, match="samples 0 and 1 are of one rollout"):
        slime.reward_post_process(args, samples([1.0, 2.0], [0, 0], [5, 5]))
    with pytest.raises(ValueError, match="the rollout label of rollout 1 is None"):
        slime.reward_post_process(args, samples([1.0, 2.0], [0, 0], [5, None]))


def test_slime_needs_N():
    with pytest.raises(ValueError, match="tea_stats_N is missing"):
        slime.reward_post_process(SimpleNamespace(), samples([1.0, 2.0], [0, 0]))


# --- importing ------------------------------------------------------------------------------------


def test_importing_the_package_loads_no_trainer_and_no_torch():
    code = "import sys, tea_stats.integrations; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "trl", "verl", "skyrl", "transformers"}
