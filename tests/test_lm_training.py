"""The training study at smoke size: the gradient, the common random numbers, resuming, errors."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace

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
from analysis.lm import training as lm_training
from simulations import validate_lm
from simulations.core import manifests, schema, store
from simulations.lm import engine, evaluation, models, oracle, rewards, study, summary, train
from simulations.lm.prompts import Prompt
from simulations.lm.schema import Study
from tea_stats import advantages
from tests.tally import Killed, Tally

pytestmark = [pytest.mark.torch, pytest.mark.xdist_group("lm_training")]

SMOKE = validate_lm.GRIDS / "lm_smoke.toml"
PROMPTS = [Prompt("a", "Hello"), Prompt("b", "A longer question?"), Prompt("c", "x y")]
ARM = train.Arm("tea", {}, m=8, N=32, rate=0.01, kl=0.05)


def adapted(dtype="float32", rank=2):
    policy = models.load("tiny", dtype=dtype)
    if rank:
        models.adapt(policy, rank, 2, ("q_proj", "down_proj"), seed=0)
    else:
        models.unfreeze(policy)
    return policy


def letters(policy):
    return rewards.load("letters", policy)


def course(steps, save_every=2):
    sizes = {"rows": 16, "train_rows": 5, "save_every": save_every}
    return train.Course(PROMPTS, 2, steps, 6, seed=3, key=(0, 0), **sizes)


def log_of(folder, steps, **changes):
    policy = adapted(**changes)
    return policy, train.train(policy, ARM, course(steps), letters(policy), folder)


def same(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    return left.drop(columns=train.TIMES).equals(right.drop(columns=train.TIMES))


# --- one step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 2])
def test_gradient_is_the_sum_over_rollouts_in_however_many_pieces(rank):
    policy = adapted("float64", rank)
    weights = policy.trainable()
    # away from the start, so that the divergence has a gradient
    with torch.no_grad():
        for weight in weights:
            weight.add_(
                0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
            )
    encoded = policy.encode([p.text for p in PROMPTS], 6)
    drawn = engine.sample(policy, encoded, engine.uniforms(0, (1,), (3, 4, 6)), rows=99)
    A = torch.linspace(-1.0, 2.0, 12, dtype=torch.float32).view(3, 4)
    logprobs = engine.score(policy, drawn)
    with torch.no_grad(), policy.as_loaded() as start:
        gap = logprobs - engine.score(start, drawn)
    mean = (A.reshape(-1).double() * logprobs.sum(1)).mean()
    # the gradient of Σ_t KL given the tokens before, by the score function: (log π − log π₀) ∇log π
    kl = (gap.detach() * logprobs).sum(1).mean()
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(0.3 * kl - mean, weights)])
    for rows in (1, 3, 5, 99):
        for weight in weights:
            weight.grad = None
        row = train.backward(policy, drawn, A, 0.3, rows)
        assert torch.allclose(train.flat_gradient(weights), exact, rtol=0.0, atol=1e-6)
        assert row["kl"] == pytest.approx(float(gap.sum(1).mean()), abs=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_adapters_of_a_half_precision_model_are_masters_in_float32(layers):
    policies = {dtype: models.load("tiny", dtype=dtype) for dtype in ("bfloat16", "float32")}
    for policy in policies.values():
        models.adapt(policy, 2, layers, ("q_proj", "down_proj"), seed=0)
        assert policy.first == 2 - layers
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():  # they start at 0, near which bfloat16 is as fine
            for weight in policy.trainable():
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    half = policies["bfloat16"]
    encoded = half.encode([p.text for p in PROMPTS], 6)
    draws = engine.uniforms(0, (1,), (3, 4, 6))
    drawn = engine.sample(half, encoded, draws, rows=99, entering=True)
    A = torch.linspace(-1.0, 2.0, 12).view(3, 4)
    train.backward(half, drawn, A, 0.0, 99)
    # the same rollouts
    train.backward(policies["float32"], replace(drawn, entering=None), A, 0.0, 99)
    gradients = [train.flat_gradient(policy.trainable()) for policy in policies.values()]
    # states are rounded to 8 bits
    assert torch.cosine_similarity(*gradients, dim=0) > 0.98
    weights = half.trainable()
    assert {x.dtype for w in weights for x in (w, w.grad)} == {torch.float32}
    before = torch.cat([weight.detach().flatten() for weight in weights])
    torch.optim.Adam(weights, lr=1e-5).step()
    after = torch.cat([weight.detach().flatten() for weight in weights])
    moved = gradients[0] != 0.0
    assert moved.any() and (before != after)[moved].all()
    # weights in bfloat16 would have lost most of it
    assert (before.bfloat16() != after.bfloat16())[moved].float().mean() < 0.1


def test_the_precision_of_products_is_put_back():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError, match="stop"), models.precision(True):
        assert torch.get_float32_matmul_precision() == "high"
        raise RuntimeError("stop")
    assert torch.get_float32_matmul_precision() == before


def test_advantages_have_unit_size_over_the_batch():
    rated = torch.tensor(np.random.default_rng(0).normal(size=(3, 8)))
    A, row = train.scaled_advantages(ARM, rated)
    plain = advantages("tea", rated.numpy(), 32)
    assert float(A.square().mean()) == pytest.approx(1.0)
    assert np.allclose(A.numpy() * row["size"], plain)
    tied = torch.zeros(2, 8, dtype=torch.float64)
    A, row = train.scaled_advantages(ARM, tied)
    assert (A == 0.0).all() and row == {"size": 0.0, "degenerate": 2}


def test_adapters_and_the_frozen_copy_start_where_the_model_is():
    plain = models.load("tiny")
    encoded = plain.encode(["Hello"], 6)
    drawn = engine.sample(plain, encoded, engine.uniforms(0, (1,), (1, 4, 6)), rows=9)
    for rank in (0, 2):
        policy = adapted(rank=rank)
        with torch.no_grad():
            assert torch.allclose(engine.score(policy, drawn), drawn.logprobs, atol=1e-5)
            for weight in policy.trainable():
                weight.add_(0.1)
            assert not torch.allclose(engine.score(policy, drawn), drawn.logprobs, atol=1e-2)
            with policy.as_loaded() as start:
                assert torch.allclose(engine.score(start, drawn), drawn.logprobs, atol=1e-5)


def test_every_prompt_comes_before_any_comes_again():
    seen = [text for step in range(9) for text in course(9).chosen(step)]
    for lap in range(6):
        assert set(seen[3 * lap : 3 * lap + 3]) == {prompt.text for prompt in PROMPTS}
    other = train.Course(PROMPTS, 2, 9, 6, 4, (0, 0), 16, 5, 2)
    assert seen != [text for step in range(9) for text in other.chosen(step)]


@pytest.mark.slow
def test_training_raises_the_reward(tmp_path):
    policy = adapted(rank=0)
    arm = train.Arm("rloo", {}, m=16, N=32, rate=0.01)
    log = train.train(policy, arm, course(15), letters(policy), tmp_path)
    assert log["reward"][-3:].mean() > log["reward"][:3].mean() + 0.1
    # and the same steps against the reward lower it
    policy = adapted(rank=0)
    reward = letters(policy)
    against = rewards.Reward("against", lambda prompts, completions: -reward(prompts, completions))
    log = train.train(policy, arm, course(15), against, tmp_path / "against")
    assert log["reward"][-3:].mean() > log["reward"][:3].mean()


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 2])
def test_killed_and_resumed_gives_the_same_digits(tmp_path, rank):
    whole_policy, whole = log_of(tmp_path / "whole", 5, rank=rank)

    policy, tally = adapted(rank=rank), Tally(stop=3)  # after the checkpoint of step 2
    with pytest.raises(Killed):
        train.train(policy, ARM, course(5), letters(policy), tmp_path / "part", tally.after)
    job = train.job_of(policy, ARM, course(5), letters(policy))
    assert len(train.read_state(tmp_path / "part" / "state.pt", job)["log"]) == 2
    resumed_policy, resumed = log_of(tmp_path / "part", 5, rank=rank)
    assert same(whole, resumed)
    for ours, theirs in zip(whole_policy.trainable(), resumed_policy.trainable(), strict=True):
        assert torch.equal(ours, theirs)


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def edited(change):
    """Change a checkpoint's state and give it a hash that fits, as no damage would."""

    def edit(file):
        state = torch.load(io.BytesIO(file.read_bytes().partition(b"\n")[2]), weights_only=True)
        train.write_state(file, {**state, **change}, job="another")

    return edit


CHECKPOINT_DAMAGE = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:200]),
    "empty": lambda file: file.write_bytes(b""),
    "bit": flip_a_bit,
    "other weights": edited({"weights": [torch.zeros(3)]}),
    "no weights": edited({"weights": []}),
    "nan": edited({"weights": [torch.full((3,), torch.nan)]}),
    "plain pickle": lambda file: file.write_bytes(pickle.dumps({"weights": []})),
}


@pytest.mark.parametrize("damage", CHECKPOINT_DAMAGE.values(), ids=CHECKPOINT_DAMAGE)
def test_a_damaged_checkpoint_is_named_and_training_begins_again(damage, tmp_path, capsys):
    _, whole = log_of(tmp_path, 3)
    damage(tmp_path / "state.pt")
    _, again = log_of(tmp_path, 3)
    assert f"{tmp_path / 'state.pt'} is damaged" in capsys.readouterr().err
    assert same(whole, again)


def test_a_checkpoint_of_another_arm_is_not_taken(tmp_path, capsys):
    log_of(tmp_path, 2)
    policy = adapted()
    other = train.Arm("rloo", {}, m=8, N=32, rate=0.01, kl=0.05)
    log = train.train(policy, other, course(2), letters(policy), tmp_path)
    fresh = adapted()
    assert same(log, train.train(fresh, other, course(2), letters(fresh)))
    assert "state.pt is damaged (it is of another job)" in capsys.readouterr().err


# --- evaluation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_best_of_is_the_mean_over_all_subsets(n):
    from itertools import combinations

    values = np.random.default_rng(n).integers(0, 4, (2, n)).astype(float)
    for N in range(1, n + 1):
        exact = [np.mean([max(part) for part in combinations(row, N)]) for row in values]
        assert np.allclose(evaluation.best_of(values, N), exact, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=f"N is {n + 1} and there are {n} rollouts"):
        evaluation.best_of(values, n + 1)


def test_best_of_with_many_rollouts_has_weights_that_sum_to_one():
    assert evaluation.best_of(np.ones(4096), 256) == pytest.approx(1.0, abs=1e-9)
    ranks = np.arange(1.0, 513.0)
    # E max of an N-subset of 1..n is N (n + 1)/(N + 1)
    assert evaluation.best_of(ranks, 128) == pytest.approx(128 * 513 / 129)


def test_bootstrap_interval_covers_and_pairs():
    # 200 sets of 30 prompts: a 95 % interval misses about 10 times; 26 or more is beyond 5 s.e.
    rng = np.random.default_rng(0)
    missed, width = 0, []
    for _ in range(200):
        prompt = rng.normal(0.0, 3.0, 30)
        ours = prompt + 0.5 + rng.normal(0.0, 0.3, (2, 30))
        theirs = prompt + rng.normal(0.0, 0.3, (2, 30))
        mean, low, high = evaluation.difference(ours, theirs, 300, rng)
        assert mean == pytest.approx(ours.mean() - theirs.mean())
        missed += not low <= 0.5 <= high
        width.append(high - low)
    assert missed < 26
    # prompts differ by 3: an unpaired interval would be about 3 wide
    assert np.mean(width) < 0.4


# --- the oracle -----------------------------------------------------------------------------------


def test_gradients_of_several_weightings_are_sums_of_scores():
    policy = adapted("float64")
    encoded = policy.encode([p.text for p in PROMPTS], 6)
    drawn = engine.sample(policy, encoded, engine.uniforms(0, (1,), (3, 4, 6)), rows=99)
    weights = [torch.linspace(-1, 1, 12, dtype=torch.float64), torch.ones(12, dtype=torch.float64)]
    result = oracle.gradients(policy, drawn, weights, rows=5)
    logprobs = engine.score(policy, drawn).sum(1)
    for weight, ours in zip(weights, result, strict=True):
        exact = torch.autograd.grad(weight @ logprobs, policy.trainable(), retain_graph=True)
        assert torch.allclose(ours, torch.cat([g.flatten() for g in exact]), rtol=0, atol=1e-6)


def test_oracle_and_cosines_on_a_law_with_a_known_answer(tmp_path):
    # every estimator's mean gradient points along the oracle's if the reward moves one way only:
    # reward 1 for a first token of the lower half of the vocabulary, else 0, one token
    policy = adapted("float64")

    def lower(prompts, completions):
        return np.array([float(text < "P") for text in completions])

    reward = rewards.Reward("lower", lower)
    course = train.Course(PROMPTS[:1], 1, 1, 1, seed=1, key=(), rows=999, train_rows=999)
    halves, mean = oracle.oracle(policy, course, 2000, 2, reward, tmp_path)
    assert oracle.reliability(halves) > 0.9 and oracle.reliability(mean) > 0.9
    again = oracle.oracle(policy, course, 2000, 2, reward, tmp_path)
    for first, second in zip((*halves, *mean), (*again[0], *again[1]), strict=True):
        assert torch.equal(first, second)
    # ∇V_2 = 2 (1 − p) ∇p: the direction of the mean's gradient, and so much longer
    encoded = policy.encode([PROMPTS[0].text], 1)
    drawn = engine.sample(policy, encoded, engine.uniforms(0, (9,), (1, 4000, 1)), rows=999)
    p = lower(None, [policy.tokenizer.decode(token) for token in drawn.tokens]).mean()
    assert oracle.cosine(halves, mean) == pytest.approx(1.0, abs=0.02)
    ratio = float(halves[0] @ mean[1] / (mean[0] @ mean[1]))
    assert ratio == pytest.approx(2.0 * (1.0 - p), rel=0.15)
    noise = tuple(torch.randn(len(mean[0]), dtype=torch.float64) for _ in range(2))
    assert np.isnan(oracle.cosine(halves, noise))
    arms = {"RLOO": train.Arm("rloo", {}, m=400, N=2, rate=1.0)}
    table = oracle.cosines(policy, course, arms, halves, reward, batch=0)
    assert table["cosine_corrected"].item() > 0.8
    flipped = tuple(-half for half in halves)
    table = oracle.cosines(policy, course, arms, flipped, reward, batch=0)
    assert table["cosine"].item() < -0.8


# --- the command ----------------------------------------------------------------------------------


def command(*arguments):
    app = typer.Typer()
    app.command()(validate_lm.main)
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    out = tmp_path_factory.mktemp("smoke")
    result = command("--preset", "smoke", "--out", out)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.slow
def test_smoke_preset_writes_every_table(smoke):
    plan = schema.read(Study, SMOKE)
    arms = len(plan.estimators)
    steps = store.read(smoke / "steps.parquet")
    assert len(steps) == arms * plan.seeds * plan.training.steps
    assert steps.drop(columns=["kl"]).notna().all().all()
    # the same prompts and uniform numbers: before any update all arms see the same rollouts
    first = steps[steps["step"] == 0].groupby("seed")["reward"]
    assert (first.nunique() == 1).all()
    assert steps[steps["step"] == 0]["reward"].nunique() == plan.seeds
    tuning = store.read(smoke / "tuning.parquet")
    assert len(tuning) == arms * 3
    best = tuning.loc[tuning.groupby("estimator")["value"].idxmax()].set_index("estimator")["rate"]
    chosen = steps.groupby("estimator")["rate"]
    assert (chosen.nunique() == 1).all() and chosen.first().to_dict() == best.to_dict()
    curves = store.read(smoke / "curves.parquet")
    assert set(curves["estimator"]) == {"start", *plan.estimators}
    assert (curves.groupby("estimator")["value"].apply(lambda v: v.is_monotonic_increasing)).all()
    assert ((curves["low"] <= curves["value"]) & (curves["value"] <= curves["high"])).all()
    runs = store.read(smoke / "runs.parquet")
    mean = runs.groupby(["estimator", "N"])["value"].mean()
    known = curves.set_index(["estimator", "N"])["value"]
    assert mean.loc[known.index].to_numpy() == pytest.approx(known.to_numpy(), rel=1e-12)
    assert set(runs["seed"]) == set(range(plan.seeds))
    differences = store.read(smoke / "differences.parquet")
    pairs = len(plan.estimators) * (len(plan.estimators) + 1) // 2
    assert len(differences) == pairs * differences["N"].nunique()
    behaviour = store.read(smoke / "behaviour.parquet").set_index("estimator")
    assert behaviour.loc["start", "kl"] == pytest.approx(0.0, abs=1e-4)
    samples = store.read(smoke / "samples.parquet")
    assert set(samples["kind"]) == {"best", "first"}
    table = store.read(smoke / "oracle.parquet")
    assert set(table["estimator"]) == set(plan.estimators)
    assert {"mean_reliability", "mean_cosine"} <= set(table)
    manifest = json.loads((smoke / "manifest.json").read_text())
    assert not list(smoke.rglob("tuning/*/state.pt"))
    assert manifest["runs"][-1]["finished"] and "torch" in manifest["runs"][-1]["packages"]


@pytest.mark.slow
def test_smoke_preset_killed_in_the_middle_ends_the_same(smoke, tmp_path):
    # killed at its first seed, then resumed and given another: all jobs as in a single run
    plan = schema.read(Study, SMOKE).model_copy(update={"seeds": 1})
    with pytest.raises(Killed):
        study.run(plan, tmp_path / "part", Tally(stop=61))
    manifest = manifests.describe(plan.model_dump(mode="json"))
    store.write(manifest, tmp_path / "part" / "manifest.json")
    result = command("--preset", "smoke", "--out", tmp_path / "part")
    assert result.exit_code == 0, result.output
    for name in ("curves", "differences", "behaviour", "samples", "histogram"):
        ours, theirs = (store.read(f / f"{name}.parquet") for f in (smoke, tmp_path / "part"))
        assert ours.equals(theirs), name
    ours, theirs = (store.read(f / "steps.parquet") for f in (smoke, tmp_path / "part"))
    assert same(ours, theirs)
    now, then = (json.loads((f / "manifest.json").read_text()) for f in (tmp_path / "part", smoke))
    assert now["hash"] == then["hash"] and now["configuration"] == then["configuration"]


def test_decode_steps_are_those_of_the_engine(tmp_path, monkeypatch):
    content = configuration(evaluation__count=5) | {"seeds": 1, "rows": 70}
    content["estimators"] = {"RLOO": {"name": "rloo"}, "max@m": {"name": "max_at_k"}}
    plan = Study.model_validate(content)
    decode, calls = engine._decode, []

    def counted(policy, prompts, draws, watcher, slopes):
        calls.append(draws.shape[:2].numel())
        return decode(policy, prompts, draws, watcher, slopes)

    monkeypatch.setattr(engine, "_decode", counted)
    study.run(plan, tmp_path, Tally())
    assert calls.pop(0) == 1  # adapters: may scores begin at the first of them?
    assert sum(calls) == study.work(plan)
    assert len(calls) * plan.new_tokens == study.steps(plan)
    assert max(calls) <= plan.rows


def test_the_size_of_the_preset_for_a_card(capsys):
    # by hand, for each of 5 scenarios: 9 arms of 3 seeds and the start are evaluated on 64 prompts,
    # 4 together; 60 steps of 16 prompts; the oracle's 8 prompts, two calls each, and 32 batches
    plan = schema.read(Study, validate_lm.GRIDS / "lm_gpu.toml")
    calls = 5 * (28 * 64 // 4 + 27 * 60 + 8 * 2 + 32)
    assert study.steps(plan) == 64 * calls
    trained = 27 * 60 * 16 * (4 * 16 + 64)
    oracle = 5 * 8 * 2048 + 32 * 8 * (4 * 16 + 64)
    assert study.work(plan) == 5 * 28 * 64 * 256 + trained + oracle
    validate_lm.main(preset="gpu", size=True)
    assert f"{study.steps(plan):,} decode steps" in capsys.readouterr().err


def test_one_step_size_needs_no_tuning(tmp_path):
    content = configuration(tuning__rates=[0.01]) | {"seeds": 1, "oracle": None}
    content["estimators"] = {"RLOO": {"name": "rloo"}}
    plan, done, again = Study.model_validate(content), Tally(), Tally()
    study.run(plan, tmp_path, done)
    study.run(plan, tmp_path, again)
    # the progress bar's total is the work done, and in a second run all of it is kept
    assert done.total == again.total == study.work(plan)
    assert not again.pieces
    (folder,) = (tmp_path / "jobs").iterdir()
    assert not (folder / "tuning").exists()
    assert json.loads((folder / "rates.json").read_text()) == {"RLOO": 0.01}
    summary.summarise(plan, tmp_path)
    assert store.read(tmp_path / "tuning.parquet").empty
    assert store.read(tmp_path / "steps.parquet")["rate"].unique() == [0.01]


def test_an_evaluation_of_another_arm_or_study_is_noticed(tmp_path, capsys):
    content = configuration(tuning__rates=[0.01]) | {"seeds": 1, "oracle": None}
    content["estimators"] = {"RLOO": {"name": "rloo"}, "TEA": {"name": "tea"}}
    plan, other = (Study.model_validate(content | {"seed": seed}) for seed in (1, 2))
    study.run(plan, tmp_path / "out", Tally())
    study.run(other, tmp_path / "other", Tally())
    first, second = sorted((tmp_path / "out").rglob("arms/*/evaluation.parquet"))
    before = store.read(first), store.read(second)
    swapped = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(swapped)
    foreign = next((tmp_path / "other").rglob("start/evaluation.parquet"))
    start = next((tmp_path / "out").rglob("start/evaluation.parquet"))
    start_before = store.read(start)
    start.write_bytes(foreign.read_bytes())
    capsys.readouterr()
    study.run(plan, tmp_path / "out", Tally())
    messages = capsys.readouterr().err.replace("\n", "")
    for file in (first, second, start):
        assert f"{file} is damaged (its mark job is not" in messages
    assert store.read(first).equals(before[0]) and store.read(second).equals(before[1])
    assert store.read(start).equals(start_before)


@pytest.mark.slow
def test_figures_and_report_of_the_smoke_preset(smoke, tmp_path):
    app = typer.Typer()
    app.command()(lm_training.main)
    arguments = [smoke, "--out", tmp_path / "figures", "--summary", tmp_path / "summary"]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "figures").glob("*.pdf"))) == 5
    assert "Gain over the start on held-out prompts; 95 % intervals over prompts and 2 seeds" in (
        result.output
    )
    assert "Tuning: best of 4 on other prompts, by step size" in result.output
    both = [smoke, tmp_path / "summary", "--out", tmp_path / "both"]
    assert CliRunner().invoke(app, list(map(str, both))).exit_code == 0
    assert [file.name for file in (tmp_path / "both").glob("*.pdf")] == ["lm_gain.pdf"]
    refused = CliRunner().invoke(app, [*map(str, both), "--summary", str(tmp_path / "no")])
    assert refused.exit_code == 1 and "one at a time" in refused.output
    # the summary gives the same report, to the digits shown
    again = lm_training.report(lm_training.load(tmp_path / "summary"))
    assert again == lm_training.report(lm_training.load(smoke))
    # its numbers are those of the tables
    row = lm_training.load(smoke).against("tiny, letters", "start").iloc[0]
    assert f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]" in again


def test_results_that_cannot_be_drawn_end_with_one_line(tmp_path):
    with pytest.raises(ResultsError, match="no such folder; run `tea-stats validate"):
        lm_training.load(tmp_path / "nothing")
    with pytest.raises(
        ResultsError, match=r"tuning\.parquet: missing; run `tea-stats validate` again$"
    ):
        lm_training.load(tmp_path)


@pytest.mark.slow
def test_another_configuration_is_refused_in_the_same_folder(smoke):
    # more runs of each arm may be added, none taken away
    for change in (("--seeds", 1), ("--rows", 32)):
        result = command("--preset", "smoke", "--out", smoke, *change)
        assert result.exit_code == 2
        assert "holds results of another configuration" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reward", "profanity"), "is to be measured only"),
        (("--reward", "profanity_logit"), "is to be measured only"),
        (("--reward", "kindness"), "give one of tone, relevance"),
        (("--model", "/no/such/folder"), "cannot be loaded"),
        (("--config", "/no/such.toml"), "No such file"),
        (("--rows", "0"), "greater than or equal to 1"),
        (("--dtype", "int8"), "dtype"),
        (("--device", "xpu:7"), "give cpu, or one that is here"),
    ],
)
def test_bad_arguments_end_with_one_line(tmp_path, arguments, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = command("--preset", "smoke", "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.output and "Traceback" not in result.output


def configuration(**changes):
    content = schema.read(Study, SMOKE).model_dump()
    for name, value in changes.items():
        table, _, key = name.partition("__")
        content[table] = {**content[table], key: value} if key else value
    return content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimators__start": {"name": "rloo"}}, "the untrained arm's"),
        ({"estimators__X": {"name": "max_at_k", "k": 99}}, "k is 99"),
        ({"tuning__N": 9}, "best-of-N needs at least N rollouts"),
        ({"oracle__N": 40}, "at least 2 N of them"),
        ({"dtype": "bfloat16", "adapter__rank": 0}, "rounded away; give a rank"),
        ({"dtype": "bfloat16", "tf32": True}, 'tf32 is true .*give dtype = "float32"'),
    ],
)
def test_a_configuration_that_cannot_run_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Study.model_validate(configuration(**changes))


ALL = sorted(set(validate_lm.GRIDS.glob("lm_*.toml")) - {validate_lm.GRIDS / "lm_pool.toml"})
CONFIGURATIONS = [path for path in ALL if validate_lm.kind(path) is Study]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_configurations_are_valid(path):
    assert study.work(schema.read(Study, path)) > 0


def test_presets_have_configurations():
    assert {f"lm_{preset}" for preset in validate_lm.Preset} <= {p.stem for p in ALL}


def test_budgets_are_powers_of_two():
    assert evaluation.budgets(100) == [1, 2, 4, 8, 16, 32, 64]
    assert evaluation.budgets(512)[-1] == 256
