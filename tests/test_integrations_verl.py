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

from tea_stats import ESTIMATORS
from tea_stats.integrations import groups
from tests import trainer_stand_ins
from tests.trainer_stand_ins import GROUPS, HAVE_VERL, MASK, REWARDS, TOKENS, by_hand

pytestmark = [
    pytest.mark.torch,
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
    print("result", json.dumps(out.tolist()))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("result ")]
    assert len(lines) == 4, done.stderr
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
