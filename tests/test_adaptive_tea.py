"""Adaptive TEA: what it claims given the other groups of a batch, and what a batch is good for."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from tea_stats import (
    Beta,
    Gamma,
    GaussianTail,
    GumbelMin,
    Normal,
    StudentT,
    adaptive_tea,
    advantages,
    monte_carlo,
)
from tea_stats.estimators.adaptive_tea import tail_weights
from tea_stats.linear import library
from tea_stats.linear.design import LinearDesign
from tests.enumeration import VALUED, best_of, expected_gradient

BATCH = np.random.default_rng(1).gumbel(size=(6, 12))


def mixed_coefficients(others, N, prompts=64):
    """Return the slopes and the weight of max@m that the other groups of a batch speak for."""
    designs = library.designs(others.shape[1], N, prompts)
    weights = np.array(list(tail_weights(others).values())) / designs.risk
    return weights / weights.sum() @ designs.coefficients


# --- given the others, a linear and unbiased advantage ------------------------------------------


@pytest.mark.parametrize("law", VALUED, ids=str)
@pytest.mark.parametrize("m", [3, 4])
def test_given_the_others_it_is_unbiased_for_its_surrogate(law, m):
    """Every group is listed beside fixed others; ties included."""
    others = np.random.default_rng(m).normal(size=(3, m))
    x = mixed_coefficients(others, 8)
    design = LinearDesign(m, 8, 1, x[:-1], float(x[-1]), 0.0, MappingProxyType({}), 1.0)

    def of_the_first(rewards):
        found = [adaptive_tea(np.vstack([group, others]), 8)[0] for group in rewards]
        return np.array(found)

    estimate = expected_gradient(law, m, of_the_first)
    surrogate = sum(float(w) * best_of(law, k) for k, w in design.exact_weights().items())
    size = max(1.0, np.abs(surrogate).max())
    assert np.abs(estimate - surrogate).max() < 1e-11 * size
    # the weights are not those of a batch in which the group speaks for itself
    itself = np.vstack([np.linspace(-3.0, 9.0, m), others])
    assert np.abs(mixed_coefficients(itself, 8) - x).max() > 1e-6


def test_the_own_rewards_have_no_say_in_the_weights():
    """Others fixed, twice the rewards have twice the advantages, and moved ones the same."""
    before = adaptive_tea(BATCH, 64)
    for factor, shift in ((2.0, 0.0), (1.0, 5.0), (1000.0, -3.0)):
        changed = BATCH.copy()
        changed[2] = factor * changed[2] + shift
        after = adaptive_tea(changed, 64)
        np.testing.assert_allclose(after[2], factor * before[2], rtol=1e-9)
        # while the other groups have learnt of it, if its spread has changed
        moved = np.abs(after - before).max(axis=1)
        assert (moved[[0, 1, 3, 4, 5]] > 1e-9).all() == (factor != 1.0)


def test_the_order_of_the_groups_and_all_leading_axes_do_not_matter():
    order = [3, 1, 5, 0, 4, 2]
    expected = adaptive_tea(BATCH, 64)
    np.testing.assert_allclose(adaptive_tea(BATCH[order], 64), expected[order], rtol=1e-9)
    cube = adaptive_tea(BATCH.reshape(2, 3, 12), 64)
    assert np.array_equal(cube, expected.reshape(2, 3, 12))


@pytest.mark.parametrize("others", [0, 3])
def test_without_others_whose_rewards_differ_all_designs_count(others):
    group = BATCH[:1]
    batch = np.vstack([group, np.ones((others, 12))])
    designs = library.designs(12, 64, 64)
    weights = 1.0 / designs.risk
    x = weights / weights.sum() @ designs.coefficients
    design = LinearDesign(12, 64, 1, x[:-1], float(x[-1]), 0.0, MappingProxyType({}), 1.0)
    order = np.argsort(group[0])
    found = adaptive_tea(batch, 64)
    np.testing.assert_allclose(found[0, order], design.matrix @ group[0, order], rtol=1e-9)
    assert not found[1:].any()


# --- what a batch tells -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["normal", "gumbel", "gumbel_min", "uniform", "student_t4"])
def test_a_batch_shows_the_law_it_comes_from(name):
    law = library.LIBRARY[name]
    rewards = law.sample((512, 64), np.random.default_rng(3))
    # prompts of different location and scale
    rewards = 5.0 * rewards * np.geomspace(1.0, 1.5, 512)[:, None] + np.arange(512.0)[:, None]
    weights = tail_weights(rewards)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights[name] > 0.9


def test_curves_of_the_library_are_those_of_its_draws():
    m, groups = 16, 100_000
    known = library.curves(m)
    for place, (name, law) in enumerate(library.LIBRARY.items()):
        if place % 4:
            continue
        gaps = np.diff(
            np.sort(law.sample((groups, m), np.random.default_rng(place)), axis=1), axis=1
        )
        rises = gaps @ known.contrasts.T
        error = rises.std(axis=0) / np.sqrt(groups)
        assert (abs(rises.mean(axis=0) - known.mean[place]) < 5 * error).all(), name
        along = (rises / known.mean[place] - 1.0) @ known.axes[place]
        if law.moments_below > 4:
            assert along.var(axis=0) == pytest.approx(known.spread[place], rel=0.1), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "rivals"),
    [
        (GumbelMin(), ("linear_tea", "tea")),
        (StudentT(4.0), ("linear_tea", "tea")),
        # where linear TEA is at home, or near it, a batch can but come close
        (GaussianTail(), ("tea",)),
        (Gamma(6.0), ("tea",)),
    ],
    ids=["gumbel_min", "student_t4", "gaussian_tail", "gamma_6"],
)
def test_a_batch_of_64_has_less_error(law, rivals):
    """Normalised MSE at m = 32, N = 512: below 1/1.2 of the rivals', on the same draws."""
    table = monte_carlo.measure(
        law, ["adaptive_tea", *rivals], 32, 512, reps=64 * 250, seed=4, prompts=64
    )
    cells = table[table["parameter"] == "all"].set_index("estimator")
    error, se = 1.2 * cells["nmse"]["adaptive_tea"], 1.2 * cells["nmse_mcse"]["adaptive_tea"]
    for rival in rivals:
        spread = np.hypot(se, cells["nmse_mcse"][rival])
        assert cells["nmse"][rival] - error > 5 * spread


# --- measuring batches --------------------------------------------------------------------------


def test_a_batch_of_prompts_averages_its_groups():
    """The mean is the same to rounding, the variance a 64th; on the same rollouts."""
    one, many = (
        monte_carlo.measure(Normal(), ["tea"], 16, 128, reps=64 * 400, seed=2, prompts=prompts)
        for prompts in (1, 64)
    )
    rows = one["parameter"] != "all"
    np.testing.assert_allclose(many["mean"][rows].astype(float), one["mean"][rows], rtol=0.02)
    ratio = one["variance"] / many["variance"]
    assert ((ratio / 64 - 1.0).abs() < 5 * np.sqrt(2 / 400)).all()
    assert (many["reps"] == 400).all()


def test_batches_that_cannot_be_are_refused():
    measure = monte_carlo.measure
    with pytest.raises(ValueError, match=r"reps is 100, which is not a multiple of prompts = 64"):
        measure(Normal(), ["tea"], 16, 128, reps=100, prompts=64)
    with pytest.raises(ValueError, match=r"prompts is 1 and 'adaptive_tea' pools .*; give the num"):
        measure(Normal(), ["adaptive_tea"], 16, 128, reps=100)
    with pytest.raises(ValueError, match=r"prompts is 0; give an integer ≥ 1"):
        measure(Normal(), ["tea"], 16, 128, reps=100, prompts=0)
    with pytest.raises(ValueError, match=r"prompts is 0; give an integer ≥ 1"):
        advantages("adaptive_tea", BATCH, 64, prompts=0)


def test_bounded_rewards_are_told_from_a_tail():
    """Beta(5, 3) is not in the library; laws that end, or fall as fast, take all the weight."""
    weights = tail_weights(Beta(5.0, 3.0).sample((512, 64), np.random.default_rng(6)))
    light = {"uniform", "gumbel_min", "weibull(5.0)", "gen_pareto(-0.45)", "gen_pareto(-0.3)"}
    assert sum(w for name, w in weights.items() if name in light) > 0.9
