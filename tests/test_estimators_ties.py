"""Rewards that differ by rounding only are equal: in every estimator, dtype, unit and mask."""

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import tea_stats
from tea_stats import ESTIMATORS
from tea_stats.estimators import lookup, ties

#: .6, twice: the two differ in the last digit
ONE, OTHER = 0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1
M, N = 16, 64
#: those that compare rewards; REINFORCE returns them
NAMES = [name for name, e in ESTIMATORS.items() if e.shift_invariant and not e.binary]


def sums(count, rng):
    """Return one sum of 8 terms, added up in `count` orders."""
    terms = rng.uniform(size=8)
    return [sum(rng.permutation(terms).tolist()) for _ in range(count)]


def spread(x):
    """Return how far the numbers are apart, in units of the spacing at the largest of them."""
    return np.ptp(x) / np.spacing(np.max(np.abs(x)))


def test_case_25():
    assert ONE != OTHER
    for name in ("grpo", "cat_bon", "rloo"):
        np.testing.assert_array_equal(tea_stats.advantages(name, [ONE, OTHER] * 2, 16), 0.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e6, 1e150])
def test_groups_of_rounding_noise_have_no_advantage(name, unit):
    rng = np.random.default_rng(0)
    r = np.array([sums(M, rng) for _ in range(8)])
    r *= unit
    assert spread(r[0]) >= 1.0
    alike = np.repeat(r.min(axis=1, keepdims=True), M, axis=1)
    np.testing.assert_array_equal(
        tea_stats.advantages(name, r, N), tea_stats.advantages(name, alike, N)
    )


@pytest.mark.parametrize("name", NAMES)
def test_noise_beside_other_rewards_makes_no_ranks(name):
    """A tail, or all the others, may be noise where the group is not."""
    rng = np.random.default_rng(1)
    noisy = np.array([sums(M, rng) for _ in range(8)])
    clean = np.repeat(noisy.min(axis=1, keepdims=True), M, axis=1)
    for place, value in itertools.product((0, slice(0, 11), slice(0, 14)), (-3.0, 9.0)):
        x, y = noisy.copy(), clean.copy()
        x[:, place] = y[:, place] = value
        a, b = (tea_stats.advantages(name, r, N) for r in (x, y))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [1e-10, 1e-12])
def test_small_differences_are_real(name, step):
    """A spread of 1e-10 is no rounding of float64: what z-scores make of it is of order one."""
    estimator = lookup(name)
    r = np.random.default_rng(2).permuted(np.tile(np.arange(M), (8, 1)), axis=1)
    a = tea_stats.advantages(name, 1.0 + step * r, N)
    b = tea_stats.advantages(name, r, N)
    assert np.abs(b).max() > 0.0
    if estimator.scale_degree is not None:
        a = a / step**estimator.scale_degree
        np.testing.assert_allclose(a, b, atol=20 * 1e-16 * M / step * np.abs(b).max())
    else:
        assert np.abs(a).max() > 0.0


def test_tiny_units_and_integers():
    r = np.array([0.0, 1.0, 2.0, 4.0])
    for unit in (1e-12, 1e-150):
        np.testing.assert_allclose(tea_stats.grpo(unit * r, N), tea_stats.grpo(r, N), rtol=1e-12)
    large = 2**53 - np.array([0, 1, 2, 4])
    assert (tea_stats.cat_bon(large, 2) != 0.0).any()


def test_rewards_that_vary_on_the_scale_of_their_digits_stay():
    """Ties do not chain, and a gap of a few digits shows that the others are no rounding either."""
    tie = ties.DOUBLE
    for steps in (np.arange(-50.0, 1.0), np.array([0.0, 0.5, 0.9, 5.0, 200.0, 2e9])):
        r = np.sort(1.0 + tie / 2.0 * steps)
        np.testing.assert_array_equal(ties.merged(r, tie), r)
    r = 1.0 + tie * np.array([0.0, 0.25, 0.75, 140.0, 140.5, 1e9])
    assert len(np.unique(ties.merged(r, tie))) == 3
    # a group with another one's noise far from its own
    r = np.array([0.0, 1e-90, 3e-90, 1.0])
    np.testing.assert_array_equal(ties.merged(r, tie), r)


def test_tolerance_covers_sums_and_no_more():
    """Sums of 8 terms in any order are tied, and the tolerance is not much wider than that."""
    rng = np.random.default_rng(3)
    for dtype in (np.float64, np.float32):
        apart = []
        for _ in range(300):
            terms = rng.uniform(size=8).astype(dtype)
            total = [dtype(0.0)] * 4
            for k in range(4):
                for term in rng.permutation(terms):
                    total[k] = total[k] + term
            r = np.array(total, dtype=dtype)
            apart.append(float(np.ptp(r) / r.max()))
            assert (tea_stats.grpo(r, N) == 0.0).all()
        assert 0.1 * ties.of_array(np.array([], dtype)) < max(apart)
    assert ties.of_array(np.array([1, 2])) == ties.of_array(np.array([True])) == 0.0
    assert ties.of_array([1.0]) == ties.of_array(np.zeros(1)) == ties.DOUBLE


def test_nearly_one_is_one():
    r = np.array([0.1 * 3 + 0.7 + 1e-16, 0.0, 1.0 - 1e-16, 1.0])
    name = next(name for name, e in ESTIMATORS.items() if e.binary)
    np.testing.assert_array_equal(
        tea_stats.advantages(name, r, N), tea_stats.advantages(name, [1, 0, 1, 1], N)
    )
    with pytest.raises(ValueError, match="0/1"):
        tea_stats.advantages(name, [0.0, 1.0 - 1e-9], N)


def test_few_valued_counts_values_up_to_rounding():
    rng = np.random.default_rng(4)
    r = rng.integers(0, 2, size=(64, M)) + 0.5
    noisy = r * (1.0 + rng.integers(-3, 4, size=r.shape) * 2.0**-53)
    assert len(np.unique(noisy)) > 2
    a, b = (tea_stats.beta_binomial(x, N) for x in (noisy, r))
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_report_of_noise():
    rng = np.random.default_rng(5)
    r = np.array([sums(M, rng) for _ in range(8)])
    assert tea_stats.batch_report(r, N).alike == 8


# --- torch and trainers -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("offset", [1.0, 1e4])
def test_tensors_by_the_rounding_of_their_dtype(dtype, offset):
    torch = pytest.importorskip("torch")
    from tea_stats import torch_bridge

    base = torch.full((8, M), offset, dtype=getattr(torch, dtype))
    # the next number, and the number itself
    up = torch.nextafter(base, torch.full_like(base, 6e4))
    r = torch.where(torch.arange(M) % 2 == 1, up, base)
    assert (r[:, 1] > r[:, 0]).all()
    mask = torch.rand(8, M, generator=torch.Generator().manual_seed(0)) > 0.2
    mask[:, :12] = True
    for name, chosen, unit in itertools.product(NAMES, (None, mask), (False, True)):
        a = torch_bridge.advantages(name, r, N, mask=chosen, unit_rms=unit)
        b = torch_bridge.advantages(name, base, N, mask=chosen, unit_rms=unit)
        assert torch.equal(a, b), name


@pytest.mark.parametrize(
    ("dtype", "step"), [("float32", 1e-5), ("float16", 5e-3), ("bfloat16", 2e-2)]
)
def test_small_differences_of_tensors_are_real(dtype, step):
    torch = pytest.importorskip("torch")
    from tea_stats import torch_bridge

    r = (1.0 + step * torch.arange(8, dtype=torch.float64)).to(getattr(torch, dtype))
    a = torch_bridge.advantages("grpo", r[None], N)
    assert (a.diff() > 0.0).all()


def test_adapters_do_not_scale_noise_up():
    torch = pytest.importorskip("torch")
    from tea_stats.integrations.groups import batch_advantages, nested_advantages
    from tea_stats.integrations.slime import reward_post_process

    flat = torch.tensor([ONE, OTHER] * 8, dtype=torch.float64)
    for name in ("rloo", "grpo", "tea", "auto_tea"):
        with warnings.catch_warnings(action="ignore"):  # few groups
            a = batch_advantages(name, flat, [0] * 8 + [1] * 8, N, unit_rms=True)
            nested = nested_advantages(name, [[ONE, OTHER] * 4], N, unit_rms=True)
        assert not a.any()
        assert not nested[0].any()
    # parts of one rollout, whose reward was added up twice
    parts = [
        SimpleNamespace(group_index=0, rollout_id=k // 2, get_reward_value=lambda args, r=r: r)
        for k, r in enumerate([ONE, OTHER, 1.0, 1.0])
    ]
    args = SimpleNamespace(tea_stats_N=16, tea_stats_estimator="rloo")
    a = reward_post_process(args, parts)[1]
    np.testing.assert_allclose(a, [-0.4, -0.4, 0.4, 0.4])
