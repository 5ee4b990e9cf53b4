"""The exact variance of linear advantages on normal rewards: closed forms and simulations."""

from __future__ import annotations

import numpy as np
import pytest

from tea_stats import linear_tea_design, monte_carlo, tails
from tea_stats.estimators import lookup
from tea_stats.families import Normal
from tea_stats.linear.normal_variance import normal_variance


@pytest.mark.parametrize("m", [2, 3, 16])
def test_rloo_is_the_sample_covariance(m: int) -> None:
    """ĝ is the sample covariance of r and S, whose variance is known."""
    location, scale = normal_variance(lookup("rloo").prepare(m, 1), (1.0, 0.0))
    assert location == pytest.approx(2.0 / (m - 1), rel=1e-11)
    # E r²(r² − 1)² = 10, E r² E (r² − 1)² = 2
    assert scale == pytest.approx(10.0 / m + 2.0 / (m * (m - 1)), rel=1e-11)


def test_the_design_that_sample_efficiency_refers_to() -> None:
    c = tails.normal_max_mean(128)
    tableau = linear_tea_design(16, 128, k_min=1).tableau
    variances = normal_variance(tableau, (1.0, c))
    assert sum(variances) / 64 / (1.0 + c * c) == pytest.approx(0.011921, abs=5e-7)
    table = monte_carlo.measure(Normal(), {"x": ("linear_tea", {"k_min": 1})}, 16, 128, reps=50_000)
    for parameter, exact in zip(("loc", "scale"), variances, strict=True):
        row = table[table.parameter == parameter].iloc[0]
        assert abs(row.variance - exact) < 5.0 * row.variance_mcse < 0.1 * exact


def test_a_top_weight_and_no_centring() -> None:
    """max@m in the form loo-1: m times the top gap, for the best rollout."""
    rewards = np.sort(np.random.default_rng(0).normal(size=(400_000, 3)), axis=1)
    best, gap = rewards[:, 2], rewards[:, 2] - rewards[:, 1]
    for place, score in enumerate((best, best**2 - 1.0)):
        g = gap * score
        exact = normal_variance(lookup("max_at_k", {"k": 3}).prepare(3, 3), (0.0, 0.0))[place]
        assert abs(exact - (g * g).mean()) < 5.0 * (g * g).std() / np.sqrt(len(g)) < 0.1 * exact
