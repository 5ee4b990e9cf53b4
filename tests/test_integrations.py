"""How a batch becomes groups, and the adapter of SkyRL.

SkyRL brings its own torch, so CI does not have it: there a stand-in makes SkyRL's calls. The tests
called "real" are of SkyRL itself.
"""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

pytest.importorskip("torch")

import torch

from tea_stats import ESTIMATORS, torch_bridge
from tea_stats.integrations import groups, skyrl
from tests import trainer_stand_ins
from tests.trainer_stand_ins import GROUPS, HAVE_SKYRL, MASK, REWARDS, TOKENS, by_hand

pytestmark = [
    pytest.mark.torch,
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


def test_infinite_rewards_are_refused():
    rewards = REWARDS.clone()
    rewards[3] = torch.inf
    with pytest.raises(ValueError, match="inf"):
        groups.batch_advantages("rloo", rewards, GROUPS, 32)


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


def test_registering_checks_the_settings():
    with pytest.raises(ValueError, match="estimator 'best' is unknown"):
        skyrl.register("best", N=32)
    with pytest.raises(ValueError, match="N is 0"):
        skyrl.register("tea", N=0)
    with pytest.raises(TypeError, match="tea has no option 'beta'"):
        skyrl.register("tea", N=32, beta=1.0)


# --- importing ------------------------------------------------------------------------------------


def test_importing_the_package_loads_no_trainer_and_no_torch():
    code = "import sys, tea_stats.integrations; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "trl", "verl", "skyrl", "transformers"}
