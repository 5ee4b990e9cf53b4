"""Troubles named in logs that have them, none in clean ones, costs against direct counts."""

from __future__ import annotations

import numpy as np
import pytest

from tea_stats import RECOMMENDED, best_of_n, monte_carlo
from tea_stats.diagnosis import TROUBLES, recommend, recommendation, resampled, troubles, trust
from tea_stats.diagnosis.simulation import Score, Setting, Simulated, ratio
from tea_stats.families import (
    Beta,
    GenPareto,
    Gumbel,
    LogNormal,
    Normal,
    NormalMixture,
    StudentT,
)
from tea_stats.resampling import PromptLaws
from tea_stats.reward_log import RewardLog

P, M = 120, 16


def rng():
    return np.random.default_rng(0)


def found(rewards, **options):
    return {
        t.name: t for t in troubles(RewardLog.from_groups(rewards), **{"batches": 12} | options)
    }


# --- no false alarms, and the right name ---------------------------------------------------------


@pytest.mark.parametrize("m", [8, 32])
@pytest.mark.parametrize(
    "law",
    [Normal(), Gumbel(), StudentT(2.5), LogNormal(0, 1), GenPareto(0.4), Beta(2, 2)],
    ids=lambda law: type(law).__name__,
)
def test_a_clean_log_has_no_trouble(law, m):
    scales = np.exp(0.5 * rng().normal(size=(P, 1)))
    assert found(law.sample((P, m), rng()) * scales) == {}


def verifier(scale=1.0):
    return (rng().random((P, M)) < rng().beta(0.3, 3, size=(P, 1))) * scale


def mixed_verifiers():
    rewards = (rng().random((P, M)) < 0.5) * 1.0
    rewards[: P // 2] *= 10.0
    return rewards


def with_outlier(rewards):
    rewards = rewards.copy()
    rewards[3] *= 1000.0
    return rewards


LOGS = {
    "verifier": (verifier, {"dead_prompts", "few_values", "ceiling"}),
    "percent": (lambda: verifier(100.0), {"dead_prompts", "few_values", "ceiling"}),
    "two units of verifiers": (mixed_verifiers, {"few_values", "ceiling", "mixed_units"}),
    "scales to 1000": (
        lambda: rng().normal(size=(P, M)) * 10.0 ** rng().integers(0, 4, (P, 1)),
        {"mixed_units"},
    ),
    "outlier": (lambda: with_outlier(rng().normal(size=(P, M))), {"outlier_prompt"}),
    "0/1000 among 0/1": (
        lambda: with_outlier((rng().random((P, M)) < 0.4) * 1.0),
        {"few_values", "outlier_prompt"},
    ),
    "format + score": (
        lambda: (rng().random((P, M)) < 0.35) + 0.1 * rng().normal(size=(P, M)),
        {"mixture"},
    ),
    "failures of -10": (
        lambda: np.where(rng().random((P, M)) < 0.3, -10.0, rng().normal(size=(P, M))),
        {"mixture"},
    ),
    "clipped": (lambda: np.minimum(rng().normal(size=(P, M)), 1.5), {"ceiling"}),
    "copies": (lambda: np.repeat(rng().normal(size=(P, M // 2)), 2, axis=1), {"duplicates"}),
    "dead": (
        lambda: np.where(np.arange(P)[:, None] < 40, 0.5, rng().normal(size=(P, M))),
        {"dead_prompts"},
    ),
}


@pytest.mark.parametrize("name", list(LOGS))
def test_troubles_are_named(name):
    make, expected = LOGS[name]
    named = found(make())
    assert set(named) == expected
    for trouble in named.values():
        assert np.isfinite([trouble.cost, trouble.cost_mcse]).all()
        assert trouble.found and trouble.meaning and trouble.cure
    # the unit of the rewards is no trouble
    assert set(found(1e-3 * make() + 7.0)) == expected


def test_every_trouble_occurs():
    assert set().union(*(names for _, names in LOGS.values())) == set(TROUBLES)


# --- costs ---------------------------------------------------------------------------------------


def test_groups_with_a_gradient_are_those_whose_rewards_differ():
    p = np.repeat([0.0, 0.5], P // 2)
    rewards = (rng().random((P, M)) < p[:, None]) * 1.0
    cost = found(rewards, prompts=64)["dead_prompts"]
    assert abs(cost.cost - 32.0) <= 5.0 * cost.cost_mcse
    assert cost.cost_mcse < 2.0


def test_copies_count_once():
    cost = found(LOGS["copies"][0]())["duplicates"]
    assert (cost.cost, cost.cost_mcse) == (8.0, 0.0)
    log = RewardLog.from_groups(rng().normal(size=(P, M)))
    object.__setattr__(log, "completions", np.zeros(P * M, dtype=np.int64))  # one text for all
    assert [t.cost for t in troubles(log) if t.name == "duplicates"] == [1.0]
    object.__setattr__(log, "completions", np.arange(P * M))
    assert troubles(log) == ()


def test_units_leave_few_groups_that_count():
    cost = found(LOGS["scales to 1000"][0]())["mixed_units"]
    alone = float(cost.meaning.split("; ")[1].split()[0])
    assert 3.0 * cost.cost < alone < 64.0


def test_most_of_the_advantages_tell_kinds_apart():
    assert found(LOGS["format + score"][0]())["mixture"].cost > 0.6


def test_an_outlier_has_most_of_its_batches():
    assert found(LOGS["outlier"][0]())["outlier_prompt"].cost > 0.7


def test_nothing_is_said_of_constant_rewards():
    assert troubles(RewardLog.from_groups([[1.0, 1.0]] * 5)) == ()


@pytest.mark.parametrize("options", [{"m": 1}, {"prompts": 1}, {"batches": 1}])
def test_bad_arguments_are_named(options):
    (name, value), *_ = options.items()
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        troubles(RewardLog.from_groups(rng().normal(size=(9, 8))), **options)


# --- the log itself as the law -------------------------------------------------------------------


def test_rank_scores_of_normal_rewards_are_location_and_log_scale():
    z = np.linspace(-5, 5, 4001)
    density = np.exp(-(z**2) / 2)
    laws = PromptLaws.of_values(z[None], density[None] / density.sum())
    exact = resampled.truths(laws, resampled.rank_scores(laws), 128)
    np.testing.assert_allclose(exact[0], best_of_n.gradient(Normal(), 128), rtol=0.01)


def test_errors_on_the_log_are_those_of_its_law():
    # one prompt's law, finely cut: two implementations of one measurement
    z = np.linspace(-4.5, 4.5, 1001)
    density = np.exp(-(z**2) / 2)
    step = np.full((1, 1001), z[1] - z[0])
    laws = PromptLaws(z[None], density[None] / density.sum(), step)
    requests = {"tea": ("tea", {}), "max_at_k": ("max_at_k", {}), "rloo": ("rloo", {})}
    table = monte_carlo.measure(Normal(), requests, 16, 128, reps=8 * 400, prompts=8)
    known = table[table["parameter"] == "all"].set_index("estimator")
    errors = resampled.measure(laws, requests, 16, 128, prompts=8, batches=400, rng=rng())
    square, _, _ = errors.pop("exact")
    for label, (error, _, square_A) in errors.items():
        value, mcse = ratio(error, square)
        assert abs(value - known["nmse"][label]) <= 5.0 * np.hypot(mcse, known["nmse_mcse"][label])
        assert square_A.mean() > 0.0


def test_max_at_m_is_unbiased_for_its_own_budget():
    values = np.array([[0.0, 1.0, 3.0], [0.0, 0.5, 1.0]])
    laws = PromptLaws.of_values(values, [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    for N, biased in ((4, False), (9, True)):
        errors = resampled.measure(
            laws, {"max": ("max_at_k", {})}, 4, N, prompts=4, batches=6000, rng=rng()
        )
        off = errors["max"][1] - errors["exact"][1]
        z = np.abs(off.mean(axis=0) / (off.std(axis=0) / np.sqrt(len(off))))
        assert bool(z.max() > 5.0) is biased


# --- the recommendation --------------------------------------------------------------------------


def chosen(fitted, own):
    """Return the estimator chosen by errors on the fitted laws, and on the log itself."""

    def scores(errors):
        default = errors[RECOMMENDED]
        return [Score(k, 16, e, 0.01, e - default, 0.01, 1.0) for k, e in errors.items()]

    setting = Setting(128, (16,), 64, 100, 0)
    simulated = Simulated({"normal": 1.0}, scores(fitted), 1.0)
    return recommendation._choose(simulated, setting, 16, scores(own)).estimator


def test_the_log_itself_decides():
    fitted = {RECOMMENDED: 0.1, "tea": 0.5, "max_at_k": 0.4}
    # a law that fits does not excuse an estimator that explodes on the log
    assert chosen(fitted, {RECOMMENDED: 1000.0, "tea": 0.1, "max_at_k": 0.3}) == "tea"
    # of those near the least error, the one that is best in the worse case
    assert chosen(fitted, {RECOMMENDED: 1000.0, "tea": 0.1, "max_at_k": 0.11}) == "max_at_k"
    # a moderate disagreement is what a small log exaggerates
    assert chosen(fitted, {RECOMMENDED: 0.3, "tea": 0.15, "max_at_k": 0.4}) == RECOMMENDED
    # unless the laws agree
    agreeing = {RECOMMENDED: 0.3, "tea": 0.1, "max_at_k": 0.4}
    assert chosen(agreeing, {RECOMMENDED: 0.3, "tea": 0.15, "max_at_k": 0.4}) == "tea"


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.35, 0.8])
def test_format_plus_score_is_not_trained_with_what_explodes(p):
    law = NormalMixture(p, 0.0, 0.1, 1.0, 0.1)
    log = RewardLog.from_groups(law.sample((128, 16), rng()))
    choice = recommend(log, 128, m=16, batches=48)
    label = choice.estimator
    name, _, options = label.partition("(")
    parsed = dict(x.split("=") for x in options.rstrip(")").split(", ") if x)
    requests = {
        "chosen": (name, {k: float(v) if "." in v else int(v) for k, v in parsed.items()}),
        "tea": ("tea", {}),
        "max_at_k": ("max_at_k", {}),
    }
    table = monte_carlo.measure(law, requests, 16, 128, reps=64 * 60, prompts=64)
    error = table[table["parameter"] == "all"].set_index("estimator")["nmse"]
    assert error["chosen"] <= 2.5 * min(error["tea"], error["max_at_k"])
    # what was said to explode is what explodes: the old default, on the log as on the law
    assert choice.on_the_log("adaptive_tea").error > 1.2 * choice.on_the_log(label).error


def test_what_the_default_takes_the_log_for():
    smooth = trust(RewardLog.from_groups(rng().normal(size=(64, 16))), 128)
    mixed = trust(RewardLog.from_groups(LOGS["format + score"][0]()), 128)
    assert smooth.capped < 0.1 < 0.5 < mixed.capped
    assert trust(RewardLog.from_groups([[1.0, 2.0]]), 16, m=8) is None
