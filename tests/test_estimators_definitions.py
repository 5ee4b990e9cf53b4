"""Kernels against definitions, written down naively and in the order of the input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

import tea_stats
from tea_stats import advantages, max_at_k
from tests.enumeration import Array, few_valued
from tests.numpy_twin import TWINS


def subsets_max(rewards: Array, k: int) -> float:
    """Mean of the maximum over all k-subsets: the unbiased max@k."""
    return float(np.mean([max(s) for s in itertools.combinations(rewards, k)]))


def best_with(rewards: Array, i: int, k: int) -> float:
    """q_i: mean of the maximum over the k-subsets that contain rollout i."""
    others = np.delete(rewards, i)
    subsets = itertools.combinations(others, k - 1)
    return float(np.mean([max((*s, rewards[i])) for s in subsets]))


def max_at_k_by_subsets(rewards: Array, k: int, form: str) -> Array:
    m = len(rewards)
    out = np.empty(m)
    for i in range(m):
        others = np.delete(rewards, i)
        baseline = {
            "s": lambda: 0.0,
            "loo": lambda others=others: m / (m - 1) * subsets_max(others, k),
            "loo-1": lambda others=others: subsets_max(others, k - 1),
            "canonical": lambda others=others: subsets_max(others, k),
        }[form]()
        out[i] = k * (best_with(rewards, i, k) - baseline)
    return out


def leave_one_out_max(r: Array) -> Array:
    return np.array([r.max() - np.delete(r, i).max() for i in range(len(r))])


def pass_at_k(r: Array, N: int) -> Array:
    """z-score of a random subset's success, averaged over the subsets that contain the rollout."""
    m = len(r)
    k = min(N, m)
    passes = np.array([max(s) for s in itertools.combinations(r, k)])
    if passes.std() == 0:
        return np.zeros(m)
    mine = np.array([best_with(r, i, k) for i in range(m)])
    return (mine - passes.mean()) / passes.std()


def by_group(definition: Callable[..., Array]) -> Callable[..., Array]:
    return lambda groups, N: np.array([definition(group, N) for group in groups])


#: by enumeration where that is the definition, else by the formulas of the NumPy twin
DEFINITIONS: dict[str, Callable[[Array, int], Array]] = {
    **{
        name: TWINS[name]
        for name in ("reinforce", "rloo", "dr_grpo", "grpo", "bon_max_mean", "cat_bon")
        + (
            "rs_grpo",
            "cvar",
            "tail_rl",
            "max_rl",
            "order_statistic",
            "bon_rl",
            "grpo_z",
            "entropic",
        )
    },
    "leave_one_out_max": by_group(lambda r, N: leave_one_out_max(r)),
    "pass_at_k": by_group(pass_at_k),
}


def random_groups(m: int, rng: np.random.Generator) -> Array:
    """Return groups without ties, with many, with two values, and all equal."""
    return np.concatenate(
        [
            rng.normal(size=(20, m)),
            rng.integers(0, 4, size=(20, m)) / 2.0,
            rng.integers(0, 2, size=(20, m)) * 1.0,
            np.full((1, m), 0.3),
        ]
    )


@pytest.mark.parametrize("m", [2, 3, 5, 8])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_kernel_equals_definition(name: str, m: int) -> None:
    m = max(m, tea_stats.ESTIMATORS[name].min_m)
    groups = random_groups(m, np.random.default_rng(m))
    if tea_stats.ESTIMATORS[name].binary:
        groups = groups[40:60]
    for N in (1, 3, 12):
        expected = DEFINITIONS[name](groups, N)
        np.testing.assert_allclose(advantages(name, groups, N), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("form", ["s", "loo", "loo-1", "canonical"])
@pytest.mark.parametrize("m", [2, 3, 5, 7])
def test_max_at_k_equals_its_subsets(m: int, form: str) -> None:
    groups = random_groups(m, np.random.default_rng(m))
    first = 2 if form == "loo-1" else 1
    last = m - 1 if form in ("loo", "canonical") else m
    for k in range(first, last + 1):
        expected = np.array([max_at_k_by_subsets(group, k, form) for group in groups])
        computed = max_at_k(groups, 5, k=k, form=form)
        np.testing.assert_allclose(computed, expected, rtol=1e-11, atol=1e-13)


def test_known_relatives_of_max_at_k() -> None:
    groups = random_groups(6, np.random.default_rng(0))
    np.testing.assert_allclose(
        max_at_k(groups, 1), tea_stats.rloo(groups, 1), rtol=1e-13, atol=1e-15
    )
    np.testing.assert_allclose(
        max_at_k(groups, 6), 6 * tea_stats.leave_one_out_max(groups, 6), rtol=1e-13, atol=1e-15
    )
    canonical = max_at_k(groups, 3, form="canonical")
    np.testing.assert_allclose(canonical.sum(axis=1), 0.0, atol=1e-13)
    assert np.array_equal(max_at_k(groups, 3), canonical)


@pytest.mark.parametrize("k", [1, 2, 37, 512, 1023])
@pytest.mark.parametrize("form", ["s", "loo", "loo-1", "canonical"])
def test_max_at_k_keeps_its_digits_at_m_1024(form: str, k: int) -> None:
    """Against exact integer arithmetic, where binomials have three hundred digits."""
    if form == "loo-1" and k == 1:
        pytest.skip("loo-1 needs k ≥ 2")
    m = 1024
    r = sorted(int(x) for x in np.random.default_rng(k).integers(0, 1000, size=m))

    def others_best(size: int) -> list[Fraction]:
        """ρ_size^{−i} for every i, from running sums over the others' ranks."""
        low = list(itertools.accumulate(r[j] * math.comb(j, size - 1) for j in range(m)))
        high = list(
            itertools.accumulate(r[j] * math.comb(j - 1, size - 1) if j else 0 for j in range(m))
        )
        whole = math.comb(m - 1, size)
        return [Fraction(low[i] - r[i] * math.comb(i, size - 1) + high[-1] - high[i], whole)
                for i in range(m)]  # fmt: skip

    whole = math.comb(m - 1, k - 1)
    above = list(
        itertools.accumulate(r[j] * math.comb(j - 1, k - 2) if j and k > 1 else 0 for j in range(m))
    )
    q = [
        Fraction(r[i] * math.comb(i, k - 1) + above[-1] - above[i], whole) for i in range(m)
    ]  # fmt: skip
    baseline = {
        "s": lambda: [Fraction(0)] * m,
        "loo": lambda: [Fraction(m, m - 1) * x for x in others_best(k)],
        "loo-1": lambda: others_best(k - 1),
        "canonical": lambda: others_best(k),
    }[form]()
    exact = np.array([float(k * (a - b)) for a, b in zip(q, baseline, strict=True)])
    computed = max_at_k(np.array(r, dtype=float), 4096, k=k, form=form)
    # the largest advantage sets the scale of the group
    assert np.abs(computed - exact).max() < 2e-14 * np.abs(exact).max()


def test_tied_rewards_have_equal_advantages_to_the_last_bit() -> None:
    rewards = np.random.default_rng(1).integers(0, 5, size=(50, 16)) / 7.0
    for name, record in tea_stats.ESTIMATORS.items():
        if record.binary or record.needs_order:
            continue
        got = advantages(name, rewards, 32)
        for group, row in zip(rewards, got, strict=True):
            for value in np.unique(group):
                assert np.ptp(row[group == value]) == 0.0, name


def test_a_large_location_costs_no_digits() -> None:
    """At 2^40 the rewards still hold 12 bits after the point: so must the advantages."""
    base = np.random.default_rng(2).integers(0, 4096, size=(20, 16)) / 4096
    for name, record in tea_stats.ESTIMATORS.items():
        if record.shift_invariant:
            rewards = few_valued(base, record.most_values)
            np.testing.assert_allclose(
                advantages(name, rewards + 2.0**40, 32),
                advantages(name, rewards, 32),
                rtol=1e-9,
                atol=1e-12,
                err_msg=name,
            )


def test_rs_grpo_has_its_limits() -> None:
    rewards = np.array([0.2, 0.9, 0.4, 0.7])
    mean_centred = rewards - rewards.mean()
    np.testing.assert_allclose(tea_stats.rs_grpo(rewards, 8, beta=0.0), mean_centred, atol=1e-16)
    # first order in β, where a difference of exponentials would have no digit left
    np.testing.assert_allclose(tea_stats.rs_grpo(rewards, 8, beta=1e-14), mean_centred, rtol=1e-12)
    seeking = tea_stats.rs_grpo(rewards, 8, beta=1e6)
    np.testing.assert_allclose(seeking, np.array([-1, 3, -1, -1]) / 1e6, rtol=1e-12)
    averse = tea_stats.rs_grpo(rewards, 8, beta=-1e6)
    np.testing.assert_allclose(averse, np.array([-3, 1, 1, 1]) / 1e6, rtol=1e-12)
