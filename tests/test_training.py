"""Softmax bandits: exact values and gradients, unbiased steps, the bound, the drift."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import integrate, special, stats

from simulations.bandit.training import (
    Bandit,
    build,
    draw,
    drifted,
    estimate,
    gradient,
    nuisance_normals,
    sampled_gradient,
    train,
    value,
)
from tea_stats import ESTIMATORS, advantages, best_of_n
from tea_stats.estimators import lookup
from tea_stats.families import Discrete, Gumbel, Normal, NormalMixture, SoftmaxBandit

LINEAR, TABULAR = False, True
generator = np.random.default_rng


def bandit(law=None, K=64, tabular=LINEAR, nuisance=0, kl_limit=0.5):
    return build(law or Normal(), K, tabular=tabular, nuisance=nuisance, kl_limit=kl_limit)


def small(K=4, features=None, seed=1):
    """Return a bandit with ties among its rewards; `features` random columns, or tabular."""
    rng = generator(seed)
    rewards = np.sort(rng.normal(size=K).round(1))
    columns = None if features is None else rng.normal(size=(K, features))
    return Bandit(rewards, special.softmax(rng.normal(size=K)), columns, 0, 100.0)


def spread_out(K=9, runs=4, seed=1):
    """Policies from nearly uniform to nearly deterministic."""
    logits = generator(seed).normal(size=(runs, K))
    return special.softmax(logits * np.geomspace(1.0, 12.0, runs)[:, None], axis=-1)


# --- exact truth --------------------------------------------------------------------------------


@pytest.mark.parametrize("N", [1, 2, 16, 512, 100_000])
def test_value_and_gradient_are_those_of_best_of_n(N):
    p, rewards = spread_out(K=40), small(K=40).rewards
    assert (np.diff(rewards) == 0.0).any()
    for run, logits in enumerate(np.log(p)):
        law = SoftmaxBandit(rewards=rewards, logits=logits)
        expected = best_of_n.value(law, N)
        assert value(rewards, p, N)[run] == pytest.approx(expected, rel=1e-11, abs=1e-11)
        expected = best_of_n.gradient(law, N)
        scale = max(1.0, np.linalg.norm(expected))
        assert gradient(rewards, p, N)[run] == pytest.approx(expected, abs=1e-11 * scale)


@pytest.mark.parametrize("tabular", [LINEAR, TABULAR])
@pytest.mark.parametrize("N", [1, 7, 300])
def test_gradient_in_the_parameters_is_the_derivative_of_the_value(tabular, N):
    policy = bandit(K=16, tabular=tabular, kl_limit=1e6)
    d = policy.start(1).theta.shape[1]
    theta = generator(2).normal(size=(3, d)) / 4
    drift = np.zeros((3, 1))

    def at(theta):
        return value(policy.rewards, policy.bounded(theta, drift).p, N)

    p = policy.bounded(theta, drift).p
    exact = policy.pull_back(gradient(policy.rewards, p, N))
    h = 1e-5
    for j, axis in enumerate(np.eye(d)):
        difference = (at(theta + h * axis) - at(theta - h * axis)) / (2 * h)
        assert exact[:, j] == pytest.approx(difference, abs=1e-7)


# --- the responses ------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [Normal(), Gumbel(), NormalMixture(0.01, 0.0, 1.0, 4.0, 0.5)])
@pytest.mark.parametrize("N", [1, 128, 100_000])
def test_the_initial_policy_has_the_standardised_law(law, N):
    policy = bandit(law, K=1024)
    mean = best_of_n.value(law, 1)
    square = integrate.quad(lambda r: (r - mean) ** 2 * np.exp(law.logpdf(r)), -10, 30, limit=200)
    sd = np.sqrt(square[0])
    expected = (best_of_n.value(law, N) - mean) / sd
    assert value(policy.rewards, policy.initial[None], N)[0] == pytest.approx(expected, abs=2e-3)
    assert policy.initial @ policy.rewards == pytest.approx(0.0, abs=1e-12)
    assert policy.initial @ policy.rewards**2 == pytest.approx(1.0)


def test_rewards_of_a_verifier_stay_0_and_1():
    policy = bandit(Discrete.from_probabilities([0.0, 1.0], [0.998, 0.002]), K=512)
    assert set(policy.rewards) == {0.0, 1.0}
    assert policy.initial @ policy.rewards == pytest.approx(0.002, rel=0.05)


@pytest.mark.parametrize("shift", [-0.3, 0.4])
def test_the_features_tilt_location_and_scale(shift):
    policy = bandit(K=1024, kl_limit=100.0)
    narrower = np.sqrt(0.5) * np.array([[0.0, -0.5]])
    for theta, mean, variance in [
        (np.array([[shift, 0.0]]), shift, 1.0),
        # exp(-z²/4) φ(z) is Normal with variance 1 / (1 + 1/2)
        (narrower, 0.0, 1.0 / 1.5),
    ]:
        p = policy.bounded(theta, np.zeros((1, 1))).p[0]
        assert p @ policy.rewards == pytest.approx(mean, abs=1e-4)
        assert p @ policy.rewards**2 - mean**2 == pytest.approx(variance, abs=1e-3)


# --- sampling and steps -------------------------------------------------------------------------


def test_draws_follow_the_policy():
    p = spread_out()
    grid = np.broadcast_to((np.arange(100_000) + 0.5) / 100_000, (4, 100_000))
    for run, responses in enumerate(draw(p, grid)):
        assert np.bincount(responses, minlength=9) / 1e5 == pytest.approx(p[run], abs=2e-5)


@pytest.mark.parametrize("features", [None, 2])
@pytest.mark.parametrize(
    ("estimator", "options", "objective"),
    [("rloo", {}, 1), ("max_at_k", {}, 3), ("max_at_k", {"k": 2}, 2)],
)
def test_expected_gradient_of_an_unbiased_estimator_is_the_exact_one(
    estimator, options, objective, features
):
    """Every group of m = 3 out of K = 4 responses, weighted by its probability."""
    policy, m = small(features=features), 3
    p = spread_out(K=4, runs=2)
    expected = np.zeros((2, features or 4))
    for group in itertools.product(range(4), repeat=m):
        responses = np.broadcast_to(group, (2, 1, m))
        A = advantages(estimator, policy.rewards[responses], 512, **options)
        weight = np.prod(p[:, list(group)], axis=1, keepdims=True)
        expected += weight * policy.pull_back(sampled_gradient(p, responses, A))
    exact = policy.pull_back(gradient(policy.rewards, p, objective))
    assert expected == pytest.approx(exact, abs=1e-12)
    assert np.abs(exact).max() > 0.05  # or the line above would be vacuous


def test_a_run_pools_its_own_groups_and_no_others():
    arm, chosen = lookup("adaptive_tea", {"prompts": 4}), bandit(Gumbel())
    p = special.softmax(generator(3).normal(size=(3, 64)), axis=-1)
    groups = generator(4).random((3, 4, 8))
    g, size = estimate(chosen, arm, p, groups, 32)
    for run in range(3):
        alone = estimate(chosen, arm, p[run : run + 1], groups[run : run + 1], 32)
        assert g[run : run + 1] == pytest.approx(alone[0], rel=1e-12, abs=1e-14)
        assert size[run : run + 1] == pytest.approx(alone[1], rel=1e-12)
    # the four groups of a run do inform each other
    A = arm.advantages(chosen.rewards[draw(p, groups)][0], 32)
    single = [arm.advantages(x, 32) for x in chosen.rewards[draw(p, groups)][0]]
    assert np.abs(A - single).max() > 1e-3


def test_groups_of_a_step_are_averaged():
    p = spread_out()
    rng = generator(4)
    responses, A = rng.integers(0, 9, (4, 5, 3)), rng.normal(size=(4, 5, 3))
    each = [sampled_gradient(p, responses[:, [g]], A[:, [g]]) for g in range(5)]
    assert sampled_gradient(p, responses, A) == pytest.approx(np.mean(each, axis=0), abs=1e-15)


# --- the bound on the divergence ----------------------------------------------------------------


@given(
    direction=st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=2),
    length=st.floats(0.0, 1e4),
    drift=st.floats(0.0, 1e3),
    tabular=st.booleans(),
)
def test_a_policy_is_shortened_to_the_bound_and_no_further(direction, length, drift, tabular):
    policy = bandit(K=32, tabular=tabular)
    axes = generator(0).normal(size=(2, 32)) if tabular else np.eye(2)
    theta = length * np.array([direction]) @ axes
    state = policy.bounded(theta, np.array([[drift]]))
    kl = stats.entropy(state.p[0], policy.initial) + 0.5 * state.drift[0, 0] ** 2
    assert kl <= policy.kl_limit * (1.0 + 0.002)
    given_, actual = np.append(theta, drift), np.append(state.theta, state.drift)
    if np.array_equal(given_, actual):
        return
    assert kl == pytest.approx(policy.kl_limit, rel=0.002)
    # a shorter vector in the same direction
    ratio = np.linalg.norm(actual) / np.linalg.norm(given_)
    assert ratio < 1.0 and actual == pytest.approx(ratio * given_, rel=1e-9, abs=1e-12)


def test_the_limit_binds_in_training():
    free, bound = (
        train(bandit(kl_limit=limit), None, (1, 1, 2), 64, np.array([0.3]), 20, generator(0))
        for limit in (50.0, 0.5)
    )
    assert free[0, 0, -1] > bound[0, 0, -1] + 1.0


# --- nuisance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("nuisance", [1, 3])
def test_the_drift_is_the_length_of_a_walk_among_the_nuisance_parameters(nuisance):
    """Against the walk itself: three steps with the score x − mean of every rollout."""
    runs, M = 20_000, 4
    rng = generator(5)
    A = rng.normal(size=(3, runs, M))
    xi = np.zeros((runs, nuisance))
    for a in A:
        score = rng.standard_normal((runs, M, nuisance))
        xi = xi + np.mean(a[:, :, None] * score, axis=1)

    def lengths(nuisance):
        length = np.zeros((runs, 1))
        for a in A:
            size = np.sqrt(np.sum(a**2, axis=1, keepdims=True)) / M
            length = drifted(length, size, *nuisance_normals(bandit(nuisance=nuisance), runs, rng))
        return length[:, 0] ** 2

    def largest_z(actual, expected):
        pairs = [(actual**k, expected**k) for k in (0.5, 1.0, 2.0)]
        errors = [np.sqrt((np.var(f) + np.var(e)) / runs) for f, e in pairs]
        return max(abs(f.mean() - e.mean()) / se for (f, e), se in zip(pairs, errors, strict=True))

    expected = np.sum(xi**2, axis=1)
    assert largest_z(lengths(nuisance), expected) < 5.0
    # with one parameter more the mean square differs by a third or more, which is significant
    assert largest_z(lengths(nuisance + 1), expected) > 20.0


def test_size_of_the_nuisance_part():
    policy = bandit(nuisance=7)
    p, u = policy.start(3).p, generator(6).random((3, 2, 8))
    _, size = estimate(policy, ESTIMATORS["tea"], p, u, 64)
    A = advantages("tea", policy.rewards[draw(p, u)], 64).reshape(3, -1)
    assert size[:, 0] == pytest.approx(np.sqrt(np.sum((A / 16) ** 2, axis=1)))
    assert (estimate(bandit(nuisance=0), ESTIMATORS["tea"], p, u, 64)[1] == 0.0).all()


# --- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tabular", [LINEAR, TABULAR])
@pytest.mark.parametrize("N", [1, 64])
def test_the_exact_path_rises_and_its_first_step_has_the_given_length(tabular, N):
    policy = bandit(tabular=tabular, nuisance=100)
    ((values,),) = train(policy, None, (1, 1, 2), N, np.array([1e-3]), 60, generator(7))
    assert (np.diff(values) > 0.0).all()
    slope = np.linalg.norm(policy.pull_back(gradient(policy.rewards, policy.initial[None], N)))
    assert np.diff(values)[0] == pytest.approx(1e-3 * slope, rel=0.01)


@pytest.mark.parametrize("nuisance", [0, 3, 1000])
def test_a_step_of_an_estimate_has_the_given_length(nuisance):
    policy, steps = bandit(nuisance=nuisance), []

    class Recording(Bandit):
        def bounded(self, theta, drift):
            steps.append(np.sqrt(np.sum(theta**2, axis=1) + drift[:, 0] ** 2))
            return super().bounded(theta, drift)

    recording = Recording(policy.rewards, policy.initial, policy.features, nuisance, 0.5)
    train(recording, ESTIMATORS["tea"], (5, 2, 8), 64, np.array([0.1, 0.3]), 1, generator(11))
    assert steps[0] == pytest.approx(np.repeat([0.1, 0.3], 5))


def test_step_sizes_are_trained_as_if_alone():
    policy, sizes = bandit(nuisance=5), np.array([0.1, 0.4])
    arguments = (policy, ESTIMATORS["tea"], (3, 2, 8), 64)
    both = train(*arguments, sizes, 5, generator(8))
    for size, values in zip(sizes, both, strict=True):
        (alone,) = train(*arguments, np.array([size]), 5, generator(8))
        assert values == pytest.approx(alone, abs=1e-10)
    assert np.abs(both[0] - both[1]).max() > 0.01


def test_nuisance_slows_training():
    few, many = (
        train(
            bandit(nuisance=n), ESTIMATORS["rloo"], (8, 4, 8), 64, np.array([0.1]), 10, generator(9)
        )
        for n in (0, 1000)
    )
    gains = [(values[0, :, -1] - values[0, :, 0]).mean() for values in (few, many)]
    assert gains[0] > 2.0 * gains[1]


def test_an_uninformative_step_changes_nothing():
    flat = Bandit(np.ones(5), np.full(5, 0.2), None, 3, 0.5)
    values = train(flat, ESTIMATORS["tea"], (2, 2, 4), 64, np.array([0.5]), 5, generator(10))
    assert (values == 1.0).all()
