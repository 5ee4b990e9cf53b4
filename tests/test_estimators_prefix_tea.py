"""Prefix-TEA: weights, forms, orderings; enumeration wherever a group can be listed."""

import itertools
import math

import numpy as np
import pytest

from tea_stats import PrefixTEA, advantages, prefix_tea, tea
from tea_stats.estimators.prefix_tea import default_prefixes, prefix_weights
from tests.numpy_twin import TWINS

VALUES = np.array([0.0, 1.0, 3.0, 4.0])
PROBABILITIES = np.array([0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize("prefixes", [(16, 32, 48, 64), (64, 96, 128, 160), (5, 7), (8, 16, 24)])
@pytest.mark.parametrize("order", [1, 2])
def test_weights_cancel_the_stated_powers_with_least_norm(prefixes, order):
    n = np.array(prefixes, dtype=float)
    w = prefix_weights(prefixes, order)
    constraints = np.array([n**-power for power in range(order)])
    target = np.eye(order)[0]
    np.testing.assert_allclose(constraints @ w, target, atol=1e-12)
    # the least-norm solution has no component along the constraints' null space
    null = np.linalg.svd(constraints)[2][order:]
    np.testing.assert_allclose(null @ w, 0.0, atol=1e-12)


def test_third_order_weights_cancel_the_second_power_too():
    w = prefix_weights((16, 24, 32, 40), 3)
    n = np.array([16, 24, 32, 40.0])
    assert abs(w.sum() - 1) < 1e-12
    assert abs(w @ n**-1) < 1e-13
    assert abs(w @ n**-2) < 1e-14
    assert abs(prefix_weights((16, 24, 32, 40), 2) @ n**-2) > 1e-5


@pytest.mark.parametrize(
    ("m", "alpha", "crossfit", "expected"),
    [
        (16, 0.25, False, (8, 12, 16)),
        (64, 0.25, False, (16, 32, 48, 64)),
        (64, 0.25, True, (16, 24, 32, 40)),
        (128, 0.25, True, (32, 48, 64, 80)),
        (32, 0.25, True, (8, 12, 16, 20)),
        (64, 0.125, False, (16, 32, 48, 64)),
        (20, 0.3, False, (10, 15, 20)),
    ],
)
def test_default_prefixes(m, alpha, crossfit, expected):
    assert default_prefixes(m, alpha, 2, crossfit) == expected


def test_one_whole_prefix_is_tea():
    r = np.random.default_rng(0).standard_normal((7, 16))
    np.testing.assert_array_equal(prefix_tea(r, 128, order=1, prefixes=(16,)), tea(r, 128))


@pytest.mark.parametrize("crossfit", [False, True])
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("orderings", [1, 5, 40])  # 40: more subsets than a word has bits
def test_equals_the_numpy_twin(crossfit, order, orderings):
    r = np.random.default_rng(1).standard_normal((20, 64))
    options = {"order": order, "crossfit": crossfit, "orderings": orderings, "seed": 9}
    expected = TWINS["prefix_tea"](r, 256, **options)
    np.testing.assert_allclose(prefix_tea(r, 256, **options), expected, rtol=0, atol=1e-10)


def test_prefixes_whose_tail_fractions_differ_extrapolate_each_by_its_own_constants():
    r = np.random.default_rng(2).standard_normal((20, 30))
    options = {"alpha": 0.3, "prefixes": (11, 17, 30), "orderings": 3, "crossfit": False}
    expected = TWINS["prefix_tea"](r, 512, **options)
    np.testing.assert_allclose(prefix_tea(r, 512, **options), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("crossfit", "prefixes"), [(False, (3, 4, 5)), (True, (3, 4))])
def test_all_orderings_is_the_average_over_every_permutation(crossfit, prefixes):
    r = np.array([0.3, 2.0, -1.0, 0.9, 1.4])
    options = {"alpha": 0.5, "prefixes": prefixes, "crossfit": crossfit}
    total = np.zeros(5)
    for permutation in itertools.permutations(range(5)):
        chosen = list(permutation)
        total[chosen] += prefix_tea(r[chosen], 32, orderings=1, **options)
    expected = total / math.factorial(5)
    found = prefix_tea(r, 32, orderings="all", **options)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # hence permutation-equivariant, which one ordering is not
    flipped = prefix_tea(r[::-1], 32, orderings="all", **options)[::-1]
    np.testing.assert_allclose(flipped, found, atol=1e-12)
    single = prefix_tea(r[::-1], 32, orderings=1, **options)[::-1]
    assert abs(single - prefix_tea(r, 32, orderings=1, **options)).max() > 0.1


@pytest.mark.parametrize(("crossfit", "prefixes"), [(False, (3, 4, 5)), (True, (3, 4))])
def test_averaging_orderings_keeps_the_expectation_and_lowers_the_variance(crossfit, prefixes):
    m = 5
    groups = np.array(list(itertools.product(range(4), repeat=m)))
    weight = PROBABILITIES[groups].prod(axis=1)
    score = np.eye(4) - PROBABILITIES
    moments = {}
    for orderings in (1, 3, "all"):
        a = prefix_tea(
            VALUES[groups],
            64,
            alpha=0.5,
            prefixes=prefixes,
            crossfit=crossfit,
            orderings=orderings,
        )
        g = np.einsum("gi,gid->gd", a, score[groups]) / m
        mean = weight @ g
        moments[orderings] = mean, weight @ (g**2).sum(1) - mean @ mean
    for orderings in (3, "all"):
        np.testing.assert_allclose(moments[orderings][0], moments[1][0], atol=1e-12)
    assert moments["all"][1] < moments[3][1] < moments[1][1]


def subsets_of_bits(masks, count):
    """Return members[T, m]: subset t is bit t % 64 of row t // 64."""
    return np.array([masks[t // 64] >> (t % 64) & 1 for t in range(count)], dtype=bool)


@pytest.mark.parametrize("crossfit", [False, True])
def test_the_gradient_stays_a_mean_over_the_group(crossfit):
    """With the tail statistics held fixed, a constant score must see Σ_j ω_j = 1 TEAs."""
    constants = PrefixTEA(crossfit=crossfit, orderings=3).prepare(64, 64)
    masks, sizes, factors = constants.masks, constants.sizes, constants.weights
    members = subsets_of_bits(masks, len(sizes))
    assert np.array_equal(members.sum(axis=1), sizes)
    evaluated = (~members if crossfit else members).sum(axis=1)
    assert (factors * evaluated).sum() / 64 == pytest.approx(1.0, abs=1e-12)


def test_ties_and_degenerate_prefixes_give_no_nan():
    r = np.array([[1.0] * 16, [0.0] * 15 + [1.0], [2.0] * 8 + [3.0] * 8])
    for crossfit in (False, True):
        a = prefix_tea(r, 128, alpha=0.5, crossfit=crossfit)
        assert np.isfinite(a).all()
        assert (a[0] == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"order": 0}, ValueError, "order is 0; give an integer ≥ 1"),
        ({"order": 5}, ValueError, r"m is 16: .* order = 5 needs 5; give a larger m"),
        ({"alpha": 1.5}, ValueError, r"alpha is 1.5; give a finite number in \(0, 1\]"),
        ({"prefixes": (4, 32)}, ValueError, r"prefixes is \(4, 32\); .* none above 16"),
        ({"prefixes": (8, 16), "crossfit": True}, ValueError, r"none above 15 for m = 16"),
        ({"prefixes": (8, 8)}, ValueError, r"prefixes is \(8, 8\); .* increasing"),
        ({"prefixes": (8, 12.5)}, TypeError, r"prefixes is 12.5 of type float"),
        ({"prefixes": "ab"}, TypeError, r"prefixes is 'ab'; give a sequence"),
        ({"orderings": 0}, ValueError, r"orderings is 0; give an integer ≥ 1"),
        ({"orderings": "some"}, ValueError, r"orderings is 'some'; give an integer ≥ 1 or 'all'"),
        ({"orderings": "all"}, ValueError, r"have 14691 subsets|above 20000"),
        ({"crossfit": 1}, TypeError, r"crossfit is 1; give True or False"),
        ({"seed": -2}, ValueError, r"seed is -2; give an integer ≥ 0"),
    ],
)
def test_bad_options_name_argument_value_and_cure(options, error, message):
    m = 32 if options.get("orderings") == "all" else 16
    with pytest.raises(error, match=message):
        advantages("prefix_tea", np.arange(float(m)), 64, **options)


def test_a_group_too_small_for_the_order_is_refused():
    with pytest.raises(ValueError, match=r"m is 8: at alpha = 0.25 only 1 default prefixes"):
        prefix_tea(np.arange(8.0), 64)


@pytest.mark.parametrize("crossfit", [False, True])
def test_any_mixture_of_magnitudes_gives_finite_advantages(crossfit):
    """A tail of rewards near 1e-293 in a group with one of 1e287: e²/σ̂ is beyond 1e308."""
    rng = np.random.default_rng(0)
    r = 10.0 ** rng.uniform(-293, 287, (400, 16)) * rng.choice([-1.0, 1.0], (400, 16))
    assert np.isfinite(prefix_tea(r, 128, alpha=0.5, crossfit=crossfit)).all()
    # and groups of a single magnitude keep their advantages, whatever it is
    plain = np.exp2(40 * rng.uniform(size=(50, 16)))
    scaled = prefix_tea(plain * 2.0**900, 128, alpha=0.5, crossfit=crossfit)
    unscaled = prefix_tea(plain, 128, alpha=0.5, crossfit=crossfit)
    np.testing.assert_array_equal(scaled, unscaled * 2.0**900)
