"""The laws of a log's prompts: exact sums against enumeration, closed forms and draws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tea_stats import best_of_n
from tea_stats.families import Discrete, GenPareto, Gumbel, Normal, NormalMixture
from tea_stats.resampling import PromptLaws, pilot, prompt_laws
from tea_stats.reward_log import RewardLog

VALUES = np.array([0.0, 1.0, 3.0])
CHANCES = np.array([0.5, 0.3, 0.2])
THREE = PromptLaws.of_values([VALUES], [CHANCES])


def moments(N, m, estimator=None):
    """Mean and variance of the unbiased best-of-N of m rollouts, every group listed."""
    estimator = estimator or (lambda r: np.mean([max(s) for s in itertools.combinations(r, N)]))
    first = second = 0.0
    for group in itertools.product(range(3), repeat=m):
        chance = CHANCES[list(group)].prod()
        value = estimator(VALUES[list(group)])
        first, second = first + chance * value, second + chance * value**2
    return first, second - first**2


@pytest.mark.parametrize(("N", "m"), [(1, 1), (1, 4), (2, 2), (2, 5), (3, 4), (4, 6), (5, 5)])
def test_value_and_variance_are_those_of_every_group(N, m):
    mean, variance = moments(N, m)
    assert THREE.value(N)[0] == pytest.approx(mean, rel=1e-12)
    assert THREE.variance(N, m)[0] == pytest.approx(variance, rel=1e-10)


def test_the_largest_of_m_is_another_estimator():
    _, variance = moments(2, 4, estimator=max)
    assert THREE.variance(2, 4)[0] != pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("N", [1, 2, 7, 1000])
def test_ties_are_those_of_a_discrete_law(N):
    law = Discrete.from_probabilities(VALUES, CHANCES)
    assert THREE.value(N)[0] == pytest.approx(best_of_n.value(law, N), rel=1e-12)
    known = best_of_n.advantage(law, N, VALUES)
    np.testing.assert_allclose(THREE.influence(N)[0], known, atol=1e-9 * np.abs(known).max())


def uneven():
    """Two laws with pieces of different widths, gaps between them, and one that is a point."""
    values = np.array([[0.0, 1.0, 2.5], [-1.0, 4.0, 4.0]])
    masses = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])
    return PromptLaws(values, masses, np.array([[0.5, 0.0, 1.0], [2.0, 3.0, 0.0]]))


@pytest.mark.parametrize("N", [1, 3, 20])
def test_pieces_have_the_value_and_gradient_of_their_quantile_function(N):
    laws, u = uneven(), (np.arange(400_000) + 0.5) / 400_000
    for row in range(2):
        edges = np.concatenate([[0.0], np.cumsum(laws.masses[row])])
        piece = np.clip(np.searchsorted(edges, u, side="right") - 1, 0, 2)
        inside = (u - edges[piece]) / laws.masses[row, piece] - 0.5
        quantile = laws.values[row, piece] + laws.widths[row, piece] * inside
        value = np.mean(quantile * N * u ** (N - 1))
        assert laws.value(N)[row] == pytest.approx(value, abs=1e-5 * N)
        # the derivative of V_N as one piece becomes likelier is p_k E[ψ | piece k]
        for k in range(2):
            tilted = []
            for step in (1e-5, -1e-5):
                weight = np.where(np.arange(3) == k, np.exp(step), 1.0) * laws.masses
                share = weight / weight.sum(axis=1, keepdims=True)
                tilted.append(PromptLaws(laws.values, share, laws.widths).value(N)[row])
            slope = laws.masses[row, k] * laws.influence(N)[row, k]
            assert slope == pytest.approx((tilted[0] - tilted[1]) / 2e-5, abs=1e-7)


def test_draws_have_the_probabilities_and_stay_in_their_pieces():
    laws = uneven()
    places = np.repeat([1, 0], 20_000)
    rewards, outcome = laws.draw(4, np.random.default_rng(0), places)
    for place in (0, 1):
        own, piece = rewards[places == place].ravel(), outcome[places == place].ravel()
        share = np.bincount(piece, minlength=3) / own.size
        known = laws.masses[place]
        z = np.abs(share - known) / np.sqrt(known * (1 - known) / own.size + 1e-300)
        assert z[known > 0].max() <= 5.0 and share[known == 0.0].sum() == 0.0
        off = np.abs(own - laws.values[place, piece])
        assert (off <= laws.widths[place, piece] / 2 + 1e-12).all()
    mean = rewards[places == 0].mean()
    assert abs(mean - laws.value(1)[0]) <= 5.0 * rewards[places == 0].std() / math.sqrt(80_000)


def test_ties_of_the_log_stay_ties_and_nothing_else_does():
    log = RewardLog.from_groups([[1.0, 1.0, 2.0, 4.0, 7.0, 7.0, 7.0, 9.0]])
    laws = prompt_laws(log, 8, few=False, rng=np.random.default_rng(0))
    rewards, _ = laws.draw(4000, np.random.default_rng(1))
    values, counts = np.unique(rewards, return_counts=True)
    assert values[counts > 1].tolist() == [1.0, 7.0]


def test_the_space_between_two_kinds_stays_empty():
    rng = np.random.default_rng(0)
    law = NormalMixture(0.4, 0.0, 0.1, 5.0, 0.1)
    laws = prompt_laws(RewardLog.from_groups(law.sample((40, 16), rng)), 64, few=False, rng=rng)
    rewards, _ = laws.draw(500, rng)
    assert ((rewards > 1.0) & (rewards < 4.0)).mean() < 0.002
    assert rewards.max() < 7.0  # nor does the tail take the gap for its own scale


@pytest.mark.parametrize(("law", "high"), [(Normal(), 0.08), (Gumbel(), 0.1)])
def test_the_tail_beyond_the_rollouts_is_that_of_the_law(law, high):
    rng = np.random.default_rng(3)
    log = RewardLog.from_groups(law.sample((400, 64), rng))
    laws = prompt_laws(log, 256, few=False, rng=rng)
    for N in (32, 256):
        assert laws.value(N).mean() == pytest.approx(best_of_n.value(law, N), rel=high)
        spread = law.sample((20_000, N), rng).max(axis=1).std()
        assert np.sqrt(laws.variance(N, N).mean()) == pytest.approx(spread, rel=0.2)
    # without it, 256 draws look for the best of 64
    bare = prompt_laws(log, 256, few=False, rng=rng, extended=False)
    assert bare.value(256).mean() < laws.value(256).mean() - 0.15


def test_the_tails_shape_is_heavy_light_or_gaussian():
    rng = np.random.default_rng(0)

    def shape(law):
        return pilot.tail_shape([np.sort(row) for row in law.sample((1000, 64), rng)])

    assert abs(shape(Normal())) < 0.05
    assert shape(GenPareto(0.3)) > 0.3
    assert shape(GenPareto(-0.45)) < -0.1


def test_few_valued_prompts_are_drawn_from_their_posterior():
    rewards = (np.random.default_rng(0).random((50, 8)) < 0.3) * 2.0
    laws = prompt_laws(RewardLog.from_groups(rewards), 64, few=True, rng=np.random.default_rng(0))
    assert laws.values.shape == (50, 2)
    assert not laws.widths.any()
    assert laws.value(1).mean() == pytest.approx(0.6, abs=0.15)
