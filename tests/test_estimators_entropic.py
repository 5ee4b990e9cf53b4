"""Adaptive entropic utility: its divergence, its limit under ties, the published code's numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tea_stats import entropic
from tests.enumeration import Array

LOG_2 = math.log(2.0)


def shares(advantages: Array) -> Array:
    """Return q of a group: A + 1 = (m − 1) q / (1 − q)."""
    weight = advantages + 1.0
    return weight / (len(weight) - 1.0 + weight)


@pytest.mark.parametrize("kl", [1e-6, 0.1, LOG_2, 1.05])
def test_the_group_is_tilted_by_the_stated_divergence(kl: float) -> None:
    rng = np.random.default_rng(0)
    for m in (3, 5, 32, 700):
        rewards = rng.normal(scale=1e3, size=m)
        q = shares(entropic(rewards, 8, kl=kl))
        assert q.sum() == pytest.approx(1.0, abs=1e-12)
        used = q > 1e-200
        assert (q[used] * np.log(m * q[used])).sum() == pytest.approx(kl, rel=1e-9)
        # and exponentially: log q is a straight line in the rewards, and rises
        some = q > 1e-9
        slope, _ = np.polyfit(rewards[some], np.log(q[some]), 1)
        np.testing.assert_allclose(np.diff(np.log(q[some])), slope * np.diff(rewards[some]))
        assert slope > 0.0


@pytest.mark.parametrize(
    ("rewards", "published"),
    [
        (
            [0.1, 0.5, 0.7, 1.2, 1.3, 2.0, 0.2, 0.9],
            [-0.90681767, -0.79020483, -0.68312478, -0.07223357]
            + [0.16582359, 8.43887249, -0.8859876, -0.51773495],
        ),
        (
            [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0],
            [-0.69446418, -0.87570071, -0.51535583, -0.87570071]
            + [-0.22004268, 8.51141106, -0.80566137, 0.286138],
        ),
        ([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0], [-0.77196809] * 3 + [3.77173306] * 2),
    ],
)
def test_numbers_of_the_published_code(rewards: list[float], published: list[float]) -> None:
    computed = entropic(rewards, 64)
    np.testing.assert_allclose(computed[: len(published)], published, atol=1e-8)


def test_out_of_reach_all_weight_lies_on_the_best() -> None:
    for tied, m in ((2, 4), (3, 4), (4, 7), (7, 8)):
        rewards = np.array([0.3] * (m - tied) + [0.7] * tied)
        expected = [-1.0] * (m - tied) + [(m - tied) / (tied - 1)] * tied
        np.testing.assert_allclose(entropic(rewards, 8), expected, rtol=1e-15)
    # just within reach the advantages are as close to that as e^{−β}
    below = entropic([0.3] * 5 + [0.7] * 5, 8, kl=LOG_2 * (1 - 1e-9))
    np.testing.assert_allclose(below, [-1.0] * 5 + [5 / 4] * 5, atol=1e-9)


def test_nearly_tied_rewards_are_not_ties() -> None:
    """Half the group nearly tied: whatever the distance, kl is reached among these alone."""
    for distance in (1e-3, 1e-9, 1e-15):
        q = shares(entropic([0.0, 0.0, 0.0, 1.0 - 2 * distance, 1.0 - distance, 1.0], 8, kl=1.0))
        assert q[:3].max() < 1e-15
        assert (q[3:] * np.log(6 * q[3:])).sum() == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("unit", [1e-290, 1.0, 1e299])
def test_no_unit_overflows(unit: float) -> None:
    plain = np.array([-1.0, 0.0, 0.25, 0.75, 1.0])
    np.testing.assert_allclose(entropic(plain * unit, 8), entropic(plain, 8), rtol=1e-12)
    assert np.isfinite(entropic([-unit, -5e-324, 0.0, 5e-324], 8)).all()
