"""Rewards of few values: thresholds, laws of the chance of success, the largest value."""

import json

import numpy as np
import pytest
from scipy import integrate, special, stats
from typer.testing import CliRunner

from tea_stats import prediction
from tea_stats.command_line import app
from tea_stats.prediction import METHODS
from tea_stats.prediction.few_valued import thresholds
from tea_stats.prediction.stack import StackedChances
from tea_stats.prediction.success_laws import BETA, LOGIT_NORMAL, posterior
from tea_stats.reward_log import RewardLog

GRID = np.array([8, 64, 1024])


def passed(prompts=48, m=16, a=0.4, b=4.0, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((prompts, m)) < rng.beta(a, b, size=(prompts, 1))) * 1.0


def best(rewards, N=1024, **options):
    forecast = prediction.predict(rewards, N, **options)
    return forecast.curves[forecast.recommended], forecast


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 0.1), (2.0, 7.0), (-1e200, 1e200)])
def test_two_values_are_successes_in_other_units(low, high):
    rewards = passed()
    plain, _ = best(rewards)
    curve, forecast = best(low + (high - low) * rewards)
    for line in ("value", "low", "high", "band_low", "band_high"):
        expected = low + (high - low) * getattr(plain, line)
        assert getattr(curve, line) == pytest.approx(expected, rel=1e-9, abs=1e-9 * (high - low))
    assert curve.band_high.max() <= high and "2 values" in " ".join(forecast.notes)


def test_a_scale_is_its_thresholds_and_never_exceeds_its_top():
    rng = np.random.default_rng(1)
    skill = rng.normal(size=(40, 1))
    scores = np.digitize(skill + rng.normal(size=(40, 24)), [-1.0, 0.5, 1.5, 3.2]) + 1.0
    assert np.unique(scores).tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    log = RewardLog.from_groups(scores)
    whole = METHODS["beta_binomial"](log, GRID, 0.25)
    parts = [
        METHODS["beta_binomial"](RewardLog.from_groups(1.0 * (scores >= top)), GRID, 0.25)
        for top in (2.0, 3.0, 4.0, 5.0)
    ]
    for target in ("population", "these_prompts"):
        total = 1.0 + sum(part.average(target) for part in parts)
        assert whole.average(target) == pytest.approx(total, rel=1e-12)
    curve, forecast = best(scores, prompt_intervals=True)
    assert curve.prompt_high.max() <= 5.0 and curve.band_high.max() <= 5.0
    assert (np.diff(curve.value) >= 0.0).all() and "never above 5" in " ".join(forecast.notes)
    # the tail methods, where they are wanted all the same, stop there too
    tails = prediction.predict(scores, 1024, methods=["gaussian_tail", "gen_pareto"])
    assert max(tails.curves[name].high[-1] for name in tails.curves) <= 5.0


def test_few_values_are_counted_and_continuous_rewards_are_not():
    rng = np.random.default_rng(2)
    assert thresholds(RewardLog.from_groups(rng.normal(size=(4, 8)))) is None
    assert thresholds(RewardLog.from_groups(rng.integers(0, 40, (64, 32)))) is None
    assert len(thresholds(RewardLog.from_groups(rng.integers(0, 32, (64, 32))))) == 32
    # three values of nine rewards may be all there is, or not
    assert thresholds(RewardLog.from_groups([[0.1, 0.5, 0.9] * 3])) is None
    assert thresholds(RewardLog.from_groups([[1.0, -1.0]])).tolist() == [-1.0, 1.0]
    tied, _ = best(np.full((3, 8), 2.0), 256)
    within = tied.grid <= 8
    assert (tied.value[within] == 2.0).all() and (tied.high[within] == 2.0).all()
    assert np.isnan(tied.high[~within]).all()  # nothing tells of other values


@pytest.mark.parametrize(("mu", "sigma"), [(-3.0, 0.3), (0.5, 2.0), (-9.0, 4.0)])
def test_chances_under_a_logit_normal_law_are_integrals(mu, sigma):
    s, f = np.array([0.0, 3.0, 0.0, 20.0]), np.array([16.0, 29.0, 1024.0, 5.0])
    chances = np.exp(LOGIT_NORMAL.log_chance(np.array([mu]), np.log([sigma]), s, f)[0])
    for k in range(4):
        exact = integrate.quad(
            lambda x, k=k: (
                stats.norm.pdf(x, mu, sigma)
                * np.exp(s[k] * special.log_expit(x) + f[k] * special.log_expit(-x))
            ),
            mu - 12 * sigma,
            mu + 12 * sigma,
            points=[mu],
            limit=500,
        )[0]
        assert chances[k] == pytest.approx(exact, rel=2e-2, abs=1e-9)


def test_prompts_that_are_never_solved_are_told_apart_by_enumeration():
    """Posterior of the share π of unsolved prompts against a plain sum over a grid of laws."""
    s, f, number = np.array([0.0, 4.0, 6.0]), np.array([10.0, 6.0, 4.0]), np.array([30.0, 8.0, 7.0])
    fitted = posterior(BETA, True, s, f, number)
    odds, even, pi = np.meshgrid(
        np.linspace(-13.8, 9.2, 160),
        np.linspace(np.log(0.002), np.log(50), 90),
        (np.arange(80) + 0.5) / 80,
        indexing="ij",
    )
    mean, size = special.expit(odds), np.exp(even)
    a, b = size / (1 - mean), size / mean
    logs = 0.5 * np.log(mean * (1 - mean))
    for k in range(3):
        chance = np.exp(special.betaln(a + s[k], b + f[k]) - special.betaln(a, b))
        logs = logs + number[k] * np.log(pi * (s[k] == 0) + (1 - pi) * chance)
    weight = np.exp(logs - logs.max())
    exact = (weight * pi).sum() / weight.sum()
    assert fitted.weight @ fitted.unsolved == pytest.approx(exact, abs=0.01)
    assert exact > 0.5  # two thirds of the prompts have no success, the others many
    evidence = logs.max() + np.log(weight.mean())
    assert fitted.log_evidence == pytest.approx(evidence, abs=0.1)


def test_evidence_weighs_the_families():
    # all p alike are of no beta law with mass near 0: hardly any weight for unsolved prompts
    rng = np.random.default_rng(3)
    alike = METHODS["stack"](RewardLog.from_groups(1.0 * (rng.random((200, 32)) < 0.2)), GRID, 0.25)
    dead = 1.0 * (rng.random((200, 32)) < 0.2) * (np.arange(200)[:, None] % 2)
    half = METHODS["stack"](RewardLog.from_groups(dead), GRID, 0.25)
    assert alike.details["unsolved"] < 0.02
    assert half.details["unsolved"] == pytest.approx(0.5, abs=0.1)
    assert half.average("population")[-1] == pytest.approx(0.5, abs=0.1)
    assert sum(half.details["laws"].values()) == pytest.approx(1.0)


def test_the_command_says_so(tmp_path):
    path = tmp_path / "pm1.jsonl"
    lines = [
        json.dumps({"prompt": p, "reward": int(2 * r - 1)})
        for p, group in enumerate(passed())
        for r in group
    ]
    path.write_text("\n".join(lines))
    done = CliRunner().invoke(app, ["predict", str(path), "--N", "1024", "--json"])
    content = json.loads(done.stdout)
    curve = content["curves"][content["recommended"]]
    assert max(curve["band_high"]) <= 1.0 and content["reach"] == 4096
    assert any("never above 1" in note for note in content["notes"])


# --- the error that the backtest could not have seen --------------------------------------------


def test_draws_include_a_bias_that_the_backtest_could_not_have_seen():
    rewards, M, m = passed(prompts=40, m=32), 32, 8
    curve, forecast = best(rewards, target="these_prompts")
    plain, _ = best(rewards, target="these_prompts", extrapolation_error=False)
    assert not plain.allowance.any()
    np.testing.assert_allclose(curve.value, plain.value)
    # the same backtest, with the best of M of each prompt by hand
    mixed = np.random.default_rng(0).permuted(rewards, axis=1)
    errors = np.zeros(len(rewards))
    for part in range(2):
        own = RewardLog.from_groups(mixed[:, part * m : (part + 1) * m])
        errors += METHODS["stack"](own, np.array([M]), 0.25).values[:, 0] / 2
    errors -= rewards.max(axis=1)
    s = errors.std(ddof=1) / np.sqrt(len(errors))
    failed = M - rewards.sum(axis=1)
    low = np.mean(1.0 - special.binom(failed, m) / special.binom(M, m))
    rise = (curve.value - rewards.max(axis=1).mean()) / (rewards.max(axis=1).mean() - low)
    growth = np.log(np.maximum(curve.grid / M, 1.0)) / np.log(M / m)
    expected = s * np.minimum(np.maximum(rise, 0.0), growth)
    np.testing.assert_allclose(curve.allowance, expected, rtol=1e-9)
    assert curve.allowance[-1] > 0.0 and not curve.allowance[curve.grid <= M].any()
    inner = curve.grid > M
    assert (curve.high - curve.low > plain.high - plain.low)[inner].mean() > 0.8
    assert forecast.log.rewards.max() >= curve.band_high.max()


def test_few_rollouts_or_one_value_have_no_such_error():
    for rewards in (passed(m=4), np.ones((6, 16))):
        curve, _ = best(rewards, N=16, target="these_prompts")
        assert not curve.allowance.any()


# --- one value, and chances that no law is fitted to ----------------------------------------------


def test_failures_alone_leave_room_for_a_success():
    """Of 140 × 32 rollouts none passed; chances below 3/4480 would hardly have shown."""
    curve, forecast = best(np.zeros((140, 32)), N=1000, target="these_prompts")
    assert 0.0 < curve.value[-1] < curve.high[-1] and curve.low[-1] < 0.01
    assert 0.1 < curve.high[-1] < 1.0 - (1.0 - 3.0 / 4480) ** 1000 + 0.05
    assert forecast.notes == ("every reward is 0: nothing tells how often others occur",)


@pytest.mark.parametrize("value", [-1.0, 0.5])
def test_one_value_that_is_no_failure_is_not_extrapolated(value):
    curve, forecast = best(np.full((8, 16), value), N=64)
    assert np.isnan(curve.high[-1]) and "every reward is" in forecast.reason
    assert curve.value[0] == value  # within the rollouts it is what it is


def test_a_single_prompt_of_failures_is_no_copy():
    _, forecast = best(np.zeros((1, 16)), N=64)
    assert "counted once" not in " ".join(forecast.notes)


def test_draws_above_the_value_are_stretched_beyond_the_rollouts():
    rewards, M = passed(prompts=40, m=32), 32
    grid = np.array([16, M, 2 * M, 4 * M, 1000])
    log = RewardLog.from_groups(rewards)
    stack = StackedChances(log, grid, 0.25)
    assert stack.stretch == pytest.approx([0.0, 0.0, 0.15, 0.3, 0.3])
    plain = StackedChances(log, grid, 0.25)
    plain.stretch = np.zeros(len(grid))
    own, without = (x.draws("these_prompts", 500, np.random.default_rng(1)) for x in (stack, plain))
    centre = stack.average("these_prompts")
    above = without > centre
    expected = np.where(above, centre + (1.0 + stack.stretch) * (without - centre), without)
    # draws are cut off at 1, and those without the stretch were already
    np.testing.assert_allclose(own, np.minimum(expected, 1.0), rtol=1e-12)
    assert above[:, -1].any() and not StackedChances(log, grid, 0.25, allow=False).stretch.any()


def test_intervals_contain_the_value_and_stay_within_the_rewards():
    # nearly all is solved by N = 1024: a few laws with a share never solved pull the mean down
    rewards = passed(prompts=32, m=64, a=5.0, b=20.0)
    for shift in (0.0, -1.0):
        curve, forecast = best(rewards + shift, prompt_intervals=True)
        assert (curve.low <= curve.value).all() and (curve.value <= curve.high).all()
        assert (curve.band_low <= curve.value).all() and curve.value[-1] < shift + 1.0
    # the allowance of a single method reached far below the smallest reward
    small = passed(prompts=8, m=16, a=5.0, b=20.0, seed=2)
    for shift in (0.0, -1.0):
        _, forecast = best(small + shift)
        for curve in forecast.curves.values():
            assert not (curve.low < shift).any() and not (curve.band_low < shift).any()
