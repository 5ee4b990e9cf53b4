"""The adapters of verl, SkyRL, rLLM and slime, and how a batch becomes groups.

verl and SkyRL are the real packages where these are installed. They bring their own torch, so CI
does not have them: there stand-ins call us as they do.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

import tea_stats
from tea_stats import ESTIMATORS, torch_bridge
from tea_stats.integrations import _groups, rllm, skyrl, slime
from tests import trainer_stand_ins
from tests.trainer_stand_ins import HAVE_SKYRL, HAVE_VERL, Sample

pytestmark = [
    pytest.mark.torch,
    # what trainers and their packages say while they are imported
    *(pytest.mark.filterwarnings("ignore") for _ in range(HAVE_VERL or HAVE_SKYRL)),
]

ROOT = Path(__file__).parents[1]
NAN = float("nan")

#: three prompts, their rollouts mixed, in groups of five, four and one
GROUPS = ["b", "a", "a", "b", "c", "b", "a", "b", "b", "a"]
REWARDS = torch.tensor([0.5, 1.0, -2.0, 3.0, 7.0, 0.0, 1.5, 2.5, -1.0, 4.0], dtype=torch.float64)


def by_hand(name, N=32, rewards=REWARDS, **options):
    """Return the advantages of REWARDS, one group at a time, 0 for the single rollout."""
    found = torch.zeros(len(GROUPS), dtype=torch.float64)
    for label in "ab":
        rows = [i for i, group in enumerate(GROUPS) if group == label]
        found[rows] = torch_bridge.advantages(name, rewards[rows], N, **options)
    return found


# --- groups -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tea", "linear_tea", "max_at_k", "rloo", "cvar"])
def test_groups_are_those_of_the_labels(name):
    found = _groups.batch_advantages(name, REWARDS, GROUPS, 32, {})
    assert torch.equal(found, by_hand(name))
    numbers = torch.tensor(["abc".index(label) for label in GROUPS])
    for labels in (numbers, numbers.numpy(), np.array(GROUPS, dtype=object)):
        assert torch.equal(_groups.batch_advantages(name, REWARDS, labels, 32, {}), found)


def test_estimators_that_pool_see_the_groups_of_one_size():
    rng = np.random.default_rng(0)
    table = torch.from_numpy(rng.normal(size=(6, 8)))
    order = torch.from_numpy(rng.permutation(48))
    labels = torch.arange(6).repeat_interleave(8)
    found = _groups.batch_advantages("adaptive_tea", table.flatten()[order], labels[order], 128, {})
    expected = torch_bridge.advantages("adaptive_tea", table, 128).flatten()[order]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


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
            _groups.batch_advantages("max_at_k", rewards, labels, 8, {})
        return
    found = _groups.batch_advantages("max_at_k", rewards, labels, 8, {})
    mixed = _groups.batch_advantages("max_at_k", rewards[order], np.array(labels)[order], 8, {})
    torch.testing.assert_close(mixed, found[order], rtol=1e-12, atol=1e-12)
    assert not found[rewards.isnan()].any()
    assert torch.isfinite(found).all()


def test_groups_too_small_are_left_out_and_counted():
    table = torch.tensor([[1.0, 2.0, 3.0], [NAN, 5.0, 1.0], [NAN, NAN, 1.0], [NAN, NAN, NAN]])
    found, left_out = _groups.table_advantages("rloo", table, 16, {})
    assert left_out.tolist() == [False, False, True, True]
    expected = [[-1.5, 0.0, 1.5], [0.0, 4.0, -4.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert found.tolist() == expected


def test_labels_and_rewards_have_to_match():
    with pytest.raises(ValueError, match="3 group labels and 10 rewards"):
        _groups.batch_advantages("rloo", REWARDS, ["a", "b", "c"], 32, {})


def test_infinite_rewards_are_refused():
    rewards = REWARDS.clone()
    rewards[3] = torch.inf
    with pytest.raises(ValueError, match="inf"):
        _groups.batch_advantages("rloo", rewards, GROUPS, 32, {})


@pytest.mark.parametrize("name", ESTIMATORS)
def test_settings_are_refused_as_the_estimator_refuses_them(name):
    if ESTIMATORS[name].min_m > 1:
        with pytest.raises(ValueError, match="m = 1 rollouts"):
            _groups.check_settings(name, 1, 16, {})
    with pytest.raises(ValueError, match="N is 0"):
        _groups.check_settings(name, 16, 0, {})
    with pytest.raises(TypeError, match="has no option 'wrong'"):
        _groups.check_settings(name, 16, 16, {"wrong": 1})
    _groups.check_settings(name, 16, 64, {})


# --- verl -----------------------------------------------------------------------------------------

#: token-level rewards and masks of ten responses of up to four tokens
MASK = (torch.arange(4) < torch.tensor([4, 1, 2, 3, 4, 2, 3, 1, 4, 2])[:, None]).float()
TOKENS = torch.zeros(10, 4).scatter_(
    1, (MASK.sum(1, keepdim=True) - 1).long(), REWARDS[:, None].float()
)


@pytest.fixture
def verl_registry(monkeypatch):
    """Return the names verl knows once our module is imported."""
    if not HAVE_VERL:
        trainer_stand_ins.verl(monkeypatch)
        monkeypatch.delitem(sys.modules, "tea_stats.integrations.verl", raising=False)
    importlib.import_module("tea_stats.integrations.verl")
    yield importlib.import_module(trainer_stand_ins.VERL).ADV_ESTIMATOR_REGISTRY
    if not HAVE_VERL:
        del sys.modules["tea_stats.integrations.verl"]


def test_verl_knows_all_estimators_that_it_does_not_have(verl_registry):
    assert set(ESTIMATORS) <= set(verl_registry)
    own = (
        {name for name in ESTIMATORS if not verl_registry[name].__module__.startswith("tea_stats")}
        if HAVE_VERL
        else {"grpo", "rloo"}
    )
    assert own == {"grpo", "rloo"}


@pytest.mark.parametrize(
    ("name", "options"), [("tea", {"alpha": 0.5}), ("auto_tea", {}), ("max_at_k", {"k": 3})]
)
def test_verl_advantages(verl_registry, name, options):
    config = {"adv_estimator": name, "tea_stats": {"N": 32, **options}}
    advantages, returns = verl_registry[name](
        token_level_rewards=TOKENS,
        response_mask=MASK,
        config=config,
        index=np.array(GROUPS, dtype=object),
        reward_baselines=None,
    )
    expected = _groups.batch_advantages(name, REWARDS, GROUPS, 32, options)
    torch.testing.assert_close(advantages, expected.float()[:, None] * MASK, rtol=1e-6, atol=0)
    assert torch.equal(advantages, returns)


def test_verl_without_N_says_where_it_belongs(verl_registry):
    for config in (None, {}, {"tea_stats": {"alpha": 0.5}}):
        with pytest.raises(ValueError, match=r"append for instance \+algorithm\.tea_stats\.N=128"):
            verl_registry["tea"](TOKENS, MASK, index=np.array(GROUPS), config=config)


def test_verl_without_groups_is_refused(verl_registry):
    with pytest.raises(ValueError, match="index is None: tea compares the rollouts of one prompt"):
        verl_registry["tea"](TOKENS, MASK, config={"tea_stats": {"N": 32}})


def test_entry_point_names_the_module_that_registers():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["verl.plugins"].values()
    assert module == "tea_stats.integrations.verl"
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    assert path.read_text().endswith("\nregister()\n")


@pytest.mark.skipif(not HAVE_VERL, reason="verl is not installed")
def test_real_verl_trains_with_it(tmp_path):
    # its own interpreter, because verl looks for plugins once, when it is imported
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (point,) = project["entry-points"]["verl.plugins"].items()
    (info / "entry_points.txt").write_text("[verl.plugins]\n{} = {}\n".format(*point))
    torch.save((GROUPS, MASK, TOKENS), tmp_path / "batch.pt")
    program = f"""
import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
import json, numpy as np, torch, verl
from hydra import compose, initialize_config_module
from verl.trainer.ppo.ray_trainer import compute_advantage
assert "tea_stats.integrations.verl" in sys.modules
GROUPS, MASK, TOKENS = torch.load({str(tmp_path / "batch.pt")!r})
overrides = ["algorithm.adv_estimator=tea", "+algorithm.tea_stats.N=32"]
overrides += ["+algorithm.tea_stats.alpha=0.5"]
several = ["+algorithm.tea_stats.N=32", "+algorithm.tea_stats.tails=[normal,gumbel]"]
with initialize_config_module("verl.trainer.config", version_base=None):
    config = compose("ppo_trainer", overrides).algorithm
    linear = compose("ppo_trainer", several).algorithm
data = verl.DataProto.from_dict(
    tensors={{"token_level_rewards": TOKENS, "response_mask": MASK}},
    non_tensors={{"uid": np.array(GROUPS, dtype=object)}},
)
for name in (config.adv_estimator, "linear_tea", "rloo", "rloo_vectorized"):
    settings = linear if name == "linear_tea" else config
    out = compute_advantage(data, name, config=settings).batch["advantages"]
    print("found", json.dumps(out.tolist()))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    assert len(lines) == 4, done.stderr
    tea, linear, *loo = (torch.tensor(json.loads(line.removeprefix("found "))) for line in lines)
    expected = by_hand("tea", alpha=0.5).float()[:, None] * MASK
    torch.testing.assert_close(tea, expected, rtol=1e-6, atol=1e-6)
    expected = by_hand("linear_tea", tails=("normal", "gumbel")).float()[:, None] * MASK
    torch.testing.assert_close(linear, expected, rtol=1e-6, atol=1e-6)
    rloo = by_hand("rloo").float()[:, None] * MASK
    # verl's own differs in the group of one, to which its first form gives the reward itself
    rows = [i for i, group in enumerate(GROUPS) if group != "c"]
    for found in loo:
        torch.testing.assert_close(found[rows], rloo[rows], rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(HAVE_VERL, reason="verl is installed")
def test_missing_verl_is_said():
    with pytest.raises(ModuleNotFoundError, match="integrations.verl needs verl.*pip install verl"):
        importlib.import_module("tea_stats.integrations.verl")


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
    found, _ = ppo_utils.compute_advantages_and_returns(
        TOKENS.clone(), MASK, np.array(GROUPS), "rloo", config=None
    )
    expected = by_hand("rloo").float()[:, None] * MASK
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not HAVE_SKYRL, reason="SkyRL is not installed")
def test_real_skyrl_can_send_it_to_its_workers(ppo_utils):
    skyrl.register("tea", N=32)
    cloudpickle = pytest.importorskip("cloudpickle")
    function = ppo_utils.AdvantageEstimatorRegistry.get("tea")
    sent = cloudpickle.loads(cloudpickle.dumps(function))
    found, _ = sent(token_level_rewards=TOKENS, response_mask=MASK, index=GROUPS)
    torch.testing.assert_close(found, by_hand("tea").float()[:, None] * MASK, rtol=1e-6, atol=0)


# --- rLLM -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", rllm.HOMES)
def test_rllm_advantages(monkeypatch, home):
    for other in rllm.HOMES:
        monkeypatch.setitem(sys.modules, other, None)
    module = trainer_stand_ins.rllm(monkeypatch, home)
    assert rllm.register("tea", N=32, alpha=0.5, name="tea_32") == "tea_32"
    groups = [REWARDS[[i for i, g in enumerate(GROUPS) if g == label]].numpy() for label in "abc"]
    advantages, returns = module.registry["tea_32"](
        rewards=groups, algorithm_config=object(), traj_groups=[object()] * 3
    )
    assert [len(part) for part in advantages] == [4, 5, 1]
    for label, found, back in zip("abc", advantages, returns, strict=True):
        rows = [i for i, group in enumerate(GROUPS) if group == label]
        np.testing.assert_allclose(found, by_hand("tea", alpha=0.5)[rows].numpy(), rtol=1e-12)
        assert np.array_equal(found, back)
    assert module.registry["tea_32"](rewards=[], algorithm_config=object()) == ([], [])


def test_missing_rllm_is_said(monkeypatch):
    for home in rllm.HOMES:
        monkeypatch.setitem(sys.modules, home, None)
    with pytest.raises(ModuleNotFoundError, match="registry of advantage estimators is in none of"):
        rllm.register("tea", N=32)


@pytest.mark.parametrize("module", [skyrl, rllm])
def test_registering_checks_the_settings(module):
    with pytest.raises(ValueError, match="estimator 'best' is unknown"):
        module.register("best", N=32)
    with pytest.raises(ValueError, match="N is 0"):
        module.register("tea", N=0)
    with pytest.raises(TypeError, match="tea has no option 'beta'"):
        module.register("tea", N=32, beta=1.0)


# --- slime ----------------------------------------------------------------------------------------


def slime_args(**settings):
    return Namespace(reward_key=None, advantage_estimator="grpo", **settings)


def test_slime_advantages():
    samples = [Sample(float(r), "abc".index(g)) for r, g in zip(REWARDS, GROUPS, strict=True)]
    args = slime_args(tea_stats_N=32, tea_stats_estimator="tea", tea_stats_options={"alpha": 0.5})
    raw, advantages = slime.reward_post_process(args, samples)
    assert raw == REWARDS.tolist()
    np.testing.assert_allclose(advantages, by_hand("tea", alpha=0.5).numpy(), rtol=1e-12)
    # before slime flattens them, groups are lists
    nested = [samples[:6], samples[6:]]
    assert slime.reward_post_process(args, nested) == (raw, advantages)


def test_slime_takes_the_reward_that_its_key_names_and_the_recommended_estimator():
    samples = [Sample({"score": r, "length": 3.0}, 0) for r in (1.0, 2.0, 5.0, 3.0)]
    args = slime_args(tea_stats_N=16)
    args.reward_key = "score"
    raw, advantages = slime.reward_post_process(args, samples)
    assert raw == [1.0, 2.0, 5.0, 3.0]
    expected = tea_stats.advantages(tea_stats.RECOMMENDED, [raw], N=16)[0]
    np.testing.assert_allclose(advantages, expected, rtol=1e-12)


def test_slime_rollout_without_reward_leaves_the_group():
    rewards = (1.0, None, 5.0, 3.0)
    samples = [Sample(r, group) for group in (0, 1) for r in (rewards if group else rewards[2:])]
    args = slime_args(tea_stats_N=16, tea_stats_estimator="rloo")
    raw, advantages = slime.reward_post_process(args, samples)
    assert raw == [5.0, 3.0, *rewards]
    assert advantages == [2.0, -2.0, -3.0, 0.0, 3.0, 0.0]


@pytest.mark.parametrize(
    ("settings", "samples", "message"),
    [
        ({}, [Sample(1.0, 0)], "tea_stats_N is missing"),
        ({"tea_stats_N": 8}, [Sample(1.0, 0), Sample(1.0)], "sample 1 has no group_index"),
        ({"tea_stats_N": 8}, [Sample(1.0, 0), Sample(2.0, 1)], "groups have m = 1 rollouts"),
    ],
)
def test_slime_refusals(settings, samples, message):
    with pytest.raises(ValueError, match=message):
        slime.reward_post_process(slime_args(**settings), samples)


# --- importing ------------------------------------------------------------------------------------


def test_importing_the_package_loads_no_trainer_and_no_torch():
    code = "import sys, tea_stats.integrations; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "trl", "verl", "skyrl", "rllm", "slime", "transformers"}
