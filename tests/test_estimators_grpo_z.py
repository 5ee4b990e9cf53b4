"""GRPO-Z: digits under outliers, groups whose others are equal, when its variance is finite."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tea_stats import Normal, StudentT, grpo_z, monte_carlo


@pytest.mark.parametrize("outlier", [1.0, 1e8, -1e8, 1e15])
def test_an_outlier_costs_no_digits(outlier: float) -> None:
    rewards = [0.0, 2.0**-20, 3 * 2.0**-20, 2.0**-18, outlier]
    expected = []
    for i, own in enumerate(rewards):
        others = [Fraction(x) for j, x in enumerate(rewards) if j != i]
        mean = sum(others) / 4
        variance = sum((x - mean) ** 2 for x in others) / 3
        square = (Fraction(own) - mean) ** 2 / variance
        expected.append(np.copysign(np.sqrt(float(square)), float(Fraction(own) - mean)))
    np.testing.assert_allclose(grpo_z(rewards, 8), expected, rtol=1e-12)


def test_where_the_others_are_equal_a_rollout_gets_nothing() -> None:
    assert np.array_equal(grpo_z([0, 0, 0, 1], 8)[3:], [0.0])
    assert (grpo_z([0, 0, 0, 1], 8)[:3] < 0.0).all()
    assert np.array_equal(grpo_z([0, 1, 1, 1], 8)[:1], [0.0])
    # others that differ by a tiny share of the distance count as equal, and nothing overflows
    assert grpo_z([0.0, 1e-250, 3e-250, 1e150], 8)[3] == 0.0
    assert grpo_z([0.0, 1e-90, 3e-90, 1.0], 8)[3] == pytest.approx(6.546537e89)


def test_when_its_variance_is_finite() -> None:
    for law, m, finite in ((Normal(), 4, False), (Normal(), 5, True), (StudentT(1.8), 8, False)):
        (one,) = monte_carlo.passes(["grpo_z"], m, [8])
        assert one.has_finite_second_moment(law, m) is finite


def test_its_mean_is_the_gradient_of_the_mean_reward_in_units_of_the_spread() -> None:
    """On normal rewards E[1/s] of m − 1 is known: s² is a χ² of m − 2 degrees of freedom."""
    m = 9
    table = monte_carlo.measure(Normal(), ["grpo_z"], m=m, N=1, reps=60_000)
    row = table[table.parameter == "loc"].iloc[0]
    # √(ν/2) Γ((ν − 1)/2)/Γ(ν/2) at ν = 7
    expected = np.sqrt(3.5) * 2.0 / 3.32335097
    assert abs(row["mean"] - expected) < 5.0 * row["bias_mcse"] < 0.02
