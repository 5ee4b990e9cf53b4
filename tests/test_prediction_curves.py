"""Best-of-N curves: each method exact on its own laws, intervals with the variance they claim."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from scipy import special, stats

from tea_stats import best_of_n, prediction, tails
from tea_stats.families import GaussianTail, GenPareto, Gumbel, Normal
from tea_stats.prediction import METHODS, bands, fit as fits, gen_pareto, max_at_k
from tea_stats.prediction.beta_binomial import best_of
from tea_stats.prediction.linear import lowest_k
from tea_stats.reward_log import RewardLog
from tea_stats.tails import calibration
from tests.enumeration import LAWS, tuples

GRID = np.array([8, 32, 128, 1024])
CONTINUOUS = ["max_at_k", "gaussian_tail", "linear", "gen_pareto"]


def fit(name, rewards, grid=GRID, alpha=0.25):
    return METHODS[name](RewardLog.from_groups(rewards), np.asarray(grid), alpha)


# --- values --------------------------------------------------------------------------------------


def test_max_at_k_is_the_mean_over_all_subsets():
    rewards = np.random.default_rng(0).gumbel(size=(3, 7))
    fitted = fit("max_at_k", rewards, [1, 2, 5, 7, 8]).values
    for place, k in enumerate((1, 2, 5, 7)):
        subsets = list(itertools.combinations(range(7), k))
        expected = rewards[:, subsets].max(axis=2).mean(axis=1)
        assert fitted[:, place] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(fitted[:, -1]).all()


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_max_at_k_is_unbiased_under_every_law(law):
    rewards, _, probability = tuples(law, 5)
    computed = probability @ fit("max_at_k", rewards, [1, 3, 5]).values
    for mean, k in zip(computed, (1, 3, 5), strict=True):
        groups, _, chance = tuples(law, k)
        assert mean == pytest.approx(chance @ groups.max(axis=1), rel=1e-12)


def test_a_success_of_k_is_the_known_estimator():
    counts, m = np.arange(13), 12
    rewards = (np.arange(m) < counts[:, None]) * 1.0
    fitted = fit("max_at_k", rewards, [4]).values[:, 0]
    # pass@k of Chen et al. (2021): 1 − C(m − c, k)/C(m, k)
    assert fitted == pytest.approx(
        1.0 - special.comb(m - counts, 4) / special.comb(m, 4), abs=1e-14
    )


def test_linear_is_linear_value():
    rewards = np.random.default_rng(1).normal(size=(5, 32))
    expected = [prediction.linear_value(rewards, N, k_min=lowest_k(16)).value for N in GRID]
    assert fit("linear", rewards).values == pytest.approx(np.array(expected).T, rel=1e-11)


@pytest.mark.parametrize(("m", "alpha"), [(16, 0.25), (64, 0.25), (16, 1.0), (8, 0.5)])
def test_gaussian_tail_is_unbiased_on_the_normal_law(m, alpha):
    mean, spread = calibration.tail_means(m, tails.tail_count(m, alpha))
    grid, groups = np.array([16, 1024]), 40_000
    rewards = Normal(2.0, 0.5).sample((groups, m), np.random.default_rng(2))
    fitted = fit("gaussian_tail", rewards, grid, alpha).values
    exact = np.array([best_of_n.value(Normal(2.0, 0.5), int(N)) for N in grid])
    mcse = fitted.std(axis=0) / np.sqrt(groups)
    assert (mcse < 0.006).all()
    assert (np.abs(fitted.mean(axis=0) - exact) < 5 * mcse).all()
    # TEA's own constants, those of m → ∞, are wrong at this m
    _, limit, kappa = tails.gaussian_tail_moments(tails.tail_count(m, alpha) / m)
    c = tails.normal_max_mean(1024)
    tea = fitted[:, 1].mean() + 0.5 * ((c - limit) / kappa * spread + mean - c)
    assert abs(tea - exact[1]) > 10 * mcse[1]


def test_the_constants_tend_to_those_of_tea():
    for alpha in (0.1, 0.25, 1.0):
        _, mean, spread = tails.gaussian_tail_moments(alpha)
        computed = calibration.tail_means(20_000, int(alpha * 20_000))
        assert computed == pytest.approx((mean, spread), abs=1e-3)
    # k = m: c₄ of quality control, in closed form
    c4 = np.sqrt(2 / 16) * np.exp(special.gammaln(8.0) - special.gammaln(7.5))
    assert calibration.tail_means(16, 16) == pytest.approx((0.0, c4), abs=1e-11)


@pytest.mark.parametrize("shape", [-0.4, -1e-9, 0.0, 0.2, 0.45])
def test_generalised_pareto_is_exact_once_the_shape_is_known(shape):
    law, m, k = GenPareto(shape, 2.0), 16, 4
    factors = gen_pareto.excess_factors(m, k, GRID, np.array(shape))
    truth = [best_of_n.value(law, int(N)) for N in GRID]
    # E r_(j:m) by quadrature over the upper tail probability, a beta law
    with mpmath.workdps(30):

        def ordered(j):
            def integrand(p):
                q = -mpmath.log(p) if abs(shape) < 1e-7 else (p**-shape - 1) / shape
                return 2 * q * p ** (m - j) * (1 - p) ** (j - 1) / mpmath.beta(m - j + 1, j)

            return float(mpmath.quad(integrand, [0, 0.01, 0.1, 0.5, 1]))

        u = ordered(m - k)
        excess = np.mean([ordered(j) for j in range(m - k + 1, m + 1)]) - u
    assert u + factors * excess == pytest.approx(np.array(truth), rel=1e-7)
    assert np.isinf(gen_pareto.excess_factors(m, k, GRID, np.array(1.0))).all()


def test_the_shape_is_that_of_other_l_moments():
    """ξ of one large group against scipy's maximum likelihood, and l₂ by its definition."""
    rewards = GenPareto(0.2).sample((1, 8000), np.random.default_rng(3))
    fitted = fit("gen_pareto", rewards)
    top = np.sort(rewards[0])[-2000:] - np.sort(rewards[0])[-2001]
    pairs = np.abs(top[:200, None] - top[None, :200])
    weights = gen_pareto.moment_weights(201, 200)
    small = np.append(0.0, top[:200])
    assert small @ weights[:, 2] == pytest.approx(pairs.sum() / (200 * 199) / 2, rel=1e-12)
    shape, _, _ = stats.genpareto.fit(top, floc=0.0)
    assert abs(fitted.details["shape"] - shape) < 0.03  # two standard errors are .06
    assert abs(fitted.details["shape"] - 0.2) < 0.1


@pytest.mark.parametrize("name", ["gaussian_tail", "linear", "gen_pareto"])
def test_a_tail_is_extrapolated_from_N_two_over_alpha_on(name):
    rewards = np.random.default_rng(4).normal(size=(3, 16))
    for alpha, first in ((0.25, 8), (0.5, 4)):
        fitted = fit(name, rewards, [first - 1, first], alpha).values
        assert np.isnan(fitted[:, 0]).all() and np.isfinite(fitted[:, 1]).all()


def test_small_groups_and_ties_never_fail():
    rng = np.random.default_rng(4)
    for rewards in (rng.normal(size=(3, 4)), np.zeros((3, 8)), rng.integers(0, 2, (4, 9)) * 5.0):
        forecast = prediction.predict(rewards, 64, methods=CONTINUOUS, prompt_intervals=True)
        for name in ("gaussian_tail", "linear", "gen_pareto"):
            # one success among few is a shape of 1, which has no mean
            value = forecast.curves[name].value[-1]
            assert np.isfinite(value) or (name == "gen_pareto" and value == np.inf), name
    tied = prediction.predict(np.full((3, 8), 2.0), 64, methods=CONTINUOUS).curves
    for name in ("gaussian_tail", "linear", "gen_pareto"):
        assert tied[name].value[-1] == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0.5, 20.0), (5.0, 20.0), (0.3, 0.6)])
def test_beta_binomial_finds_the_law_of_p(a, b):
    rng = np.random.default_rng(5)
    p = rng.beta(a, b, size=4000)
    rewards = (rng.random((4000, 32)) < p[:, None]) * 1.0
    fitted = fit("beta_binomial", rewards)
    exact = best_of(np.array(a), np.array(b), GRID)
    quadrature = [1 - stats.beta.expect(lambda q, N=N: (1 - q) ** N, (a, b)) for N in (8, 32)]
    assert exact[:2] == pytest.approx(np.array(quadrature), rel=1e-6)
    draws = fitted.draws("population", 2000, rng)
    assert (np.abs(fitted.average("population") - exact) < 5 * draws.std(axis=0)).all()
    # prompts that are never solved look like those of tiny p: far beyond m that is all there is
    assert (draws.std(axis=0) < 0.03).all()
    # the prompts' own: given s successes p is of the law (a + s, b + m − s), so that they average
    own = (1 - (1 - p[:, None]) ** GRID).mean(axis=0)
    assert fitted.average("these_prompts") == pytest.approx(own, abs=0.02)


# --- what is random: no rollout is counted twice -------------------------------------------------


def test_resampling_rollouts_within_resampled_prompts_counts_them_twice():
    """The exact variance of a bootstrap average of means, in both ways, on a nested Normal law.

    v_i = prompt mean: Var v̄ = (τ² + σ²/m)/P. Resampling prompts has E Var* = (1 − 1/P) of it;
    resampling rollouts too adds E (1 − 1/m) σ²/(m P) once more.
    """
    prompts, m, tau, sigma = 40, 4, 1.0, 3.0
    rng = np.random.default_rng(6)
    rewards = tau * rng.normal(size=(4000, prompts, 1)) + sigma * rng.normal(
        size=(4000, prompts, m)
    )
    means = rewards.mean(axis=2)
    truth = (tau**2 + sigma**2 / m) / prompts
    once = means.var(axis=1) / prompts
    twice = once + rewards.var(axis=2).mean(axis=1) / (m * prompts)
    mcse = once.std() / np.sqrt(4000)
    assert abs(once.mean() - (1 - 1 / prompts) * truth) < 5 * mcse < 0.02 * truth
    assert twice.mean() > 1.4 * truth
    # what the package takes, from the first log: prompts only, with P − 1
    fitted = fit("max_at_k", rewards[0], [1])
    covariance = fits.mean_covariance(fitted.values)
    assert covariance[0, 0] == pytest.approx(means[0].var(ddof=1) / prompts, rel=1e-12)
    draws = fitted.draws("population", 40_000, rng)[:, 0]
    freedom = prompts - 1
    assert draws.var() == pytest.approx(covariance[0, 0] * freedom / (freedom - 2), rel=0.05)
    # of few prompts: the quantile of Student's law with P − 1, not of a normal one
    few = fit("max_at_k", rewards[0, :5], [1])
    end = np.quantile(few.draws("population", 100_000, rng)[:, 0], 0.95)
    size = means[0, :5].std(ddof=1) / np.sqrt(5)
    assert (end - means[0, :5].mean()) / size == pytest.approx(stats.t.ppf(0.95, 4), rel=0.03)


@pytest.mark.parametrize("name", ["max_at_k", "gaussian_tail", "linear"])
def test_the_jackknife_is_that_of_leaving_out(name):
    rewards = np.sort(np.random.default_rng(7).gumbel(size=(2, 9)), axis=1)
    grid = np.array([3, 9, 40]) if name == "max_at_k" else np.array([9, 40])
    fitted = fit(name, rewards, grid)
    covariance = fitted.rollout_covariance(rewards)
    for group, own in zip(rewards, covariance, strict=True):
        left = []
        for j in range(9):
            rest = np.delete(group, j)
            if name == "max_at_k":
                weights = max_at_k.weights(8, np.minimum(grid[:2], 8))
                left.append([*(rest @ weights), 0.0])
            elif name == "linear":
                # the design of degree 9 // 2, on eight rewards
                value = [
                    prediction.linear_value(rest, int(N), degree=4, k_min=lowest_k(4)).value
                    for N in grid
                ]
                left.append(value)
            else:
                top = rest[-3:]
                left.append(top.mean() + top.std() * fitted._factors(9))
        left = np.array(left) - np.mean(left, axis=0)
        assert own == pytest.approx(8 / 9 * left.T @ left, abs=1e-11)


@pytest.mark.parametrize("m", [16, 64])
@pytest.mark.parametrize("name", ["max_at_k", "gaussian_tail", "linear", "gen_pareto"])
def test_the_rollout_variance_is_not_too_small_and_not_much_too_large(name, m):
    """Over Normal (or Pareto) groups: the mean estimate over the variance of the values."""
    law = GenPareto(0.1) if name == "gen_pareto" else Normal()
    groups = np.sort(law.sample((4000, m), np.random.default_rng(8)), axis=1)
    grid = np.array([m // 2]) if name == "max_at_k" else np.array([8 * m])
    fitted = fit(name, groups, grid)
    estimate = fitted.rollout_covariance(groups).mean(axis=0)
    if name == "gen_pareto":
        ratio = np.diag(estimate) / fitted.moments.var(axis=0)
    else:
        ratio = np.diag(estimate) / fitted.values.var(axis=0)
    assert (ratio > 0.93).all() and (ratio < 1.4).all(), ratio


@pytest.mark.parametrize("name", ["gaussian_tail", "linear", "max_at_k"])
def test_the_interval_of_one_prompt_is_exact_on_the_normal_law(name):
    rewards = Normal(3.0, 2.0).sample((4000, 16), np.random.default_rng(9))
    grid = np.array([16, 1024]) if name != "max_at_k" else np.array([2, 16])
    low, high = fit(name, rewards, grid).prompt_bounds(0.9, np.random.default_rng(10))
    exact = np.array([best_of_n.value(Normal(3.0, 2.0), int(N)) for N in grid])
    inside = ((low <= exact) & (exact <= high)).mean(axis=0)
    # ±.0047 each from 4000 prompts and 4000 reference groups
    assert (np.abs(inside - 0.9) < 5 * 0.0067).all()


def test_jeffreys_for_a_prompt_of_successes():
    rewards = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]) * 1.0
    low, high = fit("max_at_k", rewards, [1, 3, 9]).prompt_bounds(0.9, np.random.default_rng(0))
    ends = stats.beta.ppf([0.05, 0.95], 1.5, 4.5)
    assert [low[0, 0], high[0, 0]] == pytest.approx(ends, rel=1e-9)
    assert [low[0, 1], high[0, 1]] == pytest.approx(1 - (1 - ends) ** 3, rel=1e-9)
    assert low[1, 0] == 0.0 and high[2, 0] == 1.0 and np.isnan(low[:, 2]).all()


# --- bands ---------------------------------------------------------------------------------------


def test_a_band_of_independent_points_is_sidak():
    draws = np.random.default_rng(11).normal(size=(40_000, 5))
    low, high = bands.simultaneous(draws, 0.9)
    expected = stats.norm.ppf(0.5 + 0.5 * 0.9 ** (1 / 5))
    assert high == pytest.approx(expected, abs=0.06) and low == pytest.approx(-expected, abs=0.06)
    whole = ((low <= draws) & (draws <= high)).all(axis=1).mean()
    assert whole == pytest.approx(0.9, abs=0.005)
    low, high = bands.pointwise(draws, 0.9)
    assert high == pytest.approx(stats.norm.ppf(0.95), abs=0.04)


def test_a_band_of_one_point_is_its_interval_and_nan_stays():
    draws = np.random.default_rng(12).normal(size=(10_000, 1)) * np.array([1.0, 2.0, np.nan])
    wide, point = bands.simultaneous(draws, 0.9), bands.pointwise(draws, 0.9)
    assert np.array(wide)[:, :2] == pytest.approx(np.array(point)[:, :2], abs=0.01)
    assert np.isnan(np.array(wide)[:, 2]).all()


# --- predict, backtest, inverse ------------------------------------------------------------------


def test_groups_of_unequal_size():
    rng = np.random.default_rng(13)
    groups = [rng.normal(size=m) for m in (1, 2, 3, 5, 16, 16, 40)]
    forecast = prediction.predict(RewardLog.from_groups(groups), 128, prompt_intervals=True)
    curve = forecast.curves["max_at_k"]
    # the same prompts at every k: three quarters have 2 rollouts or more
    assert curve.prompts[[0, 1]].tolist() == [6, 6] and not curve.prompts[2:].any()
    pairs = [group for group in groups if len(group) >= 2]
    assert curve.value[0] == pytest.approx(np.mean([group.mean() for group in pairs]))
    assert "unbiased max@k averages the same 6 of 7 prompts at every k" in " ".join(forecast.notes)
    assert forecast.curves["linear"].prompts[-1] == 4
    alone = fit("gaussian_tail", [groups[6]], [128]).values
    assert forecast.curves["gaussian_tail"].prompt_values[6, -1] == pytest.approx(alone[0, 0])
    for curve in forecast.curves.values():
        finite = np.isfinite(curve.low)
        assert (curve.low[finite] <= curve.value[finite]).all()
        assert (curve.band_low[finite] <= curve.low[finite]).all()
        assert (curve.high[finite] <= curve.band_high[finite]).all()


def test_the_seed_decides_everything_and_other_methods_nothing():
    rewards = np.random.default_rng(14).normal(size=(12, 16))
    one, again = (prediction.predict(rewards, 256, seed=3) for _ in range(2))
    alone = prediction.predict(rewards, 256, seed=3, methods=["linear"])
    for other in (again, alone):
        assert np.array_equal(
            one.curves["linear"].band_high, other.curves["linear"].band_high, equal_nan=True
        )
    assert one.backtest.errors == again.backtest.errors
    assert (
        one.curves["linear"].high[-1] != prediction.predict(rewards, 256).curves["linear"].high[-1]
    )


def test_one_prompt_has_an_interval_for_itself_only():
    rewards = np.random.default_rng(15).normal(size=32)
    forecast = prediction.predict(rewards, 256, prompt_intervals=True)
    assert forecast.target == "these_prompts"
    curve = forecast.curves["linear"]
    assert curve.low[-1] == pytest.approx(curve.prompt_low[0, -1], abs=0.1)
    with pytest.raises(ValueError, match="target is 'population' and there is one prompt"):
        prediction.predict(rewards, 256, target="population")


def test_backtest_compares_with_the_unbiased_value():
    rewards = GenPareto(0.3).sample((200, 64), np.random.default_rng(16))
    forecast = prediction.predict(rewards, 256)
    test = forecast.backtest
    assert (test.m, test.M, test.splits, test.prompts) == (16, 64, 4, 200)
    values = fit("max_at_k", rewards, test.grid).values.mean(axis=0)
    assert test.truth == pytest.approx(values, rel=1e-12)
    # without extrapolation the best of 16, whatever k
    assert np.ptp(test.predicted["max_at_k"]) == 0.0
    tails = ["gaussian_tail", "linear", "gen_pareto"]
    assert min(tails, key=test.errors.get) == "gen_pareto"
    assert prediction.predict(rewards, 256, methods=tails).recommended == "gen_pareto"
    weights = forecast.curves["stack"].details["weights"]
    assert forecast.recommended == "stack" and weights["linear"] < 0.01 < weights["gen_pareto"]
    for name, bias in test.biases.items():
        assert bias == pytest.approx(test.predicted[name][-1] - test.truth[-1], abs=1e-12)
    assert abs(test.biases["gen_pareto"]) < 5 * test.standard_errors["gen_pareto"]
    assert test.biases["linear"] < -5 * test.standard_errors["linear"]
    # N α = 256 is twice as far as M α = 16, in logarithms: four times the error
    allowance = test.allowance("linear", np.array([64, 1024]), 0.25)
    seen = np.sqrt(test.biases["linear"] ** 2 - test.standard_errors["linear"] ** 2)
    assert allowance == pytest.approx([seen, seen * (np.log(256) / np.log(16)) ** 2], rel=1e-12)
    assert prediction.predict(rewards[:, :7], 256).backtest is None
    assert prediction.predict(rewards, 32).recommended == "max_at_k"


def test_the_inverse_question_inverts_the_curve():
    rewards = np.random.default_rng(17).normal(size=(64, 32))
    curve = prediction.predict(rewards, 1024).curves["gaussian_tail"]
    for place in (8, 12, -1):
        reach = prediction.budget_for(curve, curve.value[place])
        assert reach.N == curve.grid[place]
        assert reach.low < reach.N and (reach.high is None or reach.high > reach.N)
        assert prediction.budget_for(curve, curve.low[place]).high == curve.grid[place]
        assert prediction.budget_for(curve, curve.high[place]).low == curve.grid[place]
    nowhere = prediction.budget_for(curve, 99.0)
    assert (nowhere.N, nowhere.low, nowhere.high, nowhere.within) == (None, None, None, 1024)
    assert prediction.budget_for(curve, -99.0).N == curve.grid[np.isfinite(curve.value)][0]
    with pytest.raises(ValueError, match="target_reward is nan"):
        prediction.budget_for(curve, np.nan)


@pytest.mark.parametrize(
    ("rewards", "N", "options", "error", "message"),
    [
        (np.zeros((2, 8)), 0, {}, ValueError, "N is 0"),
        (np.eye(8), 8, {"methods": ["best"]}, ValueError, "method is 'best'; give one of"),
        (np.eye(8), 8, {"methods": []}, ValueError, "methods is empty"),
        (
            np.arange(64.0).reshape(8, 8),
            8,
            {"methods": ["beta_binomial"]},
            ValueError,
            "not all 0 or 1, nor of few values",
        ),
        (np.eye(3), 8, {"methods": ["linear"]}, ValueError, "needs 4 rollouts of a prompt"),
        (np.eye(8), 8, {"alpha": 0.0}, ValueError, "alpha is 0.0"),
        (np.eye(8), 8, {"level": 1.0}, ValueError, "level is 1.0"),
        (np.eye(8), 8, {"target": "all"}, ValueError, "target is 'all'"),
        (np.eye(8), 8, {"prompt_intervals": 1}, TypeError, "prompt_intervals is 1"),
        (np.eye(8), 8, {"seed": -1}, ValueError, "seed is -1"),
        (np.full((2, 2), np.nan), 8, {}, ValueError, r"rewards\[0\] is nan"),
    ],
)
def test_bad_arguments(rewards, N, options, error, message):
    with pytest.raises(error, match=message):
        prediction.predict(rewards, N, **options)


# --- coverage ------------------------------------------------------------------------------------


def coverage(name, law, prompts, m, target, reps, seed):
    """Return how often the 90 % intervals of best-of-64 and best-of-1024 hold the truth."""
    rng, grid = np.random.default_rng(seed), np.array([64, 1024])
    standard = np.array([best_of_n.value(law, int(N)) for N in grid])
    inside = np.zeros((reps, 2))
    for rep in range(reps):
        loc, scale = rng.normal(size=prompts), np.exp(0.4 * rng.normal(size=prompts))
        rewards = loc[:, None] + scale[:, None] * law.sample((prompts, m), rng)
        own = loc[:, None] + scale[:, None] * standard
        truth = own.mean(axis=0) if target == "these_prompts" else np.exp(0.08) * standard
        low, high = bands.pointwise(fit(name, rewards, grid).draws(target, 1000, rng), 0.9)
        inside[rep] = (low <= truth) & (truth <= high)
    return inside.mean(axis=0)


@pytest.mark.slow
def test_outside_the_model_the_width_says_so():
    """60 logs of Gumbel rewards: a Gaussian tail is far off at N = 1024, its interval wide."""
    rng, inside = np.random.default_rng(20), []
    truth = best_of_n.value(Gumbel(), 1024)
    for _ in range(60):
        rewards = rng.normal(size=(32, 1)) + Gumbel().sample((32, 64), rng)
        row = []
        for allowed in (True, False):
            forecast = prediction.predict(
                rewards, 1024, methods=["gaussian_tail"], extrapolation_error=allowed
            ).curves["gaussian_tail"]
            row.append(forecast.low[-1] <= truth <= forecast.high[-1])
        inside.append(row)
    allowed, sampling_only = np.mean(inside, axis=0)
    assert sampling_only < 0.4 and allowed > sampling_only + 0.2


@pytest.mark.slow
@pytest.mark.parametrize("target", ["population", "these_prompts"])
@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("gaussian_tail", Normal()),
        ("gaussian_tail", GaussianTail()),
        ("linear", GaussianTail()),
        ("gen_pareto", GenPareto(-0.2)),
    ],
    ids=str,
)
def test_nominal_90_covers_85_to_95(name, law, target):
    """400 logs of 32 prompts: a share of .9 is known to ±.015."""
    computed = coverage(name, law, 32, 16, target, 400, 18)
    assert (computed > 0.85).all() and (computed < 0.96).all(), computed
    # an interval for the wrong law does not cover
    if target == "these_prompts" and name == "linear":
        assert (coverage(name, GenPareto(0.3), 32, 16, target, 100, 19) < 0.6).all()
