"""Finite laws by enumeration, their draws, and what makes them values."""

from __future__ import annotations

import pickle
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from tea_stats.families import Discrete, EmpiricalPool, SoftmaxBandit
from tea_stats.families.finite import SoftmaxLaw, _alias_table
from tests.laws import FINITE

# false-alarm rate of one chi-square test; the wrong law of each test is rejected at the same level
FALSE_ALARM = 1e-7

laws = pytest.mark.parametrize("law", FINITE.values(), ids=FINITE)


def with_parameters(law, theta):
    """Return a softmax law with other parameters."""
    if isinstance(law, Discrete):
        return Discrete(law.values, theta)
    if law.theta is not None:
        return SoftmaxBandit(law.rewards, features=law.features, theta=theta)
    return SoftmaxBandit(law.rewards, theta)


# --- by enumeration -----------------------------------------------------------------------------


@laws
def test_arrays_are_sorted_normalised_and_read_only(law):
    K, d = len(law.rewards_sorted), len(law.parameters)
    assert law.probabilities.shape == (K,)
    assert law.scores.shape == (K, d)
    assert (np.diff(law.rewards_sorted) >= 0.0).all()
    assert law.probabilities.sum() == pytest.approx(1.0, abs=1e-15)
    for array in (law.rewards_sorted, law.probabilities, law.scores):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


@laws
def test_distribution_counts_ties(law):
    r, p = law.rewards_sorted, law.probabilities
    at = np.concatenate([r, r + 1e-9, r - 1e-9, [-np.inf, np.inf]])
    np.testing.assert_allclose(law.cdf(at), [p[r <= x].sum() for x in at], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(law.sf(at), [p[r > x].sum() for x in at], rtol=1e-13)
    for u in (0.0, 1e-12, 0.1, 0.5, 0.9, 1.0):
        smallest = min((x for x in r if law.cdf(x) >= u), default=r[-1])
        assert law.ppf(u) == smallest
        assert law.isf(u) == min(x for x in r if law.sf(x) <= u)
    np.testing.assert_array_equal(law.ppf(law.cdf(r)), r)
    np.testing.assert_array_equal(law.isf(law.sf(r)), r)
    assert np.isnan(
        [law.cdf(np.nan), law.sf(np.nan), law.ppf(-0.1), law.ppf(1.1), law.isf(2)]
    ).all()


@laws
def test_probability_and_score_of_a_reward_merge_ties(law):
    r, p, scores = law.rewards_sorted, law.probabilities, law.scores
    for x in np.unique(r):
        tied = r == x
        assert law.logpdf(x) == pytest.approx(np.log(p[tied].sum()), rel=1e-13)
        expected = p[tied] @ scores[tied] / p[tied].sum()
        np.testing.assert_allclose(law.score(x), expected, rtol=1e-12, atol=1e-15)
    for x in (r[0] - 1.0, r[-1] + 1.0, 0.12345, np.inf, -np.inf):
        assert law.logpdf(x) == -np.inf
        assert np.isnan(law.score(x)).all()


def test_score_of_a_tied_reward_is_the_gradient_of_its_log_probability():
    law = FINITE["bandit-ties"]
    r, h = np.unique(law.rewards), 1e-4
    for j, step in enumerate(np.eye(len(law.logits))):
        up, down = (with_parameters(law, law.logits + s * step).logpdf(r) for s in (h, -h))
        np.testing.assert_allclose(law.score(r)[:, j], (up - down) / (2.0 * h), atol=1e-7)


@pytest.mark.parametrize("label", [k for k, law in FINITE.items() if isinstance(law, SoftmaxLaw)])
def test_score_is_the_gradient_of_log_probability(label):
    law = FINITE[label]
    theta = law.logits if law.logits is not None else law.theta
    h = 1e-4
    for j, step in enumerate(np.eye(len(theta))):
        up, down = (with_parameters(law, theta + s * step).probabilities for s in (h, -h))
        np.testing.assert_allclose(law.scores[:, j], np.log(up / down) / (2 * h), atol=1e-7)
    np.testing.assert_allclose(law.probabilities @ law.scores, 0.0, atol=1e-15)


def test_bandit_with_one_feature_each_is_the_bandit_of_logits():
    rewards, logits = [0.3, -1.0, 0.3, 2.0], [0.1, 0.2, -3.0, 0.7]
    plain = SoftmaxBandit(rewards, logits)
    linear = SoftmaxBandit(rewards, features=np.eye(4), theta=logits)
    assert plain.parameters == ("logit[0]", "logit[1]", "logit[2]", "logit[3]")
    assert linear.parameters == ("theta[0]", "theta[1]", "theta[2]", "theta[3]")
    np.testing.assert_allclose(plain.scores, linear.scores, atol=1e-16)
    discrete = Discrete(rewards, logits)
    np.testing.assert_array_equal(plain.scores, discrete.scores)
    np.testing.assert_array_equal(plain.probabilities, discrete.probabilities)
    assert plain != discrete


def test_extreme_logits_give_probabilities_0_and_1_without_a_warning():
    law = Discrete([0.0, 1.0], [0.0, -2000.0])
    np.testing.assert_array_equal(law.probabilities, [1.0, 0.0])
    assert (law.sample(1000, np.random.default_rng(0)) == 0.0).all()
    np.testing.assert_array_equal(law.scores, [[0.0, 0.0], [-1.0, 1.0]])
    # an outcome that never happens is no atom, wherever it lies
    law = Discrete([0.0, 1.0, 1.0, 2.0, 3.0], [-2000.0, 0.0, -2000.0, 0.0, -2000.0])
    np.testing.assert_array_equal(law.atoms.reward, [1.0, 2.0])
    np.testing.assert_array_equal(law.atoms.mass, [0.5, 0.5])
    np.testing.assert_array_equal(law.score([1.0, 2.0])[:, [1, 3]], [[0.5, -0.5], [-0.5, 0.5]])
    assert (law.ppf(0.0), law.isf(0.0), law.logpdf(0.0)) == (1.0, 2.0, -np.inf)


def test_from_probabilities():
    law = Discrete.from_probabilities([2, 0, 1], [0.2, 0.5, 0.3])
    np.testing.assert_allclose(law.probabilities, [0.5, 0.3, 0.2], rtol=1e-15)
    assert law.sf(1.0) == pytest.approx(0.2, rel=1e-15)


def test_pool_keeps_pairs_together_and_copies():
    rewards, scores = np.array([3.0, 1.0, 2.0]), np.array([[30.0], [10.0], [20.0]])
    pool = EmpiricalPool(rewards, scores)
    rewards[:], scores[:] = 0.0, 0.0
    np.testing.assert_array_equal(pool.rewards, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(pool.scores[:, 0], [10.0, 20.0, 30.0])
    drawn, columns = pool.draw((50, 4), np.random.default_rng(0))
    np.testing.assert_array_equal(columns[0], 10.0 * drawn)


# --- draws --------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 2, 17, 1000, 4096])
@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0])
def test_alias_table_holds_the_probabilities(K, spread):
    p = np.exp(spread * np.random.default_rng(K).normal(size=K))
    p /= p.sum()
    threshold, alias = _alias_table(p)
    keep = threshold - np.arange(K)
    rebuilt = keep.copy()
    np.add.at(rebuilt, alias, 1.0 - keep)
    np.testing.assert_allclose(rebuilt / K, p, atol=2e-15)
    assert ((keep >= 0.0) & (keep <= 1.0)).all()


def outcome_pvalues(law, n, seed):
    """P-values of n draws under the law, and under it with two unlike outcomes exchanged."""
    p = law.probabilities
    outcomes = law._draw(n, np.random.default_rng(seed))
    computed = np.bincount(outcomes, minlength=len(p))
    wrong = p.copy()
    wrong[[p.argmin(), p.argmax()]] = p.max(), p.min()
    return stats.chisquare(computed, n * p).pvalue, stats.chisquare(computed, n * wrong).pvalue


@laws
def test_draws_follow_the_law_and_not_another(law):
    right, wrong = outcome_pvalues(law, 100_000, 3)
    assert right > FALSE_ALARM
    if law.probabilities.max() > 1.5 * law.probabilities.min():
        assert wrong < FALSE_ALARM


@pytest.mark.parametrize("K", [2, 16, 17, 3000])
def test_rare_outcomes_are_drawn_at_their_rate(K):
    """Within z ≤ 5: to 16 % at p = 1e-3 of 10⁶ draws (not twice), to 80 % at 1e-5 of 4·10⁶."""
    for rare, n in ((1e-3, 1_000_000), (1e-5, 4_000_000)):
        rest = np.random.default_rng(K).dirichlet(np.ones(K - 1)) * (1.0 - rare)
        law = Discrete(np.arange(K), np.log(np.append(rest, rare)))
        count = np.count_nonzero(law.sample(n, np.random.default_rng(K)) == K - 1)
        assert abs(count - n * rare) < 5.0 * np.sqrt(n * rare)
        if rare == 1e-3:
            assert abs(count - 2.0 * n * rare) > 5.0 * np.sqrt(2.0 * n * rare)


# --- value semantics ----------------------------------------------------------------------------


def test_equality_is_by_contents():
    pool = EmpiricalPool([1.0, 2.0], [[0.1], [0.2]])
    assert pool == EmpiricalPool([2, 1], np.array([[0.2], [0.1]], dtype=np.float64), ["theta[0]"])
    assert pool != EmpiricalPool([1.0, 2.0], [[0.2], [0.1]])
    assert pool != EmpiricalPool([1.0, 2.0], [[0.1], [0.2]], names=["b"])
    assert Discrete([0, 1], [0, 1]) == Discrete([-0.0, 1.0], [0.0, 1.0])
    assert Discrete([0, 1], [0, 1]) != Discrete([0, 1], [0, 2])
    assert Discrete([0, 1], [0, 1]) != "Discrete"


def test_large_laws_are_cached_by_contents_and_shown_in_one_line():
    rng = np.random.default_rng(0)
    rewards, scores = rng.normal(size=5000), rng.normal(size=(5000, 4))
    calls = []

    @lru_cache
    def cached(law):
        calls.append(law)

    cached(EmpiricalPool(rewards, scores))
    cached(EmpiricalPool(rewards, scores))
    other = scores.copy()
    other[4999, 3] += 1e-9
    cached(EmpiricalPool(rewards, other))
    assert len(calls) == 2
    assert len({repr(law) for law in calls}) == 2
    assert max(len(repr(law)) for law in calls) < 200


@laws
def test_pickled_arrays_stay_read_only(law):
    law.sample(3, np.random.default_rng(0))
    twin = pickle.loads(pickle.dumps(law))
    for array in (twin.rewards_sorted, twin.probabilities, twin.scores):
        assert not array.flags.writeable


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Discrete([], []), ValueError, r"values has shape \(0,\); give shape \(any,\)"),
        (lambda: Discrete(1.0, [0.0]), ValueError, r"values has shape \(\); give shape"),
        (
            lambda: Discrete([0, 1], [0.0]),
            ValueError,
            r"logits has shape \(1,\); give shape \(2,\) \(one logit for each value\)",
        ),
        (lambda: Discrete(["a"], [0.0]), TypeError, "values has dtype <U1; give real numbers"),
        (lambda: Discrete([0, np.nan], [0, 0]), ValueError, r"values\[1\] is nan; give finite"),
        (lambda: Discrete([0, 1], [0, -np.inf]), ValueError, r"logits\[1\] is -inf; give finite"),
        (
            lambda: Discrete.from_probabilities([0, 1], [0.5, 0.6]),
            ValueError,
            r"probabilities sum to 1.1; divide them by their sum",
        ),
        (
            lambda: Discrete.from_probabilities([0, 1], [1.0, 0.0]),
            ValueError,
            "probabilities is .*; give numbers above 0",
        ),
        (lambda: SoftmaxBandit([0, 1]), ValueError, "got rewards only; give either logits, or"),
        (
            lambda: SoftmaxBandit([0, 1], [0, 1], features=[[1], [2]], theta=[0]),
            ValueError,
            "got logits and features and theta; give either",
        ),
        (
            lambda: SoftmaxBandit([0, 1], features=[[1], [2]]),
            ValueError,
            "got features; give either logits, or features and theta",
        ),
        (lambda: SoftmaxBandit([0, 1], theta=[0]), ValueError, "got theta; give either"),
        (
            lambda: SoftmaxBandit([0, 1], [0, 1], theta=[0]),
            ValueError,
            "got logits and theta; give either",
        ),
        (
            lambda: SoftmaxBandit([0, 1], features=[[1, 2]], theta=[0, 0]),
            ValueError,
            r"features has shape \(1, 2\); give shape \(2, any\) \(a row for each reward\)",
        ),
        (
            lambda: SoftmaxBandit([0, 1], features=[[1], [2]], theta=[0, 0]),
            ValueError,
            r"theta has shape \(2,\); give shape \(1,\)",
        ),
        (
            lambda: EmpiricalPool([0, 1], [0, 1]),
            ValueError,
            r"scores has shape \(2,\); give shape \(2, any\) \(a row for each reward\)",
        ),
        (lambda: EmpiricalPool([0.0], [[np.inf]]), ValueError, r"scores\[0, 0\] is inf"),
        (lambda: EmpiricalPool([0.0], [[1.0]], names="a"), TypeError, "names is 'a'; give a list"),
        (
            lambda: EmpiricalPool([0.0], [[1.0, 2.0]], names=["a", "a"]),
            ValueError,
            r"names is \['a', 'a'\]; give 2 different names",
        ),
    ],
)
def test_bad_arrays_are_named_with_their_cure(make, error, message):
    with pytest.raises(error, match=message):
        make()
