"""The recommendation: few-valued batches against exact sums, the rule of choice, and whole logs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tea_stats import ESTIMATORS, RECOMMENDED, best_of_n, monte_carlo
from tea_stats.diagnosis import (
    candidates,
    few_valued,
    recommend,
    recommendation,
    sets as _sets,
    tail,
)
from tea_stats.diagnosis.simulation import Score, Setting, Simulated, ratio
from tea_stats.families import Affine, Discrete, Gumbel, Normal
from tea_stats.families.location_scale import LocationScale
from tea_stats.linear.library import LIBRARY
from tea_stats.resampling import dirichlet
from tea_stats.reward_log import RewardLog

# --- batches of few-valued prompts ---------------------------------------------------------------

VALUES = np.array([0.0, 1.0, 3.0])
CHANCES = np.array([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9], [0.98, 0.01, 0.01]])


def z_scores(estimators, N, *, truth_N=None, m=4):
    """Return how many standard errors each estimator's mean gradient is off, at worst."""
    exact = few_valued.truths(VALUES, CHANCES, truth_N or N)
    rng = np.random.default_rng(0)
    errors = few_valued.measure(
        VALUES, CHANCES, exact, estimators, m, N, prompts=8, batches=8000, rng=rng
    )
    _, truth = errors.pop("exact")
    worst = {}
    for label, (error, g) in errors.items():
        apart = g - truth
        np.testing.assert_allclose(error, (apart**2).sum(axis=1))
        worst[label] = np.abs(apart.mean(axis=0) / (apart.std(axis=0) / np.sqrt(len(g)))).max()
    return worst


def test_unbiased_estimators_have_no_bias():
    # max@4 has error .2 in the worst logit, so that 8000 batches resolve .002
    assert z_scores({"max@4": ("max_at_k", {})}, N=4)["max@4"] <= 5.0
    assert z_scores({"rloo": ("rloo", {})}, N=1)["rloo"] <= 5.0


def test_the_gradient_of_another_budget_differs_significantly():
    assert z_scores({"max@4": ("max_at_k", {})}, N=4, truth_N=6)["max@4"] > 10.0


def test_one_prompt_is_one_discrete_law():
    # two implementations: batches of one law by monte_carlo, and by the log's prompts
    law = Discrete.from_probabilities(VALUES, CHANCES[0])
    requests = {"tea": ("tea", {"alpha": 0.5}), "auto_tea": ("auto_tea", {})}
    table = monte_carlo.measure(law, requests, 8, 16, reps=8 * 1500, prompts=8, reference="tea")
    known = table[table.parameter == "all"].set_index("estimator")
    exact = few_valued.truths(VALUES, CHANCES[:1], 16)
    np.testing.assert_allclose(exact[0], best_of_n.gradient(law, 16))
    errors = few_valued.measure(
        VALUES,
        CHANCES[:1],
        exact,
        requests,
        8,
        16,
        prompts=8,
        batches=1500,
        rng=np.random.default_rng(1),
    )
    square, _ = errors.pop("exact")
    for label, (error, _) in errors.items():
        value, mcse = ratio(error, square)
        both = np.hypot(mcse, known.nmse_mcse[label])
        assert abs(value - known.nmse[label]) <= 5.0 * both < 0.3 * value


def test_ratios_have_the_error_of_the_jackknife():
    x = np.random.default_rng(0).gamma(4.0, size=(300, 2))
    x[:, 0] += 2.0 * x[:, 1]  # errors of a batch go with the size of its gradient
    known = tail.jackknife(lambda mean: mean[..., 0] / mean[..., 1], x)
    value, error = ratio(*x.T)
    assert value == pytest.approx(known.estimate)
    assert error * stats.t.isf(0.025, 299) == pytest.approx(known.high - value, rel=0.01)


def test_gradients_of_verifiers_in_closed_form():
    p = np.array([0.001, 0.2, 0.9])
    computed = few_valued.truths(np.array([0.0, 1.0]), np.column_stack([1 - p, p]), 64)
    # ∂/∂ log odds of 1 − (1 − p)^N
    np.testing.assert_allclose(computed[:, 1], 64 * p * (1 - p) ** 64, rtol=1e-9)


@pytest.mark.parametrize("concentration", [0.5, 4.0])
def test_how_much_prompts_differ_is_recovered(concentration):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(concentration * np.array([0.6, 0.3, 0.1]), size=4000)
    counts = rng.multinomial(8, p)
    estimate, frequencies = dirichlet.dirichlet_prior(counts)
    assert estimate == pytest.approx(concentration, rel=0.15)  # some 4 standard errors
    np.testing.assert_allclose(frequencies, [0.6, 0.3, 0.1], atol=0.03)


@pytest.mark.parametrize("chance", [[[8, 0]] * 5, [[8, 0], [0, 8]] * 5, [[4, 4]] * 5])
def test_prompts_that_are_all_alike_or_all_certain(chance):
    concentration, _ = dirichlet.dirichlet_prior(np.array([*chance, [1, 0], [7, 1]]))
    assert np.isfinite(concentration)
    assert concentration > 0.0


def test_simulated_prompts_are_those_of_the_log():
    rewards = np.zeros((600, 200))
    rewards[300:, :100] = 1.0
    values, chances = dirichlet.posterior(RewardLog.from_groups(rewards), np.random.default_rng(0))
    assert values.tolist() == [0.0, 1.0]
    assert len(chances) == dirichlet.MOST_PROMPTS
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    rare = chances[:, 1] < 0.25
    assert 0.4 < rare.mean() < 0.6
    assert chances[rare, 1].max() < 0.05
    assert chances[~rare, 1].mean() == pytest.approx(0.5, abs=0.02)


# --- candidates ----------------------------------------------------------------------------------


def test_every_estimator_is_tried_where_it_exists():
    everywhere = candidates.estimators(32, 512, values=2, binary=True)
    assert {name for name, _ in everywhere.values()} == set(ESTIMATORS)
    continuous = candidates.estimators(8, 512, values=None, binary=False)
    assert not {"max_rl", "pass_at_k", "beta_binomial", "prefix_tea"} & set(continuous)
    assert "tea(alpha=0.5)" in continuous
    assert RECOMMENDED in candidates.estimators(2, 4, values=None, binary=False)


@pytest.mark.parametrize("law", ["gumbel", "normal", "uniform"])
def test_the_law_of_a_large_log_is_likely(law):
    rewards = 3.0 * LIBRARY[law].sample((1000, 32), np.random.default_rng(0)) - 5.0
    sets = _sets.sets(list(rewards), np.random.default_rng(0))
    weights = candidates.likely_laws(sets)
    assert law in weights
    assert sum(weights.values()) == pytest.approx(1.0)
    assert len(weights) <= candidates.MOST_LAWS


def test_laws_move_in_location_and_scale_where_they_can():
    for name in LIBRARY:
        law = candidates.simulated(name)
        movable = isinstance(law, LocationScale)
        assert movable or not isinstance(LIBRARY[name], LocationScale)
        if isinstance(law, Affine):
            assert law.base == LIBRARY[name]
    assert isinstance(candidates.simulated("rare_mode(0.01, 2.5)"), Affine)


# --- the rule ------------------------------------------------------------------------------------


def chosen(**errors):
    """Return the choice; the default has error 0.3, others {label: (error, mcse of difference)}."""
    scores = [Score(RECOMMENDED, 16, 0.3, 0.01, 0.0, 0.0, 1.0), Score("tea", 16, 1, 1, 0.7, 1, 1)]
    scores += [Score(k, 16, e, 0.01, e - 0.3, se, 1.0) for k, (e, se) in errors.items()]
    setting = Setting(128, (16,), 64, 100, 0)
    return recommendation._choose(Simulated({"normal": 1.0}, scores, 1.0), setting, 16)


def test_the_default_stays_unless_another_is_clearly_better():
    assert chosen(grpo=(0.1, 0.01)).estimator == "grpo"
    assert chosen(grpo=(0.1, 0.1)).estimator == RECOMMENDED  # two standard errors: a tie
    assert chosen(grpo=(0.25, 0.001)).estimator == RECOMMENDED  # less by a sixth
    assert chosen(grpo=(0.25, 0.001)).best == "grpo"
    assert chosen(grpo=(0.4, 0.001)).best == RECOMMENDED


def test_alpha_is_that_of_the_best_tea():
    assert chosen().alpha == 0.25
    assert chosen(**{"tea(alpha=0.1)": (0.9, 1), "tea(alpha=0.5)": (0.8, 1)}).alpha == 0.5


def test_how_many_rollouts_are_enough():
    assert recommendation.enough({8: 0.05, 16: 0.01}) == 8
    assert recommendation.enough({8: 0.5, 16: 0.3, 32: 0.29, 64: 0.1}) == 16
    assert recommendation.enough({8: 0.5, 12: 0.4, 16: 0.3}) is None


# --- whole logs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gumbel():
    return RewardLog.from_groups(Gumbel(2.0, 0.1).sample((500, 16), np.random.default_rng(0)))


def test_a_recommendation_is_reproducible_and_sound(gumbel):
    choice = recommend(gumbel, 256, m=[16, 8], batches=32)
    again = recommend(gumbel, 256, m=[16, 8], batches=32)
    assert choice == again
    assert choice.scores != recommend(gumbel, 256, m=16, batches=2, seed=1).scores
    assert (choice.N, choice.m) == (256, 16)
    assert {score.m for score in choice.scores} == {8, 16}
    assert choice.score(RECOMMENDED).difference == 0.0
    assert choice.score("grpo").difference > 5.0 * choice.score("grpo").difference_mcse
    assert choice.score(RECOMMENDED, 8).error > choice.score(RECOMMENDED).error
    assert choice.at(16)[0].estimator == choice.best
    assert choice.saturation > 1.0


def test_scores_are_those_of_the_law_where_one_is_certain():
    rewards = Normal().sample((6000, 32), np.random.default_rng(0))
    choice = recommend(RewardLog.from_groups(rewards), 64, m=16, prompts=8, batches=50)
    assert choice.laws == {"normal": 1.0}
    table = monte_carlo.measure(Normal(), ["rloo"], 16, 64, reps=400, prompts=8)
    known = table[table.parameter == "all"].iloc[0]
    assert choice.score("rloo").error == pytest.approx(known.nmse)
    assert choice.score("rloo").error_mcse == pytest.approx(known.nmse_mcse)
    assert choice.score("rloo").cosine == pytest.approx(known.cosine)
    apart = choice.score("rloo").error - choice.score(RECOMMENDED).error
    assert choice.score("rloo").difference == pytest.approx(apart)


def test_default_sizes_are_the_logs_own_and_powers_of_two():
    rewards = np.random.default_rng(0).random((40, 6)) < 0.3
    choice = recommend(RewardLog.from_groups(rewards), 32, batches=4, prompts=4)
    assert choice.m == 6
    assert {score.m for score in choice.scores} == {6, 8, 16, 32, 64}
    assert choice.laws == {"the log's own prompts": 1.0}
    assert {"max_rl", "pass_at_k", "beta_binomial"} <= {score.estimator for score in choice.scores}


def test_a_saturated_verifier():
    rewards = np.random.default_rng(0).random((100, 16)) < 0.6
    choice = recommend(RewardLog.from_groups(rewards), 64, m=16, batches=8)
    assert choice.saturation < recommendation.SATURATED


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ([[2.0, 2.0]] * 5, {}, r"log has the reward 2 for each of its 10 rollouts; .*check"),
        ([[1.0, 2.0, 3.5]] * 5, {"N": 0}, r"N is 0"),
        ([[1.0, 2.1], [3.2, 4.3]], {}, r"log has no prompt with 4 rollouts"),
        ([[0, 1, 0, 1]] * 5, {"m": 1}, r"m is 1"),
        ([[0, 1, 0, 1]] * 5, {"prompts": 1}, r"prompts is 1"),
        ([[0, 1, 0, 1]] * 5, {"batches": 1}, r"batches is 1"),
        ([[0, 1, 0, 1]] * 5, {"N": 10**9}, r"N is 1000000000, .*give a smaller N"),
    ],
)
def test_what_cannot_be_answered_is_refused(groups, options, message):
    with pytest.raises(ValueError, match=message):
        recommend(RewardLog.from_groups(groups), **{"N": 64, "batches": 4, **options})
