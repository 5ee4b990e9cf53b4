"""Linear TEA: unbiased for its surrogate by enumeration, exact on its laws, well conditioned."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from tea_stats import best_of_n, linear_tea, linear_tea_design, monte_carlo
from tea_stats.best_of_n.order_statistics import means
from tea_stats.families import Gumbel, GumbelMin, Logistic, Normal, StudentT
from tea_stats.linear.design import TAILS, advantage_square, location, value
from tests.enumeration import LAWS, best_of, expected_gradient

#: options that take the designs through all their parts, for groups of 4 to 6
OPTIONS = [
    {},
    {"k_min": 1},
    {"k_min": 3},
    {"tails": ("normal", "gumbel"), "k_min": 1},
    {"tails": ("exponential",), "design": "normal"},
    {"tails": (StudentT(4.0), "normal", "gumbel_min"), "k_min": 1, "design": Logistic()},
]


def bound(N):
    """Least E[A²] of an unbiased advantage on the standard normal law."""
    return 1.0 + best_of_n.value(Normal(), N) ** 2 / 2.0


# --- unbiased for the surrogate, whatever the law -------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("m", [4, 5, 6])
def test_the_gradient_of_the_surrogate_without_bias(m, options):
    N = 32
    weights = linear_tea_design(m, N, **options).weights
    for law in LAWS:
        estimate = expected_gradient(law, m, lambda r: linear_tea(r, N, **options))
        parts = [w * best_of(law, k) for k, w in weights.items()]
        scale = sum(np.abs(part).max() for part in parts)
        assert np.abs(estimate - sum(parts)).max() < 1e-12 * scale, law
        # and it is not that of best-of-m, say
        assert np.abs(estimate - best_of(law, m)).max() > 1e-3, law


def test_the_matrix_is_the_map():
    design = linear_tea_design(8, 32)
    rewards = np.sort(np.random.default_rng(2).normal(size=(5, 8)), axis=1)
    np.testing.assert_allclose(
        rewards @ design.matrix.T, linear_tea(rewards, 32), rtol=0, atol=1e-12 * 32
    )
    assert np.abs(design.matrix.sum(axis=1)).max() < 1e-11  # the location does not matter


# --- exact on the laws of `tails` -----------------------------------------------------------------


@pytest.mark.parametrize("N", [2, 128, 10**6])
@pytest.mark.parametrize("m", [2, 3, 8, 64, 256])
def test_the_weights_reproduce_c_N(m, N):
    for tails in (("normal",), ("gumbel", "normal"), ("normal", "gumbel_min", "exponential")):
        if m < 1 + len(tails):
            continue
        design = linear_tea_design(m, N, tails=tails)
        assert max(map(abs, design.residuals.values())) < 1e-10
        weights = design.exact_weights()
        assert abs(float(sum(weights.values())) - 1.0) < 1e-9
        for name in tails:
            # through the weights, in exact arithmetic: V_k from its own module
            exact = best_of_n.value(TAILS[name], N)
            coefficients = np.append(design.slopes, design.top)
            assert coefficients @ value(TAILS[name], m) == pytest.approx(exact, rel=1e-9, abs=1e-9)
            if m <= 8:
                total = sum(
                    w * Fraction(best_of_n.value(TAILS[name], k)) for k, w in weights.items()
                )
                assert float(total) == pytest.approx(exact, rel=1e-7, abs=1e-7)


def test_the_expectation_on_normal_rollouts():
    m, N = 16, 128
    table = monte_carlo.measure(
        Normal(1.0, 0.5),
        {"linear": ("linear_tea", {}), "wrong": ("linear_tea", {"tails": ("logistic",)})},
        m, N, reps=100_000, seed=3,
    )  # fmt: skip
    rows = table[table["parameter"] != "all"].set_index(["estimator", "parameter"])
    z = rows["bias"] / rows["bias_mcse"]
    assert (rows["bias_mcse"] < 0.02).all()  # the resolution, of truths 1 and 2.6
    assert z.loc["linear"].abs().max() < 5
    assert abs(z["wrong", "scale"]) > 5


# --- of least variance --------------------------------------------------------------------------


@pytest.mark.parametrize("law", [Normal(), Gumbel(), StudentT(5.0)], ids=str)
def test_the_variance_is_E_A2(law):
    m, N = 8, 64
    design = linear_tea_design(m, N, design=law)
    rewards = law.sample((100_000, m), np.random.default_rng(4))
    squares = (linear_tea(rewards, N, design=law) ** 2).mean(axis=1)
    mcse = squares.std() / math.sqrt(len(squares))
    assert mcse < 0.03 * design.variance
    assert abs(squares.mean() - design.variance) < 5 * mcse


@pytest.mark.parametrize("k_min", [1, 5, 8])
def test_no_other_exact_coefficients_have_less(k_min):
    m, N = 16, 128
    law = Normal()
    design = linear_tea_design(m, N, k_min=k_min)
    best = np.append(design.slopes, design.top)
    square = advantage_square(law, m)
    assert best @ square @ best == pytest.approx(design.variance, rel=1e-12)
    conditions = np.vstack([location(m), value(law, m)])
    rng = np.random.default_rng(5)
    for _ in range(20):
        step = np.zeros(m)
        step[k_min - 1 :] = rng.normal(size=m - k_min + 1)
        # what keeps the design exact and zero below k_min
        free = conditions[:, k_min - 1 :]
        step[k_min - 1 :] -= free.T @ np.linalg.solve(free @ free.T, free @ step[k_min - 1 :])
        step /= np.linalg.norm(step)
        slope = 2 * best @ square @ step
        assert abs(slope) < 1e-9 * np.linalg.norm(square @ best)
        assert step @ square @ step > 0


#: (m, N): efficiency for k ≥ 1, and a bound for k ≥ 4
EFFICIENCY = {
    (16, 128): (0.82, 0.63),
    (16, 512): (0.81, 0.61),
    (32, 512): (0.90, 0.73),
    (64, 512): (0.95, 0.80),
}


@pytest.mark.parametrize(("m", "N"), EFFICIENCY)
def test_efficiency_on_the_normal_law(m, N):
    whole, upper = EFFICIENCY[m, N]
    assert round(bound(N) / linear_tea_design(m, N, k_min=1).variance, 2) == whole
    assert bound(N) / linear_tea_design(m, N, k_min=4).variance > upper


#: normalised MSE of 64 prompts, k ≥ 1: (m, N) -> law -> value
BATCH_ERROR = {
    (16, 128): {Normal(): 0.012, Logistic(): 0.027, Gumbel(): 0.098, GumbelMin(): 0.277},
    (32, 512): {Normal(): 0.006, Gumbel(): 0.133, GumbelMin(): 0.374, StudentT(5.0): 0.132},
    (64, 1024): {Normal(): 0.003, GumbelMin(): 0.425, StudentT(5.0): 0.171},
}


def batch_error(law, m, N, k_min, reps=40_000):
    """Return (‖bias‖² + variance/64)/‖∇V_N‖² and its Monte Carlo standard error."""
    table = monte_carlo.measure(
        law, {"linear": ("linear_tea", {"k_min": k_min})}, m, N, reps=reps, seed=6
    )
    row = table[table["parameter"] == "all"].iloc[0]
    error = row["bias"] ** 2 + row["variance"] / 64
    mcse = math.hypot(2 * row["bias"] * row["bias_mcse"], row["variance_mcse"] / 64)
    return error / row["exact"] ** 2, mcse / row["exact"] ** 2


@pytest.mark.parametrize(("m", "N"), BATCH_ERROR)
def test_error_of_a_batch(m, N):
    for law, stated in BATCH_ERROR[m, N].items():
        error, mcse = batch_error(law, m, N, k_min=1)
        assert mcse < 0.05 * stated + 0.0005
        # the stated numbers are themselves simulated, to about 3 %
        assert abs(error - stated) < 5 * mcse + 0.0005 + 0.03 * stated, law


def test_with_half_of_the_curve_it_is_worse_on_the_normal_law_and_better_off_it():
    m, N = 16, 128
    assert linear_tea_design(m, N).k_min == m // 2
    for law, whole, upper in ((Normal(), 0.012, 0.026), (GumbelMin(), 0.271, 0.062)):
        error, mcse = batch_error(law, m, N, k_min=m // 2)
        assert abs(error - upper) < 5 * mcse + 0.001
        assert bool(error > whole) is (upper > whole)


# --- numerics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 16, 64, 256])
def test_the_programme_is_well_conditioned_whatever_N(m):
    conditions = {linear_tea_design(m, N, k_min=1).condition for N in (4, 1024, 10**6)}
    assert max(conditions) == min(conditions)
    assert max(conditions) < 0.7 * m**2 + 10


def test_the_weights_themselves_are_not():
    # why the slopes are the unknowns
    largest = {m: max(map(abs, linear_tea_design(m, 8 * m).weights.values())) for m in (16, 32, 64)}
    assert largest[32] > 10 * largest[16] > 1e3
    assert largest[64] > 1e6 * largest[32]
    exact = linear_tea_design(64, 512).exact_weights()
    # in floating point nothing would be left of their sum
    assert abs(float(sum(exact.values())) - 1.0) < 1e-9


def test_designs_are_cached_and_read_only():
    design = linear_tea_design(16, 128)
    assert linear_tea_design(16, 128, tails=["normal"]) is design
    for array in (design.slopes, *design.tableau[1:]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


@pytest.mark.parametrize("name", TAILS)
def test_every_named_law_is_standard(name):
    law = TAILS[name]
    assert (linear_tea_design(8, 64, tails=(name,)).residuals.keys()) == {name}
    assert means(law, 1)[0] == pytest.approx(best_of_n.value(law, 1), abs=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tails": "normal"}, TypeError, "tails is 'normal'; give a tuple of names"),
        ({"tails": ()}, TypeError, "tails is \\(\\)"),
        ({"tails": ("cauchy",)}, ValueError, "tails has 'cauchy'; give laws, or names out of"),
        ({"design": "cauchy"}, ValueError, "design has 'cauchy'"),
        ({"design": StudentT(2.0)}, ValueError, "variance is infinite"),
        ({"k_min": 4}, ValueError, "k_min is 4: with m = 4 .* give k_min ≤ 3"),
        ({"k_min": 2.0}, TypeError, "k_min is 2.0"),
        ({"k_min": 0}, ValueError, "k_min is 0"),
        (
            {"tails": ("normal", "gumbel", "logistic", "exponential")},
            ValueError,
            "4 free coefficients for 5 exactness conditions",
        ),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        linear_tea(np.arange(4.0), 16, **options)
