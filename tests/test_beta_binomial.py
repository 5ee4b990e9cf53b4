"""Beta-binomial: what it claims given the other groups of a batch; its weights by quadrature."""

from __future__ import annotations

from functools import cache

import mpmath
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import special, stats

from tea_stats import Discrete, Normal, beta_binomial, monte_carlo
from tea_stats.estimators.beta_binomial import EVENNESS, LOG_ODDS, log_beta
from tests.enumeration import BINARY, VALUED, expected_gradient, gradient_of_expectation, tuples

# --- the weights, from nothing but the beta laws -------------------------------------------------


@cache
def moments(m, N, s):
    """Return L, E[p], E[w] and E[T w] of each beta law given s successes in m − 1, by quadrature.

    The integral over log odds is that of an analytic function that falls off exponentially: the
    trapezoidal rule gets it to the last digits.
    """
    found = []
    for evenness in EVENNESS:
        edge, step = 20 + 45 / evenness, min(0.25, 0.12 / evenness**0.5)
        z = np.arange(-edge, edge, step)
        p, q = special.expit(z), special.expit(-z)
        for centre in LOG_ODDS:
            a, b = evenness / special.expit(-centre), evenness / special.expit(centre)
            density = np.exp(a * special.log_expit(z) + b * special.log_expit(-z))
            density /= density.sum()
            posterior = density * p**s * q ** (m - 1 - s)
            L, w = posterior.sum(), p * q
            steep = N * np.exp((N - 1) * special.log_expit(-z)) * w
            found.append([L, *(posterior @ np.column_stack([p, w, steep]) / L)])
    return np.array(found).T


def parts(m, N, s, counts):
    """Return W and b for s successes in m − 1 others and the other groups' counts of m."""
    a = np.outer(EVENNESS, 1.0 / special.expit(-LOG_ODDS)).ravel()
    b = np.outer(EVENNESS, 1.0 / special.expit(LOG_ODDS)).ravel()
    logs = sum(stats.betabinom.logpmf(count, m, a, b) for count in counts)
    L, p, w, steep = moments(m, N, s)
    law = special.softmax(logs + np.log(L))
    weight, baseline = law @ (w * steep) / (law @ w**2), law @ p
    seen, rollouts = s + sum(counts), m * (1 + len(counts)) - 1
    return weight, {0: 0.0, rollouts: 1.0}.get(seen, baseline)


def batch(m, own, counts):
    """Return 0/1 rewards of a first group with `own` successes, and of others with `counts`."""
    return np.array([[0.0] * (m - s) + [1.0] * s for s in (own, *counts)])


@pytest.mark.parametrize("counts", [(), (0, 0, 0), (0, 1, 0, 3), (5, 5), (5, 0, 5, 0, 0)], ids=str)
@pytest.mark.parametrize("N", [1, 8, 1000])
def test_the_weights_are_integrals_over_p(N, counts):
    """A_i is W(1 − b) or −W b by r_i, with W and b the same for both: they do not look at it."""
    m = 5
    for s in range(m):
        weight, baseline = parts(m, N, s, counts)
        for own, expected in ((s, -weight * baseline), (s + 1, weight * (1.0 - baseline))):
            rewards = batch(m, own, counts)
            if np.ptp(rewards) == 0.0:
                assert not beta_binomial(rewards, N).any()
                continue
            found = beta_binomial(rewards, N)[0]
            rollout = found[-1] if own > s else found[0]
            assert rollout == pytest.approx(expected, rel=1e-9)


def test_log_beta_keeps_its_digits():
    with mpmath.workdps(40):
        for a, b in [(0.05, 0.2), (50, 5e5), (3.3, 1e9), (6.0, 7.0), (15.9, 16.1), (1e-5, 1e9)]:
            x, y = mpmath.mpf(a), mpmath.mpf(b)
            exact = mpmath.loggamma(x) + mpmath.loggamma(y) - mpmath.loggamma(x + y)
            for found in (log_beta(np.array(a), np.array(b)), log_beta(np.array(b), np.array(a))):
                assert abs(mpmath.mpf(float(found)) - exact) < 1e-13 * max(1.0, abs(exact)), (a, b)


# --- given the others, E[ĝ] = E[W] ∇P(R ≥ v) at every threshold ----------------------------------


def claimed(law, m, N, others):
    """Return Σ gap E[W] ∇P(R ≥ v), every W by quadrature."""
    total = 0.0
    values = np.unique(law.rewards)
    for low, high in zip(values[:-1], values[1:], strict=True):
        counts = tuple(int(s) for s in (others >= high).sum(axis=1))
        weights = np.array([parts(m, N, s, counts)[0] for s in range(m)])
        rewards, _, probability = tuples(law, m - 1)
        mean_weight = probability @ weights[(rewards >= high).sum(axis=1)]
        passing = gradient_of_expectation(law, 1, lambda r, v=high: (r[:, 0] >= v) * 1.0)
        total = total + (high - low) * mean_weight * passing
    return total


@pytest.mark.parametrize("law", (*BINARY, *VALUED[:2]), ids=str)
@pytest.mark.parametrize("seen", ["all values", "the lowest only", "the best only", "no group"])
def test_given_the_others_the_mean_gradient_is_exact(law, seen):
    """Every group is listed beside fixed others; values that no other rollout takes included."""
    m, N = 4, 12
    values = np.unique(law.rewards)
    others = {
        "all values": np.random.default_rng(3).choice(values, (3, m)),
        "the lowest only": np.full((3, m), values[0]),
        "the best only": np.full((2, m), values[-1]),
        "no group": np.empty((0, m)),
    }[seen]

    def of_the_first(rewards):
        return np.array([beta_binomial(np.vstack([group, others]), N)[0] for group in rewards])

    exact = claimed(law, m, N, others)
    assert np.abs(exact).max() > 1e-4
    assert np.abs(expected_gradient(law, m, of_the_first) - exact).max() < 1e-9


# --- batches -------------------------------------------------------------------------------------


def test_the_order_of_the_groups_and_all_leading_axes_do_not_matter():
    rewards = np.random.default_rng(5).integers(0, 3, (6, 12)) * 1.0
    order = [3, 1, 5, 0, 4, 2]
    expected = beta_binomial(rewards, 64)
    assert np.array_equal(beta_binomial(rewards[order], 64), expected[order])
    cube = beta_binomial(rewards.reshape(2, 3, 12), 64)
    assert np.array_equal(cube, expected.reshape(2, 3, 12))


def test_values_add_up_over_their_thresholds():
    """Rewards of four values are three verifiers at once, each with a batch of its own."""
    rewards = np.random.default_rng(6).choice(
        [-1.0, 0.5, 3.0, 10.0], (5, 8), p=[0.5, 0.3, 0.1, 0.1]
    )
    values = np.unique(rewards)
    assert len(values) == 4
    parts = [
        gap * beta_binomial(rewards >= v, 100)
        for v, gap in zip(values[1:], np.diff(values), strict=True)
    ]
    np.testing.assert_allclose(beta_binomial(rewards, 100), sum(parts), rtol=1e-12)


@given(data=st.data())
def test_a_success_is_never_worth_less_than_nothing(data):
    m, groups = data.draw(st.integers(2, 9)), data.draw(st.integers(1, 6))
    cell = st.lists(st.integers(0, 1), min_size=m, max_size=m)
    rewards = np.array(data.draw(st.lists(cell, min_size=groups, max_size=groups)))
    found = beta_binomial(rewards, data.draw(st.sampled_from([1, 2, 30, 10**4, 10**9])))
    assert np.isfinite(found).all()
    assert (found[rewards == 1] >= 0.0).all() and (found[rewards == 0] <= 0.0).all()


def test_a_large_batch_knows_the_weight():
    """With p the same for all, W = A(success) − A(failure) of equal others is N(1 − p)^(N − 1)."""
    p, m, N = 0.01, 16, 128
    rewards = (np.random.default_rng(7).random((4096, m)) < p) * 1.0
    found, counts = beta_binomial(rewards, N), rewards.sum(axis=1)
    success, failure = found[counts == 1].max(), found[counts == 0].max()
    # 65,536 rollouts know p to 4 %, and log W moves N times as far as p
    assert success - failure == pytest.approx(N * (1 - p) ** (N - 1), rel=0.25)
    assert -failure / (success - failure) == pytest.approx(p, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("p", "m", "N"), [(0.01, 8, 128), (0.004, 16, 256), (0.001, 64, 1024)], ids=str
)
def test_a_batch_of_64_has_less_error(p, m, N):
    """Normalised MSE on one p, V_N far from 0 and from 1: below 1/1.5 of the rivals'."""
    law = Discrete.from_probabilities([0.0, 1.0], [1.0 - p, p])
    rivals = ["linear_tea", "max_at_k", "max_rl", "rloo"]
    table = monte_carlo.measure(
        law, ["beta_binomial", *rivals], m, N, reps=64 * 1500, seed=8, prompts=64
    )
    cells = table[table["parameter"] == "all"].set_index("estimator")
    error, se = (1.5 * cells[name]["beta_binomial"] for name in ("nmse", "nmse_mcse"))
    for rival in rivals:
        spread = np.hypot(se, cells["nmse_mcse"][rival])
        assert cells["nmse"][rival] - error > 5 * spread, rival


# --- too many values -----------------------------------------------------------------------------

TOO_MANY = r"rewards has 65 distinct values; .* at most 64 of them: round .*, or choose another"


def test_more_than_64_values_are_refused():
    assert np.isfinite(beta_binomial(np.arange(64.0).reshape(4, 16), 64)).all()
    with pytest.raises(ValueError, match=TOO_MANY):
        beta_binomial(np.arange(65.0).reshape(5, 13), 64)
    with pytest.raises(
        ValueError, match=r"at most 64 distinct rewards and the law is Normal.*give"
    ):
        monte_carlo.measure(Normal(), ["beta_binomial"], 16, 64, reps=128, prompts=64)
    with pytest.raises(ValueError, match=TOO_MANY):
        law = Discrete(np.arange(65.0), np.zeros(65))
        monte_carlo.measure(law, ["beta_binomial"], 16, 64, reps=128, prompts=64)
