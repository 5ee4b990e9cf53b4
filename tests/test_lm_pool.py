"""Pools of rollouts: drawing in parts, measuring, and the gradient of the model from halves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from scipy import stats
from typer.testing import CliRunner

from analysis.core.read import ResultsError
from analysis.lm import pool_tables, pools as lm_pool_analysis
from simulations import lm_pool
from simulations.core import schema, store
from simulations.lm.pools import halves, measure
from simulations.lm.pools.schema import Pools, read_pools, write_pool
from tea_stats import EmpiricalPool, Normal, best_of_n, monte_carlo, tails
from tests.tally import Killed, Tally

TINY = """
seed = 5
model = "tiny"
count = 2
rollouts = 300
new_tokens = 6
rows = 128
core = [2, 2]
token_rewards = ["letters"]
rewards = ["letters", "likelihood"]

[measure]
rewards = ["letters", "likelihood"]
gaussian = ["likelihood"]
m = [16]
N = [64]
reps = 512
response_reps = 50
reference = "TEA"

[measure.estimators."TEA"]
name = "tea"

[measure.estimators."RLOO"]
name = "rloo"

[measure.estimators."auto TEA"]
name = "auto_tea"
"""


analysed = typer.Typer()
analysed.command()(lm_pool_analysis.main)


def command(*arguments):
    return CliRunner().invoke(lm_pool.app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def configuration(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "tiny_pool.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def drawn(configuration, tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("drawn")
    result = command("draw", configuration, "--pools", folder / "pools", "--out", folder / "out")
    assert result.exit_code == 0, result.output
    return folder


def normal_pools(count=8, M=2048, d=16, share=0.6):
    """Pools of a Gaussian model: two score columns are those of location and log scale."""
    pools = {}
    for k in range(count):
        rng = np.random.default_rng(k)
        z, scores = rng.standard_normal(M), rng.standard_normal((M, d))
        rest = sqrt(1 - share**2)
        scores[:, 0] = share * z + rest * scores[:, 0]
        scores[:, 1] = share * (z * z - 1) / sqrt(2) + rest * scores[:, 1]
        pools[f"p{k}"] = {"r": z}, scores
    return pools


def plan(**changes):
    content = {
        "rewards": ["r"],
        "m": [16, 64],
        "N": [128],
        "reps": 500,
        "response_reps": 200,
        "reference": "RLOO",
        "estimators": {
            "RLOO": {"name": "rloo"},
            "TEA .25": {"name": "tea"},
            "max@m": {"name": "max_at_k"},
        },
    }
    return measure.Measure.model_validate(content | changes)


# --- drawing --------------------------------------------------------------------------------------


def test_pools_hold_what_was_drawn(drawn):
    pools = read_pools(drawn / "pools")
    assert list(pools) == ["pool-001", "pool-002"]
    provenance = json.loads((drawn / "pools" / "provenance.json").read_text())
    for name, (rewards, scores) in pools.items():
        assert scores.shape == (300, 4) and set(rewards) == {"letters", "likelihood"}
        assert len(np.unique(rewards["likelihood"])) > 250
        described = provenance["pools"][name]["rewards"]["likelihood"]
        assert described["mean"] == pytest.approx(rewards["likelihood"].mean(), rel=1e-5)
    law = schema.LawTable(family="EmpiricalPool", file="pool-001.npz").law(drawn / "pools")
    assert best_of_n.value(law, 64) > best_of_n.value(law, 1)
    assert sum(f.stat().st_size for f in (drawn / "pools").iterdir()) < 40_000


def test_killed_drawing_goes_on_with_the_same_pools(drawn, configuration, tmp_path):
    from simulations.lm.pools import draw

    pools, first, second = schema.read(Pools, configuration), Tally(stop=4), Tally()
    with pytest.raises(Killed):
        draw.draw(pools, tmp_path / "parts", tmp_path / "pools", first)
    assert not (tmp_path / "pools").exists()
    draw.draw(pools, tmp_path / "parts", tmp_path / "pools", second)
    # killed before the fourth part was written
    assert (second.skipped, second.pieces) == ([128, 128, 44], [128, 128, 44])
    for name in ("pool-001.npz", "pool-002.npz"):
        assert (tmp_path / "pools" / name).read_bytes() == (drawn / "pools" / name).read_bytes()


def test_drawing_another_configuration_into_the_same_parts_is_refused(drawn, configuration):
    result = command(
        "draw", configuration, "--rows", 64, "--pools", drawn / "pools", "--out", drawn / "out"
    )
    assert result.exit_code == 2 and "another configuration" in result.output


def test_a_damaged_part_is_drawn_again(drawn, configuration, tmp_path):
    shutil.copytree(drawn / "out", tmp_path / "out")
    part = tmp_path / "out" / "parts" / "pool-001-001.npz"
    part.write_bytes(part.read_bytes()[:100])
    result = command(
        "draw", configuration, "--pools", tmp_path / "pools", "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    assert "pool-001-001.npz is damaged" in result.output
    ours, theirs = (place / "pools" / "pool-001.npz" for place in (tmp_path, drawn))
    assert ours.read_bytes() == theirs.read_bytes()


# --- measuring ------------------------------------------------------------------------------------


def test_measuring_needs_no_torch():
    code = (
        "import sys, simulations.lm_pool; print([m for m in ('torch', 'peft') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout.strip() == "[]"


def test_halves_say_how_much_of_a_gradient_is_chance():
    """Pools of a known law: the share by halves against the truth, and the rule of thumb."""
    d, M, N, shares, true = 8, 2048, 64, [], []
    exact = np.zeros(d)
    exact[0] = best_of_n.gradient(Normal(), N)[0]
    for seed in range(20):
        scores = np.random.default_rng(seed).normal(size=(M, d))
        shares.append(halves.noise_share(scores[:, 0], scores, N, cuts=4, seed=seed))
        own = best_of_n.gradient(EmpiricalPool(scores[:, 0], scores), N)
        true.append([np.sum((own - exact) ** 2), own @ own])
    noise, square = np.sum(true, axis=0)
    assert np.mean(shares) == pytest.approx(noise / square, abs=0.1)
    assert halves.dimensions(scores) == pytest.approx(d, rel=0.02)
    assert halves.expected_share(M / N, d) == pytest.approx(8 / 40)


def test_measure_command_writes_every_table(drawn, configuration, tmp_path):
    result = command(
        "measure", configuration, "--pools", drawn / "pools", "--out", tmp_path, "--workers", 1
    )
    assert result.exit_code == 0, result.output
    table = store.read(tmp_path / "table.parquet")
    # 2 pools × (2 rewards + 1 with a normal tail), and the Normal law, each × 2 estimators
    assert len(table) == (2 * 3 + 1) * 3
    model = store.read(tmp_path / "model.parquet")
    assert len(model) == 3 * 3 and (model["pools"] == 2).all()
    assert set(store.read(tmp_path / "tails.parquet")["pool"]) == {
        "pool-001",
        "pool-002",
        "chance",
    }
    response = store.read(tmp_path / "response.parquet")
    assert response.groupby(["pool", "reward", "kind", "estimator"])["q"].nunique().min() == 32
    assert store.read(tmp_path / "quantiles.parquet").notna().all().all()
    # pools, rewards, N
    noise = store.read(tmp_path / "noise.parquet")
    assert noise.groupby(["pool", "reward", "N"]).size().eq(1).all() and (noise["share"] < 2).all()
    assert (
        0
        < json.loads((tmp_path / "manifest.json").read_text())["informed"]["pool-001"]["likelihood"]
        < 1
    )

    figures = CliRunner().invoke(
        analysed, [str(tmp_path), "--out", str(tmp_path / "f"), "--summary", str(tmp_path / "s")]
    )
    assert figures.exit_code == 0, figures.output
    assert len(list((tmp_path / "f").glob("*.png"))) == 4
    assert "Gaussian samples" in figures.output
    # the summary gives the same report
    again = pool_tables.report(lm_pool_analysis.load(tmp_path / "s"))
    assert again == pool_tables.report(lm_pool_analysis.load(tmp_path))


def test_results_that_cannot_be_drawn_end_with_one_line(tmp_path):
    with pytest.raises(ResultsError, match="no such folder; run `tea-stats pools measure"):
        lm_pool_analysis.load(tmp_path / "nothing")
    with pytest.raises(ResultsError, match=r"table\.parquet: missing"):
        lm_pool_analysis.load(tmp_path)


def test_response_curve_is_the_exact_one_for_an_unbiased_estimator():
    # max@m is unbiased at N = m: every point within 5 standard errors, of 5 % of the curve's range
    law = EmpiricalPool(np.random.default_rng(1).standard_normal(500), np.zeros((500, 1)))
    table = measure.response(plan(N=[16], m=[16], response_reps=4000), law)
    ours = table[table["estimator"] == "max@m"]
    # up to a constant: max@m gives 0 to all but the best, the exact curve has mean 0
    gap = ours["response"] - ours["exact"] + ours["exact"].min()
    drawn = ours["response_mcse"] > 0.0
    assert drawn.sum() > 15
    assert (gap / ours["response_mcse"])[drawn].abs().max() < 5
    assert ours["response_mcse"].max() < 0.05 * np.ptp(ours["exact"])
    theirs = table[table["estimator"] == "RLOO"]
    assert ((theirs["response"] - theirs["exact"]) / theirs["response_mcse"]).abs().max() > 5


def test_response_curves_are_those_of_their_own_N():
    # TEA's prepared constants do not depend on N, its advantages do
    law = EmpiricalPool(*random_pool(M=200))
    settings = {"m": [16], "response_reps": 3, "estimators": {"TEA": {"name": "tea"}}}
    both = measure.response(plan(N=[32, 64], reference="TEA", **settings), law)
    alone = measure.response(plan(N=[64], reference="TEA", **settings), law)
    ours = both[both["N"] == 64].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, alone, check_exact=True)


def test_estimators_that_pool_are_measured_in_batches(configuration):
    plan = schema.read(Pools, configuration).measure
    law = EmpiricalPool(*random_pool())
    rows = measure.measured(plan, law, 1280).set_index("estimator")
    assert list(rows.index) == ["TEA", "RLOO", "auto TEA"]
    alone = monte_carlo.measure(law, {"auto TEA": ("auto_tea", {})}, 16, 64, 1280, 0, prompts=64)
    alone = alone[alone["parameter"] == "all"].squeeze()
    # 20 batches; the square of a mean over them is too large by their variance / 20
    error = alone["bias"] ** 2 - alone["variance"] / 20 + alone["variance"]
    assert rows.loc["auto TEA", "batch_nmse"] == pytest.approx(error / alone["exact"] ** 2)
    assert rows.loc["auto TEA", "reps"] == rows.loc["TEA", "reps"] == 1280
    # the others as ever: group by group
    single = monte_carlo.measure(law, {"RLOO": ("rloo", {})}, 16, 64, 1280, 0)
    single = single[single["parameter"] == "all"].squeeze()
    assert rows.loc["RLOO", "variance"] == pytest.approx(single["variance"], rel=1e-12)


def test_error_at_the_best_length_of_a_step():
    # scaling an estimator changes its error, not its error at the best length
    z, scores = random_pool()
    law = EmpiricalPool(z, scores * np.array([3.0, 1.0, 1.0]))
    rows = measure.measured(plan(N=[64], m=[16], reps=4000), law, 4000).set_index("estimator")
    row = rows.loc["max@m"]
    # E ĝ and its truth by parameter: the pool's score columns are not orthonormal, and the Fisher
    # metric's cosine is another one
    rows = monte_carlo.measure(law, {"max@m": ("max_at_k", {})}, 16, 64, 4000, plan().seed)
    s, t = rows["mean"].to_numpy()[:-1], rows["exact"].to_numpy()[:-1]
    variance, truth = row["variance"], t @ t
    assert abs(s @ t / np.linalg.norm(s) / np.linalg.norm(t) - row["cosine"]) > 1e-4
    lengths = np.linspace(0.0, 4.0, 40_001)
    square = s @ s - variance / row["reps"] + variance / 64
    errors = lengths**2 * square / truth - 2.0 * lengths * (s @ t) / truth + 1.0
    assert row["scaled_nmse"] == pytest.approx(errors.min(), abs=1e-7)
    assert row["scaled_nmse"] < row["batch_nmse"]
    # half the length: s/2, and ‖s/2 − t‖
    halved = measure.with_batch(
        pd.DataFrame([row]).assign(
            mean=row["mean"] / 2, variance=variance / 4, bias=np.linalg.norm(s / 2 - t)
        )
    )
    assert halved["scaled_nmse"].item() == pytest.approx(row["scaled_nmse"])
    against = measure.with_batch(pd.DataFrame([row]).assign(bias=np.linalg.norm(-s - t)))
    assert against["scaled_nmse"].item() == 1.0


def random_pool(M=2048, d=3, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(M)
    scores = np.column_stack([z, z**2 - 1.0, rng.standard_normal((M, d - 2))])
    return z, scores - scores.mean(axis=0)


def test_normal_ranks_keep_order_mean_and_spread():
    rewards = np.random.default_rng(0).exponential(size=1000)
    result = measure.normal_ranks(rewards)
    assert (np.argsort(result) == np.argsort(rewards)).all()
    assert result.mean() == pytest.approx(rewards.mean())
    assert result.std() == pytest.approx(rewards.std())
    assert stats.skew(result) == pytest.approx(0.0, abs=1e-9)
    assert measure.tail(result)["qq_r2"] > 0.9999


@pytest.mark.parametrize(("shape", "seed"), [(-0.3, 0), (0.2, 1)])
def test_tail_finds_a_pareto_shape(shape, seed):
    # the upper quarter of a generalised Pareto law is one of the same shape; s.e. ≈ (1 + ξ)/√500
    rng = np.random.default_rng(seed)
    result = measure.tail(stats.genpareto.rvs(shape, size=2000, random_state=rng))
    assert result["shape"] == pytest.approx(shape, abs=4 * (1 + shape) / sqrt(500))
    assert result["tied"] == 0.0


def test_tail_of_tied_rewards():
    result = measure.tail(np.repeat([0.0, 1.0], 100))
    assert result["tied"] == pytest.approx(1 - 1 / 199)
    assert np.isnan(result["shape"]) and np.isnan(result["qq_r2"])


def test_scores_that_explain_a_reward():
    pools = normal_pools(count=1)
    rewards, scores = pools["p0"][0]["r"], pools["p0"][1]
    assert measure.informed(rewards, scores) == pytest.approx(0.36, abs=0.06)
    noise = np.random.default_rng(5).standard_normal(scores.shape)
    assert measure.informed(rewards, noise) == pytest.approx(0.0, abs=0.02)


# --- halves ---------------------------------------------------------------------------------------


def test_halves_find_cosine_and_efficiency_of_the_model():
    # RLOO follows the location alone: cosine 1/√(1 + c_N²/2), whatever the scores' other columns
    pools = normal_pools()
    parts = [
        halves.products(plan(), rewards["r"], scores).assign(pool=name, reward="r", kind="pool")
        for name, (rewards, scores) in pools.items()
    ]
    table = halves.cosines(pd.concat(parts)).set_index(["estimator", "m"])
    exact = 1 / sqrt(1 + tails.normal_max_mean(128) ** 2 / 2)
    for m in (16, 64):
        row = table.loc[("RLOO", m)]
        assert abs(row["cosine"] - exact) < 5 * row["cosine_se"] < 0.25
        assert abs(table.loc[("max@m", m), "cosine"] - 1.0) < 0.05
    # theory: .22 and .38 for m = 16, N = 128, times the share that the scores explain, 0.36
    for label, known in (("RLOO", 0.22), ("max@m", 0.38)):
        row = table.loc[(label, 16)]
        assert abs(row["efficiency"] - 0.36 * known) < 5 * row["efficiency_se"] < 0.06


def test_truth_of_a_half_is_unbiased_for_the_whole():
    # enumeration: the max@N gradient of all 4-subsets of 6 rollouts has the mean of the 6's
    from itertools import combinations

    rng = np.random.default_rng(3)
    rewards, scores = rng.standard_normal(6), rng.standard_normal((6, 2))
    subsets = [list(part) for part in combinations(range(6), 4)]
    # not in general equal: the score of a subset is centred on itself; for N = 2 and centred
    # advantages both are the mean over pairs of (max − other's) scores
    mean = np.mean([halves.truth(rewards[s], scores[s], 2) for s in subsets], axis=0)
    assert np.allclose(mean, halves.truth(rewards, scores, 2), rtol=0, atol=1e-12)
    wrong = np.mean([halves.truth(rewards[s], scores[s], 3) for s in subsets], axis=0)
    assert not np.allclose(wrong, halves.truth(rewards, scores, 2), atol=1e-3)


def test_whitened_scores_have_unit_second_moment():
    scores = np.random.default_rng(0).standard_normal((500, 3)) @ np.diag([1.0, 5.0, 0.1])
    white = halves.whitened(np.column_stack([scores, scores[:, 0]]))
    assert white.shape == (500, 3)
    assert np.allclose(white.T @ white / 500, np.eye(3), atol=1e-9)


# --- bad input ------------------------------------------------------------------------------------


def test_scores_too_large_for_half_precision(tmp_path):
    with pytest.raises(ValueError, match="too large for half precision"):
        write_pool(tmp_path / "p.npz", {"r": np.ones(3)}, np.full((3, 1), 1e6))


def test_no_pools(configuration, tmp_path):
    result = command("measure", configuration, "--pools", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "draw pools with" in result.output


def test_a_pool_without_the_reward(tmp_path, configuration):
    write_pool(tmp_path / "p.npz", {"letters": np.arange(9.0)}, np.ones((9, 1)))
    provenance = {"configuration": {"rewards": ["letters"]}, "pools": {"p": {}}}
    (tmp_path / "provenance.json").write_text(json.dumps(provenance))
    result = command("measure", configuration, "--pools", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "has no reward 'likelihood'" in result.output
    (tmp_path / "p.npz").write_bytes(b"PK")
    result = command("measure", configuration, "--pools", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "is damaged" in result.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('gaussian = ["likelihood"]', 'gaussian = ["tone"]', "'tone', which is not drawn"),
        ('reference = "TEA"', 'reference = "X"', "give the label of an estimator"),
        ('reference = "TEA"', 'reference = "auto TEA"', "which pools the groups of a batch"),
        ("reps = 512", "reps = 500", '"auto TEA" pools batches of 64 groups'),
        ('name = "rloo"', 'name = "rlo"', "estimator 'rlo' is unknown"),
        ("rows = 128", "rows = 0", "greater than or equal to 1"),
        ("rows = 128", "row = 128", "unknown key"),
    ],
)
def test_bad_configurations(tmp_path, old, new, message):
    path = tmp_path / "bad.toml"
    path.write_text(TINY.replace(old, new))
    result = command("draw", path, "--pools", tmp_path / "p", "--out", tmp_path / "o")
    assert result.exit_code == 2 and message in result.output


def test_half_a_pool_smaller_than_N():
    with pytest.raises(ValueError, match="N is 128 and half a pool has 50 rollouts"):
        halves.products(plan(), np.arange(100.0), np.ones((100, 2)))


def test_the_projects_configuration_is_valid():
    plan = schema.read(Pools, lm_pool.DEFAULT)
    # half precision: below 3 MB
    assert plan.count * plan.rollouts * (2 * plan.core[0] * plan.core[1] + 4 * 6) < 3e6
