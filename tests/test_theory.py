"""The numbers that the theory predicts (specification, section 6), measured again.

Each row gives a prediction with its tolerance. The run is long enough that three standard errors
fit into the tolerance, and the measured value must lie within tolerance + 3 standard errors; the
same check must reject the neighbouring row's prediction, or it would test nothing.
"""

import numpy as np
import pytest

from tea_stats import GaussianTail, Normal, best_of_n, monte_carlo

N = 128
TEA = {"TEA": ("tea", {"alpha": 0.25})}
SAME_BATCH = {"prefix": ("prefix_tea", {"orderings": 8})}
CROSS_FITTED = {"cross": ("prefix_tea", {"orderings": 8, "crossfit": True})}

#: estimator, m, predicted bias (loc, log scale), tolerance, groups
BIASES = [
    (TEA, 16, (-0.349, -1.323), 0.005, 3_000_000),
    (TEA, 32, (-0.230, -0.835), 0.005, 2_500_000),
    (TEA, 64, (-0.137, -0.485), 0.005, 2_000_000),
    (TEA, 128, (-0.075, -0.267), 0.005, 1_000_000),
    (TEA, 256, (-0.0400, -0.1425), 0.002, 1_200_000),
    (TEA, 512, (-0.0207, -0.0746), 0.002, 800_000),
    (CROSS_FITTED, 128, (-0.100, -0.160), 0.01, 900_000),
    (CROSS_FITTED, 256, (-0.0255, -0.043), 0.01, 350_000),
    (SAME_BATCH, 64, (-0.082, -0.25), 0.01, 500_000),
    (SAME_BATCH, 128, (-0.028, -0.091), 0.01, 300_000),
]

#: estimator, m, predicted standard deviation (loc, log scale) of one group's ĝ
SPREADS = [
    (TEA, 16, (0.84, 2.26)),
    (TEA, 256, (0.39, 1.19)),
    (CROSS_FITTED, 256, (0.68, 1.85)),
    (SAME_BATCH, 64, (0.79, 2.23)),
    (SAME_BATCH, 128, (0.59, 1.74)),
]


def _parameters(law, requests, m, groups, seed=0):
    table = monte_carlo.measure(law, requests, m, N, groups, seed)
    return table[table.parameter != "all"]


def _id(case):
    return f"{next(iter(case[0]))}-{case[1]}"


@pytest.mark.slow
@pytest.mark.parametrize("case", BIASES, ids=_id)
def test_bias_is_the_predicted_one(case):
    requests, m, predicted, tolerance, groups = case
    rows = _parameters(Normal(), requests, m, groups)
    bias, se = rows["bias"].to_numpy(), rows["bias_mcse"].to_numpy()
    assert (3 * se < max(tolerance, 0.008)).all()
    assert (abs(bias - predicted) < tolerance + 3 * se).all()
    # the bias at twice the group size is at most 0.6 of it: not within reach
    assert (abs(bias - 0.6 * np.array(predicted)) > tolerance + 3 * se).any()


@pytest.mark.parametrize("case", SPREADS, ids=_id)
def test_spread_is_the_predicted_one(case):
    requests, m, predicted = case
    rows = _parameters(Normal(), requests, m, 60_000, seed=1)
    spread = np.sqrt(rows["variance"].to_numpy())
    # predictions have two decimals; the standard error here is about 0.6 %
    assert (abs(spread / predicted - 1) < 0.03).all()
    assert (abs(spread / predicted - 1.1) > 0.03).all()


def test_on_a_law_with_a_gaussian_tail_tea_does_as_on_the_normal_law():
    """The direct form sees the top α alone, so its m = 256 bias is close to the Normal law's."""
    law = GaussianTail()
    np.testing.assert_allclose(best_of_n.gradient(law, N)[0], 1.0, atol=1e-6)
    rows = _parameters(law, TEA, 256, 300_000, seed=2)
    bias, se = rows["bias"].to_numpy(), rows["bias_mcse"].to_numpy()
    assert (abs(bias - (-0.0400, -0.1425)) < 0.004 + 3 * se).all()
