"""Bounds on E[A²]: closed forms, attained where they should be, never beaten."""

from __future__ import annotations

import numpy as np
import pytest

from tea_stats import best_of_n, max_at_k, monte_carlo
from tea_stats.best_of_n import efficiency
from tea_stats.families import (
    Beta,
    Discrete,
    GaussianTail,
    Gumbel,
    GumbelMin,
    Logistic,
    Normal,
    StudentT,
)
from tests.enumeration import VALUED, tuples
from tests.laws import CONTINUOUS, FINITE


@pytest.mark.parametrize("law", [Logistic(), Gumbel(), GumbelMin(), StudentT(5.0)], ids=str)
def test_the_bound_does_not_depend_on_where_a_location_scale_law_is(law):
    moved = type(law)(**{**law.__dict__, "loc": 7.0, "scale": 3.0})
    ratio = efficiency.least_square(moved, 64) / efficiency.least_square(law, 64)
    assert ratio == pytest.approx(9.0, rel=1e-9)


@pytest.mark.parametrize("N", [1, 2, 100, 10**6])
def test_every_score_on_the_uniform_law(N):
    # ψ_N(u) = u^N − 1/(N + 1)
    exact = 1 / (2 * N + 1) - 1 / (N + 1) ** 2
    assert efficiency.least_square_for_every_score(Beta(1.0, 1.0), N) == pytest.approx(exact)


def test_for_one_draw_both_are_the_variance():
    for law in (Normal(1.0, 2.0), Gumbel(0.0, 0.5), StudentT(5.0)):
        variance = law.scale**2 * {Normal: 1.0, Gumbel: np.pi**2 / 6, StudentT: 5 / 3}[type(law)]
        computed = efficiency.least_square_for_every_score(law, 1)
        assert computed == pytest.approx(variance, rel=1e-10)
        assert efficiency.least_square(law, 1) < variance * (1 + 1e-10)


@pytest.mark.parametrize("label", [*CONTINUOUS, *FINITE])
def test_parameters_need_no_more_than_every_score(label):
    law = {**CONTINUOUS, **FINITE}[label]
    if not law.moments_below > 2:
        pytest.skip("the variance of ψ is infinite")
    for N in (2, 64):
        few = efficiency.least_square(law, N)
        assert 0 < few <= efficiency.least_square_for_every_score(law, N) * (1 + 1e-8)


@pytest.mark.parametrize("law", VALUED, ids=str)
def test_with_all_probabilities_free_the_two_bounds_are_one(law):
    # and the exact advantage attains them
    named = Discrete.from_probabilities(law.rewards, law.probabilities)
    psi = best_of_n.advantage(named, 8, np.array(law.rewards))
    square = np.array(law.probabilities) @ psi**2
    signal = np.array(law.probabilities) @ (psi[:, None] * law.scores)
    assert efficiency.least_square_for_every_score(named, 8) == pytest.approx(square, rel=1e-12)
    assert efficiency.efficiency(named, 8, signal, square) == pytest.approx(1.0, rel=1e-10)
    assert efficiency.cosine(named, 8, signal) == pytest.approx(1.0, rel=1e-12)
    # where two outcomes share a reward, tilting between them is a parameter without effect
    assert efficiency.least_square(named, 8) == pytest.approx(square, rel=1e-10)


@pytest.mark.parametrize("law", VALUED, ids=str)
@pytest.mark.parametrize("k", [2, 4])
def test_no_unbiased_advantage_beats_it(law, k):
    named = Discrete.from_probabilities(law.rewards, law.probabilities)
    rewards, scores, probability = tuples(law, 4)
    for form in ("s", "loo-1"):
        advantage = max_at_k(rewards, k, k=k, form=form)
        square = probability @ (advantage**2).mean(axis=1)
        signal = np.einsum("g,gi,gid->d", probability, advantage, scores) / 4
        computed = efficiency.efficiency(named, k, signal, square)
        assert efficiency.cosine(named, k, signal) == pytest.approx(1.0)
        assert 0 < computed < 1
        assert efficiency.least_square(named, k) < square


def test_the_ideal_advantage_of_known_parameters_attains_it():
    law, N = Normal(), 128
    c = best_of_n.value(law, N)
    z = np.linspace(-9, 9, 20_001)
    weight = np.exp(-0.5 * z**2) * (z[1] - z[0]) / np.sqrt(2 * np.pi)
    ideal = z + c / 2 * (z**2 - 1)
    signal = [weight @ (ideal * z), weight @ (ideal * (z**2 - 1))]
    assert efficiency.efficiency(law, N, signal, weight @ ideal**2) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(
    ("law", "name"), [(Normal(), "linear_tea"), (GaussianTail(), "tea"), (Gumbel(), "rloo")]
)
def test_efficiency_and_cosine_are_those_that_a_simulation_reports(law, name):
    m, N = 16, 128
    table = monte_carlo.measure(law, [name], m, N, reps=20_000, seed=1)
    row = table[table["parameter"] == "all"].iloc[0]
    signal = table.loc[table["parameter"] != "all", "mean"].to_numpy()
    computed = efficiency.efficiency(law, N, signal, row["advantage_square"])
    # the simulation takes the noise of squared means off
    assert abs(computed - row["efficiency"]) < 0.5 * row["efficiency_mcse"] + 1e-4
    assert abs(efficiency.cosine(law, N, signal) - row["cosine"]) < row["cosine_mcse"] + 1e-4
    assert row["efficiency_mcse"] < 0.02


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: efficiency.least_square("normal", 4), TypeError, "law is 'normal'"),
        (lambda: efficiency.least_square_for_every_score(Normal(), 0), ValueError, "N is 0"),
        (lambda: efficiency.cosine(Normal(), 4, [1.0]), ValueError, "signal has shape \\(1,\\)"),
        (
            lambda: efficiency.efficiency(Normal(), 4, [1.0, 1.0], 0.0),
            ValueError,
            "advantage_square is 0.0",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
