"""The advantages in TRL's loss, under some of the settings of `tests/trl_settings.py`.

All of them: `python -m tests.trl_settings`, or the tests marked slow.
"""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from tests.trl_settings import SETTINGS, Nothing, Setting, run

pytestmark = [
    pytest.mark.torch,
    pytest.mark.xdist_group("trl"),
    # warnings of TRL and transformers
    pytest.mark.filterwarnings("ignore"),
]

#: one of each kind of setting
FAST = [
    "dapo, two passes, three parts", "luspo", "scale_rewards batch",
    "steps_per_generation 3, iterations 2", "several weighted reward functions",
    "some None from both functions", "truncated, masked, two parts", "evaluation in groups of 2",
]  # fmt: skip


def test_settings_have_names_of_their_own():
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names)) >= 52
    assert set(FAST) < set(names)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(s, id=s.name, marks=[] if s.name in FAST else [pytest.mark.slow])
        for s in SETTINGS
    ],
)
def test_advantages_in_the_loss_are_those_of_tea_stats(setting):
    batches, in_loss, difference = run(setting)
    assert batches > 0 and in_loss > 0
    # float32
    assert difference < 1e-7


def test_a_setting_that_scores_nothing_fails():
    # 12 groups a batch, and TRL leaves out a batch that 4 prompts cannot fill
    nothing = Setting("too few prompts", prompts=4, rollouts=48)
    with pytest.raises(Nothing, match="too few prompts: 0 batches, 0 in the loss"):
        run(nothing)
    zero = dataclasses.replace(SETTINGS[0], rewards=([1.0] * 12,))
    with pytest.raises(Nothing, match="all advantages are 0"):
        run(zero)


def test_a_wrong_advantage_is_seen(monkeypatch):
    from tests import trl_settings

    monkeypatch.setattr(trl_settings, "N", 31)
    wrong = trl_settings.expected
    monkeypatch.setattr(trl_settings, "expected", lambda *a, **k: wrong(*a, **k) * (1 + 1e-5))
    assert run(SETTINGS[0])[2] > 5e-6
