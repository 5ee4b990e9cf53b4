"""`tea-stats diagnose`: what it prints, its JSON, its figure, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tea_stats.diagnosis import ASSUMPTIONS, diagnose, recommend
from tea_stats.reward_log import RewardLog

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

from tea_stats.command_line import app

QUICK = ["--N", "128", "--m", "8", "--batches", "8", "--prompts", "16"]


def run(*arguments):
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)])


@pytest.fixture(scope="module")
def rewards():
    return np.random.default_rng(0).gumbel(size=(300, 8))


@pytest.fixture(scope="module")
def file(rewards, tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "rewards.jsonl"
    frame = pd.DataFrame({"prompt": np.repeat(np.arange(300), 8), "reward": rewards.ravel()})
    frame.to_json(path, orient="records", lines=True, double_precision=15)
    return path


def test_verdicts_and_recommendation_are_printed(file):
    done = run(file, *QUICK)
    assert done.stdout == run(file, *QUICK).stdout
    assert done.exit_code == 0, done.stderr
    assert "300 prompts, 2,400 rollouts, 8 each; continuous rewards" in done.stdout
    for assumption in ASSUMPTIONS.values():
        assert assumption.title in done.stdout
    line = next(x for x in done.stdout.splitlines() if x.strip().startswith("straight QQ plot "))
    assert "fails" in line or "doubtful" in line
    assert "For best-of-128: auto_tea" in done.stdout
    assert "8 rollouts" in done.stdout


def test_json_is_what_the_library_returns(file, rewards):
    done = run(file, *QUICK, "--json", "--seed", 5)
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    log = RewardLog.from_groups(rewards)
    for finding in diagnose(log).findings:
        row = printed["findings"][finding.name]
        assert row["verdict"] == finding.verdict
        if np.isfinite(finding.interval.estimate):
            ends = [row["estimate"], row["low"], row["high"]]
            np.testing.assert_allclose(ends, finding.interval, rtol=1e-8, atol=1e-9)
    known = recommend(log, 128, m=8, batches=8, prompts=16, seed=5)
    choice = printed["recommendation"]
    assert (choice["estimator"], choice["N"], choice["m"]) == (known.estimator, 128, 8)
    assert [score["estimator"] for score in choice["scores"]] == [s.estimator for s in known.scores]
    assert printed["values"]["prompts"] == 300
    assert len(printed["tail"]["quantiles"]) == 8


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_figure(file, tmp_path, suffix):
    path = tmp_path / f"tail.{suffix}"
    done = run(file, "--verdicts-only", "--figure", path)
    assert done.exit_code == 0, done.stderr
    assert path.stat().st_size > 5_000
    assert "For best-of" not in done.stdout


def write(tmp_path, groups, name="log.csv"):
    rows = [(place, reward) for place, group in enumerate(groups) for reward in group]
    path = tmp_path / name
    pd.DataFrame(rows, columns=["prompt", "reward"]).to_csv(path, index=False)
    return path


def test_a_verifier(tmp_path):
    rewards = np.random.default_rng(0).random((60, 8)) < 0.2
    done = run(write(tmp_path, rewards.astype(int)), *QUICK)
    assert done.exit_code == 0, done.stderr
    assert "0/1 rewards" in done.stdout
    assert "2 distinct values: no tail" in done.stdout
    assert "Rewards of 2 values have no tail to extrapolate." in done.stdout


def test_groups_of_unequal_size_and_few_prompts(tmp_path):
    rng = np.random.default_rng(0)
    ragged = write(tmp_path, [rng.normal(size=size) for size in rng.integers(1, 30, 80)])
    done = run(ragged, "--verdicts-only")
    assert done.exit_code == 0, done.stderr
    assert "1 to 29 (median" in done.stdout
    few = write(tmp_path, rng.normal(size=(2, 600)), "few.csv")
    done = run(few, "--verdicts-only")
    assert "is estimated from 32 sets of 37 rollouts of 2 prompts" in done.stdout
    assert "Too few data for a verdict: rewards differ" in done.stdout


def test_a_saturated_log_and_one_that_needs_more_rollouts(tmp_path):
    rng = np.random.default_rng(0)
    easy = write(tmp_path, (rng.random((60, 8)) < 0.7).astype(int))
    assert "Saturated: at this N" in run(easy, *QUICK).stdout
    hopeless = write(tmp_path, rng.choice(3, p=[0.989, 0.01, 0.001], size=(200, 8)), "rare.csv")
    done = run(hopeless, "--N", 4096, "--m", 2, "--batches", 16)
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ([[1, 1, 1, 1]] * 4, [], "log has the reward 1 for each of its 16 rollouts"),
        ([[0, 1, 0, 1]] * 4, ["--figure", "x.png"], "nothing to draw (2 distinct values: no tail)"),
        ([[0, 1, 0, 1]] * 4, ["--prompt", "question"], "question"),
        ([[0.1, 0.4, 0.3, 1.2]] * 9, ["--figure", "/nowhere/x.png"], "/nowhere"),
        ([[0.1, 0.4, 0.3, 1.2]] * 9, ["--figure", "x.jpgg"], "--figure is x.jpgg; give"),
    ],
)
def test_errors_are_one_line(tmp_path, groups, options, message):
    done = run(write(tmp_path, groups), *QUICK, *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("options", [["--N", "0"], ["--m", "1"], ["--batches", "1"]])
def test_numbers_out_of_range(file, options):
    assert run(file, *options).exit_code == 2


def test_help_has_examples():
    done = run("--help")
    assert done.exit_code == 0
    assert "tea-stats diagnose rewards.jsonl --N 1024" in done.stdout
