"""The enumerated policy: exact against transformers, differences, finite laws and enumeration."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import torch
import typer

from analysis.core.read import ResultsError
from analysis.lm import exact
from simulations import validate_lm
from simulations.core import manifests, schema, store
from simulations.core.leaves import read_leaves
from simulations.lm import engine, models, rewards, tree
from simulations.lm.exact import (
    build,
    checks,
    export,
    frontier,
    join,
    law,
    mixed,
    plan as plan_,
    pools,
    prediction,
    quality,
    run,
    study,
    summary,
    train,
)
from simulations.lm.exact.schema import ExactStudy, Part
from simulations.lm.pools.sketch import Sketch
from simulations.lm.train import Arm, put
from tea_stats import Discrete, EmpiricalPool, advantages, best_of_n, monte_carlo
from tea_stats.estimators.max_at_k import MaxAtK
from tests.studies import contents, one_thread, truncate
from tests.tally import Tally

pytestmark = [pytest.mark.torch, pytest.mark.xdist_group("lm_tree")]

SMOKE = validate_lm.GRIDS / "lm_exact_smoke.toml"
SIZES = (3, 2, 4)
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def enumerated(dtype="float64", layers=1, temperature=1.0, prompts=("Hello",), sizes=SIZES):
    """Return a tiny adapted policy away from its start, with a tree for each prompt."""
    policy = models.load("tiny", dtype=dtype, temperature=temperature)
    models.adapt(policy, 2, layers, TARGETS, seed=0)
    grown = [build.build(policy, prompt, sizes, layers) for prompt in prompts]
    weights, generator = policy.trainable(), torch.Generator().manual_seed(1)
    put(weights, [w + 0.1 * torch.randn(w.shape, generator=generator) for w in weights])
    return policy, tree.Enumerated(policy, layers), grown


def some_rewards(leaves, seed=0):
    return np.random.default_rng(seed).normal(size=leaves).round(1)  # with ties


def jacobian(model, one):
    """Every leaf's score in every trained parameter, shape (leaves, parameters)."""
    weights = [w for w in model.parameters() if w.requires_grad]
    rows = [torch.autograd.grad(x, weights, retain_graph=True) for x in model(one)]
    return np.stack([torch.cat([g.flatten() for g in row]).numpy() for row in rows])


# --- probabilities --------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_transformers_own_attention(layers, temperature):
    policy, model, (one,) = enumerated("float32", layers, temperature)
    with torch.no_grad():
        ours = model(one).numpy()
    theirs = checks.plain_logprobs(policy, one, np.arange(one.leaves))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    assert abs(ours - one.start).max() > 1e-2  # the adapters matter
    np.testing.assert_allclose(np.exp(ours).sum(), 1.0, atol=1e-12)
    with policy.as_loaded() as start:
        before = checks.plain_logprobs(start, one, np.arange(one.leaves))
    np.testing.assert_allclose(one.start, before, rtol=0, atol=1e-4)


def test_sets_are_the_frozen_models_most_likely_tokens_and_no_special_ones():
    policy, _, (one,) = enumerated(sizes=(3, 2, 250))
    assert [len(tokens) for tokens in one.sets] == [1, 3, 6]
    prompt = policy.tokenizer("Hello")["input_ids"]
    prefix = [*prompt, int(one.sets[0][0, 1]), int(one.sets[1][1, 0])]
    policy.model.get_base_model().set_attn_implementation("eager")
    with torch.no_grad(), policy.as_loaded() as start:
        logits = start.model(torch.tensor([prefix]), use_cache=False).logits[0, -1]
    ranked = [t for t in logits.argsort(descending=True).tolist() if t > 1]  # <end>, <unknown>
    assert one.sets[2][1 * 2 + 0].tolist() == ranked[:250]
    responses = one.responses()
    assert len(torch.unique(responses, dim=0)) == one.leaves == 1500
    assert not torch.isin(responses, torch.tensor([0, 1])).any()


# --- values and gradients -------------------------------------------------------------------------


def test_values_are_those_of_the_finite_laws():
    counts = np.array([1, 4, 2, 9, 1, 3])
    r = np.array([0.3, -1.0, 0.3, 0.0, 2.0, 1.0])
    pool = EmpiricalPool(np.repeat(r, counts), np.zeros((counts.sum(), 1)))
    _, model, (one,) = enumerated()
    leaves = some_rewards(one.leaves)
    with torch.no_grad():
        logprobs = model(one).numpy()
    discrete = Discrete.from_probabilities(leaves, np.exp(logprobs))
    for N in (1, 2, 16, 512):
        ours = tree.law_of(np.log(counts / counts.sum()), r)
        assert best_of_n.value(ours, N) == pytest.approx(best_of_n.value(pool, N), abs=1e-12)
        row = tree.summary(one, logprobs, leaves, (N,))
        assert row[f"V_{N}"] == pytest.approx(best_of_n.value(discrete, N), abs=1e-12)
    p = np.exp(logprobs)
    assert row["kl"] == pytest.approx(float(p @ (logprobs - one.start)), abs=1e-12)
    assert row["entropy"] == pytest.approx(float(-p @ logprobs), abs=1e-12)


@pytest.mark.parametrize("N", [1, 2, 16])
def test_gradient_is_the_finite_difference(N):
    _, model, (one,) = enumerated()
    along, difference = checks.slopes(model, one, some_rewards(one.leaves), N)
    # the norms of the model compute in float32, whatever its weights
    assert along == pytest.approx(difference, rel=1e-4)
    wrong, _ = checks.slopes(model, one, some_rewards(one.leaves), 3 * N)
    assert wrong != pytest.approx(difference, rel=1e-2)


@pytest.mark.parametrize("N, m", [(2, 3), (3, 3)])
def test_max_at_m_with_m_at_least_N_has_the_exact_gradient_as_its_mean(N, m):
    """Every group of m leaves, with its probability."""
    _, model, (one,) = enumerated(sizes=(2, 2))
    r = np.array([0.0, 1.0, 0.5, 1.0])
    exact = train.gradients(model, train.Rated("a", "trained", one, r), [N])[0]
    scores, p = jacobian(model, one), np.exp(model(one).detach().numpy())
    mean = np.zeros_like(exact)
    for group in product(range(4), repeat=m):
        y = list(group)
        mean += p[y].prod() * advantages("max_at_k", r[y], N) @ scores[y] / m
    np.testing.assert_allclose(mean, exact, rtol=0, atol=1e-6 * abs(exact).max())


# --- draws ----------------------------------------------------------------------------------------


def test_draws_agree_with_probabilities_and_have_their_gradient():
    _, model, trees = enumerated(prompts=("Hello", "A longer prompt"), layers=2)
    grid = (torch.arange(20, dtype=torch.float64) + 0.5) / 20
    uniform = torch.cartesian_prod(grid, grid, grid)
    leaves, logprobs = model.draw(trees, torch.stack([uniform, uniform]))
    exact = torch.stack([model(one) for one in trees])
    torch.testing.assert_close(logprobs, exact.gather(1, leaves), rtol=0, atol=1e-6)
    for row, p in zip(leaves, exact.detach().exp(), strict=True):
        frequency = torch.bincount(row, minlength=len(p)) / len(row)
        # a grid of 20 is off by at most 1/20 of a choice at each depth
        assert float((frequency - p).abs().max()) < 3 / 20 * float(p.max())
        assert abs(float((frequency - p).abs().sum())) < 0.25
    weights = [w for w in model.parameters() if w.requires_grad]
    some = slice(0, 8000, 100)
    ours = torch.autograd.grad(logprobs[:, some].sum(), weights, retain_graph=True)
    theirs = torch.autograd.grad(exact.gather(1, leaves[:, some]).sum(), weights)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


# --- as a law -------------------------------------------------------------------------------------


def test_leaves_are_a_law_whose_gradient_is_the_exact_one_along_every_direction():
    _, model, (one,) = enumerated()
    r = some_rewards(one.leaves)
    along = law.directions(model, 5, seed=0)
    scores = law.adapter_scores(model, one, along)
    flat = np.stack([np.concatenate([x.numpy().ravel() for x in v.values()]) for v in along])
    np.testing.assert_allclose(scores, jacobian(model, one) @ flat.T / np.sqrt(5), atol=1e-6)
    leaves = law.Leaves(r, model(one).detach().numpy(), scores)
    exact = train.gradients(model, train.Rated("a", "trained", one, r), [8])[0]
    np.testing.assert_allclose(
        best_of_n.gradient(leaves, 8), exact @ flat.T / np.sqrt(5), atol=1e-6
    )
    table = monte_carlo.measure(leaves, {"max@m": ("max_at_k", {})}, 8, 8, reps=4000)
    own = table[table["parameter"] != "all"]
    z = (own["bias"] / own["bias_mcse"]).abs().max()
    assert z < 5 and own["bias_mcse"].max() < 0.2 * own["exact"].abs().max()


def test_scores_of_the_head_are_finite_differences_of_its_weights():
    _, model, (one,) = enumerated()
    head, generator = model.head.weight, torch.Generator().manual_seed(3)
    U = torch.randn(len(head), 2, generator=generator, dtype=head.dtype)
    V = torch.randn(head.shape[1], 3, generator=generator, dtype=head.dtype)
    ours, h, before = law.head_scores(model, one, Sketch(U, V)), 1e-4, head.detach().clone()
    for j, (a, b) in enumerate(product(range(2), range(3))):
        ends = []
        for sign in (1.0, -1.0):
            put([head], [before + sign * h * torch.outer(U[:, a], V[:, b])])
            ends.append(model(one).detach().numpy())
        np.testing.assert_allclose(ours[:, j], (ends[0] - ends[1]) / (2 * h), atol=1e-4)
    put([head], [before])


# --- training -------------------------------------------------------------------------------------


def small():
    """Return the smoke study with small trees, one step size and two steps."""
    content = schema.read(ExactStudy, SMOKE).model_dump()
    content["training"] |= {"steps": 2, "rates": [0.01], "evaluate": [1, 2]}
    content["trees"] |= {"sizes": [3, 2, 3], "count": 2, "heldout_count": 1}
    return ExactStudy.model_validate(content)


def test_a_step_along_the_exact_gradient_raises_its_value_and_losses_agree_in_the_mean():
    _, model, (one,) = enumerated()
    rated = train.Rated("a", "trained", one, some_rewards(one.leaves))
    weights = [w for w in model.parameters() if w.requires_grad]
    loss = torch.autograd.grad(train.exact_loss(model, [rated], 16), weights)
    exact = train.gradients(model, rated, [16])[0]
    flat = -torch.cat([g.flatten() for g in loss]).numpy()
    assert flat @ exact / np.linalg.norm(flat) / np.linalg.norm(exact) == pytest.approx(1.0)
    before = train.evaluated(model, [rated], [16])["V_16"][0]
    put(weights, [w - 1e-3 * g for w, g in zip(weights, loss, strict=True)])
    assert train.evaluated(model, [rated], [16])["V_16"][0] > before
    # RLOO's mean is ∇V_1
    arm, draws = Arm("rloo", {}, 256, 16, 0.0), engine.uniforms(0, (1,), (1, 256, 3))
    sampled = torch.autograd.grad(train.sampled_loss(model, [rated], arm, draws), weights)
    flat = -torch.cat([g.flatten() for g in sampled]).numpy()
    mean = train.gradients(model, rated, [1])[0]
    assert flat @ mean / np.linalg.norm(flat) / np.linalg.norm(mean) > 0.8


def ran(plan, out):
    run._loaded.cache_clear()
    with one_thread() as (executor, parallel):
        manifest = manifests.describe(plan.model_dump(mode="json"))
        manifest["checks"] = run.run(plan, out, Part.all, executor, parallel, Tally())
    store.write(manifest, out / "manifest.json")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the folder of a finished small study."""
    out = tmp_path_factory.mktemp("exact")
    ran(small(), out)
    return out


def test_a_killed_study_continues_to_the_same_bits(results, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(results, out)
    # what a kill leaves: some jobs, no tables, a file that was cut by a failing disk; and an arm's
    # results in the place of another's
    files = sorted((out / "jobs").rglob("*.parquet"))
    for path in [*files[::2], *out.glob("*.parquet")]:
        path.unlink()
    cut, one, other, *_ = (path for path in files[1::2] if path.parent.name == "arms")
    truncate(cut)
    shutil.copy(one, other)
    next((out / "jobs" / "trees").rglob("*.npz")).unlink()
    ran(small(), out)
    assert contents(out) == contents(results)


def test_tables_have_every_run_and_the_start(results):
    plan, curves = small(), pd.read_parquet(results / "curves.parquet")
    arms = 2 * 2 * (len(plan.estimators) + 2)  # scenarios, seeds
    assert len(curves) == arms * 2 * 3 and curves.notna().all(axis=None)
    assert (curves["kl"] > 0.0).all()
    quality = pd.read_parquet(results / "quality.parquet")
    assert set(quality["prompt"]) == {"opening-001", "opening-002", "batch"}
    for checked in store.read(results / "manifest.json")["checks"].values():
        assert checked["logprob_error"] < 1e-4 and checked["derivative_error"] < 0.05
    gradients = pd.read_parquet(results / "gradients.parquet")
    assert gradients.loc[gradients["N"] == 1, "cosine"].to_numpy() == pytest.approx(1.0)


def test_exported_laws_are_those_that_were_measured(results, tmp_path):
    files = export.export(results, tmp_path)
    assert [file.name[:19] for file in files] == ["letters-opening-001", "letters-opening-002"]
    start = store.read(results / "start.parquet").set_index("prompt")
    quality_ = store.read(results / "quality.parquet")
    one = read_leaves(files[0])
    for N in (1, 16):
        value = start.loc["opening-001", f"V_{N}"].iloc[0]
        assert best_of_n.value(one, N) == pytest.approx(value, abs=1e-9)
    assert one.scores.shape == (18, 6 + 4)
    table = monte_carlo.measure(one, {"RLOO": ("rloo", {})}, 8, 16, reps=2**17 // 8, seed=3)
    table = table[table["parameter"].isin(one.parameters[:6])]
    kept = (quality_["prompt"] == "opening-001") & (quality_["estimator"] == "RLOO")
    kept &= (quality_["N"] == 16) & (quality_["scores"] == "adapter") & (quality_["groups"] == 64)
    (row,) = quality_[kept & (quality_["scenario"] == "tiny, N = 16")].itertuples()
    # the same figure from other draws
    assert quality.of_rows(table)["cosine"] == pytest.approx(row.cosine, abs=0.1)
    with pytest.raises(ValueError, match="no such file; give the results folder"):
        export.export(tmp_path / "nothing", tmp_path)


def without_ceiling(results, out, arms=None):
    """Copy a small study, whose prompts lie at the ceiling, as if none did; or some arms of it."""
    shutil.copytree(results, out)
    start = store.read(out / "start.parquet").assign(ceiling=False)
    curves = store.read(out / "curves.parquet")
    if arms:
        curves = curves[curves["estimator"].isin(arms)]
    gain = summary.gains(curves, start, small().N)
    tables = {"start": start, "runs": summary.means(gain), "curves": curves}
    tables["differences"] = summary.differences(gain, small())
    tables["frontier"] = frontier.frontier(gain, small())
    tables["prediction"] = prediction.predicted(
        store.read(out / "quality.parquet"), tables["runs"], small()
    )
    for name, table in tables.items():
        store.write(table, out / f"{name}.parquet")
    return out


def test_parts_of_two_machines_are_joined_to_the_whole(results, tmp_path):
    whole = without_ceiling(results, tmp_path / "whole")
    first = without_ceiling(
        results, tmp_path / "1", ["exact ∇V_N", "exact ∇V_1", "RLOO", "TEA .5", "auto TEA"]
    )
    second = without_ceiling(results, tmp_path / "2", ["RLOO", "max@m"])
    tables = join.join([second, first], tmp_path / "out")
    for name in ("runs", "frontier", "start", "gradients", "sweep", "quality", "pools"):
        one, other = (store.read(x / f"{name}.parquet") for x in (whole, tmp_path / "out"))
        if name in ("frontier", "sweep"):
            one, other = (x.sort_values(join.KEYS[name], ignore_index=True) for x in (one, other))
        pd.testing.assert_frame_equal(one[list(other)], other, check_dtype=False)
    known, found = store.read(whole / "differences.parquet"), tables["differences"]
    # no folder has max@m beside these, so that the prompts' interval is unknown
    apart = found["half_prompts"].isna() & known["half_prompts"].notna()
    both = found.loc[apart, ["estimator", "against"]].to_numpy().tolist()
    assert all("max@m" in pair and "RLOO" not in pair for pair in both) and len(both) == 4 * 8
    known.loc[apart, "half_prompts"] = np.nan
    pd.testing.assert_frame_equal(known, found[list(known)], check_dtype=False)
    assert len(store.read(tmp_path / "out" / "manifest.json")["runs"]) == 0
    # what rests on fewer seeds than the runs of both folders have is no longer used
    old = store.read(first / "differences.parquet")
    store.write(old.assign(seeds=1, difference=9.0), first / "differences.parquet")
    renewed = join.join([second, first], tmp_path / "out")["differences"]
    assert (renewed["seeds"] == 2).all() and renewed["difference"].abs().max() < 9.0
    app = typer.Typer()
    app.command()(join.main)
    moved = store.read(second / "runs.parquet")
    moved["V_1"] += 0.1
    store.write(moved, second / "runs.parquet")
    for words, text in (
        ([first, second], "runs differ in V_1, first at {'scenario': 'tiny, N = 16'"),
        ([first, tmp_path / "none"], "no such file; give folders of an exact study"),
        ([tmp_path / "out", first], "one of the folders; give another"),
    ):
        result = CliRunner().invoke(app, [*map(str, words), "--out", str(tmp_path / "out")])
        assert result.exit_code == 2 and text in " ".join(result.output.split())
    other = store.read(second / "manifest.json") | {"hash": "0"}
    store.write(other, second / "manifest.json")
    with pytest.raises(ValueError, match="is of another configuration than"):
        join.join([first, second], tmp_path / "out")


def test_figures_and_report_are_the_same_from_the_summary(results, tmp_path):
    # prompts of the tiny model lie at the ceiling; here they are all shown
    copy = without_ceiling(results, tmp_path / "copy")
    app = typer.Typer()
    app.command()(exact.main)
    words = [str(copy), "--out", str(tmp_path / "figures"), "--summary", str(tmp_path / "small")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "figures").iterdir())) == 8
    assert (copy / "prediction.parquet").exists()
    assert exact.report(exact.load(tmp_path / "small")) == exact.report(exact.load(copy))
    assert "differ at 1 of 1 step sizes" in result.output
    with pytest.raises(ResultsError, match="no such folder; run .*--preset exact` again"):
        exact.load(tmp_path / "nothing")


def test_quality_is_that_of_the_definitions():
    """Two prompts, one direction each: every figure by hand."""
    columns = {"estimator": "x", "m": 8, "N": 16, "scores": "adapter", "bias_mcse": 0.0}
    one = pd.DataFrame({"parameter": ["a", "b"], "mean": [2.0, 0.0], "exact": [1.0, 0.0]})
    two = pd.DataFrame({"parameter": ["a", "b"], "mean": [0.0, 0.0], "exact": [0.0, 1.0]})
    tables = {
        "p": one.assign(variance=32.0, **columns),
        "q": two.assign(variance=64.0, **columns),
    }
    rows = quality.judged(tables).set_index("prompt")
    # s = (2, 0), t = (1, 0), v = 64 of one group, 64 groups
    assert rows.loc["p", "bias2"] == pytest.approx(1.0)
    assert rows.loc["p", "cosine"] == pytest.approx(1.0)
    assert rows.loc["p", "gain"] == pytest.approx(4.0 / (4.0 + 64.0 / 64.0))
    # the batch: s = (1, 0), t = (½, ½), v = 96
    assert rows.loc["batch", "bias2"] == pytest.approx(0.5 / 0.5)
    assert rows.loc["batch", "cosine"] == pytest.approx(0.5**0.5)
    assert rows.loc["batch", "gain"] == pytest.approx(0.25 / (0.5 * (1.0 + 96.0 / 64.0)))


def test_the_one_step_gain_is_at_the_noise_of_the_step():
    columns = {"estimator": "x", "m": 8, "N": 16, "scores": "adapter", "bias_mcse": 0.0}
    one = pd.DataFrame({"parameter": ["a"], "mean": [2.0], "exact": [1.0], "variance": [32.0]})
    rows = quality.judged({"p": one.assign(**columns)}, (8, 64)).set_index(["groups", "prompt"])
    assert rows.loc[(8, "p"), "gain"] == pytest.approx(4.0 / (4.0 + 32.0 / 8.0))
    assert rows.loc[(64, "p"), "gain"] == pytest.approx(4.0 / (4.0 + 32.0 / 64.0))
    assert rows.loc[(8, "p"), "noise"] == pytest.approx(4.0)
    away = quality.judged({"p": one.assign(mean=-2.0, **columns)}, (8,))
    assert (away["gain"] == 0.0).all()


def test_gains_are_compared_at_equal_divergence():
    """Two seeds, linear between evaluations; one never gets to two nats."""
    rows = [
        {"scenario": "tiny, N = 16", "rate": 0.1, "split": "trained", "estimator": "x"}
        | {"seed": seed, "step": step, "prompt": p, "kl": kl * (1 if p == "a" else 3)}
        | {"V_16": gain * (1 + seed) * (1 if p == "a" else 2)}
        for seed in range(2)
        for step, kl, gain in ((2, 0.25, 0.1), (4, 0.75 + seed, 0.4))
        for p in "ab"
    ]
    table = frontier.frontier(pd.DataFrame(rows), small()).set_index("kl")
    # the mean divergence is .5 after two steps and 1.5, 3.5 after four
    assert table.loc[0.5, "gain"] == pytest.approx(np.mean([0.15, 0.3]))
    assert table.loc[1.0, "gain"] == pytest.approx(np.mean([1.5 * 0.25, 3.0 * 0.15]))
    assert table["seeds"].tolist() == [2, 2, 1]
    assert table.loc[2.0, "gain"] == pytest.approx(3.0 * 0.25)
    seeds = np.array([1.5 * 0.25, 3.0 * 0.15])
    assert table.loc[1.0, "half_seeds"] == pytest.approx(frontier.half_width(seeds))
    prompts = np.array([np.mean([0.25, 2 * 0.15]), np.mean([0.5, 4 * 0.15])])
    assert table.loc[1.0, "half_prompts"] == pytest.approx(frontier.half_width(prompts))


def test_prediction_is_the_rank_correlation_over_arms_with_seeds_that_all_have():
    plan = schema.read(ExactStudy, validate_lm.GRIDS / "lm_exact.toml")
    arms = ["RLOO", "GRPO", "max@m", "TEA .25", "TEA .5"]
    figure = dict(zip(arms, (0.1, 0.2, 0.4, 0.3, 0.5), strict=True))
    before = pd.DataFrame(
        {"scenario": "tone, N = 128", "prompt": "batch", "scores": "adapter", "m": 16, "N": 128}
        | {"groups": 8, "estimator": arm, "gain": g, "cosine": g, "error": 1 - g, "bias2": 1 - g}
        for arm, g in figure.items()
    )
    gain = dict(zip(arms, (1.0, 2.0, 3.0, 4.0, 5.0), strict=True))
    runs = pd.DataFrame(
        {"scenario": "tone, N = 128", "rate": 8e-4, "step": 40, "split": "trained"}
        | {"estimator": arm, "seed": seed, "V_128": g + 0.01 * seed}
        for arm, g in gain.items()
        for seed in range(3 if arm == "RLOO" else 4)
    )
    table = prediction.predicted(before, runs, plan).set_index("figure")
    assert (table["seeds"] == 3).all() and (table["arms"] == 5).all()
    # ranks 1, 2, 4, 3, 5 and 1, 2, 3, 4, 5: 1 − 6 · 2 / (5 · 24)
    assert table["correlation"].to_list() == pytest.approx([0.9] * 4)
    assert (table["low"] < 0.9).all() and table["high"].to_list() == pytest.approx([1.0] * 4)
    none = prediction.predicted(before.assign(groups=64), runs, plan)
    assert none.empty and {"correlation", "low"} <= set(none)


def some_leaves(rng, count, directions):
    """Return a law of so many leaves; scores have mean 0."""
    rewards, logits = rng.normal(size=(2, count))
    p = np.exp(logits) / np.exp(logits).sum()
    vectors = rng.normal(size=(count, directions))
    with pytest.raises(ValueError, match=r"vectors\[:, \d\] has the mean .* scores have mean 0"):
        law.Leaves(rewards, logits, vectors + 1.0)
    return law.Leaves(rewards, logits, vectors - p @ vectors)


def test_what_pools_is_measured_in_batches_of_all_prompts(monkeypatch):
    """max@m at N = m is unbiased; a batch of it is as noisy as batches of single prompts tell."""
    rng = np.random.default_rng(5)
    laws = [some_leaves(rng, 40, 3) for _ in range(3)]
    plan = schema.read(ExactStudy, SMOKE)
    few = plan.quality.model_copy(update={"reps": 2**17, "directions": 2, "N": (8,), "m": (8,)})
    arm = {"max@m": plan.estimators["max@m"]}
    assert mixed.measured(few, laws, arm, (2,), 0).empty  # it does not pool
    alone = {str(j): quality.measured(few, one, arm, 0) for j, one in enumerate(laws)}
    expected = quality.judged(alone, (2, 7)).set_index(["prompt", "groups", "scores"])
    monkeypatch.setattr(MaxAtK, "pools", True)
    assert quality.judged(alone, (2,), ["max@m"])["prompt"].unique().tolist() == ["0", "1", "2"]
    # batches of 2 of the 3 prompts, and of 2 groups of each
    table = mixed.measured(few, laws, arm, (2, 7), 0)
    z = (table["mean"] - table["exact"]) / table["bias_mcse"]
    assert z.abs().max() < 5.0 and table["bias_mcse"].max() < 0.01
    found = mixed.judged(table, 3).set_index(["prompt", "groups", "scores"])
    assert set(found.index) == {("batch", n, x) for n in (2, 7) for x in ("adapter", "head")}
    for row in found.index:
        assert found.loc[row, "noise"] == pytest.approx(expected.loc[row, "noise"], rel=0.1)
        assert found.loc[row, "gain"] == pytest.approx(expected.loc[row, "gain"], abs=0.02)
    # each tile of replications has a stream of its own
    monkeypatch.setattr(mixed, "TILE", 512)
    one, other, *_ = (r for r, _ in mixed._draws(few, laws, 1, 8, 0))
    assert one.shape == other.shape and not np.isin(one[:, :, 0], other[:, :, 0]).all()
    assert (one != other).mean() > 0.5
    # the prompts of a batch learn from each other, and from no other batch's
    rewards = rng.normal(size=(2, 3, 8))
    auto = schema.EstimatorTable(name="auto_tea")
    (one, other) = mixed._blocks(3, 1, 2)
    assert (one, other) == (slice(0, 2), slice(2, 4)) and mixed._blocks(3, 2, 7) == [slice(0, 6)]
    A = mixed._advantages(rewards[:, other], auto, 32)
    assert A == pytest.approx(advantages("max_at_k", rewards[:, other], 32))


def test_an_estimator_that_is_not_defined_for_small_groups_is_left_out():
    rng = np.random.default_rng(4)
    leaves = some_leaves(rng, 50, 7)
    plan = schema.read(ExactStudy, validate_lm.GRIDS / "lm_exact.toml")
    few = plan.quality.model_copy(update={"reps": 2048, "directions": 5, "N": (32,), "m": (8, 16)})
    chosen = {label: plan.estimators[label] for label in ("Prefix-TEA", "RLOO")}
    table = quality.measured(few, leaves, chosen, 0)
    assert set(zip(table["estimator"], table["m"], strict=True)) == {
        ("RLOO", 8),
        ("RLOO", 16),
        ("Prefix-TEA", 16),
    }
    assert table["scores"].value_counts().to_dict() == {"adapter": 15, "head": 6}


def test_pools_drawn_from_a_law_come_near_it_and_halves_say_how_near():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(300, 6))
    r, logits = scores[:, 0] + 0.3 * rng.normal(size=300), rng.normal(size=300)
    leaves = law.Leaves(r, logits, scores - np.exp(logits) @ scores / np.exp(logits).sum())
    plan = schema.read(ExactStudy, SMOKE).pools.model_copy(
        update={"sizes": (64, 1024), "N": (16,), "draws": 40, "order_draws": 0}
    )
    table = pools.measured(plan, leaves, {}, seed=1).groupby("M").mean(numeric_only=True)
    share, halves = table["noise"] / table["square"], table["halves"] / table["square"]
    assert share[64] > 2.0 * share[1024] and table["cosine"][1024] > 0.9
    np.testing.assert_allclose(halves, share, atol=0.15)
    # the gradient of a pool of everything is the law's
    exact = best_of_n.gradient(leaves, 16)
    many = pools.drawn(leaves, 200_000, 1, 0)
    assert pools.closeness(many, exact, 16)["cosine"] > 0.999


def test_other_numbers_of_prompts_a_step_draw_as_many_rollouts(results):
    swept = pd.read_parquet(results / "sweep.parquet")
    jobs = study.Study(small(), results)
    runs = plan_.runs(small(), Part.sweep)
    assert {one.batch for one in runs} == {1, None}
    steps = [store.read(jobs.path(one))["step"].max() for one in runs]
    assert set(zip((one.batch for one in runs), steps, strict=True)) == {(1, 4), (None, 2)}
    assert set(swept["batch"]) == {1, 2} or swept.empty


def test_arms_that_are_the_same_at_several_N_are_trained_once():
    plan = small()
    scenarios = list(plan.scenarios.values())
    served = {
        label: [plan_.serving(plan, scenario, label) for scenario in scenarios]
        for label in ("RLOO", "max@m", "TEA .5", "exact ∇V_N", "exact ∇V_1")
    }
    assert served == {
        "RLOO": [16, 16],
        "max@m": [16, 16],
        "TEA .5": [16, 64],
        "exact ∇V_N": [16, 64],
        "exact ∇V_1": [16, 16],
    }


@pytest.mark.parametrize("name", ["lm_exact", "lm_exact_smoke"])
def test_configurations_are_valid(name):
    plan = schema.read(ExactStudy, validate_lm.GRIDS / f"{name}.toml")
    assert len(list(plan_.runs(plan, Part.all))) > len(list(plan_.runs(plan, Part.core))) > 0


def test_parts_come_in_the_order_of_their_worth_seed_by_seed_the_exact_arms_last():
    plan = schema.read(ExactStudy, validate_lm.GRIDS / "lm_exact.toml")
    core = plan_.runs(plan, Part.core)
    assert len(core) == 12 * 10 and {one.scenario for one in core} == {"tone, N = 128"}
    assert [one.seed for one in core[:96]] == sorted(one.seed for one in core[:96])
    assert [one.label for one in core[:8]] == list(plan.main)
    assert [one.label for one in core[96:98]] == ["exact ∇V_N", "exact ∇V_1"]
    rates = plan_.runs(plan, Part.rates)
    assert {(one.label, one.seed) for one in rates} == {(one.label, one.seed) for one in core}
    assert {one.rate for one in rates} == set(plan.training.rates[1:])
    rest = plan_.runs(plan, Part.rest)
    firsts = list(dict.fromkeys(one.scenario for one in rest))
    assert firsts[:3] == ["tone, N = 128", "relevance, N = 128", "tone, N = 512"]
    places = [one.label in plan_.EXACT for one in rest]
    assert places == sorted(places)
    everything = plan_.runs(plan, Part.all)
    assert everything[:240] == [*core, *rates]
    sweep = [one for one in everything if one.batch is not None]
    assert len(sweep) == 12 * 3 * len(plan.sweep.estimators)
    assert len(set(everything)) == len(everything) == 12 * 2 * 4 * 14 + len(sweep)
    # one of each reward, that of the first scenario alone before the rest
    assert plan_.measured_scenarios(plan, Part.core) == []
    assert plan_.measured_scenarios(plan, Part.quality) == ["tone, N = 128"]
    assert plan_.measured_scenarios(plan, Part.all) == ["tone, N = 128", "relevance, N = 128"]


def test_differences_are_paired_and_prompts_at_the_ceiling_are_left_out():
    start = pd.DataFrame(
        {"scenario": "s", "split": "trained", "prompt": ["a", "b", "c"], "V_1": 1.0}
    ).assign(ceiling=[False, False, True])
    rows = [
        {"scenario": "s", "split": "trained", "prompt": p, "rate": 0.1, "step": 4}
        | {"estimator": arm, "seed": seed, "V_1": 1.0 + seed + gap * (1.0 + 0.1 * seed)}
        for p in "abc"
        for arm, gap in (("x", 0.0), ("y", 0.5))
        for seed in range(3)
    ]
    gain = summary.gains(pd.DataFrame(rows), start, (1,))
    assert set(gain["prompt"]) == {"a", "b"}
    assert gain["V_1"].min() == pytest.approx(0.0)
    plan = small()
    plan = plan.model_copy(
        update={"N": (1,), "training": plan.training.model_copy(update={"steps": 4})}
    )
    (row,) = summary.differences(gain, plan).to_dict("records")
    assert (row["estimator"], row["against"], row["seeds"]) == ("y", "x", 3)
    assert row["difference"] == pytest.approx(0.55)
    assert row["half_seeds"] == pytest.approx(4.302653 * 0.05 / np.sqrt(3), rel=1e-5)
    assert row["half_prompts"] == pytest.approx(0.0, abs=1e-12)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"sizes": (3, 300)}, ["300 tokens at depth 2", "256 that are not special"]),
        ({"sizes": (200, 250, 250, 250)}, ["GiB", "are free", "fits"]),
        ({"layers": 3}, ["adapter.layers is 3", "has 2 layers"]),
        ({"prompt": "a"}, ["'a' has 1 tokens"]),
    ],
)
def test_what_cannot_be_enumerated_is_refused(changes, words):
    policy = models.load("tiny")
    settings = {"prompt": "Hello", "sizes": (3, 2), "layers": 1} | changes
    with pytest.raises(ValueError) as error:
        build.build(policy, **settings)
    assert all(word in str(error.value) for word in words)


def test_a_model_without_layers_is_refused():
    policy = models.load("tiny")
    inner = torch.nn.Module()
    inner.norm = policy.model.model.norm
    policy = replace(policy, model=torch.nn.Module())
    policy.model.model = inner
    with pytest.raises(ValueError, match=r"has no layers and no rotary_emb; give a decoder"):
        tree.decoder(policy)


def test_a_reward_that_is_not_finite_names_the_response(tmp_path, monkeypatch):
    seen = []

    def broken(policy):
        def rate(prompts, texts):
            seen.extend(texts)
            return np.array([np.nan if i == 3 else 0.0 for i in range(len(texts))])

        return rate

    monkeypatch.setitem(rewards.REWARDS, "letters", rewards.Record(broken, ""))
    jobs = study.Study(small(), tmp_path)
    with pytest.raises(ValueError, match="is nan for prompt 'The weather") as error:
        jobs.load("tiny, N = 16")
    assert seen[3].startswith("The weather this morning is") and repr(seen[3]) in str(error.value)


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('main = ["RLOO"', 'main = ["RLO"', "main has 'RLO'"),
        ("evaluate = [2, 4]", "evaluate = [2, 5]", "training.evaluate has 5"),
        ("N = [1, 4, 16, 64]", "N = [1, 4, 16]", "N lacks 64"),
        ("rank = 2", "rank = 0", "adapter.rank is 0"),
        ('[estimators."RLOO"]', '[estimators."exact ∇V_1"]', "is an exact arm's"),
        ("sizes = [6, 3, 4]", "size = [6, 3, 4]", "trees.size is an unknown key"),
    ],
)
def test_a_wrong_configuration_is_one_line(tmp_path, old, new, words):
    text = SMOKE.read_text(encoding="utf-8").replace(old, new)
    if "∇" in new:
        text = text.replace('main = ["RLOO", "max@m"]', 'main = ["max@m"]')
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    app = typer.Typer()
    app.command()(validate_lm.main)
    result = CliRunner().invoke(app, ["--config", str(tmp_path / "c.toml"), "--out", str(tmp_path)])
    assert result.exit_code == 2 and words in result.output.replace("\n", " ")


def test_a_part_is_of_exact_studies(tmp_path):
    app = typer.Typer()
    app.command()(validate_lm.main)
    result = CliRunner().invoke(
        app, ["--preset", "smoke", "--part", "core", "--out", str(tmp_path)]
    )
    assert result.exit_code == 2 and "leave it out" in result.output
