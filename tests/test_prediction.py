"""V̂_N and its variance: unbiased by enumeration, equal to the definition, invariant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tea_stats import best_of_n, linear_tea_design, prediction
from tea_stats.families import Gumbel, Normal
from tests.enumeration import LAWS, tuples

CASES = [(4, 2, {}), (5, 2, {"k_min": 1}), (6, 3, {}), (6, 3, {"k_min": 1}), (6, 2, {})]


@pytest.mark.parametrize(("m", "degree", "options"), CASES, ids=str)
def test_value_and_variance_are_unbiased_under_every_law(m, degree, options):
    N = 16
    weights = linear_tea_design(degree, N, **options).weights
    for law in LAWS:
        rewards, _, probability = tuples(law, m)
        predicted = prediction.linear_value(rewards, N, degree=degree, **options)
        parts = []
        for k, w in weights.items():
            groups, _, chance = tuples(law, k)
            parts.append(w * (chance @ groups.max(axis=1)))
        mean = probability @ predicted.value
        assert abs(mean - sum(parts)) < 1e-12 * sum(map(abs, parts))
        exact = probability @ (predicted.value - mean) ** 2
        scale = probability @ (predicted.value - rewards.min()) ** 2
        assert abs(probability @ predicted.variance - exact) < 1e-12 * scale
        assert exact > 1e-3


@pytest.mark.parametrize("m", [8, 64, 256])
def test_on_the_normal_law_the_best_of_N_itself(m):
    N, groups = 8 * m, 4000
    exact = best_of_n.value(Normal(2.0, 0.5), N)
    rewards = Normal(2.0, 0.5).sample((groups, m), np.random.default_rng(1))
    predicted = prediction.linear_value(rewards, N)
    mcse = np.sqrt(predicted.variance.mean() / groups)
    assert mcse < 0.01
    assert abs(predicted.value.mean() - exact) < 5 * mcse
    # the mean variance is the variance of the values
    spread = predicted.value.var()
    assert abs(predicted.variance.mean() - spread) < 5 * predicted.variance.std() / np.sqrt(
        groups
    ) + (5 * spread * np.sqrt(2 / groups))
    assert abs(prediction.linear_value(rewards, 2 * N).value.mean() - exact) > 5 * mcse


def test_at_m_64_the_standard_error_covers():
    rewards = Normal().sample((4000, 64), np.random.default_rng(2))
    predicted = prediction.linear_value(rewards, 512, k_min=1)
    inside = (
        np.abs(predicted.value - best_of_n.value(Normal(), 512)) < 1.96 * predicted.standard_error
    )
    assert 0.92 < inside.mean() < 0.97


def test_half_of_the_rollouts_are_enough_for_the_subsets():
    # on the Normal law V̂_N of subsets of 8 is as precise as that of the whole group of 16
    rewards = Normal().sample((20_000, 16), np.random.default_rng(3))
    half = prediction.linear_value(rewards, 128, k_min=1).value.var()
    weights = linear_tea_design(16, 128, k_min=1).value_weights
    whole = (np.sort(rewards, axis=1) @ weights).var()
    assert half == pytest.approx(whole, rel=0.02)


def test_tails_are_passed_on():
    rewards = Gumbel().sample((4000, 32), np.random.default_rng(4))
    exact = best_of_n.value(Gumbel(), 512)
    right = prediction.linear_value(rewards, 512, tails=("gumbel",), k_min=1)
    wrong = prediction.linear_value(rewards, 512, k_min=1)
    mcse = np.sqrt(right.variance.mean() / 4000)
    assert abs(right.value.mean() - exact) < 5 * mcse < 0.2
    assert abs(wrong.value.mean() - exact) > 10 * mcse


@given(
    st.lists(st.integers(-40, 40), min_size=4, max_size=11),
    st.sampled_from([0.25, 3.0, 1e100, 1e-100]),
    st.integers(-1000, 1000),
)
def test_location_scale_and_order(values, scale, shift):
    rewards = np.array(values, dtype=float)
    predicted = prediction.linear_value(rewards, 64)
    size = np.ptp(rewards) or 1.0
    moved = prediction.linear_value(rewards[::-1] * scale, 64)
    assert moved.value == pytest.approx(predicted.value * scale, abs=1e-11 * 64 * size * scale)
    assert moved.variance / scale / scale == pytest.approx(predicted.variance, abs=1e-9 * size**2)
    level = prediction.linear_value(rewards + shift, 64)
    assert level.value - shift == pytest.approx(predicted.value, abs=1e-9 * size)
    assert level.variance == pytest.approx(predicted.variance, abs=1e-9 * size**2)


def test_shapes_and_ties():
    rewards = np.random.default_rng(5).normal(size=(2, 3, 9))
    predicted = prediction.linear_value(rewards, 64)
    assert (
        predicted.value.shape
        == predicted.variance.shape
        == predicted.standard_error.shape
        == (2, 3)
    )
    one = prediction.linear_value(rewards[1, 2], 64)
    assert one.value == pytest.approx(predicted.value[1, 2], rel=1e-13)
    tied = prediction.linear_value(np.full((2, 8), 3.0), 64)
    assert np.array_equal(tied.value, [3.0, 3.0])
    assert np.array_equal(tied.standard_error, [0.0, 0.0])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((np.zeros(3), 8), {}, ValueError, "m = 3 .* needs m ≥ 4"),
        ((np.zeros(8), 8), {"degree": 5}, ValueError, "degree is 5: .* give degree ≤ 4"),
        ((np.zeros(8), 8), {"degree": 1}, ValueError, "degree is 1"),
        ((np.zeros(8), 8), {"degree": 2.0}, TypeError, "degree is 2.0"),
        ((np.zeros(8), 8), {"k_min": 4}, ValueError, "k_min is 4"),
        ((np.zeros(8), 0), {}, ValueError, "N is 0"),
    ],
)
def test_bad_arguments(arguments, options, error, message):
    with pytest.raises(error, match=message):
        prediction.linear_value(*arguments, **options)
