"""The stack: its members, weights and correction; what a log cannot tell is said."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, stats

from tea_stats import best_of_n, prediction
from tea_stats.families import GenPareto, Gumbel, Normal, NormalMixture
from tea_stats.prediction import (
    BEYOND,
    METHODS,
    evidence,
    lognormal_tail,
    pool,
    pooled_shape,
    verdict,
)
from tea_stats.prediction.curves import as_log
from tea_stats.prediction.stack import PRIOR, STRETCH, TEMPERATURE, StackedTails, alone
from tea_stats.reward_log import RewardLog

GRID = np.array([4, 16, 64, 1024])


def normal(prompts=16, m=32, seed=0):
    return np.random.default_rng(seed).normal(size=(prompts, m))


def best(rewards, N=1024, **options):
    forecast = prediction.predict(rewards, N, **options)
    return forecast.curves[forecast.recommended], forecast


# --- the log-normal tail -------------------------------------------------------------------------


@pytest.mark.parametrize("g", [-0.9, 0.0, 0.7])
def test_expectations_of_order_statistics_are_integrals(g):
    m, k = 24, 6
    place = int(round((g - lognormal_tail.SKEWNESS[0]) / 0.025))
    assert lognormal_tail.SKEWNESS[place] == pytest.approx(g)

    def rank(j, size):  # E of the j-th smallest of `size`
        law = stats.beta(j, size - j + 1)

        def integrand(z):
            density = law.pdf(stats.norm.cdf(z)) * stats.norm.pdf(z)
            return float(lognormal_tail.bent(np.array(z), g)) * density

        return integrate.quad(integrand, -9, 9, limit=300)[0]

    ranks = np.array([rank(j, m) for j in range(m - k, m + 1)])
    u, excess = ranks[0], ranks[1:] - ranks[0]
    j = np.arange(1, k + 1)
    second = ((2 * j - k - 1) * ranks[1:]).sum() / (k * (k - 1))
    moments = lognormal_tail.expected_moments(m, k)[place]
    assert moments == pytest.approx([u, excess.mean(), second], rel=1e-7)
    at = lognormal_tail.expected_best((1, 64))[place]
    assert at == pytest.approx([rank(1, 1), rank(64, 64)], rel=1e-7, abs=1e-12)


def test_the_shape_is_shrunk_by_its_own_standard_error():
    fits = [
        METHODS["lognormal_tail"](RewardLog.from_groups(normal(8, 32, s)), GRID, 0.25)
        for s in range(60)
    ]
    estimates = np.array([fit.estimated for fit in fits])
    spread = np.mean([fit.spread for fit in fits])
    # E ĝ = 0 on the Normal law; its standard error is what the spread says, within a third
    assert abs(estimates.mean()) < 5 * estimates.std() / np.sqrt(60)
    assert estimates.std() == pytest.approx(spread, rel=0.35)
    fit = fits[0]
    prior = lognormal_tail.PRIOR_SPREAD**2 + max(fit.estimated**2 - fit.spread**2, 0.0)
    assert fit.shape == pytest.approx(fit.estimated * prior / (prior + fit.spread**2))
    # a skewness of 1 is no accident in 4000 groups
    skewed = np.exp(np.random.default_rng(1).normal(size=(4000, 32)))
    fit = METHODS["lognormal_tail"](RewardLog.from_groups(skewed), GRID, 0.25)
    assert fit.shape == pytest.approx(1.0, abs=0.03)
    truth = lognormal_tail.expected_best((64, 1024))[160] + 1.0
    assert fit.average("population")[2:] == pytest.approx(truth, rel=0.03)


# --- weights, correction, interval ---------------------------------------------------------------


def test_weights_and_value_are_what_the_page_says():
    rewards = GenPareto(-0.3).sample((24, 64), np.random.default_rng(2))
    forecast = prediction.predict(rewards, 1024)
    stack, test = forecast.curves["stack"], forecast.backtest
    weights = stack.details["weights"]
    assert [*test.scales] == [8, 16] and sum(weights.values()) == pytest.approx(1.0)
    # weights but for the spreads of the intervals, which are the same in both of two ratios
    misses = {
        name: np.mean(
            [
                errors[name].mean() ** 2
                / min(e.std(ddof=1) for n, e in errors.items() if n in PRIOR) ** 2
                * 24
                for errors in test.scales.values()
            ]
        )
        for name in weights
    }
    spread = {
        name: PRIOR[name] * np.exp(-misses[name] / TEMPERATURE) / weights[name]
        for name in weights
        if weights[name] > 0
    }
    alone = prediction.predict(rewards, 1024, extrapolation_error=False)
    for name, scale in spread.items():
        curve = alone.curves[name]
        width = curve.high[-1] - curve.low[-1]
        ratio = scale / spread["gaussian_tail"] if "gaussian_tail" in spread else 1.0
        other = alone.curves["gaussian_tail"]
        assert ratio == pytest.approx(width / (other.high[-1] - other.low[-1]), rel=0.15)
    own = sum(w * test.scales[16][name] for name, w in weights.items())
    gap = np.sign(own.mean()) * np.sqrt(max(own.mean() ** 2 - own.var(ddof=1) / 24, 0.0))
    growth = np.log(1024 * 0.25) / np.log(64 * 0.25)
    blend = sum(w * forecast.curves[name].value[-1] for name, w in weights.items())
    assert stack.value[-1] == pytest.approx(blend - 0.5 * gap * growth, rel=1e-9)
    assert stack.allowance[-1] == pytest.approx(0.5 * abs(gap) * growth, rel=1e-9)
    # up to half of the rollouts nothing is extrapolated
    inside = stack.grid <= 32
    counted = forecast.curves["max_at_k"].value[inside]
    assert stack.value[inside] == pytest.approx(counted, rel=1e-12)
    assert (np.diff(stack.value) >= 0.0).all()


def test_where_methods_disagree_the_interval_is_wide_and_reaches_up():
    curve, _ = best(normal(8, 32, 3), target="these_prompts")
    assert STRETCH > 0.0
    assert curve.high[-1] - curve.value[-1] > curve.value[-1] - curve.low[-1]
    assert (curve.band_low <= curve.low).all() and (curve.high <= curve.band_high).all()


@pytest.mark.parametrize(
    ("scale", "shift"), [(1e200, 0.0), (1e-200, 0.0), (1e-300, 0.0), (3.0, 1.7e9), (7.0, 5.0)]
)
def test_units_and_location_change_nothing(scale, shift):
    rewards = normal(12, 32, 4)
    plain, other = (
        prediction.predict(rewards, 256),
        prediction.predict(scale * rewards + shift, 256),
    )
    digits = 1e-4 if shift > 1e6 else 1e-7
    for name, curve in plain.curves.items():
        for line in ("value", "low", "high", "band_low", "band_high"):
            known = np.isfinite(getattr(curve, line))
            moved = (getattr(other.curves[name], line)[known] - shift) / scale
            assert moved == pytest.approx(getattr(curve, line)[known], abs=digits), name
    errors = np.array([*other.backtest.errors.values()]) / scale
    assert errors == pytest.approx([*plain.backtest.errors.values()], abs=digits)


def test_max_at_k_keeps_its_digits_under_a_large_location():
    rewards = np.sort(np.random.default_rng(0).normal(size=100_000)) + 1.7e9
    rewards = np.stack([rewards, rewards])
    curve = METHODS["max_at_k"](RewardLog.from_groups(rewards), np.array([2]), 0.25)
    centred = rewards[0] - 1.7e9
    exact = np.arange(100_000) / (100_000 * 99_999 / 2) @ centred
    assert curve.average("these_prompts")[0] - 1.7e9 == pytest.approx(exact, abs=1e-6)


# --- what a log cannot tell ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "N", "known"),
    [(8, 32, True), (8, 33, False), (16, 256, True), (16, 1024, False), (6, 8, False)],
)
def test_beyond_reach_there_is_no_number(m, N, known):
    curve, forecast = best(normal(8, m), N)
    assert forecast.recommended == "stack" and np.isfinite(curve.value[-1]) == known
    assert np.isfinite(curve.high[-1]) == known == (N <= forecast.reach)
    assert (prediction.BEYOND in forecast.reason) == (not known)
    inside = curve.grid <= forecast.reach
    assert np.isfinite(curve.value[inside & (curve.grid <= m)]).all()


@pytest.mark.parametrize(
    ("m", "N", "alpha"), [(9, 1, 0.25), (9, 2, 0.25), (9, 7, 0.25), (16, 16, 0.1), (4, 4, 0.25)]
)
def test_few_of_many_are_counted(m, N, alpha):
    """N below 2/alpha, where no tail method has a value."""
    curve, forecast = best(normal(6, m), N, alpha=alpha)
    assert forecast.recommended == "max_at_k" and np.isfinite(curve.value[-1])
    assert np.isnan(forecast.curves["linear"].value[-1])
    assert "every prompt has at least" in forecast.reason
    assert np.isfinite(
        prediction.predict(normal(6, m), N, methods=["stack"], alpha=alpha)
        .curves["stack"]
        .value[-1]
    )


@pytest.mark.parametrize("m", [2, 3])
def test_groups_of_two_or_three_cannot_be_extrapolated(m):
    curve, forecast = best(normal(10, m), 16)
    assert np.isnan(curve.value[-1]) and np.isfinite(curve.value[0])
    assert forecast.reason.startswith(f"{m} rollouts of a prompt cannot be extrapolated: 4 are")


def test_budgets_end_where_floating_point_skips_integers():
    with pytest.raises(ValueError, match=r"N is 9007199254740993; give at most 2\^53"):
        prediction.predict(normal(), 2**53 + 1)


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_are_counted_once(copies):
    rewards = normal(16, 16, 5)
    mixed = np.random.default_rng(6).permuted(np.repeat(rewards, copies, axis=1), axis=1)
    curve, forecast = best(mixed, 256)
    other, _ = best(rewards, 256)
    assert curve.value[-1] == pytest.approx(other.value[-1], abs=0.35)
    assert curve.low[-1] < 2.84 < curve.high[-1]  # best of 256 normal rewards
    assert f"there {copies} times" in forecast.notes[0] and forecast.reach == 256
    assert prediction.BEYOND in best(mixed, 1024)[1].reason


def test_repeats_that_may_be_the_policys_own_widen_the_interval():
    rewards, rng = normal(16, 24, 7), np.random.default_rng(8)
    again = np.take_along_axis(rewards, rng.integers(0, 24, (16, 40)), axis=1)
    mixed = np.concatenate([rewards, again], axis=1)
    curve, forecast = best(mixed, 512, target="these_prompts")
    once, _ = best(rewards, 512, target="these_prompts")
    assert curve.low[-1] < 3.04 < curve.high[-1]
    assert curve.high[-1] >= once.high[-1] - 0.2 and forecast.reach == 24 * 36
    assert "copies of rows, or a policy that repeats itself" in forecast.notes[0]
    # a value that other prompts have too is no copy: many rewards are 0
    lumpy = np.where(rng.random((16, 64)) < 0.3, 0.0, rng.normal(size=(16, 64)))
    assert evidence.repeats(RewardLog.from_groups(lumpy)) is None


def test_completions_tell_copies_where_rewards_do_not():
    rewards = normal(8, 12, 9)
    log = RewardLog.from_groups(np.repeat(rewards, 2, axis=1))
    object.__setattr__(log, "completions", np.tile(np.repeat(np.arange(12), 2), 8))
    found = evidence.repeats(log)
    assert found.by_text and found.copies == 2 and found.share == 0.5
    assert np.array_equal(found.distinct.matrix(), rewards)
    # equal rewards of different completions are different rollouts
    object.__setattr__(log, "completions", np.tile(np.arange(24), 8))
    assert evidence.repeats(log) is None


def test_a_ceiling_is_not_exceeded():
    rewards = np.minimum(normal(32, 64, 10), 1.2)
    curve, forecast = best(rewards, 512)
    assert curve.value[-1] == pytest.approx(1.2, abs=0.02) and curve.band_high.max() <= 1.2
    assert "ceiling" in forecast.notes[0] and "32 of 32 prompts reach 1.2" in forecast.notes[1]
    assert evidence.ceiling(RewardLog.from_groups(normal())) is None


def test_prompts_together_show_a_rare_good_mode():
    """2 % of the rewards lie 4 sd up: from one prompt's 64 a tail is extrapolated far too high."""
    law = NormalMixture(0.02, 0.0, 1.0, 4.0, 0.5)
    truth = np.array([best_of_n.value(law, N) for N in (64, 256, 1024)])
    rewards = law.sample((48, 64), np.random.default_rng(11))
    log = RewardLog.from_groups(5.0 + 2.0 * rewards)
    grid = np.array([64, 256, 1024])
    pooled = METHODS["pooled_shape"](log, grid, 0.25)
    assert (pooled.average("population") - 5.0) / 2.0 == pytest.approx(truth, abs=0.4)
    tails = METHODS["gen_pareto"](log, grid, 0.25)
    assert (tails.average("population")[-1] - 5.0) / 2.0 > truth[-1] + 2.0
    low, high = np.quantile(
        pooled.draws("these_prompts", 2000, np.random.default_rng(0)), [0.005, 0.995], axis=0
    )
    assert (low < 5.0 + 2.0 * truth).all() and (5.0 + 2.0 * truth < high).all()


def test_pooled_shape_is_unbiased_on_the_normal_law():
    grid = np.array([16, 64, 256])
    values = [
        METHODS["pooled_shape"](RewardLog.from_groups(normal(40, 16, s)), grid, 0.25).average(
            "population"
        )
        for s in range(60)
    ]
    error = np.std(values, axis=0) / np.sqrt(60)
    exact = np.array([best_of_n.value(Normal(), N) for N in grid.tolist()])
    assert (np.abs(np.mean(values, axis=0) - exact) < 5 * error + 0.005 * exact).all()
    # without the factor for what 16 rollouts tell of median and range, far too high
    assert lacking(16, grid)[-1] > exact[-1] + 0.5
    # 2N rewards are needed in all
    few = METHODS["pooled_shape"](RewardLog.from_groups(normal(4, 16)), grid, 0.25)
    assert np.isnan(few.average("population")).tolist() == [False, True, True]


def lacking(m, grid):
    """Return the mean pooled V̂_N on the Normal law with c = 1 / E range."""
    groups = np.sort(normal(2000, m, 1), axis=1)
    middle, spread = pooled_shape.standardisers(groups)
    pooled = np.sort(((groups - middle[:, None]) / spread[:, None]).ravel())
    return pooled @ pooled_shape.max_weights(len(pooled), tuple(grid.tolist())) * spread.mean()


def rare_mode(prompts, seed, share=0.02):
    """Rewards with a rare good mode, in each prompt's own unit."""
    rng = np.random.default_rng(seed)
    law = NormalMixture(share, 0.0, 1.0, 4.0, 0.5)
    scale = np.exp(0.4 * rng.normal(size=(prompts, 1)))
    return rng.normal(size=(prompts, 1)) + scale * law.sample((prompts, 64), rng)


def test_a_rare_mode_that_the_pool_shows_is_covered_or_ends_the_prediction():
    truth = np.exp(0.08) * best_of_n.value(NormalMixture(0.02, 0.0, 1.0, 4.0, 0.5), 1024)
    held = refused = 0
    for seed in range(10):
        forecast = prediction.predict(rare_mode(128, seed), 1024)
        curve = forecast.curves["stack"]
        if np.isnan(curve.value[-1]):
            refused += 1
            assert 64 <= forecast.reach < 1024
            assert forecast.reason.startswith(f"{BEYOND}: past N = {forecast.reach:,} the prompts")
            assert (np.isfinite(curve.value) == (curve.grid <= forecast.reach)).all()
        else:
            held += curve.low[-1] <= truth <= curve.high[-1]
    # by themselves the prompts cover it in 4 to 7 % of logs
    assert held + refused >= 8 and refused >= 3


def test_the_pool_contradicts_no_ordinary_law_and_needs_many_prompts():
    rng = np.random.default_rng(5)
    for law in (Normal(), Gumbel(), GenPareto(0.2), GenPareto(-0.2)):
        forecast = prediction.predict(law.sample((128, 64), rng), 1024)
        assert np.isfinite(forecast.curves["stack"].value[-1]) and forecast.reach == 16_384
    few = prediction.predict(rare_mode(pool.PROMPTS - 1, 0), 256)
    assert few.reach == 16_384 and np.isfinite(few.curves["stack"].value[-1])


def test_the_interval_holds_the_pools_where_they_differ():
    def drawn(rewards, pooling=True):
        log, grid = as_log(rewards), np.array([256, 1024])
        fits, backtest = alone(log, grid, 0.25)
        stack = StackedTails(log, grid, 0.25, fits, backtest)
        stack.together = stack.together if pooling else None
        draws = stack.draws("population", 4000, np.random.default_rng(0))
        return draws, fits["pooled_shape"].draws("population", 4000, np.random.default_rng(9))

    (both, pooled), (own, _) = (drawn(rare_mode(128, 1), pooling) for pooling in (True, False))
    assert np.quantile(own[:, 1], 0.05) > np.quantile(pooled[:, 1], 0.5) + 0.5
    for q in (0.05, 0.95):
        outer = min if q < 0.5 else max
        ends = [np.quantile(part[:, 1], q) for part in (own, pooled)]
        assert np.quantile(both[:, 1], q) == pytest.approx(outer(ends), rel=0.02)
    (both, _), (own, _) = (drawn(normal(128, 64, 4), pooling) for pooling in (True, False))
    np.testing.assert_array_equal(np.sort(both, axis=0), np.sort(own, axis=0))


@pytest.mark.parametrize("law", [Normal(), Gumbel(), NormalMixture(0.02, 0.0, 1.0, 4.0, 0.5)])
def test_the_pools_interval_for_these_prompts_is_as_wide_as_its_error(law):
    grid, errors, widths = np.array([256, 512]), [], []
    truth = np.array([best_of_n.value(law, int(N)) for N in grid])
    for seed in range(60):
        log = as_log(law.sample((40, 64), np.random.default_rng(seed)))
        fit = METHODS["pooled_shape"](log, grid, 0.25)
        draws = fit.draws("these_prompts", 1000, np.random.default_rng(0))
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        errors.append(fit.average("these_prompts") - truth)
        widths.append((high - low) / 2.0 / stats.t.ppf(0.95, 9))
    # the jackknife over rollouts gave 1.6 to 1.9
    ratio = np.mean(widths, axis=0) / np.std(errors, axis=0)
    assert (ratio > 0.75).all() and (ratio < 1.35).all()


def test_draws_of_a_curve_stay_one_curve():
    # a curve that lies high at one budget lies high at the next: bands depend on it
    log = as_log(np.random.default_rng(3).normal(size=(32, 64)))
    grid = np.array([256, 362])
    fits, backtest = alone(log, grid, 0.25)
    draws = StackedTails(log, grid, 0.25, fits, backtest).draws(
        "population", 2000, np.random.default_rng(0)
    )
    assert np.corrcoef(draws.T)[0, 1] > 0.95


def test_the_reason_says_where_all_prompts_together_differ():
    reasons = [prediction.predict(rare_mode(128, seed), 1024).reason for seed in range(10)]
    said = [reason for reason in reasons if not reason.startswith(BEYOND)]
    differ = "; all prompts together differ: the interval holds both"
    assert said and any(reason.endswith(differ) for reason in said)
    assert differ not in prediction.predict(normal(32, 64, 2), 256).reason


def test_the_reason_says_by_how_much_a_single_method_did_better():
    seen = set()
    for seed in range(12):
        forecast = prediction.predict(normal(8, 32, seed), 256)
        errors = {x: e for x, e in forecast.backtest.errors.items() if METHODS[x].extrapolates}
        best = min(errors, key=errors.get)
        ratio = errors["stack"] / errors[best]
        seen.add(ratio > verdict.LARGER)
        said = f"its error {ratio:.2f} times {METHODS[best].title}'s" in forecast.reason
        assert said == (ratio > verdict.LARGER) and ("times" in forecast.reason) == said
    assert seen == {True, False}


def test_medians_and_ranges_have_the_noise_of_normal_groups(monkeypatch):
    grid = np.array([16, 512])
    log = as_log(normal(40, 64, 3))
    fit = METHODS["pooled_shape"](log, grid, 0.25)
    said = np.diag(fit._standardisers_covariance(list(fit.pool)))
    ascending = np.sort(normal(4000, 64, 4), axis=1)
    middle, spread = pooled_shape.standardisers(ascending)
    values = middle[:, None] + spread[:, None] * fit.best * fit._factors(64)
    np.testing.assert_allclose(said, values.var(axis=0) / 40, rtol=0.15)
    before = fit.draws("these_prompts", 4000, np.random.default_rng(0)).std(axis=0)
    monkeypatch.setattr(fit, "_standardisers_covariance", lambda groups: np.diag([1e4, 1e4]))
    after = fit.draws("these_prompts", 4000, np.random.default_rng(0)).std(axis=0)
    assert (after > 50.0 * before).all()


def test_prompts_whose_rollouts_all_agree_are_no_traceback():
    # each of 64 prompts has one reward of its own: there is nothing to pool, nor to extrapolate
    forecast = prediction.predict(np.repeat(normal(64, 1, 5), 16, axis=1), 64)
    assert forecast.reach == 1 and np.isnan(forecast.curves["stack"].value[-1])


def test_an_error_of_zero_is_no_measure_of_others():
    errors = {"gaussian_tail": 0.0, "linear": np.nan, "stack": 1e-17}
    assert verdict._excess(SimpleNamespace(errors=errors)) == ""
    errors = {"linear": np.nan, "gaussian_tail": 1.0, "stack": 2.0}
    assert (
        verdict._excess(SimpleNamespace(errors=errors)) == ", its error 2.00 times Gaussian tail's"
    )


@pytest.mark.parametrize(("seed", "share"), [(6, 0.02), (9, 0.05), (10, 0.05)])
def test_what_is_said_of_the_interval_is_about_its_target(seed, share):
    log, grid = as_log(rare_mode(32, seed, share)), np.array([256, 512])
    fits, backtest = alone(log, grid, 0.25)
    stack = StackedTails(log, grid, 0.25, fits, backtest)
    together, said = stack.together, {}
    for target in prediction.TARGETS:
        said[target] = stack.agreement(target).differs
        both = stack.draws(target, 4000, np.random.default_rng(0))
        stack.together = None
        own = stack.draws(target, 4000, np.random.default_rng(0))
        stack.together = together
        assert (np.sort(both[:, -1]) != np.sort(own[:, -1])).any() == said[target], target
    # of these logs the two targets are told different things
    assert len(set(said.values())) == 2
