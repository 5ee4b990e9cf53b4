"""A little of what `tests/endurance` does for hours: kills, damage, random groups, troubles."""

from __future__ import annotations

import pytest

from simulations.core.progress import console
from tests.endurance import damage, environment, fuzz, kills, logs
from tests.test_estimators_properties import CASES

#: one of each kind; `python -m tests.endurance.environment` tries all
TROUBLES = ("disk full in a block", "read-only figures", "out is under a file", "16 open files")


def test_a_damaged_file_is_noticed_or_changes_nothing(monkeypatch):
    monkeypatch.setattr(console, "quiet", True)
    counts = damage.damaged(150, seed=1)
    assert counts.total() > 100
    # a flipped bit may be one that nothing depends on; another job's file never is
    assert counts["flip", True] > counts["flip", False]
    assert counts["another's", True] > 0 == counts["another's", False]


def test_damage_that_is_not_noticed_would_be_reported(monkeypatch):
    monkeypatch.setattr(console, "quiet", True)
    monkeypatch.setattr(damage.store, "seal", lambda content: "")
    with pytest.raises(AssertionError, match=r"json|npz"):
        damage.damaged(300, seed=1)


def test_a_damaged_log_is_read_or_ends_in_one_line():
    pytest.importorskip("pyarrow")
    counts = logs.run(300, seed=1)
    assert counts["read"] > 5 and counts["refused"] > 100


def test_a_traceback_of_a_damaged_log_would_be_reported(monkeypatch):
    monkeypatch.setattr(logs.reward_log, "read", lambda path, **options: [][0])
    with pytest.raises(AssertionError, match="IndexError"):
        logs.run(1)


@pytest.mark.parametrize("case", CASES)
def test_random_groups_of_every_magnitude(case):
    assert fuzz.check_estimator(case, 500, seed=1) >= 500


@pytest.mark.torch
def test_random_calls_of_the_loss():
    pytest.importorskip("torch")
    fuzz.check_loss(300, seed=1)


@pytest.mark.slow
def test_a_grid_killed_at_random_moments():
    done, finished = kills.killed("grid", 1, seed=1)
    assert done >= 1 and finished >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", TROUBLES)
def test_a_trouble_of_the_machine_ends_in_one_line(name, tmp_path):
    if environment.TROUBLES[name][1] and not environment.may_mount():
        pytest.skip("needs root, to mount a disk")
    environment.check(name, tmp_path)
