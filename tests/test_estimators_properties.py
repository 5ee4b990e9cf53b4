"""Properties that hold for every row of ESTIMATORS, stated with Hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tea_stats
from tea_stats import ESTIMATORS, Estimator, advantages
from tests.enumeration import Array, few_valued

#: every row of the table at its defaults, and options that take another way through the kernels
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ESTIMATORS},
    "tea, whole group": ("tea", {"alpha": 1.0}),
    "tea, alpha": ("tea", {"alpha": 0.5}),
    "tea, calibrated on a tail": ("tea", {"alpha": 0.7, "calibrated": True}),
    "tea, calibrated": ("tea", {"alpha": 1.0, "calibrated": True}),
    "tea, ddof": ("tea", {"alpha": 0.5, "ddof": 1}),
    "prefix_tea, cross-fitted": ("prefix_tea", {"alpha": 0.5, "crossfit": True, "orderings": 20}),
    "prefix_tea, both": (
        "prefix_tea",
        {"alpha": 0.5, "crossfit": True, "orderings": 3},
    ),
    "max_at_k, canonical": ("max_at_k", {"k": 2, "form": "canonical"}),
    "order_statistic, median": ("order_statistic", {"k": 2, "weights": "median"}),
    "order_statistic, gini": ("order_statistic", {"k": 2, "weights": "gini"}),
    "entropic, sharp": ("entropic", {"kl": 1.0}),
    "max_at_k, loo-1": ("max_at_k", {"k": 2, "form": "loo-1"}),
}

ALL = pytest.mark.parametrize("name", ESTIMATORS)
REAL = pytest.mark.parametrize("name", [n for n, e in ESTIMATORS.items() if not e.binary])
EVERY_CASE = pytest.mark.parametrize("case", CASES)
EVERY_REAL_CASE = pytest.mark.parametrize(
    "case", [case for case, (name, _) in CASES.items() if not ESTIMATORS[name].binary]
)
FIXED = settings(max_examples=60, deadline=None, derandomize=True)

#: eighths, so that sums, shifts and doublings are exact and ties are frequent
eighths = st.integers(-80, 80).map(lambda i: i / 8)
budgets = st.sampled_from([1, 2, 5, 64, 1024])
magnitudes = st.floats(1e-150, 1e150).flatmap(lambda x: st.sampled_from([x, -x, 0.0]))


@st.composite
def groups(draw: st.DrawFn, record: Estimator, elements: Any = eighths) -> Array:
    """Draw one to three groups of equal size that the estimator accepts."""
    smallest = max(3, record.min_m)
    m = draw(st.integers(smallest, smallest + 6))
    values = st.sampled_from([0.0, 1.0]) if record.binary else elements
    return np.array(
        draw(st.lists(st.lists(values, min_size=m, max_size=m), min_size=1, max_size=3))
    )


def evaluate(case: str, rewards: Array, N: int) -> Array:
    name, options = CASES[case]
    return advantages(name, rewards, N, **options)


def close(actual: Array, expected: Array, name: str) -> None:
    """Compare up to rounding, in units of the largest advantage."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11 * scale, err_msg=name)


@EVERY_CASE
@FIXED
@given(data=st.data())
def test_advantages_follow_a_permutation(case: str, data: st.DataObject) -> None:
    record = ESTIMATORS[CASES[case][0]]
    if record.needs_order:
        pytest.skip("depends on the order of the rollouts: equivariant in distribution only")
    rewards, N = data.draw(groups(record)), data.draw(budgets)
    order = np.array(data.draw(st.permutations(range(rewards.shape[1]))))
    assert np.array_equal(
        evaluate(case, rewards[:, order], N), evaluate(case, rewards, N)[:, order]
    )


@EVERY_REAL_CASE
@FIXED
@given(data=st.data(), shift=st.integers(-1000, 1000))
def test_a_shift_changes_nothing(case: str, data: st.DataObject, shift: int) -> None:
    record = ESTIMATORS[CASES[case][0]]
    rewards, N = data.draw(groups(record)), data.draw(budgets)
    moved, still = evaluate(case, rewards + shift, N), evaluate(case, rewards, N)
    if record.shift_invariant:
        close(moved, still, case)
    elif shift != 0:
        assert not np.allclose(moved, still)


@EVERY_REAL_CASE
@FIXED
@given(data=st.data(), factor=st.sampled_from([0.25, 3.7, 1e-150, 1e150]))
def test_a_scale_acts_by_its_degree(case: str, data: st.DataObject, factor: float) -> None:
    record = ESTIMATORS[CASES[case][0]]
    if record.scale_degree is None:
        pytest.skip("no law of scaling")
    rewards, N = data.draw(groups(record)), data.draw(budgets)
    expected = evaluate(case, rewards, N) * factor**record.scale_degree
    close(evaluate(case, rewards * factor, N), expected, case)


@FIXED
@given(data=st.data(), factor=st.sampled_from([0.25, 3.7, 1e-150, 1e150]))
def test_the_risk_parameter_has_the_inverse_unit_of_the_rewards(data, factor):
    rewards = data.draw(groups(ESTIMATORS["rs_grpo"]))
    expected = factor * tea_stats.rs_grpo(rewards, 8, beta=0.3)
    close(tea_stats.rs_grpo(factor * rewards, 8, beta=0.3 / factor), expected, "rs_grpo")


@pytest.mark.parametrize("form", ["s", "loo"])
def test_these_forms_of_max_at_k_depend_on_the_location(form: str) -> None:
    rewards = np.array([0.0, 1.0, 3.0, 4.0])
    moved = tea_stats.max_at_k(rewards + 1.0, 8, k=2, form=form)
    level = moved - tea_stats.max_at_k(rewards, 8, k=2, form=form)
    np.testing.assert_allclose(level, 2.0 if form == "s" else -2 / 3, rtol=1e-12)


@EVERY_CASE
@FIXED
@given(data=st.data())
def test_advantages_are_finite_at_any_magnitude(case: str, data: st.DataObject) -> None:
    record = ESTIMATORS[CASES[case][0]]
    rewards, N = data.draw(groups(record, magnitudes)), data.draw(budgets)
    result = evaluate(case, rewards, N)
    assert result.dtype == np.float64
    assert result.shape == rewards.shape
    assert np.isfinite(result).all()


@EVERY_CASE
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1e150, -1e150, 1e-150, 5e-324])
def test_equal_rewards(case: str, value: float) -> None:
    if ESTIMATORS[CASES[case][0]].binary and value not in (0.0, 1.0):
        pytest.skip("0/1 rewards only")
    rewards = np.full((2, 16), value)
    result = evaluate(case, rewards, 64)
    expected = rewards if case == "reinforce" else np.zeros_like(rewards)
    assert np.array_equal(result, expected)


@ALL
@pytest.mark.parametrize(
    "dtype", [bool, "u1", "i1", "i2", "i4", "i8", "u8", "f2", "f4", "f8", ">f8", "g"]
)
def test_every_real_dtype_is_computed_in_float64(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    # 0..3 and 0/1: exact in every dtype; unsigned differences must not wrap around
    high = 2 if ESTIMATORS[name].binary or dtype is bool else 4
    rewards = rng.integers(0, high, size=(5, 16)).astype(dtype)
    result = advantages(name, rewards, 64)
    assert result.dtype == np.float64
    assert np.array_equal(result, advantages(name, rewards.astype(np.float64), 64))


@REAL
def test_float16_rewards_keep_their_values(name: str) -> None:
    rewards = np.random.default_rng(1).normal(scale=1e4, size=(4, 16)).astype(np.float16)
    result = advantages(name, rewards, 64)
    assert np.isfinite(result).all()
    assert np.array_equal(result, advantages(name, rewards.astype(np.float64), 64))


@ALL
def test_leading_shapes_and_layouts(name: str) -> None:
    rewards = np.random.default_rng(2).integers(0, 2, size=(2, 3, 16)).astype(float)
    if not ESTIMATORS[name].binary:
        rewards += np.random.default_rng(3).normal(size=rewards.shape)
    rewards = few_valued(rewards, ESTIMATORS[name].most_values)
    expected = advantages(name, rewards, 64)
    assert expected.shape == rewards.shape
    if not ESTIMATORS[name].pools:
        assert np.array_equal(advantages(name, rewards[1, 2].tolist(), 64), expected[1, 2])
        assert np.array_equal(advantages(name, rewards[:, 1], 64), expected[:, 1])
    assert np.array_equal(advantages(name, rewards.reshape(6, 16), 64), expected.reshape(6, 16))
    fortran = np.asfortranarray(rewards)
    assert np.array_equal(advantages(name, fortran, 64), expected)
    strided = np.repeat(rewards, 2, axis=-1)[..., ::2]
    assert not strided.flags.c_contiguous
    assert np.array_equal(advantages(name, strided, 64), expected)


@EVERY_CASE
def test_a_batch_larger_than_a_tile_is_its_groups(case: str) -> None:
    if ESTIMATORS[CASES[case][0]].pools:
        pytest.skip("groups tell of each other")
    rewards = np.random.default_rng(4).integers(0, 2, size=(2500, 16)) * 1.0
    result = evaluate(case, rewards, 64)
    for g in (0, 1023, 1024, 2499):
        assert np.array_equal(result[g], evaluate(case, rewards[g], 64))


@ALL
def test_the_input_is_left_alone(name: str) -> None:
    rewards = np.random.default_rng(5).integers(0, 2, size=(3, 16)).astype(float)
    before = rewards.copy()
    rewards.flags.writeable = False
    result = advantages(name, rewards, 64)
    assert np.array_equal(rewards, before)
    assert not np.shares_memory(result, rewards)


@ALL
def test_the_record_tells_the_truth(name: str) -> None:
    record = ESTIMATORS[name]
    assert record.name == name
    function = getattr(tea_stats, name)
    rewards = np.zeros((4, 32))
    rewards[:, :6] = 1.0
    if not record.binary:
        rewards += np.random.default_rng(6).normal(size=rewards.shape)
    rewards = few_valued(rewards, record.most_values)
    same = np.array_equal(function(rewards, 3), function(rewards, 30))
    assert record.uses_N is not same
    assert dict(record.options) == dict(record.defaults)
    for same in (function(rewards, 3, **record.defaults), record.advantages(rewards, 3)):
        assert np.array_equal(same, function(rewards, 3))
    if record.affine:
        at_1, *others = (function(rewards, N) for N in (1, 3, 30))
        slopes = [
            (a - at_1) / tea_stats.tails.normal_max_mean(N)
            for a, N in zip(others, (3, 30), strict=True)
        ]
        close(slopes[1], slopes[0], name)


@ALL
def test_the_smallest_group_is_the_one_stated(name: str) -> None:
    record = ESTIMATORS[name]
    m = record.min_m
    assert np.isfinite(advantages(name, np.arange(m) % 2, 8)).all()
    if m > 1:
        message = rf"m = {m - 1} .*needs m ≥ {m}|m is {m - 1}: .*; give a larger m"
        with pytest.raises(ValueError, match=message):
            advantages(name, np.arange(m - 1) % 2, 8)
