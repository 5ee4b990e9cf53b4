"""Plans: variance components, sizes that reach their goal, replications of a grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tea_stats.planning import plan, prompts_for_power, prompts_for_width, replications
from tea_stats.planning.components import components
from tea_stats.prediction.max_at_k import weights
from tea_stats.reward_log import RewardLog

SUMMARIES = Path(__file__).parents[1] / "analysis" / "summaries"


def rewards(rng, P, m, between=0.5, seed_scale=1.0):
    return between * rng.normal(size=(P, 1)) + seed_scale * rng.normal(size=(P, m))


def pilot(P=100, m=32, seed=0, **options):
    return RewardLog.from_groups(rewards(np.random.default_rng(seed), P, m, **options))


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sd", "half", "level"), [(1.0, 0.2, 0.95), (3.0, 1.9, 0.9), (1, 2, 0.5)])
def test_width_needs_no_prompt_more_and_none_less(sd, half, level):
    P = prompts_for_width(sd**2, half, level)
    assert stats.t.isf((1 - level) / 2, P - 1) * sd / np.sqrt(P) <= half
    if P > 2:
        assert stats.t.isf((1 - level) / 2, P - 2) * sd / np.sqrt(P - 1) > half


@pytest.mark.parametrize(("difference", "power"), [(0.5, 0.8), (0.2, 0.9), (2.0, 0.5)])
def test_power_is_that_of_the_noncentral_t(difference, power):
    def known(P):
        t, shift = stats.t.isf(0.025, P - 1), difference * np.sqrt(P)
        return stats.nct.sf(t, P - 1, shift) + stats.nct.cdf(-t, P - 1, shift)

    P = prompts_for_power(1.0, difference, 0.95, power)
    assert known(P) >= power
    assert P == 2 or known(P - 1) < power


def test_power_is_reached_by_simulation():
    P = prompts_for_power(4.0, 0.8, 0.95, 0.8)
    draws = np.random.default_rng(0).normal(0.8, 2.0, size=(4000, P))
    share = (stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05).mean()
    assert abs(share - 0.8) <= 5.0 * np.sqrt(0.16 / 4000)


def test_impossible_goals_are_refused():
    assert prompts_for_power(0.0, 1.0, 0.95, 0.8) == 2
    with pytest.raises(ValueError, match="half_width is 1e-09, which takes more than"):
        prompts_for_width(1.0, 1e-9, 0.95)


# --- variance components -------------------------------------------------------------------------


def test_components_add_up_to_the_variance_of_the_pilots_values():
    log = pilot(100, 16)
    found = components(log, 4, np.random.default_rng(0))
    assert not found.extrapolated
    values = np.sort(list(log), axis=1) @ weights(16, np.array([4]))[:, 0]
    total = found.between + found.within(16).mean()
    assert total == pytest.approx(values.var(ddof=1), rel=1e-9)


def test_components_are_near_those_of_the_law():
    # truth: between .25, within the variance of the unbiased best of 4 of 16 normals
    rng = np.random.default_rng(0)
    found = [components(pilot(100, 16, seed), 4, rng) for seed in range(12)]
    draws = np.sort(rng.normal(size=(100_000, 16)), axis=1) @ weights(16, np.array([4]))
    assert np.mean([f.between for f in found]) == pytest.approx(0.25, abs=0.06)
    assert np.mean([f.within(16).mean() for f in found]) == pytest.approx(draws.var(), rel=0.2)


def test_components_of_a_pair_leave_out_what_the_policies_share():
    a, b = pilot(200, 32, 0, between=5.0), pilot(200, 32, 0, between=5.0)
    rng = np.random.default_rng(0)
    shifted = RewardLog.from_groups(np.array(list(b)) + 0.3 + rng.normal(size=(200, 32)))
    assert components(a, 8, rng).between > 20.0
    assert components(a, 8, rng, shifted).between < 1.0


def test_a_large_location_changes_nothing():
    there = RewardLog.from_groups(np.array(list(pilot())) + 2.0**20)
    one, two = plan(pilot(), 8, half_width=0.1), plan(there, 8, half_width=0.1)
    assert [d.assured for d in one.designs] == [d.assured for d in two.designs]


# --- plans reach their goals ---------------------------------------------------------------------


def reached(half_width, N, m, seed, scale=1.0):
    """Return the widths of new logs over the goal, for the sizes that pilots' plans name."""
    rng, ratios = np.random.default_rng(seed), []
    for k in range(12):
        design = plan(pilot(64, 32, seed=[seed, k]), N, half_width=half_width, m=m).best
        P = design.prompts
        new = np.sort(rewards(rng, P, m, seed_scale=scale), axis=1) @ weights(m, np.array([N]))
        ratios.append(stats.t.isf(0.025, P - 1) * new.std(ddof=1) / np.sqrt(P) / half_width)
    return np.array(ratios)


def test_planned_sizes_reach_the_width_by_simulation():
    ratios = reached(0.1, 8, 16, 0)
    assert ratios.mean() == pytest.approx(1.0, abs=0.06)
    # rewards twice as noisy as the pilot's would show
    assert reached(0.1, 8, 16, 0, scale=2.0).mean() > 1.2


def test_widths_of_the_committed_study():
    table = pd.read_csv(SUMMARIES / "plans.csv")
    enough = table[table["pilot_m"] == 2 * table["N"]]
    assert enough["width"].between(0.9, 1.1).all()
    assert enough["reached"].mean() > 0.65
    # what the pilot's rollouts do not reach is said to rest on its tail
    assert table[table["pilot_m"] < table["N"]]["width"].between(0.5, 1.5).all()


def test_more_is_needed_for_less():
    wide, narrow = (plan(pilot(), 8, half_width=h).best for h in (0.2, 0.05))
    assert narrow.assured > 10 * wide.assured
    sure, unsure = (plan(pilot(), 8, half_width=0.1, assurance=x).best for x in (0.95, 0.5))
    assert sure.assured > unsure.assured == unsure.prompts
    strong, weak = (plan(pilot(), 8, difference=0.1, power=x).best for x in (0.95, 0.5))
    assert strong.prompts > weak.prompts


def test_what_a_plan_says_of_itself():
    short = plan(pilot(60, 16), 64, half_width=0.2)
    assert short.extrapolated
    assert {d.method for d in short.designs if d.m < 64} == {"linear"}
    assert short.best.method == "max_at_k" and short.best.m >= 64
    assert abs(short.cheapest.bias) <= 0.05 and short.cheapest.rollouts <= short.best.rollouts
    one = plan(pilot(), 8, difference=0.1, varies=2.0)
    assert one.paired and one.assumed == 0.2
    assert one.designs[0].between == pytest.approx(0.04)
    two = plan(pilot(), 8, difference=0.1, against=pilot(seed=1))
    assert two.assumed is None


def test_a_verifiers_plan():
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 3, size=(80, 1))
    log = RewardLog.from_groups((rng.random((80, 16)) < p) * 1.0)
    for N, extrapolated in ((8, False), (64, True)):
        found = plan(log, N, half_width=0.05)
        assert found.extrapolated is extrapolated
        assert all(d.m >= N for d in found.designs)
        # a share has at most a variance of 1/4
        assert found.best.between + found.best.within < 0.25
    with pytest.raises(ValueError, match="m is 16 and N is 64: rewards of few values"):
        plan(log, 64, half_width=0.05, m=16)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "neither of half_width and difference are given"),
        ({"half_width": 0.1, "difference": 0.1}, ValueError, "both of half_width"),
        ({"half_width": 0.0}, ValueError, "half_width is 0.0"),
        ({"half_width": 0.1, "assurance": 1.0}, ValueError, "assurance is 1.0"),
        ({"difference": 0.1, "power": 0.0}, ValueError, "power is 0.0"),
        ({"half_width": 0.1, "m": 0}, ValueError, "m is 0"),
        ({"half_width": 0.1, "against": [1]}, TypeError, "against is of type list"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        plan(pilot(20, 8), 4, **options)


def test_pilots_without_common_prompts_are_refused():
    other = RewardLog.from_groups([[0.0, 1.0]] * 20, prompts=[f"x{i}" for i in range(20)])
    with pytest.raises(ValueError, match="no two prompts in common"):
        plan(pilot(20, 8), 2, difference=0.1, against=other)
    with pytest.raises(ValueError, match="the pilot has 1 prompts"):
        plan(RewardLog.from_groups([[0.0, 0.3, 0.5, 2.0, 1.0]]), 2, half_width=0.1)


# --- replications --------------------------------------------------------------------------------


def test_replications_reach_the_error():
    needed = replications([0.5, 0.0], [0.02, 0.1], [1000, 1000], error=0.01)
    assert needed.tolist() == [16_000, 0]
    assert replications(5.0, 0.2, 100, error=0.1, relative=False).item() == 400
    # the mean of that many draws has that error
    n = replications(1.0, 2.0 / np.sqrt(500), 500, error=0.05).item()
    means = np.random.default_rng(0).normal(1.0, 2.0, size=(2000, n)).mean(axis=1)
    assert means.std() == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.0, -0.1, 10), "mcse is -0.1"), ((1.0, 0.1, 0), "reps is 0"), ((np.nan, 1, 1), "value")],
)
def test_bad_replications_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        replications(*arguments, error=0.1)
    with pytest.raises(ValueError, match="error is 0.0"):
        replications(1.0, 0.1, 10, error=0.0)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_pilot_of_one_reward_is_refused(value):
    pilot = RewardLog.from_groups(np.full((16, 8), value))
    with pytest.raises(ValueError, match=f"every reward of the pilot is {value:g}"):
        plan(pilot, 4, half_width=0.1)
