"""Quality of a gradient estimate: against enumeration, and its standard errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simulations.bandit.quality import jackknife_se, quality
from simulations.bandit.training import Bandit, gradient, sampled_gradient
from tea_stats import ESTIMATORS, advantages

M, NUISANCE = 3, 5
POLICY = Bandit(
    np.array([-1.0, 0.0, 0.0, 2.0]), np.array([0.4, 0.3, 0.2, 0.1]), None, NUISANCE, 1.0
)
NAMES = ("cosine", "alignment", "steadiness")


def enumerated(name, N):
    """Cosine, alignment and steadiness from every group of three responses."""
    p = POLICY.initial[None]
    mean, square = np.zeros(4), 0.0
    for group in itertools.product(range(4), repeat=M):
        responses = np.array(group).reshape(1, 1, M)
        A = advantages(name, POLICY.rewards[responses], N)
        g = sampled_gradient(p, responses, A)[0]
        weight = np.prod(p[0, list(group)])
        mean = mean + weight * g
        square += weight * (g @ g + NUISANCE * np.sum(A**2) / M**2)
    truth = gradient(POLICY.rewards, p, N)[0]
    along, length = mean @ truth / np.linalg.norm(truth), np.linalg.norm(mean)
    return along / np.sqrt(square), along / length, length / np.sqrt(square)


def measured(name, N, draws=4000, seed=0):
    return quality(POLICY, ESTIMATORS[name], (draws, 1, M), N, np.random.default_rng(seed))


@pytest.mark.parametrize(("name", "N"), [("tea", 16), ("max_at_k", 64), ("rloo", 64)])
def test_quality_is_that_of_all_groups(name, N):
    measures = measured(name, N)
    for key, expected in zip(NAMES, enumerated(name, N), strict=True):
        assert abs(measures[key] - expected) < 5.0 * measures[f"{key}_se"]
        assert 0.0 < measures[f"{key}_se"] < 0.02
    product = measures["alignment"] * measures["steadiness"]
    assert measures["cosine"] == pytest.approx(product, rel=1e-3)


def test_an_unbiased_estimator_is_aligned_and_a_biased_one_is_not():
    # at 1 the error is of second order: some 1/draws, and not Normal
    assert measured("max_at_k", 3)["alignment"] == pytest.approx(1.0, abs=0.003)
    assert measured("rloo", 64)["alignment"] == pytest.approx(enumerated("rloo", 64)[1], abs=0.05)
    assert enumerated("max_at_k", 3)[1] == pytest.approx(1.0, abs=1e-12)
    assert enumerated("rloo", 64)[1] < 0.75


def test_the_exact_gradient_is_perfect():
    measures = quality(POLICY, None, (4, 1, M), 64, np.random.default_rng(0))
    for key in NAMES:
        assert measures[key] == pytest.approx(1.0) and measures[f"{key}_se"] < 1e-12


def test_standard_errors_are_calibrated():
    expected = dict(zip(NAMES, enumerated("tea", 16), strict=True))
    seeds = 200
    measures = [measured("tea", 16, draws=400, seed=seed) for seed in range(seeds)]
    for key in NAMES:
        z = [(one[key] - expected[key]) / one[f"{key}_se"] for one in measures]
        # the standard error of a standard deviation from 200 values is 0.05
        assert np.std(z) == pytest.approx(1.0, abs=0.2) and abs(np.mean(z)) < 0.5


def test_draws_that_say_nothing_give_nan_and_no_warning():
    flat = Bandit(np.zeros(4), np.full(4, 0.25), None, 0, 1.0)
    measures = quality(flat, ESTIMATORS["tea"], (10, 1, M), 64, np.random.default_rng(0))
    assert np.isnan([measures[key] for key in NAMES]).all()


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(1).normal(size=(50, 3))
    left_out = (x.sum(axis=0) - x) / 49
    assert jackknife_se(left_out) == pytest.approx(x.std(axis=0, ddof=1) / np.sqrt(50))
    assert np.isnan(jackknife_se(np.array([1.0, np.inf])))
