"""Two policies compared: pairs, the interval's rule, its coverage, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tea_stats.comparison import compare, pair
from tea_stats.families import Normal
from tea_stats.prediction import predict
from tea_stats.reward_log import RewardLog

SUMMARIES = Path(__file__).parents[1] / "analysis" / "summaries"


def logs(P=40, m=16, shift=0.3, seed=0):
    rng = np.random.default_rng(seed)
    place = rng.normal(size=(P, 1))
    a, b = (RewardLog.from_groups(place + x + rng.normal(size=(P, m))) for x in (0.0, shift))
    return a, b


# --- pairs ---------------------------------------------------------------------------------------


def test_prompts_are_matched_by_label_in_any_order():
    a, b = logs()
    order = np.random.default_rng(1).permutation(len(b))
    groups = list(b)
    names = [f"q{i}" for i in range(len(a))]
    first = RewardLog.from_groups(list(a), prompts=names)
    second = RewardLog.from_groups(
        [groups[i] for i in order] + [[0.0] * 16], prompts=[names[i] for i in order] + ["other"]
    )
    pairs = pair(first, second)
    assert pairs.paired and not pairs.by_place
    assert (pairs.alone_a, pairs.alone_b) == (0, 1)
    result, plain = compare(first, second, 8), compare(a, b, 8)
    assert (result.difference, result.low) == (plain.difference, plain.low)
    assert "1 of the second" in " ".join(result.notes)
    assert "by their place" in " ".join(plain.notes)


def test_labels_that_only_look_alike_are_not_pairs():
    a = RewardLog.from_groups([[0.0, 1.0]] * 3, prompts=[1, 2, 3])
    b = RewardLog.from_groups([[0.0, 1.0]] * 3, prompts=["1", "2", "3"])
    assert not pair(a, b).paired
    assert not compare(a, b, 2).paired


# --- the rule ------------------------------------------------------------------------------------


def test_within_the_rollouts_it_is_the_paired_t_interval_of_max_at_k():
    a, b = logs()
    values = [predict(x, 8, methods=["max_at_k"]).curves["max_at_k"].prompt_values for x in (a, b)]
    each = values[1][:, -1] - values[0][:, -1]
    result = compare(a, b, 8, level=0.9)
    known = stats.ttest_rel(values[1][:, -1], values[0][:, -1]).confidence_interval(0.9)
    np.testing.assert_allclose(result.each, each)
    assert (result.low, result.high) == pytest.approx((known.low, known.high))
    assert result.method == "max_at_k" and result.allowance == 0.0
    assert result.unpaired_error > 2.0 * result.standard_error


def test_without_pairs_it_is_welch():
    a, b = logs()
    other = RewardLog.from_groups(list(b), prompts=[f"x{i}" for i in range(len(b))])
    result = compare(a, other, 1, level=0.9)
    means = [np.array([group.mean() for group in log]) for log in (a, b)]
    known = stats.ttest_ind(means[1], means[0], equal_var=False).confidence_interval(0.9)
    assert not result.paired
    assert (result.low, result.high) == pytest.approx((known.low, known.high))
    assert "independent samples of prompts" in " ".join(result.notes)


def test_swapping_the_logs_swaps_the_sign_and_units_scale():
    a, b = logs()
    there, back = compare(a, b, 64), compare(b, a, 64)
    assert there.method == "linear"
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    big = [RewardLog.from_groups(np.array(list(x)) * 1e200) for x in (a, b)]
    scaled = compare(*big, 64)
    assert (scaled.low, scaled.high) == pytest.approx((there.low * 1e200, there.high * 1e200))


def test_few_valued_rewards_never_exceed_their_range():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 3, size=(10, 1))
    a, b = (RewardLog.from_groups(2.0 * (rng.random((10, 8)) < q) - 1.0) for q in (p, p**0.5))
    result = compare(a, b, 512)
    assert result.method == "beta_binomial"
    assert -1.0 <= result.value_a <= 1.0 and -1.0 <= result.value_b <= 1.0
    # ±1 is 2 · (0/1) − 1
    zero_one = [RewardLog.from_groups((np.array(list(x)) + 1.0) / 2.0) for x in (a, b)]
    assert result.difference == pytest.approx(2.0 * compare(*zero_one, 512).difference)


def test_no_difference_at_all_has_the_interval_of_a_share():
    a = RewardLog.from_groups([[0.0, 1.0]] * 59)
    result = compare(a, a, 2)
    # no prompt of 59 differs: fewer than 5 % do, at 95 %
    assert (result.low, result.high) == pytest.approx((-0.0495, 0.0495), abs=0.001)
    assert "no prompt differs" in " ".join(result.notes)
    assert not result.differs


def test_for_these_prompts_only_the_rollouts_are_random():
    rng = np.random.default_rng(0)
    # prompts whose true differences vary much more than rollouts do
    gain = 3.0 * rng.normal(size=(50, 1))
    a = RewardLog.from_groups(0.1 * rng.normal(size=(50, 16)))
    b = RewardLog.from_groups(gain + 0.1 * rng.normal(size=(50, 16)))
    population, own = compare(a, b, 4), compare(a, b, 4, target="these_prompts")
    assert own.difference == pytest.approx(population.difference)
    assert (own.high - own.low) < 0.1 * (population.high - population.low)
    one = [RewardLog.from_groups([list(x)[0]]) for x in (a, b)]
    assert compare(*one, 4).target == "these_prompts"


# --- coverage ------------------------------------------------------------------------------------


def covered(reps, P, m, N, shift, seed, wrong=0.0):
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(reps):
        place = rng.normal(size=(P, 1))
        gain = shift * (1.0 + rng.normal(size=(P, 1)))
        a = RewardLog.from_groups(place + Normal().sample((P, m), rng))
        b = RewardLog.from_groups(place + gain + Normal().sample((P, m), rng))
        result = compare(a, b, N, level=0.9)
        hits += result.low <= shift + wrong <= result.high
    return hits / reps


def test_coverage_is_nominal_on_a_law_with_known_truth():
    # 300 logs resolve .09 at 5 standard errors
    assert abs(covered(300, 30, 8, 4, 0.2, 0) - 0.9) <= 5.0 * np.sqrt(0.9 * 0.1 / 300)
    assert covered(60, 30, 8, 4, 0.2, 0, wrong=0.5) < 0.6


def test_coverage_of_the_committed_study():
    table = pd.read_csv(SUMMARIES / "comparisons.csv")
    within = table[table["method"] == "max_at_k"]
    z = (within["coverage"] - 0.95) / np.sqrt(0.95 * 0.05 / within["reps"])
    assert z.abs().max() <= 5.0
    assert within["coverage"].mean() == pytest.approx(0.95, abs=0.01)
    assert (within["bias"].abs() / within["bias_mcse"]).max() <= 5.0
    assert {"tone", "relevance", "likelihood", "profanity", "sentiment", "helpful"} <= set(
        table["world"]
    )
    beyond = table[table["method"] != "max_at_k"]
    assert beyond["coverage"].min() >= 0.85
    pairs = within[within["pairs"]]
    assert (pairs["half_width"] < pairs["unpaired_half_width"]).all()


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"N": 0}, ValueError, "N is 0"),
        ({"N": 4.0}, TypeError, "N is 4.0"),
        ({"level": 1.0}, ValueError, "level is 1.0"),
        ({"method": "guess"}, ValueError, "method is 'guess'"),
        ({"method": "max_at_k", "N": 32}, ValueError, "N is 32 and a prompt has 16 rollouts"),
        ({"target": "all"}, ValueError, "target is 'all'"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"a": [[0, 1]]}, TypeError, "a is of type list; give a RewardLog"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    a, b = logs()
    arguments = {"a": a, "b": b, "N": 8, **options}
    with pytest.raises(error, match=message):
        compare(arguments.pop("a"), arguments.pop("b"), arguments.pop("N"), **arguments)


def test_two_rollouts_cannot_be_extrapolated():
    a, b = logs(m=2)
    with pytest.raises(ValueError, match="needs 4 rollouts of each prompt; one has 2"):
        compare(a, b, 64)


def test_logs_of_one_reward_have_no_interval_without_width():
    zeros = RewardLog.from_groups(np.zeros((32, 16)))
    same = compare(zeros, zeros, 8)  # 0/1: as many prompts may differ as would not have shown
    assert same.high == pytest.approx(1.0 - 0.05 ** (1 / 32)) and same.low == -same.high
    for log, N in ((zeros, 128), (RewardLog.from_groups(np.full((32, 16), -1.0)), 8)):
        with pytest.raises(ValueError, match="every reward of both logs is (0|-1)"):
            compare(log, log, N)
