"""Which estimators are unbiased, and for what: every group of small discrete laws is listed."""

from __future__ import annotations

import numpy as np
import pytest

from tea_stats import ESTIMATORS, advantages, linear_tea_design, max_at_k
from tea_stats.estimators.bon_rl import tilt
from tea_stats.estimators.max_at_k import FORMS
from tea_stats.tails import tail_count
from tests.enumeration import (
    BINARY,
    LAWS,
    VALUED,
    Array,
    SmallLaw,
    best_of,
    expected_gradient,
    gradient_of_expectation,
    tuples,
)

EXACT = 1e-12
#: a bias that nobody calls rounding
VISIBLE = 1e-3


def mean_reward(law: SmallLaw, m: int) -> Array:
    return best_of(law, 1)


def tail_mean(law: SmallLaw, m: int) -> Array:
    k = tail_count(m, 0.5)

    def best_mean(rewards: Array) -> Array:
        return np.sort(rewards, axis=1)[:, m - k + 1 :].mean(axis=1)

    return (k - 1) / k * gradient_of_expectation(law, m, best_mean)


def level_likelihood(law: SmallLaw, m: int) -> Array:
    smallest = gradient_of_expectation(law, m, lambda r: r.min(axis=1))
    return (sum(best_of(law, k) / k for k in range(1, m + 1)) - smallest / m) / m


def linear_surrogate(law: SmallLaw, m: int) -> Array:
    return sum(w * best_of(law, k) for k, w in linear_tea_design(m, 8).weights.items())


def tilted_ranks(law: SmallLaw, m: int) -> Array:
    weights = np.exp(tilt(8) * (np.arange(1, m) / (m - 1) - 1))
    return gradient_of_expectation(
        law, m - 1, lambda r: np.sort(r, axis=1) @ weights / weights.sum()
    )


def mean_reward_per_spread(law: SmallLaw, m: int) -> Array:
    rewards, _, probability = tuples(law, m - 1)
    spread = rewards.std(axis=1, ddof=1)
    some = np.ptp(rewards, axis=1) > 0
    return (probability[some] / spread[some]).sum() * best_of(law, 1)


#: name -> options and the objective's gradient, for the estimators that claim to be unbiased
CLAIMS = {
    "reinforce": ({}, mean_reward),
    "rloo": ({}, mean_reward),
    "dr_grpo": ({}, lambda law, m: (1 - 1 / m) * best_of(law, 1)),
    "linear_tea": ({}, linear_surrogate),
    "max_at_k": ({"k": 3}, lambda law, m: best_of(law, 3)),
    "order_statistic": (
        {"k": 2, "weights": [0.25, -1.0]},
        lambda law, m: gradient_of_expectation(law, 2, lambda r: np.sort(r, axis=1) @ [0.25, -1]),
    ),
    "bon_rl": ({}, tilted_ranks),
    "grpo_z": ({}, mean_reward_per_spread),
    "leave_one_out_max": ({}, lambda law, m: best_of(law, m) / m),
    "cvar": ({"alpha": 0.5}, tail_mean),
    "tail_rl": ({}, level_likelihood),
    "max_rl": ({}, lambda law, m: sum(best_of(law, k) / k for k in range(1, m))),
}
CLAIM_NOTHING = [
    name for name, record in ESTIMATORS.items() if record.unbiased_for.startswith("nothing")
]


def laws_for(name: str) -> tuple[SmallLaw, ...]:
    return BINARY if ESTIMATORS[name].binary else LAWS


def three_in_the_tail(name: str) -> dict[str, float]:
    """Options for groups of 4: with only two rollouts in the tail, TEA is a multiple of max@m."""
    return {"alpha": 0.75} if "alpha" in ESTIMATORS[name].defaults else {}


def test_every_estimator_is_accounted_for() -> None:
    # what an estimator claims given the other groups of its batch is tested in its own file
    pooling = {name for name, estimator in ESTIMATORS.items() if estimator.pools}
    assert pooling == {"adaptive_tea", "beta_binomial", "auto_tea"}
    assert set(CLAIMS) | set(CLAIM_NOTHING) | pooling == set(ESTIMATORS)
    assert not set(CLAIMS) & set(CLAIM_NOTHING)


@pytest.mark.parametrize("m", [3, 4, 5])
@pytest.mark.parametrize("name", CLAIMS)
def test_the_claim_holds_exactly(name: str, m: int) -> None:
    options, objective = CLAIMS[name]
    for law in laws_for(name):
        estimate = expected_gradient(law, m, lambda r: advantages(name, r, 8, **options))
        exact = objective(law, m)
        assert np.abs(estimate - exact).max() < EXACT, law
        assert np.abs(exact).max() > VISIBLE, law


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("m", [2, 3, 4, 5, 6])
def test_every_form_of_max_at_k_is_unbiased_for_best_of_k(m: int, form: str) -> None:
    smallest = 2 if form == "loo-1" else 1
    largest = m - 1 if form in ("loo", "canonical") else m
    for k in range(smallest, largest + 1):
        for law in LAWS:
            estimate = expected_gradient(law, m, lambda r, k=k: max_at_k(r, 8, k=k, form=form))
            assert np.abs(estimate - best_of(law, k)).max() < EXACT, (k, law)


@pytest.mark.parametrize("N", [1, 2, 3, 4])
def test_max_at_k_is_by_default_unbiased_for_best_of_N_up_to_m(N: int) -> None:
    for law in LAWS:
        estimate = expected_gradient(law, 4, lambda r: max_at_k(r, N))
        assert np.abs(estimate - best_of(law, N)).max() < EXACT, law


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_plain_centring_shrinks_the_gradient(k: int) -> None:
    m = 4

    def centred(rewards: Array) -> Array:
        plain = max_at_k(rewards, 8, k=k, form="s")
        return plain - plain.mean(axis=1, keepdims=True)

    for law in LAWS:
        estimate = expected_gradient(law, m, centred)
        assert np.abs(estimate - (1 - k / m) * best_of(law, k)).max() < EXACT, law


@pytest.mark.parametrize("N", [2, 3, 8])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_no_other_estimator_is_unbiased_for_best_of_N(name: str, N: int) -> None:
    record = ESTIMATORS[name]
    m = 6 if name == "prefix_tea" else 4
    options = three_in_the_tail(name)
    laws = laws_for(name) if record.binary else VALUED
    errors = [
        np.abs(expected_gradient(law, m, lambda r: advantages(name, r, N, **options)) - truth).max()
        for law in laws
        for truth in [best_of(law, N)]
    ]
    if name == "max_at_k" and N <= m:
        assert max(errors) < EXACT
    else:
        assert max(errors) > VISIBLE


@pytest.mark.parametrize("name", CLAIM_NOTHING)
def test_what_claims_nothing_is_not_proportional_to_any_best_of_k(name: str) -> None:
    """Not even up to a factor: the angle to every ∇V_k is visible on a law of several values."""
    if ESTIMATORS[name].binary:
        pytest.skip("with two values every gradient points the same way")
    m = 6 if name == "prefix_tea" else 4
    options = three_in_the_tail(name)
    for k in (1, 2, 4, 8):
        worst = 1.0
        for law in VALUED:
            estimate = expected_gradient(law, m, lambda r: advantages(name, r, 8, **options))
            exact = best_of(law, k)
            cosine = estimate @ exact / np.linalg.norm(estimate) / np.linalg.norm(exact)
            worst = min(worst, cosine)
        assert worst < 1 - 1e-5, k


def test_the_enumeration_itself() -> None:
    """V_2 of a coin is 1 − q², so ∇V_2 = 2q ∇p with ∇p = pq (−1, 1)."""
    p, q = 0.3, 0.7
    np.testing.assert_allclose(
        best_of(BINARY[0], 2), 2 * q * p * q * np.array([-1.0, 1.0]), rtol=1e-14
    )
