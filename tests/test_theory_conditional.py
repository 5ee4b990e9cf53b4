"""Cross-fitted Prefix-TEA's bias by two roads: simulation, and conditioning on the prefix.

A rollout outside the prefix is independent of the prefix's tail statistics (r̂, μ̂, σ̂). Given
these, its expected A·S on the Normal law is a polynomial in truncated normal moments; what is left
is the expectation over three statistics, made precise by control variates of known mean. With f(n)
the bias that tail statistics of n rollouts cause, that of Prefix-TEA is Σ_j ω_j f(n_j). Nothing
here draws an advantage.
"""

import numpy as np
import pytest
from scipy import special

from tea_stats import Normal, monte_carlo, tails
from tea_stats.estimators.prefix_tea import default_prefixes, prefix_weights

ALPHA, N = 0.25, 128
THRESHOLD = -special.ndtri(ALPHA)


def tail_moments(t, highest):
    """Return E[Z^p 1{Z > t}] for p = 0..highest, Z standard normal."""
    density = np.exp(-0.5 * t * t) / np.sqrt(2.0 * np.pi)
    found = [special.ndtr(-t), density]
    for p in range(2, highest + 1):
        found.append(t ** (p - 1) * density + (p - 1) * found[p - 2])
    return found


def expected_gradient(threshold, mean, sd):
    """Return E[A S] for (loc, log scale), given the tail statistics that A is made with."""
    c = tails.tail_coefficient(ALPHA, N)
    # the bracket of TEA as a polynomial in the reward
    square = 0.5 * c / sd
    line = 1.0 - 2.0 * square * mean
    constant = -line * threshold - square * threshold**2
    m = tail_moments(threshold, 4)
    by_loc = constant * m[1] + line * m[2] + square * m[3]
    by_scale = constant * (m[2] - m[0]) + line * (m[3] - m[1]) + square * (m[4] - m[2])
    return np.stack([by_loc, by_scale], axis=-1) / ALPHA


def plug_in_bias(n, groups, rng):
    """Return f(n) for (loc, log scale) and its standard error."""
    k = tails.tail_count(n, ALPHA)
    rewards = rng.standard_normal((groups, n))
    top = np.sort(rewards, axis=1)[:, n - k :]
    bias = expected_gradient(top[:, 0], top.mean(axis=1), top.std(axis=1))
    bias -= [1.0, tails.normal_max_mean(N)]
    excess = np.maximum(rewards - THRESHOLD, 0.0)
    controls = np.stack([(excess > 0).mean(1), excess.mean(1), (excess**2).mean(1)], axis=1)
    share, first, second = tail_moments(THRESHOLD, 2)
    controls -= [
        share,
        first - THRESHOLD * share,
        second - 2.0 * THRESHOLD * first + THRESHOLD**2 * share,
    ]
    design = np.column_stack([np.ones(groups), controls])
    fitted = np.linalg.lstsq(design, bias, rcond=None)[0]
    return fitted[0], (bias - design @ fitted).std(axis=0, ddof=4) / np.sqrt(groups)


@pytest.mark.slow
def test_cross_fitted_bias_is_that_of_its_prefixes():
    m, rng = 128, np.random.default_rng(11)
    sizes = default_prefixes(m, ALPHA, 2, crossfit=True)
    assert sizes == (32, 48, 64, 80)
    parts = [plug_in_bias(n, 250_000, rng) for n in sizes]
    weights = prefix_weights(sizes, order=2)
    bias = sum(w * f for w, (f, _) in zip(weights, parts, strict=True))
    se = np.sqrt(sum((w * e) ** 2 for w, (_, e) in zip(weights, parts, strict=True)))
    assert (se < (0.0025, 0.004)).all()
    # the same by three times as many draws: (-0.0893, -0.1319) ± (0.0009, 0.0014)
    assert (abs(bias - (-0.0893, -0.1319)) < 5 * np.hypot(se, (0.0009, 0.0014))).all()

    options = {"orderings": 8, "crossfit": True}
    table = monte_carlo.measure(
        Normal(), {"cross": ("prefix_tea", options)}, m, N, reps=300_000, seed=12
    )
    rows = table[table["parameter"] != "all"]
    spread = np.hypot(rows["bias_mcse"].to_numpy(), se)
    assert (spread < (0.004, 0.007)).all()
    assert (abs(rows["bias"] - bias) < 5 * spread).all()
    # a plug-in of the whole group would be biased by f(m), which is as far away as it can be
    assert (abs(rows["bias"] - parts[-1][0]) > 20 * spread).all()
