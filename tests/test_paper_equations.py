"""The article's equations on tails and errors, each by a test named after its label.

Those of linear TEA and of the exact influence function are in `tests/test_note_linear_tea*.py`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from tea_stats import Gumbel, Logistic, Normal, best_of_n, monte_carlo, prefix_tea, tails, tea
from tea_stats.estimators.prefix_tea import prefix_weights


def test_coefficient():
    """Mean and spread of a normal law above its quantile, by quadrature; c_N by another road."""
    mu, sigma, N = 0.7, 1.9, 64
    law = stats.norm(mu, sigma)
    greatest = integrate.quad(lambda r: r * N * law.cdf(r) ** (N - 1) * law.pdf(r), -20, 30)[0]
    for alpha in (0.1, 0.25, 0.5):
        low = law.isf(alpha)
        moments = [integrate.quad(lambda r, p=p: r**p * law.pdf(r), low, np.inf)[0] for p in (1, 2)]
        mean = moments[0] / alpha
        spread = math.sqrt(moments[1] / alpha - mean**2)
        z = special.ndtri(1.0 - alpha)
        rate = stats.norm.pdf(z) / alpha
        kappa = math.sqrt(1.0 + z * rate - rate**2)
        assert mean == pytest.approx(mu + rate * sigma, abs=1e-9)
        assert spread == pytest.approx(kappa * sigma, abs=1e-9)
        coefficient = tails.tail_coefficient(alpha, N)
        assert mean + coefficient * spread == pytest.approx(greatest, abs=1e-7)
        assert coefficient == pytest.approx((best_of_n.value(Normal(), N) - rate) / kappa)


def functional(law, alpha, coefficient):
    """Return the mean above the upper alpha-quantile plus a multiple of the spread there."""
    u = 1.0 - alpha * (np.arange(200_000) + 0.5) / 200_000
    top = law.ppf(u)
    return top.mean() + coefficient * top.std()


@pytest.mark.parametrize("law", [Gumbel, Logistic, Normal])
def test_tail_influence(law):
    """The mean of a(R) S is the derivative of the functional in location and scale."""
    alpha, coefficient, step = 0.25, 2.7, 1e-4
    own = law(loc=0.3, scale=1.2)
    found = []
    for shift in ((step, 0.0), (0.0, step)):
        moved = [law(loc=0.3 + s * shift[0], scale=1.2 + s * shift[1]) for s in (1, -1)]
        high, low = (functional(x, alpha, coefficient) for x in moved)
        found.append((high - low) / (2.0 * step))
    t = float(own.ppf(1.0 - alpha))
    u = 1.0 - alpha * (np.arange(200_000) + 0.5) / 200_000
    top = own.ppf(u)
    mean, spread = top.mean(), top.std()
    bracket = (top - t) + coefficient / (2.0 * spread) * ((top - mean) ** 2 - (t - mean) ** 2)
    # a(R) is 0 below t, and 1/alpha times the bracket on a share alpha
    direct = (bracket[:, None] * own.score(top)).mean(axis=0)
    np.testing.assert_allclose(direct, found, rtol=1e-3)


def test_tea():
    """Advantages are the derivative of the group's functional in the weight of each rollout."""
    rewards, N, m, k = np.random.default_rng(7).normal(size=16), 64, 16, 4
    coefficient = tails.tail_coefficient(k / m, N)

    def of_weights(weights):
        order = np.argsort(-rewards)
        share, left = np.zeros(m), k / m
        for i in order:  # the upper k/m of the weighted law
            share[i] = min(weights[i], left)
            left -= share[i]
        share /= k / m
        mean = share @ rewards
        return mean + coefficient * math.sqrt(share @ (rewards - mean) ** 2)

    base, step, top = np.full(m, 1.0 / m), 1e-7, np.argsort(-rewards)[:k]
    # more weight on one of the top k pushes the threshold's share out: a one-sided derivative
    moved = [(1.0 - step) * base + step * np.eye(m)[i] for i in top]
    slopes = np.array([of_weights(w) - of_weights(base) for w in moved]) / step
    advantages = tea(rewards, N, alpha=k / m)
    np.testing.assert_allclose(slopes - slopes[-1], advantages[top], atol=1e-5)
    assert (np.delete(advantages, top) == 0.0).all() and advantages.max() > 1.0


@pytest.mark.parametrize(
    ("sizes", "order"), [((8, 16), 2), ((16, 24, 32, 40), 2), ((8, 12, 16), 3)]
)
def test_prefix_weights(sizes, order):
    """They solve the equations and are orthogonal to all changes that keep them solved."""
    weights = prefix_weights(sizes, order)
    powers = np.array([[n**-power for n in map(float, sizes)] for power in range(order)])
    np.testing.assert_allclose(powers @ weights, np.eye(order)[0], atol=1e-9)
    free = np.linalg.svd(powers / powers[:, :1])[2][order:]
    np.testing.assert_allclose(free @ weights, 0.0, atol=1e-9)


def test_prefix():
    """The cross-fitted form, by loops over prefixes and rollouts."""
    m, N, alpha, sizes = 64, 128, 0.25, (16, 24, 32, 40)
    rewards = np.random.default_rng(8).normal(size=m)
    expected = np.zeros(m)
    for size, weight in zip(sizes, prefix_weights(sizes, 2), strict=True):
        k = math.ceil(alpha * size)
        top = np.sort(rewards[:size])[-k:]
        low, mean, spread = top[0], top.mean(), top.std()
        coefficient = tails.tail_coefficient(k / size, N)
        for i in range(size, m):
            if rewards[i] >= low:
                bend = (rewards[i] - mean) ** 2 - (low - mean) ** 2
                bracket = rewards[i] - low + coefficient / (2.0 * spread) * bend
                expected[i] += weight * m / (m - size) * bracket * size / k
    options = {"crossfit": True, "prefixes": sizes, "orderings": 1}
    found = prefix_tea(rewards, N, alpha=alpha, order=2, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_batch_error():
    """The error of a batch, from a measured table, by its definition."""
    pytest.importorskip("pandas")
    load = pytest.importorskip("analysis.core.read")
    table = monte_carlo.measure(Normal(), ["tea"], 16, [64], 20_000, 0)
    parts = table[table["parameter"] != "all"]
    cell = load.add_errors(table[table["parameter"] == "all"]).iloc[0]
    # a squared mean is too large by its own variance, which is taken off
    square = (parts["bias"] ** 2 - parts["variance"] / parts["reps"]).sum()
    expected = (square + parts["variance"].sum() / load.BATCH) / (parts["exact"] ** 2).sum()
    assert cell["batch_nmse"] == pytest.approx(expected, rel=1e-9)
