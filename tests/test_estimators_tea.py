"""TEA is the influence function of μ_α + c̃ σ_α: differentiate that functional and compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tea_stats import cvar, leave_one_out_max, monte_carlo, tails, tea
from tea_stats.families import Normal
from tests.enumeration import Array

#: complex-step differentiation has no cancellation, so the step can be as small as we like
STEP = 1e-30


def tail_functional(rewards: Array, weights: Array, alpha: float, c_tilde: float) -> complex:
    """μ_α + c̃ σ_α of the weighted sample: the top mass α, with a fractional weight at its end."""
    mass = np.zeros(len(rewards), dtype=complex)
    remaining = alpha + 0j
    for i in np.argsort(-rewards, kind="stable"):
        if remaining.real <= weights[i].real * (1 + 1e-9):
            mass[i] = remaining
            break
        mass[i] = weights[i]
        remaining -= weights[i]
    mean = (mass * rewards).sum() / alpha
    variance = (mass * (rewards - mean) ** 2).sum() / alpha
    return complex(mean + c_tilde * np.sqrt(variance))


def derivative(rewards: Array, alpha: float, c_tilde: float) -> Array:
    """∂/∂w_i of the functional at equal weights 1/m, the tail's mass held at α."""
    m = len(rewards)
    out = np.empty(m)
    for i in range(m):
        weights = np.full(m, 1 / m, dtype=complex)
        weights[i] += 1j * STEP
        out[i] = tail_functional(rewards, weights, alpha, c_tilde).imag / STEP
    return out


@pytest.mark.parametrize("N", [1, 16, 1024])
@pytest.mark.parametrize(("m", "alpha"), [(8, 0.25), (8, 0.5), (16, 0.25), (13, 0.3), (6, 1.0)])
def test_tea_is_the_derivative_of_its_functional(m: int, alpha: float, N: int) -> None:
    rng = np.random.default_rng(m)
    count = tails.tail_count(m, alpha)
    c_tilde = tails.tail_coefficient(count / m, N)
    largest = []
    for rewards in [*rng.normal(3.0, 2.0, size=(10, m)), *rng.exponential(size=(10, m)) * 1e3]:
        expected = derivative(rewards, count / m, c_tilde)
        computed = tea(rewards, N, alpha=alpha)
        np.testing.assert_allclose(computed, expected, rtol=1e-9, atol=1e-9 * np.ptp(rewards))
        largest.append(np.abs(expected).max())
    assert min(largest) > 0 and max(largest) > 1


def test_the_derivative_also_by_finite_differences() -> None:
    """The complex step itself is checked: three-point differences with added weight."""
    rewards = np.random.default_rng(0).normal(size=12)
    alpha, c_tilde, step = 0.25, 2.7, 1e-5

    def shifted(i: int, by: float) -> float:
        weights = np.full(12, 1 / 12, dtype=complex)
        weights[i] += by
        return tail_functional(rewards, weights, alpha, c_tilde).real

    # one-sided: with less weight in the tail, its threshold would move to the next reward
    forward = [
        (-3 * shifted(i, 0.0) + 4 * shifted(i, step) - shifted(i, 2 * step)) / (2 * step)
        for i in range(12)
    ]
    np.testing.assert_allclose(forward, derivative(rewards, alpha, c_tilde), atol=1e-7)


def test_the_whole_group_as_its_own_tail() -> None:
    """At alpha = 1 the tail is the group: A = (r − min) + (c_N / 2σ)((r − μ)² − (min − μ)²)."""
    rewards = np.array([0.5, -1.0, 2.0, 1.25, 4.0])
    mean, sd, low = rewards.mean(), rewards.std(), rewards.min()
    expected = (rewards - low) + tails.normal_max_mean(64) / (2 * sd) * (
        (rewards - mean) ** 2 - (low - mean) ** 2
    )
    np.testing.assert_allclose(tea(rewards, 64, alpha=1.0), expected, rtol=1e-12)


@pytest.mark.parametrize("N", [1, 16, 1024])
def test_with_two_rollouts_in_the_tail_nothing_is_extrapolated(N: int) -> None:
    """A standard deviation of two rewards is half their gap: N cancels, and max@m remains."""
    rewards = np.random.default_rng(1).normal(size=(20, 8))
    expected = 8 / 2 * leave_one_out_max(rewards, N)
    np.testing.assert_allclose(tea(rewards, N, alpha=0.25), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("calibrated", [False, True])
def test_rewards_tied_with_the_threshold_get_nothing(calibrated: bool) -> None:
    rewards = np.array([0.0, 1.0, 1.0, 1.0, 3.0, 0.5])
    computed = tea(rewards, 64, alpha=0.5, calibrated=calibrated)
    assert np.array_equal(computed[:4], np.zeros(4))
    assert computed[4] > 0 and computed[5] == 0


@pytest.mark.parametrize("options", [{"alpha": 0.25}, {"alpha": 0.5, "calibrated": True}])
@pytest.mark.parametrize(
    "rewards", [[2.0] * 8, [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0], [-1e150] * 7 + [-2e150]]
)
def test_a_tail_of_equal_rewards_gives_zeros(rewards: list[float], options: Any) -> None:
    assert np.array_equal(tea(rewards, 128, **options), np.zeros(8))


def test_what_ddof_and_the_quantile_change() -> None:
    """The hinge is `cvar`; the curvature is divided by σ̂, and proportional to c̃."""
    rewards = np.random.default_rng(2).normal(size=(50, 16))
    N, hinge = 128, cvar(rewards, 128, alpha=0.25)
    curvature = tea(rewards, N) - hinge
    np.testing.assert_allclose(
        tea(rewards, N, ddof=1) - hinge, np.sqrt(3 / 4) * curvature, atol=1e-12
    )
    _, mean, _ = tails.gaussian_tail_moments(0.25)
    share = (2.4175590162365 - mean) / (tails.normal_max_mean(N) - mean)
    np.testing.assert_allclose(
        tea(rewards, N, extrapolation="quantile") - hinge, share * curvature, atol=1e-12
    )
    # at k = 4 and N = 128 either makes it 13 % less
    assert np.round([np.sqrt(3 / 4), share], 3).tolist() == [0.866, 0.866]
    assert tea([0.0, 1.0, 2.0, 4.0], 2, alpha=1.0, extrapolation="quantile").any()


def test_one_pass_serves_every_budget_of_the_quantile() -> None:
    options = {"alpha": 0.2, "ddof": 1, "extrapolation": "quantile"}
    request, budgets = {"earlier": ("tea", options)}, (16, 128, 1024)
    (one,) = monte_carlo.passes(request, 16, budgets)
    rewards = np.sort(np.random.default_rng(3).normal(size=(6, 16)), axis=1)
    for (N,), advantages in one.advantages(rewards, None):
        np.testing.assert_allclose(advantages, tea(rewards, N, **options), atol=1e-12)
    together = monte_carlo.measure(Normal(), request, 16, budgets, reps=500)
    alone = monte_carlo.measure(Normal(), request, 16, 128, reps=500)
    np.testing.assert_array_equal(together[together.N == 128]["mean"], alone["mean"])
