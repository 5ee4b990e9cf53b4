"""The study on real logs: splits, truths, peers, and what its summary claims."""

from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pydantic")

from analysis.readme import checks
from simulations.checks import peers, real_logs
from simulations.core import schema

SUMMARY = Path("analysis/summaries/real_logs/table.parquet")


@pytest.fixture(scope="module")
def plan():
    return schema.read(real_logs.RealLogs, real_logs.DEFAULT)


def test_the_rest_of_a_pool_is_an_unbiased_truth():
    rewards = np.array([[0.0, 3.0, 1.0, 7.0, 2.0, 5.0]])
    log = real_logs.Log("tiny", "given", 2, (2,), (3,), rewards)
    truths = [log.split(2, np.random.default_rng(rep))[1][0] for rep in range(3000)]
    every = [max(c) for c in combinations(rewards[0], 3)]
    assert np.mean(truths) == pytest.approx(np.mean(every), abs=5 * np.std(truths) / 3000**0.5)
    own, _ = log.split(2, np.random.default_rng(0))
    assert own.shape == (1, 2) and set(own[0]) <= set(rewards[0])


def test_counts_are_successes_of_all_samples():
    log = real_logs.Log(
        "tiny", "given", 2, (4,), (2, 10), successes=np.array([0, 3, 10]), samples=10
    )
    rewards, truth = log.split(4, np.random.default_rng(0))
    assert truth == pytest.approx([(0 + (1 - 7 * 6 / 90) + 1) / 3, 2 / 3])
    assert rewards[0].sum() == 0.0 and rewards[2].sum() == 4.0


def test_every_log_of_the_study_is_there(plan):
    logs = list(real_logs.logs(plan))
    names = [log.name for log in logs]
    assert len(names) == len(set(names)) and "Pythia 70M" in names and "tone" in names
    held_out = [log for log in logs if log.part == "held out"]
    real = [log for log in logs if log.part != "simulated"]
    assert 3 * len(held_out) >= len(real)
    pool = next(log for log in logs if log.name == "score_norm")
    assert pool.rewards.shape == (8, 2048)
    counts = next(log for log in logs if log.name == "Pythia 70M")
    assert len(counts.successes) == 128 and (counts.successes == 0).mean() > 0.7


def test_a_row_for_each_method_and_budget(plan):
    log = next(log for log in real_logs.logs(plan) if log.name == "sentiment")
    short = real_logs.Log("sentiment", "development", 2, (32,), (64, 256), log.rewards)
    table = real_logs.predictions(short, 32, plan.model_copy(update={"peers": {}}))
    again = real_logs.predictions(short, 32, plan.model_copy(update={"peers": {}}))
    pd.testing.assert_frame_equal(table, again)
    assert {"recommended", "least error", "gen_pareto"} <= set(table["method"])
    best = table[table["method"] == "recommended"]
    assert best["coverage"].between(0, 1).all() and (best["splits"] == 2).all()
    # a pooled log in other units has the same errors in units of its spread
    scaled = real_logs.Log("sentiment", "development", 2, (32,), (64, 256), 16.0 * log.rewards)
    other = real_logs.predictions(scaled, 32, plan.model_copy(update={"peers": {}}))
    assert other["rmse"].to_numpy() == pytest.approx(table["rmse"].to_numpy(), rel=1e-6)


def test_a_log_of_ones_own(tmp_path, plan):
    rng = np.random.default_rng(0)
    path = tmp_path / "own.csv"
    rows = [f"{p},{r}" for p in "abcd" for r in rng.normal(size=400)]
    path.write_text("prompt,reward\n" + "\n".join(rows))
    log = real_logs.own_log(path, plan)
    assert log.rewards.shape == (4, 400) and log.m == (32, 64, 128) and log.N == (128, 256)
    path.write_text("prompt,reward\n" + "\n".join(rows[:40]))
    with pytest.raises(ValueError, match="rollouts a prompt; to split it takes 64 at least"):
        real_logs.own_log(path, plan)


def test_peers_that_are_missing_are_skipped(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda module: None)
    assert peers.installed(True) == [] and peers.installed(False) == []
    failed = peers.predict("saber-risk", np.array([[np.nan]]), [8, 16], 0.9)
    assert failed.shape == (3, 2) and np.isnan(failed).all()


@pytest.mark.parametrize("name", list(peers.PEERS))
def test_each_peer_answers(name):
    peer = peers.PEERS[name]
    if not find_spec(peer.module):
        pytest.skip(f"{name} is not installed; peers are optional")
    rng = np.random.default_rng(1)
    rewards = rng.normal(size=(6, 64))
    if peer.binary:
        rewards = 1.0 * (rng.random((40, 32)) < rng.beta(1, 4, size=(40, 1)))
    value = peers.predict(name, rewards, [8, 64], 0.9)[0]
    assert np.isfinite(value).all() and value[1] > value[0]


def test_the_committed_summary_supports_the_page():
    study = checks.Predictions(SUMMARY.parent)
    assert 0.85 <= study.coverage("tail") <= 0.96 and study.least("tail")[1] >= 0.8
    # a third of the logs at least were not looked at while the rule was made
    assert 0.85 <= study.coverage("tail", "held out") <= 0.96
    assert study.ratios()["width"].mean() < 1.5 and study.ratios()["error"].median() < 1.05
    assert study.below(0.85, 1000) == [] and study.overall(1000) >= 0.9
    # at 10,000, CodeContests falls short
    assert study.below(0.85, 10000) == ["Gemma 7B"]
    page = Path("docs/findings/real_logs.md").read_text(encoding="utf-8")
    assert study.markdown("tails") in page and study.markdown("counts") in page
