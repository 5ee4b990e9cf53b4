"""L-statistics of k rollouts: unbiased under every law, relatives, the published code's numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from tea_stats import max_at_k, order_statistic, rloo
from tea_stats.estimators.order_statistic import PRESETS, preset
from tests.enumeration import LAWS, expected_gradient, gradient_of_expectation

REWARDS = [0.0, 1.0, 3.0, 4.0, 7.0, 9.0, 12.0, 20.0]


@pytest.mark.parametrize("weights", ["max", "min", "median", "gini", "top:2", "bottom:2"])
@pytest.mark.parametrize(("k", "m"), [(2, 3), (2, 4), (3, 4), (3, 5)])
def test_every_preset_is_unbiased_for_its_order_statistics(weights: str, k: int, m: int) -> None:
    for law in LAWS:
        estimate = expected_gradient(law, m, lambda r: order_statistic(r, 8, k=k, weights=weights))
        exact = gradient_of_expectation(law, k, lambda r: np.sort(r, axis=1) @ preset(weights, k))
        assert np.abs(estimate - exact).max() < 1e-12, law


def test_presets() -> None:
    assert set(PRESETS) == {"max", "min", "median", "gini", "top", "bottom", "trimmed"}
    for k in (2, 5, 6):
        draws = np.sort(np.random.default_rng(k).normal(size=(20, k)), axis=1)
        differences = [abs(a - b) for a, b in itertools.combinations(draws.T, 2)]
        named = {
            "max": draws[:, -1],
            "min": draws[:, 0],
            "median": np.median(draws, axis=1),
            "gini": np.mean(differences, axis=0),
            "top:2": draws[:, -2:].mean(axis=1),
            "bottom:1": draws[:, 0],
        }
        if k > 2:
            named["trimmed:1"] = draws[:, 1:-1].mean(axis=1)
        for name, expected in named.items():
            np.testing.assert_allclose(draws @ preset(name, k), expected, atol=1e-14)


#: k, weights, and k times the advantages of `ordergrad` (MIT) for REWARDS
PUBLISHED: list[tuple[int, str | Sequence[float], list[float]]] = [
    (4, "top:2", [-7.37142857] * 3 + [-6.91428571, -3.48571429, 0.17142857, 7.02857143]
     + [25.31428571]),
    (5, "trimmed:1", [-8.15873016, -8.15873016, -5.61904762, -3.84126984, 1.87301587, 5.42857143]
     + [9.23809524, 9.23809524]),
    (5, "median", [-8.28571429] * 3 + [-6.0, 4.28571429] + [8.85714286] * 3),
    (6, "gini", [0.76190476, -1.52380952, -4.57142857, -5.33333333, -5.33333333, -3.80952381]
     + [0.76190476, 19.04761905]),
    (3, [2.0, -1.0, 0.5], [-12.47142857, -5.61428571, 1.24285714, 2.27142857, 1.24285714]
     + [-0.12857143, -0.12857143, 13.58571429]),
]  # fmt: skip


@pytest.mark.parametrize(("k", "weights", "published"), PUBLISHED)
def test_numbers_of_the_published_code(
    k: int, weights: str | Sequence[float], published: list[float]
) -> None:
    computed = order_statistic(REWARDS, 64, k=k, weights=weights)
    np.testing.assert_allclose(computed, published, atol=1e-8)


def test_relatives() -> None:
    rewards = np.random.default_rng(0).normal(size=(10, 12))
    for k in range(1, 12):
        np.testing.assert_allclose(
            order_statistic(rewards, 8, k=k, weights="max"),
            max_at_k(rewards, 8, k=k, form="canonical"),
            rtol=1e-12,
            atol=1e-12,
        )
        mean = order_statistic(rewards, 8, k=k, weights=[1 / k] * k)
        np.testing.assert_allclose(mean, rloo(rewards, 8), rtol=1e-12, atol=1e-12)
    large = np.random.default_rng(1).normal(size=1024)
    np.testing.assert_allclose(
        order_statistic(large, 8, k=512, weights="max"), max_at_k(large, 8, k=512), rtol=1e-11
    )
    default = order_statistic(rewards, 8, k=6, weights=[0, 0, 0, 0, 0.5, 0.5])
    assert np.array_equal(order_statistic(rewards, 8), default)
