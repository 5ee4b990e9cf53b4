"""The measurement itself: power sums, standard errors, seeds, and agreement with enumeration."""

import itertools

import numpy as np
import pandas as pd
import pytest

from tea_stats import Discrete, Normal, StudentT, advantages, best_of_n, monte_carlo
from tea_stats._moments import Moments
from tests.numpy_twin import TWINS, measured, power_sums

#: the stream of the standard Normal law
STABLE = 1421998890
LIKERT = Discrete(values=(0.0, 1.0, 2.0, 4.0), logits=(0.3, 0.1, -0.2, -0.9))
SET = {
    "TEA": ("tea", {"alpha": 0.5}),
    "prefix": ("prefix_tea", {"alpha": 0.5, "orderings": 3}),
    "cross": ("prefix_tea", {"alpha": 0.5, "crossfit": True, "orderings": 2}),
    "max@m": ("max_at_k", {}),
    "RLOO": ("rloo", {}),
    "CAT-BoN": ("cat_bon", {}),
}


def test_power_sums_equal_a_numpy_implementation_on_the_same_draws():
    m, N, reps = 16, (8, 64), 1_000
    moments = monte_carlo.simulate_block(Normal(), SET, m, N, reps, seed=3, block=2)
    rng = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(Normal().stable_id, m, 2)))
    # the same tiles in the order drawn: the sorted draw is a permutation of these
    rewards = np.concatenate(
        [rng.normal(size=(g, m)) for g in monte_carlo.tiles(Normal(), m, reps)]
    )
    scores = np.stack([rewards, rewards**2 - 1])
    scores[0], scores[1] = Normal().score(rewards)[..., 0], Normal().score(rewards)[..., 1]
    expected = measured(rewards, scores, SET, N)
    for cell in monte_carlo.cells(SET, m, N):
        for budget in cell.budgets:
            sums = moments.sums[cell.key(budget)]
            assert sums.reps == reps
            for found, wanted in zip(
                (sums.power1, sums.power2, sums.power3, sums.power4),
                power_sums(expected[cell.label, budget]),
                strict=True,
            ):
                np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * abs(wanted).max())


def test_budgets_share_a_pass_where_one_serves_them_all():
    passes = monte_carlo.cells(SET, 16, (8, 16, 64, 128))
    budgets = {label: [c.budgets for c in passes if c.label == label] for label in SET}
    assert budgets["RLOO"] == budgets["TEA"] == budgets["prefix"] == [(8, 16, 64, 128)]
    assert budgets["max@m"] == [(8,), (16, 64, 128)]
    assert budgets["CAT-BoN"] == [(8,), (16,), (64,), (128,)]
    keys = {c.label: {c.key(budget) for budget in c.budgets} for c in passes}
    # the same advantages for every N: one set of sums; an affine pass: one for each N
    assert len(keys["RLOO"]) == 1 and len(keys["TEA"]) == len(keys["prefix"]) == 4


def test_summary_equals_plain_statistics_of_the_groups():
    m, N, reps = 8, 32, 4_000
    table = monte_carlo.measure(LIKERT, ["tea", "rloo"], m, N, reps, seed=5, reference="rloo")
    rng = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(LIKERT.stable_id, m, 0)))
    draws = [
        LIKERT.draw_sorted(g, m, rng, ordered=False)[:2] for g in monte_carlo.tiles(LIKERT, m, reps)
    ]
    rewards = np.concatenate([r for r, _ in draws])
    scores = np.concatenate([s for _, s in draws], axis=1)
    truth = best_of_n.gradient(LIKERT, N)
    x = measured(rewards, scores, {name: (name, {}) for name in ("tea", "rloo")}, (N,))
    d = len(truth)
    for name in ("tea", "rloo"):
        g = x[name, N][:, :d]
        rows = table[table.estimator == name]
        parts = rows[rows.parameter != "all"]
        np.testing.assert_allclose(parts["bias"], g.mean(0) - truth, atol=1e-12)
        np.testing.assert_allclose(parts["bias_mcse"], g.std(0, ddof=1) / reps**0.5, rtol=1e-9)
        np.testing.assert_allclose(parts["variance"], g.var(0, ddof=1), rtol=1e-9)
        square = (g - truth) ** 2
        np.testing.assert_allclose(parts["mse"], square.mean(0), rtol=1e-9)
        np.testing.assert_allclose(parts["mse_mcse"], square.std(0) / reps**0.5, rtol=1e-8)
        whole = rows[rows.parameter == "all"].iloc[0]
        error = square.sum(1)
        assert whole.mse == pytest.approx(error.mean(), rel=1e-9)
        assert whole.mse_mcse == pytest.approx(error.std(ddof=1) / reps**0.5, rel=1e-8)
        assert whole.nmse == pytest.approx(error.mean() / (truth @ truth), rel=1e-9)
        spread = ((g - g.mean(0)) ** 2).sum(1)
        assert whole.variance == pytest.approx(g.var(0, ddof=1).sum(), rel=1e-9)
        assert whole.variance_mcse == pytest.approx(spread.std(ddof=1) / reps**0.5, rel=1e-3)
        assert whole.advantage_square == pytest.approx(x[name, N][:, d].mean(), rel=1e-9)
    difference = x["tea", N][:, :d] - x["rloo", N][:, :d]
    rows = table[(table.estimator == "tea") & (table.parameter != "all")]
    np.testing.assert_allclose(rows["bias_difference"], difference.mean(0), atol=1e-12)
    np.testing.assert_allclose(
        rows["bias_difference_mcse"], difference.std(0, ddof=1) / reps**0.5, rtol=1e-8
    )
    whole = table[(table.estimator == "tea") & (table.parameter == "all")].iloc[0]
    gap = [((x[name, N][:, :d] - truth) ** 2).sum(1) for name in ("tea", "rloo")]
    assert whole.mse_difference == pytest.approx((gap[0] - gap[1]).mean(), rel=1e-9)
    assert whole.mse_difference_mcse == pytest.approx(
        (gap[0] - gap[1]).std(ddof=1) / reps**0.5, rel=1e-8
    )


def _enumerated(law, name, options, m, N):
    """Exact E ĝ, Cov ĝ and E[A²] by listing every group."""
    p, r, s = law.probabilities, law.rewards_sorted, law.scores
    groups = np.array(list(itertools.product(range(len(p)), repeat=m)))
    weight = p[groups].prod(axis=1)
    a = advantages(name, r[groups], N, **options)
    g = np.einsum("gi,gid->gd", a, s[groups]) / m
    mean = weight @ g
    return mean, (weight[:, None] * g).T @ g - np.outer(mean, mean), weight @ (a**2).mean(1)


@pytest.mark.parametrize("name", ["tea", "max_at_k", "grpo", "bon_max_mean"])
def test_simulation_agrees_with_enumeration(name):
    # resolution: the standard error is below 1 % of the gradient's size; z ≤ 5
    m, N = 5, 16
    mean, covariance, square = _enumerated(LIKERT, name, {}, m, N)
    table = monte_carlo.measure(LIKERT, [name], m, N, reps=200_000, seed=11)
    parts = table[table.parameter != "all"]
    whole = table[table.parameter == "all"].iloc[0]
    assert (parts["bias_mcse"] < 0.01 * np.linalg.norm(mean)).all()
    assert (abs(parts["mean"] - mean) < 5 * parts["bias_mcse"]).all()
    assert (abs(parts["variance"] - np.diag(covariance)) < 5 * parts["variance_mcse"]).all()
    assert abs(whole.variance - np.trace(covariance)) < 5 * whole.variance_mcse
    assert abs(whole.advantage_square - square) < 5 * whole.advantage_square_mcse
    truth = best_of_n.gradient(LIKERT, N)
    inverse = np.linalg.pinv(best_of_n.fisher_information(LIKERT))
    signal, size = mean @ inverse @ truth, truth @ inverse @ truth
    cosine = signal / np.sqrt(mean @ inverse @ mean * size)
    assert abs(whole.cosine - cosine) < 5 * whole.cosine_mcse + 1e-9
    assert abs(whole.efficiency - signal**2 / (size * square)) < 5 * whole.efficiency_mcse
    # and the same draws reject the truth of another budget
    other = best_of_n.gradient(LIKERT, 4)
    assert (abs(parts["mean"] - other) > 5 * parts["bias_mcse"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("law", [Normal(), LIKERT], ids=["normal", "discrete"])
def test_standard_errors_are_calibrated(law):
    """Over 400 seeds, z-scores have standard deviation 1 (± 5/√800: 0.82 to 1.18)."""
    seeds, m, N, reps = 400, 8, 32, 6_000
    requests = {"canonical": ("max_at_k", {"k": 4}), "TEA": ("tea", {"alpha": 0.5})}
    tables = pd.concat(
        [
            monte_carlo.measure(law, requests, m, N, reps, seed=s).assign(seed=s)
            for s in range(seeds)
        ]
    )
    precise = monte_carlo.measure(law, requests, m, N, 400_000, seed=10**6)
    index = ["estimator", "parameter"]
    low, high = 1 - 5 / np.sqrt(2 * seeds), 1 + 5 / np.sqrt(2 * seeds)
    checked = 0
    for column in ("bias", "variance", "mse", "advantage_square", "efficiency", "cosine"):
        for key, truth in precise.set_index(index)[column].dropna().items():
            part = tables.set_index(index).loc[key]
            se = part[f"{column}_mcse"]
            parameter = key[1]
            # a norm of a bias near zero and a cosine near 1 sit at a boundary: not normal
            if (parameter == "all" and column == "bias") or (column == "cosine" and truth > 0.99):
                continue
            z = (part[column] - truth) / se
            assert low < z.std() < high, (column, key, z.std())
            assert abs(z.mean()) < 5 / np.sqrt(seeds) + 0.25, (column, key, z.mean())
            checked += 1
    assert checked >= 14
    # an unbiased estimator's bias is judged against the truth itself
    part = tables[(tables.estimator == "canonical") & (tables.parameter != "all")]
    exact = np.tile(best_of_n.gradient(law, 4), seeds)
    z = (part["mean"] - exact) / part["bias_mcse"]
    assert low < z.std() < high
    assert abs(z.mean()) < 5 / np.sqrt(len(z))


def test_blocks_add_up_and_survive_a_table():
    blocks = [
        monte_carlo.simulate_block(LIKERT, SET, 16, (16, 64), 500, 1, b, reference="TEA")
        for b in range(3)
    ]
    merged = Moments.merge(blocks)
    assert merged.reps == 1_500
    rebuilt = Moments.merge([Moments.from_frame(block.to_frame()) for block in blocks])
    pd.testing.assert_frame_equal(merged.to_frame(), rebuilt.to_frame(), check_exact=True)
    assert rebuilt.parameters == LIKERT.parameters


def test_streams_depend_on_law_m_and_block_and_on_nothing_else():
    def sums(law, estimators, m, block, label="RLOO"):
        moments = monte_carlo.simulate_block(law, estimators, m, (32,), 200, 7, block)
        return next(s.power1 for k, s in moments.sums.items() if k.estimator == label)

    alone = {"RLOO": ("rloo", {})}
    both = {"max": ("leave_one_out_max", {}), "RLOO": ("rloo", {})}
    np.testing.assert_array_equal(sums(Normal(), alone, 8, 0), sums(Normal(), both, 8, 0))
    assert (sums(Normal(), alone, 8, 0) != sums(Normal(), alone, 8, 1)).all()
    assert (sums(Normal(), alone, 8, 0) != sums(Normal(loc=1.0), alone, 8, 0)).all()
    # fixed for good: results of earlier runs stay reproducible
    assert Normal().stable_id == STABLE
    assert Normal(0, 1) == Normal(0.0, 1.0) and Normal(0, 1).stable_id == STABLE


def test_the_same_estimator_under_two_labels_differs_by_exactly_zero():
    twice = {"one": ("tea", {}), "two": ("tea", {"alpha": 0.25})}
    table = monte_carlo.measure(Normal(), twice, 16, 64, 500, reference="one")
    rows = table[(table.estimator == "two")]
    assert (rows["bias_difference"].dropna() == 0).all()
    assert rows["mse_difference"].dropna().item() == 0
    assert rows["mse_difference_mcse"].dropna().item() == 0


def test_degenerate_groups_are_counted():
    rare = Discrete(values=(0.0, 1.0), logits=(0.0, -3.0))
    m, reps = 4, 50_000
    p = rare.probabilities[1]
    table = monte_carlo.measure(rare, ["grpo", "leave_one_out_max"], m, 64, reps)
    count = table[table.parameter == "all"].set_index("estimator")["degenerate"] / reps
    all_equal = p**m + (1 - p) ** m
    exactly_one = m * p * (1 - p) ** (m - 1)
    se = np.sqrt(0.25 / reps)
    assert abs(count["grpo"] - all_equal) < 5 * se
    assert abs(count["leave_one_out_max"] - (1 - exactly_one)) < 5 * se


def test_cells_without_a_second_moment_are_marked():
    cross = {"cross": ("prefix_tea", {"crossfit": True}), "tea": ("tea", {}), "grpo": ("grpo", {})}

    def finite(law, m):
        table = monte_carlo.measure(law, cross, m, 64, 50)
        return table.groupby("estimator")["finite_second_moment"].all().to_dict()

    assert finite(Normal(), 32) == {"cross": False, "tea": True, "grpo": True}
    assert finite(Normal(), 64) == {"cross": True, "tea": True, "grpo": True}
    assert finite(StudentT(df=1.9), 64) == {"cross": False, "tea": False, "grpo": True}


@pytest.mark.parametrize("name", ["tea", "max_at_k", "prefix_tea"])
def test_response_curve_agrees_with_enumeration(name):
    m, N = 5, 16
    options = {"alpha": 0.5, "prefixes": (4, 5), "orderings": "all"} if name == "prefix_tea" else {}
    curve = monte_carlo.advantage_response(LIKERT, {name: (name, options)}, m, N, 20_000)
    p, r = LIKERT.probabilities, LIKERT.rewards_sorted
    others = np.array(list(itertools.product(range(len(p)), repeat=m - 1)))
    weight = p[others].prod(axis=1)
    for _, row in curve.iterrows():
        groups = np.column_stack([np.full(len(others), row.reward), r[others]])
        exact = weight @ advantages(name, groups, N, **options)[:, 0]
        assert abs(row.response - exact) < 5 * row.response_mcse + 1e-12


def test_response_curve_of_an_unbiased_estimator_is_the_exact_one():
    curve = monte_carlo.advantage_response(
        Normal(), {"canonical": ("max_at_k", {"k": 4})}, 8, 4, 40_000, points=9
    )
    gap = curve["response"] - curve["exact"]
    # centred form: E A = 0 as E ψ = 0, so no constant is free
    assert (abs(gap) < 5 * curve["response_mcse"]).all()
    assert (curve["response_mcse"] < 0.02 * curve["exact"].abs().max()).all()
    wrong = best_of_n.advantage(Normal(), 5, curve["reward"].to_numpy())
    assert (abs(curve["response"] - wrong) > 5 * curve["response_mcse"]).any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"law": "normal"}, TypeError, r"law is 'normal'; give a law"),
        ({"estimators": "tea"}, TypeError, r"estimators is the string 'tea'; give a list"),
        ({"estimators": []}, ValueError, r"estimators is empty; give some of tea"),
        ({"estimators": {"a": "tea"}}, TypeError, r"estimators\['a'\] is 'tea'; give a pair"),
        ({"estimators": ["teaa"]}, ValueError, r"estimator 'teaa' is unknown; give one of tea"),
        ({"estimators": ["max_rl"]}, ValueError, r"'max_rl' is defined for 0/1 rewards"),
        ({"m": 1}, ValueError, r"m is 1; give an integer ≥ 2"),
        ({"N": []}, ValueError, r"N is empty; give at least one integer"),
        ({"N": 2.5}, TypeError, r"N is 2.5 of type float; give an integer ≥ 1"),
        ({"reps": 1}, ValueError, r"reps is 1; give an integer ≥ 2"),
        ({"seed": -1}, ValueError, r"seed is -1; give an integer ≥ 0"),
        ({"reference": "TEA"}, ValueError, r"reference is 'TEA'; give the label of one"),
    ],
)
def test_bad_arguments_name_argument_value_and_cure(change, error, message):
    arguments = {"law": Normal(), "estimators": ["tea"], "m": 8, "N": 16, "reps": 10, "seed": 0}
    with pytest.raises(error, match=message):
        monte_carlo.measure(**{**arguments, **change})


def test_every_estimator_has_a_twin():
    from tea_stats import ESTIMATORS

    assert set(TWINS) == set(ESTIMATORS)
