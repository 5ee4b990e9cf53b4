"""Continuous laws against scipy.stats, numerical derivatives, quadrature and their own draws."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from scipy import special, stats

from tea_stats.families import (
    FAMILIES,
    Beta,
    Gamma,
    GaussianTail,
    GenPareto,
    Gumbel,
    GumbelMin,
    Logistic,
    LogNormal,
    Normal,
    NormalMixture,
    StudentT,
    Weibull,
)
from tests.laws import ALL, CONTINUOUS

EPS = np.finfo(float).eps
TAILS = np.array([1e-300, 1e-100, 1e-30, 1e-16, 1e-9, 1e-4, 0.02, 0.1, 0.25, 0.4, 0.5])
INSIDE = np.concatenate([TAILS[4:], 1.0 - TAILS[4:-1]])

SCIPY = {
    Normal: lambda law: stats.norm(law.loc, law.scale),
    Logistic: lambda law: stats.logistic(law.loc, law.scale),
    Gumbel: lambda law: stats.gumbel_r(law.loc, law.scale),
    GumbelMin: lambda law: stats.gumbel_l(law.loc, law.scale),
    StudentT: lambda law: stats.t(law.df, law.loc, law.scale),
    Gamma: lambda law: stats.gamma(law.shape, scale=law.scale),
    Weibull: lambda law: stats.weibull_min(law.shape, scale=law.scale),
    LogNormal: lambda law: stats.lognorm(law.sdlog, scale=np.exp(law.meanlog)),
    GenPareto: lambda law: stats.genpareto(law.shape, scale=law.scale),
    Beta: lambda law: stats.beta(law.a, law.b),
}


def laws(*families):
    """Parametrise over the continuous laws, or those of some families."""
    chosen = [
        pytest.param(law, id=label)
        for label, law in CONTINUOUS.items()
        if not families or isinstance(law, families)
    ]
    return pytest.mark.parametrize("law", chosen)


def derivative(function, law, name, h=2e-4):
    """∂/∂θ of function(law) by central differences with one Richardson step; error O(h⁴)."""
    theta = getattr(law, name)
    h *= theta if name == "weight" else max(abs(theta), 0.1)

    def slope(h):
        up, down = replace(law, **{name: theta + h}), replace(law, **{name: theta - h})
        return (function(up) - function(down)) / (2.0 * h)

    return (4.0 * slope(h / 2.0) - slope(h)) / 3.0


def test_every_family_is_tested_with_two_settings():
    for family in FAMILIES.values():
        assert sum(type(law) is family for law in ALL.values()) >= 2, family


# --- distribution -------------------------------------------------------------------------------


@laws(*SCIPY)
def test_distribution_agrees_with_scipy(law):
    reference = SCIPY[type(law)](law)
    r = law.ppf(INSIDE)
    np.testing.assert_allclose(r, reference.ppf(INSIDE), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(law.isf(INSIDE), reference.isf(INSIDE), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(law.cdf(r), reference.cdf(r), rtol=1e-12)
    np.testing.assert_allclose(law.sf(r), reference.sf(r), rtol=1e-12)
    # scipy writes genpareto's density with a power that loses digits near shape 0
    np.testing.assert_allclose(law.logpdf(r), reference.logpdf(r), rtol=1e-8, atol=1e-9)


@laws(NormalMixture)
def test_mixture_agrees_with_scipy(law):
    one, two = stats.norm(law.loc1, law.scale1), stats.norm(law.loc2, law.scale2)
    r = law.ppf(INSIDE)
    for method in ("cdf", "sf", "pdf"):
        parts = getattr(one, method)(r), getattr(two, method)(r)
        expected = (1.0 - law.weight) * parts[0] + law.weight * parts[1]
        computed = np.exp(law.logpdf(r)) if method == "pdf" else getattr(law, method)(r)
        np.testing.assert_allclose(computed, expected, rtol=1e-12)


@laws()
def test_density_is_the_derivative_of_the_distribution_function(law):
    u = np.array([0.03, 0.13, 0.33, 0.47, 0.61, 0.83, 0.95])
    r = law.ppf(u)
    h = 1e-3 * np.exp(-law.logpdf(r)) * np.minimum(u, 1.0 - u)
    slopes = [(law.cdf(r + d) - law.cdf(r - d)) / (2.0 * d) for d in (h, 0.5 * h)]
    computed = (4.0 * slopes[1] - slopes[0]) / 3.0
    np.testing.assert_allclose(np.exp(law.logpdf(r)), computed, rtol=1e-7)


@laws()
def test_round_trips_in_both_tails(law):
    """A tail probability p lies between those of rewards four roundings of Q(p) away."""
    for quantile, tail, sign in ((law.ppf, law.cdf, 1.0), (law.isf, law.sf, -1.0)):
        r = quantile(TAILS)
        # a quantile below 1e-300 (Gamma(0.5) at 1e-300) has lost its digits
        normal = np.abs(r) > 1e-300
        away = 4.0 * EPS * np.abs(r)
        smaller, larger = tail(r - sign * away), tail(r + sign * away)
        assert (smaller <= TAILS * (1.0 + 1e-12))[normal].all()
        assert (larger >= TAILS * (1.0 - 1e-12))[normal].all()
        assert normal.sum() >= 8


@laws()
def test_tails_are_complementary_and_quantiles_ascend(law):
    r = law.ppf(INSIDE)
    np.testing.assert_allclose(law.cdf(r) + law.sf(r), 1.0, rtol=1e-14)
    np.testing.assert_allclose(law.isf(1.0 - INSIDE[:11]), r[:11], rtol=1e-4, atol=1e-12)
    u = np.linspace(0.0, 1.0, 2001)
    assert (np.diff(law.ppf(u)) > 0.0).all()
    assert (np.diff(law.isf(u)) < 0.0).all()


SUPPORT = {
    Gamma: lambda law: (0.0, np.inf),
    Weibull: lambda law: (0.0, np.inf),
    LogNormal: lambda law: (0.0, np.inf),
    GenPareto: lambda law: (0.0, -law.scale / law.shape if law.shape < 0.0 else np.inf),
    Beta: lambda law: (0.0, 1.0),
}


@laws()
def test_ends_of_the_support_and_beyond(law):
    low, high = SUPPORT.get(type(law), lambda law: (-np.inf, np.inf))(law)
    assert law.ppf(0.0) == law.isf(1.0) == low
    assert law.ppf(1.0) == law.isf(0.0) == high
    for end, cdf in ((low, 0.0), (high, 1.0)):
        for r in (end, end + (2.0 * cdf - 1.0)):
            assert law.cdf(r) == cdf
            assert law.sf(r) == 1.0 - cdf
            if np.isinf(r) or r != end:
                assert law.logpdf(r) == -np.inf
                assert np.isnan(law.score(r)).all()
    assert np.isnan(law.ppf([-0.1, 1.1, np.nan])).all()
    assert np.isnan(law.isf([-0.1, 1.1, np.nan])).all()


# --- score and quantile gradient ----------------------------------------------------------------


@laws()
def test_score_is_the_gradient_of_the_log_density(law):
    # off the kinks of GaussianTail, where one-sided slopes differ
    r = law.ppf(np.array([1e-6, 0.011, 0.13, 0.29, 0.43, 0.57, 0.74, 0.93, 0.999, 1.0 - 1e-6]))
    expected = np.stack(
        [derivative(lambda other: other.logpdf(r), law, name) for name in law.parameters], axis=-1
    )
    scale = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(law.score(r) / scale, expected / scale, atol=1e-7)


@laws()
def test_quantile_gradient_is_the_derivative_of_the_quantile(law):
    p = np.array([1e-12, 1e-6, 0.003, 0.11, 0.37, 0.71, 0.97, 1.0 - 1e-6])
    r = law.isf(p)
    columns = law._quantile_gradient(r)
    if columns is None:
        assert isinstance(law, Gamma | Beta | NormalMixture)
        return
    for name, column in zip(law.parameters, columns, strict=True):
        expected = derivative(lambda other: other.isf(p), law, name)
        # a step of 2e-5 or more turns a rounding of r into 2e-11 r
        error = np.abs(column - expected)
        assert (error <= 1e-7 * np.abs(expected) + 2e-11 * np.abs(r) + 1e-10).all(), error


@laws(NormalMixture)
def test_gradient_of_the_distribution_function(law):
    r = law.isf(np.array([1e-30, 1e-12, 1e-6, 0.003, 0.11, 0.37, 0.71, 0.97, 1.0 - 1e-6]))
    for name, column in zip(law.parameters, law._cdf_gradient(r), strict=True):
        # above the median by the survival function, which keeps its digits there
        lower = derivative(lambda other: other.cdf(r), law, name)
        upper = derivative(lambda other: -other.sf(r), law, name)
        expected = np.where(law.cdf(r) < 0.5, lower, upper)
        density = np.exp(law.logpdf(r))
        np.testing.assert_allclose(column / density, expected / density, rtol=1e-6, atol=1e-6)


@laws()
def test_score_has_mean_zero(law):
    """The density leaves nothing at the ends of its support, whatever the parameters do there."""
    if isinstance(law, NormalMixture):  # smooth in the reward, steep in its probability
        r, weight = panels(law._reward_edges())
        mean = (weight * np.exp(law.logpdf(r))) @ law.score(r)
    else:
        t, weight = panels(
            np.union1d(np.arange(-32.0, 32.5, 0.5), -special.logit(np.array(law.breaks)))
        )
        u, p = special.expit(t), special.expit(-t)
        score = law.score(np.where(t < 0.0, law.ppf(u), law.isf(p)))
        # of Beta(0.7, 0.6) the last 1e-10 of the mass rounds to 1, where the score is infinite
        mean = (weight * u * p) @ np.where(np.isinf(score), 0.0, score)
    np.testing.assert_allclose(mean, 0.0, atol=1e-8)


def panels(edges):
    """Return points and weights of a Gauss–Legendre rule between each two edges."""
    x, w = np.polynomial.legendre.leggauss(12)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (1.0 + x)).ravel(), (half * w).ravel()


# --- draws --------------------------------------------------------------------------------------

# One Kolmogorov–Smirnov test has this false-alarm rate. A scale (or its like) that is off by a
# quarter is rejected at the same level in every law of the table.
FALSE_ALARM = 1e-7


@laws()
def test_draws_follow_the_law_and_not_a_neighbour(law):
    r = law.sample(40_000, np.random.default_rng(7))
    name = "scale1" if isinstance(law, NormalMixture) else law.parameters[1]
    neighbour = replace(law, **{name: 1.25 * getattr(law, name)})
    assert stats.kstest(r, law.cdf).pvalue > FALSE_ALARM
    assert stats.kstest(r, neighbour.cdf).pvalue < FALSE_ALARM


@laws(NormalMixture)
def test_draws_of_the_rare_mode(law):
    """The count beyond the top weight/2 is binomial: z ≤ 5, resolution 2 % at weight 0.1."""
    n, p = 400_000, 0.5 * law.weight
    count = np.count_nonzero(law.sample(n, np.random.default_rng(8)) > law.isf(p))
    assert abs(count - n * p) < 5.0 * np.sqrt(n * p * (1.0 - p))


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
def test_draws_come_with_their_scores(law):
    rewards, scores = law.draw((5, 8), np.random.default_rng(1))
    assert rewards.shape == (5, 8)
    assert scores.shape == (len(law.parameters), 5, 8)
    np.testing.assert_array_equal(rewards, law.sample((5, 8), np.random.default_rng(1)))
    if law in CONTINUOUS.values():
        np.testing.assert_array_equal(np.moveaxis(scores, 0, -1), law.score(rewards))


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
def test_sorted_draws_are_the_draws_sorted(law):
    rewards, scores = law.draw((6, 9), np.random.default_rng(2))
    sorted_rewards, sorted_scores, order = law.draw_sorted(
        6, 9, np.random.default_rng(2), ordered=True
    )
    np.testing.assert_array_equal(sorted_rewards, np.sort(rewards, axis=-1))
    np.testing.assert_array_equal(sorted_rewards, np.take_along_axis(rewards, order, -1))
    np.testing.assert_array_equal(sorted_scores, np.take_along_axis(scores, order[None], -1))
    np.testing.assert_array_equal(np.sort(order, axis=-1), np.tile(np.arange(9), (6, 1)))
    without = law.draw_sorted(6, 9, np.random.default_rng(2), ordered=False)
    assert without[2] is None
    np.testing.assert_array_equal(without[0], sorted_rewards)
    np.testing.assert_array_equal(without[1], sorted_scores)


# --- value semantics ----------------------------------------------------------------------------


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
def test_a_law_is_an_immutable_value(law):
    field = next(iter(law.__dataclass_fields__))
    with pytest.raises(FrozenInstanceError):
        setattr(law, field, 1.0)
    twin = pickle.loads(pickle.dumps(law))
    assert twin == law
    assert hash(twin) == hash(law)
    assert (twin.key, twin.stable_id) == (law.key, law.stable_id)
    assert len(repr(law)) < 200


def test_no_two_laws_share_a_key_or_a_stream():
    for values in zip(*((law.key, law.stable_id, law) for law in ALL.values()), strict=True):
        assert len(set(values)) == len(ALL)
    # the first four bytes of sha256("Normal(loc=0.0, scale=1.0)"): if they change, so do all seeds
    assert Normal().stable_id == Normal(0, 1).stable_id == 0x54C1FB2A


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
def test_functions_keep_the_shape_of_their_argument(law):
    u = np.array([[0.1, 0.5, 0.9], [0.2, 0.4, np.nan]])
    for r in (law.ppf(u), law.isf(u)):
        assert r.shape == (2, 3)
        for function in (law.cdf, law.sf, law.logpdf):
            assert function(r).shape == (2, 3)
            assert np.isnan(function(r)[1, 2])
            assert isinstance(function(r[0, 0]), float)
            # NumPy's vectorised and scalar loops differ by a rounding
            assert function(r[0, 0]) == pytest.approx(function(r)[0, 0], rel=1e-15)
        assert law.score(r).shape == (2, 3, len(law.parameters))
        assert np.isnan(law.score(r)[1, 2]).all()
        assert not np.isnan(law.score(r)[0]).any()
    assert isinstance(law.ppf(0.3), float)
    assert law.cdf(np.float32(1.5)) == law.cdf(1.5)
    assert law.sf(1) == law.sf(1.0)


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
@pytest.mark.parametrize("size", [(), 3, (2, 0), (4, 5)])
def test_draws_have_the_size_asked_for(law, size):
    shape = size if isinstance(size, tuple) else (size,)
    rewards, scores = law.draw(size, np.random.default_rng(0))
    assert np.shape(law.sample(size, np.random.default_rng(0))) == np.shape(rewards) == shape
    assert scores.shape == (len(law.parameters), *shape)


@pytest.mark.parametrize("law", [Normal(), ALL["likert"]], ids=["continuous", "finite"])
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda law, rng: law.cdf("a"), TypeError, "r has dtype <U1; give real numbers"),
        (lambda law, rng: law.score(None), TypeError, "r has dtype object; give real numbers"),
        (lambda law, rng: law.sf(1j), TypeError, "r has dtype complex128; give real"),
        (lambda law, rng: law.ppf(["0.5"]), TypeError, "u has dtype <U3; give real numbers"),
        (lambda law, rng: law.isf([[0.5], [0.5, 1]]), ValueError, "p is .*; give rows of equal"),
        (lambda law, rng: law.sample(3, 0), TypeError, "rng is 0; give a generator: numpy.random"),
        (lambda law, rng: law.draw(2.0, rng), TypeError, "size is 2.0 of type float; give an int"),
        (lambda law, rng: law.sample((2, -1), rng), ValueError, "size is -1; give an integer ≥ 0"),
    ],
)
def test_bad_arguments_are_named_with_their_cure(law, call, error, message):
    with pytest.raises(error, match=message):
        call(law, np.random.default_rng(0))


def test_moments_below():
    assert Normal().moments_below == np.inf
    assert StudentT(2.5).moments_below == 2.5
    assert GenPareto(0.25).moments_below == 4.0
    assert GenPareto(-0.25).moments_below == GenPareto(0.0).moments_below == np.inf


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Normal(np.nan), ValueError, "loc is nan; give a finite number"),
        (lambda: Logistic(0.0, 0.0), ValueError, r"scale is 0.0; give .* in \(0, inf\)"),
        (lambda: Gumbel("a"), TypeError, "loc is 'a' of type str; give a real number"),
        (lambda: GumbelMin(0.0, -1.0), ValueError, "scale is -1.0; give"),
        (lambda: StudentT(1.0), ValueError, r"df is 1.0; give .* in \(1, inf\)"),
        (lambda: StudentT(5.0, scale=None), TypeError, "scale is None of type NoneType"),
        (lambda: GaussianTail(alpha=0.5), ValueError, r"alpha is 0.5; give .* in \(0, 0.5\)"),
        (lambda: Normal(True), TypeError, "loc is True of type bool; give a real number"),
        (lambda: Normal(10**400), ValueError, "loc is an integer beyond 1e308; give a smaller"),
        (lambda: Normal([0.0, 1.0]), TypeError, "loc is .* of type list; give a real number"),
        (lambda: Gamma(0.0), ValueError, "shape is 0.0; give"),
        (lambda: Weibull(-1.0), ValueError, "shape is -1.0; give"),
        (lambda: LogNormal(0.0, np.inf), ValueError, "sdlog is inf; give"),
        (lambda: GenPareto(0.5), ValueError, r"shape is 0.5; give .* in \(-0.5, 0.5\)"),
        (lambda: GenPareto(-0.5), ValueError, "shape is -0.5; give"),
        (lambda: Beta(1.0, 0.0), ValueError, "b is 0.0; give"),
        (lambda: NormalMixture(1.0, 0, 1, 0, 1), ValueError, "weight is 1.0; give"),
        (lambda: NormalMixture(0.5, 0, 1, 0, 0), ValueError, "scale2 is 0.0; give"),
    ],
)
def test_bad_parameters_are_named_with_their_cure(make, error, message):
    with pytest.raises(error, match=message):
        make()
