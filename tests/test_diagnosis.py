"""Verdicts on a log of rewards: exact on exact means, at their stated rate on normal rewards."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from tea_stats import tails
from tea_stats.best_of_n import order_statistics
from tea_stats.diagnosis import (
    ASSUMPTIONS,
    Interval,
    Kind,
    Verdict,
    diagnose,
    judge,
    sets,
    tail as _tail,
)
from tea_stats.diagnosis.sets import Sets
from tea_stats.diagnosis.values import count, share
from tea_stats.families import (
    Gamma,
    GaussianTail,
    GenPareto,
    Gumbel,
    Normal,
    NormalMixture,
    StudentT,
)
from tea_stats.reward_log import RewardLog

#: locations and scales of prompts
PLACES = np.array([[0.0], [3.0], [-20.0], [0.5], [1.0]])
WIDTHS = np.array([[1.0], [0.1], [5.0], [2.0], [1e-3]])


def expected(law, m):
    """Return what the sets of prompts of one shape, and any location and scale, have on average."""
    rewards = PLACES + WIDTHS * order_statistics.means(law, m)
    return _tail.examine(Sets(rewards, len(rewards), rewards.size, cut=False))


def drawn(law, shape, seed):
    """Return the sets of a drawn log, prompts of all locations and scales."""
    rng = np.random.default_rng(seed)
    rewards = np.sort(law.sample(shape, rng), axis=1) * np.exp(0.5 * rng.normal(size=(shape[0], 1)))
    return Sets(rewards + 9.0 * rng.normal(size=(shape[0], 1)), *shape, cut=False)


# --- exact: pooling prompts distorts nothing -----------------------------------------------------


@pytest.mark.parametrize("m", [4, 5, 8, 16, 64, 256])
def test_normal_prompts_are_exactly_gaussian_at_every_m(m):
    tail = expected(Normal(), m)
    assert tail.excess_shape.estimate == pytest.approx(0.0, abs=1e-10)
    assert tail.bend.estimate == pytest.approx(0.0, abs=1e-10)
    slope, _ = np.polyfit(tail.normal_scores, tail.quantiles, 1)
    assert slope == pytest.approx(WIDTHS.mean(), rel=1e-10)
    assert tail.spread == pytest.approx(WIDTHS.mean(), rel=1e-10)
    for threshold in tail.thresholds:
        assert threshold.mean_excess.estimate == pytest.approx(threshold.normal_mean_excess)
        assert threshold.shape.estimate == pytest.approx(threshold.normal_shape, abs=1e-10)


@pytest.mark.parametrize("m", [4, 8, 16, 64])
@pytest.mark.parametrize("xi", [-0.45, -0.2, 0.0, 0.2, 0.4])
def test_generalised_pareto_prompts_have_their_shape_at_every_threshold(xi, m):
    tail = expected(GenPareto(xi), m)
    for threshold in tail.thresholds:
        assert threshold.shape.estimate == pytest.approx(xi, abs=1e-8)
        # β(u) = σ + ξ u; heights are from the mean, σ/(1 − ξ)
        assert threshold.scale.estimate == pytest.approx(WIDTHS.mean() / (1.0 - xi), rel=1e-8)
    if m >= 16:
        assert tail.further_shape.estimate == pytest.approx(0.0, abs=1e-8)


def test_the_shape_is_that_of_maximum_likelihood_where_prompts_are_alike():
    # all excesses have one scale where the tail is exponential; scipy fits them as one sample
    rewards = np.sort(np.random.default_rng(7).exponential(size=(2000, 32)), axis=1)
    tail = _tail.examine(Sets(rewards, *rewards.shape, cut=False))
    excesses = (rewards[:, -8:] - rewards[:, [-9]]).ravel()
    shape, _, scale = stats.genpareto.fit(excesses, floc=0.0)
    half = (tail.shape.high - tail.shape.low) / 2.0
    assert half < 0.05
    assert abs(tail.shape.estimate - shape) < half  # both have about this error
    near = next(t for t in tail.thresholds if t.k == 8)
    assert near.mean_excess.estimate == pytest.approx(scale / (1.0 - shape), rel=0.01)


def test_the_bulk_below_a_gaussian_tail_does_not_matter():
    # 3.8 % of groups of 16 have fewer than 5 rewards in the upper half, which is Gaussian
    assert abs(expected(GaussianTail(), 16).excess_shape.estimate) < 0.01
    assert abs(expected(GaussianTail(), 64).bend.estimate) < 1e-4


@pytest.mark.parametrize(("law", "sign"), [(Gumbel(), 1), (StudentT(4.0), 1), (Gamma(1.0), 1)])
def test_other_tails_are_not(law, sign):
    tail = expected(law, 16)
    assert sign * tail.excess_shape.estimate > 0.2
    assert sign * tail.bend.estimate > 0.1


def test_dividing_by_a_prompts_own_deviation_would_distort():
    # what is avoided: z-scores of 8 rollouts have a shorter tail than normal rewards
    rewards = np.sort(np.random.default_rng(0).normal(size=(4000, 8)), axis=1)
    z = (rewards - rewards.mean(axis=1, keepdims=True)) / rewards.std(axis=1, keepdims=True)
    pooled = np.sort(z.reshape(-1, 250), axis=1)
    wrong = _tail.examine(Sets(pooled, 4000, 32000, cut=False))
    right = _tail.examine(Sets(rewards, 4000, 32000, cut=False))
    assert judge(ASSUMPTIONS["gaussian_shape"], right.excess_shape) is Verdict.HOLDS
    assert judge(ASSUMPTIONS["gaussian_shape"], wrong.excess_shape) is Verdict.FAILS


def test_weights_are_those_of_mean_excess_and_half_gini_difference():
    r = np.sort(np.random.default_rng(1).normal(size=9))
    height, excess, half_gini, mean = (w[0] @ r for w in _tail._weights(9, (4,)))
    top = r[5:]
    assert height == pytest.approx(r[4] - r.mean())
    assert excess == pytest.approx(top.mean() - r[4])
    assert half_gini == pytest.approx(np.mean([abs(a - b) for a, b in combinations(top, 2)]) / 2)
    assert mean == pytest.approx(r.mean())


# --- sets ----------------------------------------------------------------------------------------


def test_larger_groups_count_by_the_mean_over_all_their_subsets():
    rng = np.random.default_rng(2)
    groups = [rng.normal(size=size) for size in (4, 4, 7, 2, 6, 5, *[4] * 40)]
    parts = sets.sets(groups, rng)
    assert parts is not None
    assert (parts.m, parts.prompts, parts.cut) == (4, 45, False)
    subsets = [sorted(chosen) for chosen in combinations(groups[2], 4)]
    np.testing.assert_allclose(parts.rewards[2], np.mean(subsets, axis=0), rtol=1e-12)


def test_few_prompts_are_cut_at_random_into_sets():
    # a file may be sorted by reward: sets of neighbours would have no spread
    groups = [np.sort(np.random.default_rng(3).normal(size=320)) for _ in range(4)]
    parts = sets.sets(groups, np.random.default_rng(0))
    assert parts is not None
    assert (parts.m, parts.cut, len(parts.rewards)) == (40, True, 32)
    assert (parts.prompts, parts.rollouts) == (4, 1280)
    assert 0.9 < _tail.examine(parts).spread < 1.1
    again = sets.sets(groups, np.random.default_rng(0))
    np.testing.assert_array_equal(parts.rewards, again.rewards)


def test_no_sets_without_a_group_of_four():
    assert sets.sets([np.zeros(3), np.ones(2)], np.random.default_rng(0)) is None


# --- intervals -----------------------------------------------------------------------------------


def test_jackknife_of_a_mean_is_the_t_interval():
    x = np.random.default_rng(4).gamma(1.0, size=30)
    known = stats.ttest_1samp(x, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose(
        _tail.jackknife(lambda mean: mean[..., 0], x[:, None]), [x.mean(), *known], rtol=1e-10
    )


def test_shares_have_exact_binomial_intervals():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for successes in (0, 3, 20):
        known = proportion.proportion_confint(successes, 20, alpha=0.05, method="beta")
        np.testing.assert_allclose(share(successes, 20)[1:], known, atol=1e-12)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.0, -0.05, 0.05), "holds"),
        ((0.05, 0.01, 0.09), "holds"),  # off, and harmlessly so
        ((0.2, 0.11, 0.3), "fails"),
        ((-0.2, -0.3, -0.11), "fails"),
        ((0.1, 0.01, 0.2), "doubtful"),
        ((0.15, 0.01, 0.29), "doubtful"),
        ((-0.05, -0.12, -0.01), "doubtful"),
        ((0.1, -0.01, 0.2), "cannot tell"),
        ((0.0, -0.3, 0.3), "cannot tell"),
        ((np.nan, -np.inf, np.inf), "cannot tell"),
    ],
)
def test_from_interval_to_verdict(interval, verdict):
    assert judge(ASSUMPTIONS["gaussian_shape"], Interval(*interval)) == verdict


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from(sorted(ASSUMPTIONS)))
def test_a_wider_interval_is_never_more_decisive(estimate, half, more, name):
    sure = {Verdict.HOLDS, Verdict.FAILS}
    narrow = Interval(estimate, estimate - half, estimate + half)
    wide = Interval(estimate, narrow.low - more, narrow.high + more)
    first, second = (judge(ASSUMPTIONS[name], interval) for interval in (narrow, wide))
    assert second not in sure or second is first


ALARMS = (Verdict.DOUBTFUL, Verdict.FAILS)


def alarms(law, shape, logs=200):
    """Return the shares of logs in which shape, QQ plot and further shape raise an alarm."""
    raised = np.zeros(3)
    for seed in range(logs):
        tail = _tail.examine(drawn(law, shape, seed))
        computed = (tail.excess_shape, tail.bend, tail.further_shape)
        names = ("gaussian_shape", "straight_plot", "stable_shape")
        raised += [judge(ASSUMPTIONS[k], x) in ALARMS for k, x in zip(names, computed, strict=True)]
    return raised / logs


@pytest.mark.parametrize("shape", [(64, 8), (64, 16), (32, 64)])
def test_normal_logs_are_suspected_at_the_stated_rate(shape):
    # 5 % is nominal; 200 logs have a standard error of .0154, so that .127 is 5 of them above it
    assert (alarms(Normal(), shape)[:2] <= 0.127).all()


def test_generalised_pareto_logs_are_stable_at_the_stated_rate():
    assert alarms(GenPareto(0.0), (64, 32))[2] <= 0.127


def test_other_logs_are_suspected_far_more_often():
    assert (alarms(StudentT(4.0), (64, 64), logs=50)[:2] > 0.7).all()
    assert (alarms(Gamma(1.0), (64, 16), logs=50)[:2] > 0.7).all()
    assert alarms(NormalMixture(0.1, 0.0, 1.0, 4.0, 0.3), (512, 64), logs=20)[2] > 0.7


# --- whole logs ----------------------------------------------------------------------------------


def verdicts(groups):
    return {f.name: f.verdict for f in diagnose(RewardLog.from_groups(groups)).findings}


def test_a_large_normal_log_holds_everywhere():
    rewards = Normal(5.0, 2.0).sample((3000, 32), np.random.default_rng(0))
    verdict_of = verdicts(rewards)
    assert list(verdict_of) == list(ASSUMPTIONS)
    assert set(list(verdict_of.values())[:-1]) == {Verdict.HOLDS}
    # its generalised-Pareto shape does creep up, within what is tolerated at m = 32
    assert verdict_of["stable_shape"] in (Verdict.HOLDS, Verdict.DOUBTFUL)


def test_counts_of_a_small_log():
    log = RewardLog.from_groups([[1, 2, 2, 0, 1], [3, 3, 3], [1.5], [0, 0.5], [3, 1, 0.2, 0.7]])
    counts = count(log)
    assert (counts.prompts, counts.rollouts, counts.distinct, counts.single) == (5, 15, 8, 1)
    assert (counts.smallest, counts.median, counts.largest) == (1, 3, 5)
    assert (counts.top, counts.top_share) == (3.0, pytest.approx(4 / 15))
    assert counts.enough.estimate == 0.4
    assert counts.degenerate.estimate == 0.25  # of the four with several rollouts
    assert counts.tied.estimate == pytest.approx(1 / 3)  # of the three whose rewards differ
    assert counts.at_ceiling.estimate == 0.25  # two have a 3; one of them is bound to
    assert counts.kind is Kind.CONTINUOUS


@pytest.mark.parametrize(
    ("groups", "kind"),
    [
        ([[0, 1, 0, 1], [1, 1, 0, 0]], Kind.BINARY),
        ([[1, 2, 3, 1], [2, 3, 2, 1]], Kind.FEW_VALUED),
        ([[2, 2], [2, 2]], Kind.CONSTANT),
        ([[0.1, 0.2, 0.3, 0.4]], Kind.CONTINUOUS),
    ],
)
def test_kinds_of_rewards(groups, kind):
    assert count(RewardLog.from_groups(groups)).kind is kind


def test_a_verifier_has_no_tail():
    rewards = np.random.default_rng(0).random((200, 16)) < 0.1
    verdict_of = verdicts(rewards)
    assert verdict_of["gaussian_shape"] is Verdict.FAILS
    assert verdict_of["no_ties"] is Verdict.FAILS
    assert verdict_of["finite_variance"] is Verdict.HOLDS
    assert verdict_of["groups"] is Verdict.HOLDS


def test_rewards_rounded_to_few_values_keep_their_tail_while_ties_are_rare():
    rewards = np.random.default_rng(0).normal(size=(50, 16))
    fine, coarse = (RewardLog.from_groups(np.round(rewards, digits)) for digits in (1, 0))
    assert count(fine).kind is count(coarse).kind is Kind.FEW_VALUED
    assert diagnose(fine).tail is not None
    assert diagnose(coarse).tail is None


def test_prompts_that_never_succeed():
    rewards = np.random.default_rng(0).normal(size=(400, 8))
    rewards[:200] = -1.0
    verdict_of = verdicts(rewards)
    assert verdict_of["signal"] is Verdict.FAILS
    assert verdict_of["no_ties"] is Verdict.HOLDS


def test_a_ceiling():
    rewards = np.minimum(np.random.default_rng(0).normal(size=(200, 16)), 1.0)
    verdict_of = verdicts(rewards)
    assert verdict_of["no_ceiling"] is verdict_of["no_ties"] is Verdict.FAILS


@pytest.mark.parametrize("groups", [[[1.0, 2.0, 3.0]] * 9, [[1.0], [2.0, 3.0]], [[1.0] * 8] * 3])
def test_logs_without_a_tail_are_not_judged_by_it(groups):
    result = diagnose(RewardLog.from_groups(groups))
    assert result.tail is None
    assert all(f.note for f in result.findings if f.name in ("gaussian_shape", "straight_plot"))


def test_one_prompt_is_cut_into_sets():
    result = diagnose(RewardLog.from_groups(Normal().sample((1, 20_000), np.random.default_rng(0))))
    assert result.cut
    assert result.tail.sets == 32
    assert {f.name: f.verdict for f in result.findings}["no_ceiling"] is Verdict.CANNOT_TELL


def test_heavy_tails_have_no_variance():
    rng = np.random.default_rng(0)
    verdict_of = verdicts(rng.pareto(1.25, size=(3000, 64)))  # shape .8
    assert verdict_of["finite_variance"] is Verdict.FAILS
    assert verdicts(rng.standard_t(2.9, size=(500, 64)))["finite_variance"] is not Verdict.FAILS


def test_what_is_no_log_is_refused():
    with pytest.raises(TypeError, match=r"log is of type list; give a RewardLog"):
        diagnose([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"seed is -1"):
        diagnose(RewardLog.from_groups([[1.0, 2.0]]), seed=-1)


def test_tail_counts_of_the_verdicts_are_those_of_tea():
    tail = expected(Normal(), 32)
    near = next(t for t in tail.thresholds if t.k == tails.tail_count(32, 0.25))
    assert near.shape == tail.shape


# --- the page ------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]


def test_the_page_lists_every_assumption_with_its_quantity():
    page = (ROOT / "docs" / "diagnose.md").read_text()
    for assumption in ASSUMPTIONS.values():
        row = next(line for line in page.splitlines() if line.startswith(f"| {assumption.title} |"))
        end = assumption.tolerated[1]
        shown = f"{100 * end:g} %" if assumption.percent and end < 1 else f"{end:g}"
        assert shown in row.replace("90 % or more", "1").replace("1/2", "0.5")
