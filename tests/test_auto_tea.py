"""Auto TEA: which of its two estimators a batch gets, and that it gets exactly that one."""

from __future__ import annotations

import numpy as np
import pytest

import tea_stats
from tea_stats import RECOMMENDED, advantages

RNG = np.random.default_rng(4)
BATCH = (8, 16)


def batch(distinct):
    """Return 128 rewards, shuffled, with so many distinct ones among them."""
    values = RNG.standard_normal(distinct)
    return RNG.permutation(np.resize(values, BATCH).ravel()).reshape(BATCH)


@pytest.mark.parametrize(
    ("rewards", "name"),
    [
        (batch(2), "beta_binomial"),
        (batch(5), "beta_binomial"),
        (batch(64), "beta_binomial"),  # 64 values, each twice
        (batch(65), "adaptive_tea"),
        (batch(128), "adaptive_tea"),
        (np.zeros(BATCH), "beta_binomial"),
        (RNG.standard_normal((1, 4)), "adaptive_tea"),  # four values, each once
        (np.array([[0.0, 1.0, 1.0]]), "adaptive_tea"),  # two values, three rewards
        (np.array([[0.0, 1.0, 1.0, 1.0]]), "beta_binomial"),
        (RNG.integers(0, 65, (64, 64)), "adaptive_tea"),  # many repeats of 65 values
        (RNG.integers(0, 64, (64, 64)), "beta_binomial"),
    ],
)
def test_the_batch_decides(rewards, name):
    found = tea_stats.auto_tea(rewards, N=64)
    np.testing.assert_array_equal(found, advantages(name, rewards, 64))
    other = "adaptive_tea" if name == "beta_binomial" else None
    if other and np.ptp(rewards):
        assert np.abs(found - advantages(other, rewards, 64)).max() > 1e-3


def test_the_number_of_prompts_reaches_adaptive_tea():
    rewards = RNG.standard_normal(BATCH)
    few = tea_stats.auto_tea(rewards, N=64, prompts=1)
    np.testing.assert_array_equal(few, tea_stats.adaptive_tea(rewards, 64, prompts=1))
    assert np.abs(few - tea_stats.auto_tea(rewards, N=64)).max() > 1e-3


def test_it_is_the_recommended_one():
    rewards = RNG.standard_normal(BATCH)
    found = advantages(RECOMMENDED, rewards, 64)
    np.testing.assert_array_equal(found, tea_stats.auto_tea(rewards, 64))
