"""BoN-RL: the tilt that is as far from the policy as the best of N, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate

from tea_stats import Normal, best_of_n, bon_rl, max_at_k, rloo
from tea_stats.best_of_n import order_statistics
from tea_stats.estimators.bon_rl import tableau, tilt


@pytest.mark.parametrize("N", [2, 3, 16, 512])
def test_the_tilt_is_as_far_from_the_policy_as_the_best_of_N(N: int) -> None:
    def divergence(log_density):
        return integrate.quad(
            lambda u: np.exp(log_density(u)) * log_density(u), 0.0, 1.0, points=[1 - 1 / N]
        )[0]

    rate = tilt(N)
    tilted = divergence(lambda u: rate * (u - 1.0) + np.log(rate / -np.expm1(-rate)))
    best = divergence(lambda u: np.log(N) + (N - 1.0) * np.log(u))
    assert tilted == pytest.approx(best, rel=1e-8)


def test_limits() -> None:
    rewards = np.random.default_rng(0).normal(size=(20, 8))
    np.testing.assert_allclose(bon_rl(rewards, 1), rloo(rewards, 1), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(bon_rl(rewards[:, :2], 64), rloo(rewards[:, :2], 64), rtol=1e-12)
    # nothing is extrapolated: for N ≫ m it is the best of the other rollouts' number
    beyond = max_at_k(rewards, 8, k=7)
    np.testing.assert_allclose(bon_rl(rewards, 512), beyond, rtol=1e-12, atol=1e-12)
    assert np.isfinite(bon_rl(rewards, 10**9)).all()


def test_for_large_groups_its_objective_is_close_to_the_best_of_N() -> None:
    """At m = 1024 the tilted mean of normal order statistics is V_8 to 2 %, and that of the law."""
    m, N = 1024, 8
    weights = tableau(m, N).slopes / m
    value = weights @ order_statistics.means(Normal(), m - 1)
    rate = tilt(N)
    exact, _ = integrate.quad(lambda u: Normal().ppf(u) * np.exp(rate * (u - 1.0)), 0.0, 1.0)
    exact *= rate / -np.expm1(-rate)
    assert value == pytest.approx(exact, rel=5e-3)
    assert exact == pytest.approx(best_of_n.value(Normal(), N), rel=0.02)
