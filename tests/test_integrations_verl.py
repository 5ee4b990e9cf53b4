"""The adapter of verl: its registry, configuration and advantages.

verl brings its own torch, so CI does not have it: there a stand-in makes verl's calls. The tests
called "real" are of verl itself.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tea_stats import ESTIMATORS, Memory
from tea_stats.integrations import groups
from tests import trainer_stand_ins
from tests.trainer_stand_ins import GROUPS, HAVE_VERL, MASK, REWARDS, TOKENS, by_hand

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:a batch has .* group"),
    # warnings of verl and its packages while they are imported
    *([pytest.mark.filterwarnings("ignore")] if HAVE_VERL else []),
]

ROOT = Path(__file__).parents[1]


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
    expected = groups.batch_advantages(name, REWARDS, GROUPS, 32, options)
    torch.testing.assert_close(advantages, expected.float()[:, None] * MASK, rtol=1e-6, atol=0)
    assert torch.equal(advantages, returns)


def test_verls_section_survives_as_a_class_that_can_be_named(verl_registry):
    module = sys.modules["tea_stats.integrations.verl"]
    section = module.Algorithm(adv_estimator="tea", tea_stats={"N": 32, "unit_rms": True})
    assert section.get("tea_stats") == {"N": 32, "unit_rms": True}
    groups_of_rows = np.array(GROUPS, dtype=object)
    advantages, _ = verl_registry["tea"](TOKENS, MASK, index=groups_of_rows, config=section)
    expected = groups.batch_advantages("tea", REWARDS, GROUPS, 32, unit_rms=True).float()
    torch.testing.assert_close(advantages, expected[:, None] * MASK, rtol=1e-6, atol=0)


@pytest.mark.parametrize("asked", [True, 8.0])
def test_verl_remembers_earlier_steps(verl_registry, asked):
    """Steps are what a memory beside verl gives, and without the setting they are all alike."""
    module = sys.modules["tea_stats.integrations.verl"]
    module.MEMORIES.clear()
    beside = Memory() if asked is True else Memory(asked)
    rows = np.array(GROUPS, dtype=object)
    steps = []
    for _ in range(3):
        config = {"tea_stats": {"N": 32, "memory": asked}}
        found, _ = verl_registry["auto_tea"](TOKENS, MASK, index=rows, config=config)
        expected = groups.batch_advantages("auto_tea", REWARDS, GROUPS, 32, memory=beside)
        torch.testing.assert_close(found, expected.float()[:, None] * MASK, rtol=1e-6, atol=0)
        steps.append(found)
    assert len(module.MEMORIES) == 1
    assert not torch.allclose(steps[0], steps[2], rtol=1e-3)
    with pytest.raises(TypeError, match="memory is given with tea"):
        config = {"tea_stats": {"N": 32, "memory": asked}}
        verl_registry["tea"](TOKENS, MASK, index=rows, config=config)
    module.MEMORIES.clear()


# --- sessions of several rows ---

#: rollout 3 has three rows, rollout 6 two in the wrong order; the last one has the reward
ROWS = [0, 1, 2, 3, 3, 3, 4, 5, 6, 6, 7, 8, 9]
NUMBER = [0, 0, 0, 0, 1, 2, 0, 0, 1, 0, 0, 0, 0]
KEYS = [f"{GROUPS[row]}_x_{row}_{number}" for row, number in zip(ROWS, NUMBER, strict=True)]


class Batch:
    """Part of verl's DataProto: tensors and labels by row."""

    def __init__(self, tensors, uid):
        self.batch, self.non_tensor_batch = dict(tensors), {"uid": uid}

    def select_idxs(self, rows):
        tensors = {key: value[rows] for key, value in self.batch.items()}
        return Batch(tensors, self.non_tensor_batch["uid"][rows])


def session_batch():
    """Return a batch whose rollouts have several rows, in verl's form where it is installed."""
    rewarded = torch.ones(13)
    rewarded[[3, 4, 9]] = 0.0
    mask = MASK[ROWS].clone()
    mask[3, 0] = 0.0  # a response that starts later
    tensors = {"token_level_rewards": TOKENS[ROWS] * rewarded[:, None], "response_mask": mask}
    uid = np.array([GROUPS[row] for row in ROWS], dtype=object)
    if HAVE_VERL:
        from verl import DataProto

        return DataProto.from_dict(tensors=tensors, non_tensors={"uid": uid})
    return Batch(tensors, uid)


def verls_function(registry, monkeypatch):
    """Return verl's function for sessions, as the import of its module leaves it."""
    name = "verl.trainer.ppo.v1.utils"
    if HAVE_VERL:
        return importlib.import_module(name).compute_advantage_for_multi_trajectories

    def original(data, batch_keys, adv_estimator, config=None):
        batch, uid = data.batch, data.non_tensor_batch["uid"]
        values, _ = registry[adv_estimator](
            batch["token_level_rewards"], batch["response_mask"], index=uid, config=config
        )
        batch["advantages"] = batch["returns"] = values
        return data

    module = trainer_stand_ins.install(
        monkeypatch, name, compute_advantage_for_multi_trajectories=original
    )
    plugin = sys.modules["tea_stats.integrations.verl"]
    plugin.count_sessions(module, ["tea", "linear_tea"])
    return module.compute_advantage_for_multi_trajectories


@pytest.mark.parametrize("name", ["tea", "linear_tea"])
def test_a_session_of_several_rows_counts_once(name, verl_registry, monkeypatch):
    function = verls_function(verl_registry, monkeypatch)
    config = {"tea_stats": {"N": 32}}
    data = function(session_batch(), KEYS, name, config=config)
    expected = by_hand(name)[ROWS].float()[:, None] * data.batch["response_mask"]
    torch.testing.assert_close(data.batch["advantages"], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(data.batch["advantages"], data.batch["returns"])
    # without sessions of several rows nothing changes
    one = [place for place, number in enumerate(NUMBER) if ROWS.count(ROWS[place]) == 1]
    single = function(session_batch().select_idxs(one), [KEYS[i] for i in one], name, config=config)
    rows = [ROWS[place] for place in one]
    rewards, labels = REWARDS[rows], [GROUPS[row] for row in rows]
    alone = groups.batch_advantages(name, rewards, labels, 32).float()
    expected = alone[:, None] * single.batch["response_mask"]
    torch.testing.assert_close(single.batch["advantages"], expected, rtol=1e-5, atol=1e-6)


def test_verl_without_N_is_refused_with_the_cure(verl_registry):
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
from verl.trainer.ppo.core_algos import agg_loss
from verl.trainer.ppo.ray_trainer import compute_advantage
from verl.utils.config import omega_conf_to_dataclass
assert "tea_stats.integrations.verl" in sys.modules
GROUPS, MASK, TOKENS = torch.load({str(tmp_path / "batch.pt")!r})
overrides = ["algorithm.adv_estimator=tea", "+algorithm.tea_stats.N=32"]
overrides += ["+algorithm.tea_stats.alpha=0.5"]
overrides += ["algorithm._target_=tea_stats.integrations.verl.Algorithm"]
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
    print("result", json.dumps(out.tolist()))
instance = omega_conf_to_dataclass(config)
assert instance.tea_stats == {{"N": 32, "alpha": 0.5}}
tea = compute_advantage(data, "tea", config=instance).batch["advantages"]
assert tea.tolist() == compute_advantage(data, "tea", config=config).batch["advantages"].tolist()
print("survived")
for mode in ("seq-mean-token-sum", "seq-mean-token-sum-norm", "token-mean"):
    p = torch.zeros(10, 4, requires_grad=True)
    for rows in (slice(0, 5), slice(5, 10)):  # micro-batches, each padded to its own width
        width = int(MASK[rows].sum(1).max()) + (rows.start > 0)
        part = slice(0, width)
        agg_loss(
            p[rows, part], MASK[rows, part], mode, batch_num_tokens=26, global_batch_size=10,
            loss_scale_factor=4,
        ).backward()
    weights = p.grad[MASK.bool()]
    assert torch.allclose(weights, weights[0], rtol=1e-6), (mode, p.grad)
print("weights")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("result ")]
    assert len(lines) == 4 and "survived" in done.stdout and "weights" in done.stdout, done.stderr
    tea, linear, *loo = (torch.tensor(json.loads(line.removeprefix("result "))) for line in lines)
    expected = by_hand("tea", alpha=0.5).float()[:, None] * MASK
    torch.testing.assert_close(tea, expected, rtol=1e-6, atol=1e-6)
    expected = by_hand("linear_tea", tails=("normal", "gumbel")).float()[:, None] * MASK
    torch.testing.assert_close(linear, expected, rtol=1e-6, atol=1e-6)
    rloo = by_hand("rloo").float()[:, None] * MASK
    # verl's own differs in the group of one, to which its first form gives the reward itself
    rows = [i for i, group in enumerate(GROUPS) if group != "c"]
    for verls in loo:
        torch.testing.assert_close(verls[rows], rloo[rows], rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(HAVE_VERL, reason="verl is installed")
def test_missing_verl_is_an_error():
    with pytest.raises(ModuleNotFoundError, match="integrations.verl needs verl.*pip install verl"):
        importlib.import_module("tea_stats.integrations.verl")
