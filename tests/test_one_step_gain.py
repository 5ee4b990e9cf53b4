"""The one-step gain, and batches of many laws: closed forms, enumeration, then Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest

import tea_stats
from tea_stats import best_of_n, monte_carlo, tails
from tea_stats.families import Discrete, Normal, NormalMixture, Recorded
from tea_stats.monte_carlo import Batch, measure_batch, one_step_gain
from tea_stats.monte_carlo.batches import simulate_chunk
from tests.enumeration import SmallLaw, best_of, tuples

NOISE = (0.0, 2.0, 1e2, 1e4, 1e6)


# --- the formula --------------------------------------------------------------------------------


def test_the_exact_gradient_without_noise_gains_all():
    assert one_step_gain(3.0, 3.0, 3.0, 18.1, 1024, 0.0) == 1.0


def test_it_is_the_best_gain_of_a_step_over_that_of_the_exact_gradient():
    """By trying every length of the step on a quadratic V, for random gradients."""
    rng = np.random.default_rng(0)
    t = np.array([1.0, -0.5, 2.0])
    draws = np.array([0.4, 0.3, 1.0]) + 0.7 * rng.standard_normal((200_000, 3))
    lengths = np.linspace(0.0, 3.0, 3001)
    gain = lengths * (draws @ t).mean() - lengths**2 / 2 * (draws**2).sum(axis=1).mean()
    exact = lengths * (t @ t) - lengths**2 / 2 * (t @ t)
    s = draws.mean(axis=0)
    variance = (draws**2).sum(axis=1).mean() - s @ s
    # that variance written as noise · E[A²]/rollouts
    formula = one_step_gain(s @ t, t @ t, s @ s, variance, 1, 1.0)
    assert gain.max() / exact.max() == pytest.approx(formula, rel=1e-5)


def test_length_does_not_count_and_noise_does():
    own = one_step_gain(1.0, 2.0, 1.5, 4.0, 64, NOISE)
    longer = one_step_gain(10.0, 2.0, 150.0, 400.0, 64, NOISE)
    np.testing.assert_allclose(own, longer)
    assert (np.diff(own) < 0.0).all()
    assert own[0] == pytest.approx(1.0**2 / (2.0 * 1.5))  # the squared cosine
    # under much noise E[A²] alone counts
    assert own[-1] * 1e6 / 64 == pytest.approx(1.0 / (2.0 * 4.0), rel=1e-4)


def test_a_step_backwards_or_none_gains_nothing():
    assert one_step_gain(-1.0, 1.0, 1.0, 1.0, 8, 2.0) == 0.0
    assert one_step_gain(0.0, 1.0, 0.0, 0.0, 8, 2.0) == 0.0
    assert np.isnan(one_step_gain(0.0, 0.0, 1.0, 1.0, 8, 2.0))


@pytest.mark.parametrize(("rollouts", "noise"), [(0, 1.0), (8, -1.0), (8, np.nan)])
def test_wrong_arguments(rollouts, noise):
    with pytest.raises(ValueError, match="rollouts|noise"):
        one_step_gain(1.0, 1.0, 1.0, 1.0, rollouts, noise)


# --- measured, against closed forms -------------------------------------------------------------


def whole(table, estimator, kind="all"):
    return table[(table["estimator"] == estimator) & (table["kind"] == kind)].iloc[0]


def assert_close(row, name, expected, z=5.0):
    assert abs(row[name] - expected) < z * row[f"{name}_mcse"], (name, row[name], expected)


def test_rloo_on_normal_rewards():
    """RLOO's E ĝ is ∇V_1 = (1, 0), I = diag(1, 2), and E[A²] = m/(m − 1)."""
    m, N, B = 4, 64, 16
    c = tails.normal_max_mean(N)
    row = whole(measure_batch(Normal(), ["rloo"], m, N, 400, prompts=B, noise=NOISE), "rloo")
    square, truth = m / (m - 1), 1.0 + c**2 / 2
    assert_close(row, "advantage_square", square / truth)
    for noise in NOISE[1:]:
        expected = 1.0 / (truth * (1.0 + noise * square / (B * m)))
        assert_close(row, f"gain_{noise:g}", expected)
        wrong = 1.0 / (truth * (1.0 + noise / (B * m)))
        # resolves E[A²] = 1 from m/(m − 1) where noise decides
        if noise >= 1e4:
            assert abs(row[f"gain_{noise:g}"] - wrong) > 5 * row[f"gain_{noise:g}_mcse"]
    assert_close(row, "error", (c**2 / 2 + row["variance"] * truth / 64) / truth)
    assert row["cosine"] ** 2 == pytest.approx(1.0 / truth, abs=0.02)


def test_an_unbiased_estimator_gains_by_its_noise_alone():
    """Linear TEA with k ≥ 1 is unbiased on normal rewards: G = 1/(1 + D E[A²]/(B m ‖t‖²))."""
    m, N, B = 16, 128, 64
    request = {"linear": ("linear_tea", {"k_min": 1})}
    row = whole(measure_batch(Normal(), request, m, N, 200, noise=NOISE), "linear")
    truth = 1.0 + tails.normal_max_mean(N) ** 2 / 2
    exact = monte_carlo.measure(Normal(), request, m, N, 100_000, seed=1)
    square = exact[exact["parameter"] == "all"]["advantage_square"].item()
    for noise in NOISE[1:]:
        expected = 1.0 / (1.0 + noise * square / (B * m * truth))
        assert row[f"gain_{noise:g}"] == pytest.approx(expected, rel=0.05)
    assert abs(row["bias2"]) < 5 * row["bias2_mcse"]


SMALL = SmallLaw("three values", (0.0, 1.0, 3.0), (0.6, 0.3, 0.1))


@pytest.mark.parametrize("estimator", ["tea", "max_at_k", "grpo", "entropic", "bon_rl"])
def test_a_small_law_by_enumeration(estimator):
    """E ĝ and E[A²] from all groups of four; G, error and efficiency follow without randomness."""
    m, N, B = 4, 3, 5
    rewards, scores, chance = tuples(SMALL, m)
    a = np.array([tea_stats.advantages(estimator, r, N) for r in rewards])
    each = np.einsum("gi,gid->gd", a, scores) / m
    # the Fisher information of logits: diag(p) − p pᵀ, inverted where it can be
    p = np.array(SMALL.probabilities)
    inverse = np.linalg.pinv(np.diag(p) - np.outer(p, p))
    s, t = chance @ each, best_of(SMALL, N)
    unit = max(t @ inverse @ t, best_of(SMALL, 1) @ inverse @ best_of(SMALL, 1))
    square = chance @ (a**2).mean(axis=1)
    spread = chance @ np.einsum("gd,de,ge->g", each, inverse, each) - s @ inverse @ s
    law = Discrete.from_probabilities(SMALL.rewards, SMALL.probabilities)
    table = measure_batch(law, [estimator], m, N, 4000, prompts=B, noise=NOISE)
    row = whole(table, estimator)
    for noise in NOISE:
        along, length = s @ inverse @ t, s @ inverse @ s
        expected = one_step_gain(along, t @ inverse @ t, length, square, B * m, noise)
        assert_close(row, f"gain_{noise:g}", expected)
    bias = (s - t) @ inverse @ (s - t)
    assert_close(row, "error", (bias + spread / 64) / unit)
    assert_close(row, "variance", spread / unit)
    psi = best_of_n.advantage(law, N, np.array(rewards))
    response = chance @ (a * psi).mean(axis=1)
    psi_square = p @ best_of_n.advantage(law, N, np.array(SMALL.rewards)) ** 2
    assert_close(row, "response_efficiency", response**2 / (psi_square * square))


def test_plain_error_is_that_of_measure():
    law, names = NormalMixture(0.3, 0.0, 0.2, 1.0, 0.1), ["tea", "linear_tea"]
    ours = measure_batch(law, names, 8, 64, 200, prompts=16)
    # measure's is that of a batch of 16, ours of 64
    theirs = monte_carlo.measure(law, names, 8, 64, 16 * 400, seed=3, prompts=16)
    for name in names:
        row, other = whole(ours, name, "0"), theirs[theirs["estimator"] == name].iloc[-1]
        truth = other["exact"] ** 2
        expected = other["nmse"] - 0.75 * other["variance"] / truth
        spread = np.hypot(row["plain_error_mcse"], other["nmse_mcse"])
        assert abs(row["plain_error"] - expected) < 5 * spread


# --- batches of many laws -----------------------------------------------------------------------


def test_a_larger_unit_does_not_count_more():
    kinds = ((Normal(), 3), (Normal(5.0, 1000.0), 1))
    table = measure_batch(Batch(kinds), ["max_at_k"], 8, 64, 800)
    one = whole(measure_batch(Normal(), ["max_at_k"], 8, 64, 800, prompts=4), "max_at_k")
    mixed = whole(table, "max_at_k")
    for name in ("error", "gain_2", "gain_1e+06"):
        spread = np.hypot(mixed[f"{name}_mcse"], one[f"{name}_mcse"])
        assert abs(mixed[name] - one[name]) < 5 * spread
    # in one unit the wide prompt is all there is: four times the noise in its rollouts
    raw = whole(table, "max_at_k", "all, one unit")
    assert raw["advantage_square"] == pytest.approx(
        250_000 * one["advantage_square"] * 4.1, rel=0.2
    )


def test_pooling_estimators_see_the_whole_batch():
    """One prompt of 0 or 1000 spoils what adaptive TEA makes of the others; TEA does not mind."""
    others = Normal()
    batch = Batch(((Discrete.from_probabilities([0.0, 1000.0], [0.98, 0.02]), 1), (others, 7)))
    names = ["adaptive_tea", "tea"]
    spoilt = measure_batch(batch, names, 16, 512, 200)
    clean = measure_batch(others, names, 16, 512, 200, prompts=8)
    ratio = {x: whole(spoilt, x, "1")["error"] / whole(clean, x, "0")["error"] for x in names}
    assert ratio["adaptive_tea"] > 5.0
    assert ratio["tea"] == pytest.approx(1.0, abs=0.1)


def test_it_repeats_to_the_bit_and_depends_on_the_seed():
    batch = Batch(((Normal(), 2), (Recorded(Normal(), step=0.5), 1)))
    one, two = (measure_batch(batch, ["prefix_tea"], 16, 64, 40, seed=4) for _ in range(2))
    assert one.equals(two)
    other = measure_batch(batch, ["prefix_tea"], 16, 64, 40, seed=5)
    assert one["error"].iloc[0] != other["error"].iloc[0]


def test_estimators_see_the_same_batches_whoever_else_is_there():
    alone = measure_batch(Normal(), ["max_at_k"], 8, 64, 40)
    both = measure_batch(Normal(), ["tea", "max_at_k"], 8, 64, 40)
    assert whole(alone, "max_at_k")["error"] == whole(both, "max_at_k")["error"]


def test_ratios_are_over_the_better_reference():
    names = ["tea", "max_at_k", "rloo"]
    table = measure_batch(Normal(), names, 16, 128, 40, references=names[:2])
    least = min(whole(table, x)["error"] for x in names[:2])
    for name in names:
        row = whole(table, name)
        assert row["error_ratio"] == pytest.approx(row["error"] / least)
    best = max(names[:2], key=lambda x: whole(table, x)["gain_1e+06"])
    assert whole(table, best)["gain_1e+06_ratio"] == 1.0
    assert whole(table, best)["gain_1e+06_ratio_mcse"] == 0.0


def test_estimators_that_are_not_defined_are_left_out():
    names = ["tea", "beta_binomial", "max_rl"]
    coin = Discrete.from_probabilities([0.0, 1.0], [0.8, 0.2])
    pair = Batch(((coin, 2), (Discrete.from_probabilities([0.0, 7.0], [0.8, 0.2]), 2)))
    for batch, expected in ((coin, names), (pair, names[:2]), (Normal(), names[:1])):
        table = measure_batch(batch, names, 8, 64, 40, prompts=4)
        assert list(dict.fromkeys(table["estimator"])) == expected


def test_wrong_batches():
    with pytest.raises(ValueError, match="kinds is empty"):
        Batch(())
    with pytest.raises(ValueError, match="prompts is 0"):
        Batch(((Normal(), 0),))
    with pytest.raises(TypeError, match="give a Batch"):
        measure_batch("normal", ["tea"], 8, 64)
    with pytest.raises(ValueError, match="references has 'max_at_k'"):
        measure_batch(Normal(), ["tea"], 8, 64, references=["max_at_k"])


def test_every_chunk_seed_and_batch_has_draws_of_its_own():
    """The jackknife over chunks would be zero, and the error √chunks too small, if they shared."""
    batch, other = Batch(((Normal(), 2),)), Batch(((Normal(1.0), 2),))

    def mean(batch, seed, chunk):
        records = simulate_chunk(batch, {"RLOO": ("rloo", {})}, 4, (8,), 3, seed, chunk)
        return tuple(records["RLOO", 8][0])

    means = {mean(b, seed, chunk) for b in (batch, other) for seed in (0, 1) for chunk in range(4)}
    assert len(means) == 16
    assert mean(batch, 1, 2) in means
