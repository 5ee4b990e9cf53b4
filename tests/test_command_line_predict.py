"""`tea-stats predict`: what it prints is what `predict` returns; errors are one line."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
from typer.testing import CliRunner

from tea_stats import prediction, reward_log
from tea_stats.command_line import app, schemas

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, ["predict", *map(str, arguments)])


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Return a file of 24 prompts with 32 rollouts each."""
    path = tmp_path_factory.mktemp("logs") / "rewards.csv"
    rewards = np.random.default_rng(0).normal(size=(24, 32)).round(6)
    rows = [f"q{p},{r!r}" for p, own in enumerate(rewards.tolist()) for r in own]
    path.write_text("\n".join(["prompt,reward", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def successes(tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "passed.jsonl"
    rng = np.random.default_rng(1)
    rows = [(rng.random(16) < p).astype(int).tolist() for p in rng.beta(0.5, 8.0, size=30)]
    path.write_text("".join(json.dumps({"reward": row}) + "\n" for row in rows))
    return path


def test_json_is_what_predict_returns(log):
    arguments = (log, "--N", 256, "--json", "--per-prompt", "--target-reward", 2.5, "--seed", 4)
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout == run(*arguments).stdout
    printed = json.loads(done.stdout)
    expected = prediction.predict(reward_log.read(log), 256, prompt_intervals=True, seed=4)
    assert printed["recommended"] == expected.recommended
    assert printed["grid"] == expected.curves["linear"].grid.tolist()
    assert printed["prompt_labels"] == [f"q{p}" for p in range(24)]
    for name, curve in expected.curves.items():
        for line in ("value", "low", "high", "band_low", "band_high", "prompt_high"):
            own = np.array(printed["curves"][name][line], dtype=float)
            assert np.array_equal(own, getattr(curve, line), equal_nan=True), (name, line)
        reach = prediction.budget_for(curve, 2.5)
        assert printed["budget"][name] == {**reach.__dict__, "within": 256}
    assert printed["backtest"]["errors"] == dict(expected.backtest.errors)


def test_the_table_shows_the_same(log):
    done = run(log, "--N", 300, "--target-reward", 99, "--per-prompt")
    assert done.exit_code == 0, done.output
    forecast = prediction.predict(reward_log.read(log), 300)
    best = forecast.curves[forecast.recommended]
    assert f"{best.value[-1]:.4g}" in done.stdout
    assert f"[{best.band_low[-1]:.4g}, {best.band_high[-1]:.4g}]" in done.stdout
    assert "24 prompts, 32 rollouts each" in done.stdout
    assert "average over the population the prompts come from; 90% intervals" in done.stdout
    assert "backtest from 16 of 32 rollouts, 24 prompts" in done.stdout
    assert "beyond N = 300" in done.stdout and "beyond N = 32 " in done.stdout
    assert "and 4 more (--json)" in done.stdout


def test_the_target_can_be_these_prompts(log):
    wide, own = (
        json.loads(run(log, "--N", 64, "--json", option).stdout)
        for option in ("--population", "--these-prompts")
    )
    assert (wide["target"], own["target"]) == ("population", "these_prompts")
    assert wide["curves"]["linear"]["low"] != own["curves"]["linear"]["low"]


def test_successes(successes):
    done = run(successes, "--N", 1000)
    assert done.exit_code == 0, done.output
    assert "stacked *" in done.stdout and "beta-binomial" in done.stdout
    assert "Gaussian" not in done.stdout
    one = run(successes, "--N", 16)
    assert "unbiased here: every prompt has at least 16 rollouts" in one.stdout


def test_notes_on_small_logs(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("prompt,reward\na,1\na,2\na,4\na,9\na,5\nb,1\nb,2\n")
    done = run(path, "--N", 64)
    assert done.exit_code == 0, done.output
    assert "2 prompts are a small sample of the population" in done.stdout
    assert "linear leaves out 1 prompt with fewer than 4 rollouts" in done.stdout
    assert "beyond what this log can tell" in done.stdout


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_figure(log, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"curve{suffix}"
    done = run(log, "--N", 100, "--method", "linear", "--figure", path, "--target-reward", 3)
    assert done.exit_code == 0, done.output
    assert path.stat().st_size > 10_000
    assert str(path) in done.stdout.replace("\n", "")


def test_the_figure_can_be_read(log, successes):
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from tea_stats.command_line import predict_figure
    from tests.readable import check_text

    for path, N in ((log, 1000), (successes, 10**6), (log, 16)):
        forecast = prediction.predict(reward_log.read(path), N)
        figure = predict_figure.draw(forecast, target_reward=0.5)
        FigureCanvasAgg(figure)
        check_text(figure)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--N", "64", "--method", "best"], "error: method is 'best'; give one of 'max_at_k'"),
        (
            ["--N", "64", "--method", "beta_binomial"],
            "error: method is 'beta_binomial' and the rew",
        ),
        (["--N", "64", "--alpha", "2"], "error: alpha is 2.0"),
        (["--N", "64", "--level", "90"], "error: level is 90.0"),
        (["--N", "64", "--reward", "score"], "has no column 'score'; it has: prompt, reward."),
        (["--N", "64", "--figure", "curve.txt"], "error: --figure is curve.txt; give a name that"),
        (["--N", "64", "--figure", "no/such/a.png"], "in a folder that does not exist"),
        (["--N", "64", "--target-reward", "nan"], "error: --target-reward is nan"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(log, options, message):
    done = run(log, *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert done.stdout == ""


def test_no_rows_no_traceback(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": 1, "reward": null}\n')
    done = run(path, "--N", 4)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "a.jsonl, line 1: the reward is nan" in done.stderr


def test_help_has_examples():
    done = run("--help")
    assert done.exit_code == 0
    assert "tea-stats predict rewards.jsonl --N 1024" in done.stdout


def test_python_m_and_what_is_missing(log):
    done = subprocess.run(
        [sys.executable, "-m", "tea_stats", "predict", str(log), "--N", "64", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["N"] == 64
    without = "import sys; sys.modules['typer'] = None; from tea_stats.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'tea-stats[cli]'" in done.stderr and "Traceback" not in done.stderr


# --- by step -------------------------------------------------------------------------------------


@pytest.fixture
def steps(tmp_path):
    """Return a log of three steps, at which the share of successes grows."""
    draws = np.random.default_rng(7)
    path = tmp_path / "steps.jsonl"
    rows = [
        {"prompt": p, "reward": float(draws.random() < 0.1 + 0.2 * step), "step": 10 * step}
        for step in range(3)
        for p in range(12)
        for _ in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_prediction_for_each_step_is_that_of_the_step_alone(steps):
    by_step = json.loads(run(steps, "--N", 32, "--by", "step", "--json").stdout)
    assert [row["step"] for row in by_step["steps"]] == [0, 10, 20]
    for row in by_step["steps"]:
        alone = json.loads(run(steps, "--N", 32, "--step", row["step"], "--json").stdout)
        curve = alone["curves"][alone["recommended"]]
        assert [row[end] for end in ("value", "low", "high")] == [
            curve[end][-1] for end in ("value", "low", "high")
        ]
        assert row["recommended"] == alone["recommended"]
        assert alone["reading"]["step_used"] == row["step"]
        # every step at once: wider than each by itself
        assert row["band_low"] <= row["low"] <= row["high"] <= row["band_high"]
        every = json.loads(
            run(steps, "--N", 32, "--step", row["step"], "--level", 1 - 0.1 / 3, "--json").stdout
        )["curves"][alone["recommended"]]
        assert [row["band_low"], row["band_high"]] == [every["low"][-1], every["high"][-1]]
    follows = schemas.schema("steps")
    pytest.importorskip("jsonschema").validate(by_step, follows)
    assert by_step["schema"] == schemas.identifier("steps") == follows["$id"]
    assert set(by_step) == set(follows["properties"])
    assert set(by_step["steps"][0]) == set(follows["properties"]["steps"]["items"]["properties"])
    means = [row["mean"] for row in by_step["steps"]]
    rewards = [json.loads(line)["reward"] for line in steps.read_text().splitlines()]
    assert means == pytest.approx(np.reshape(rewards, (3, -1)).mean(axis=1))


def test_steps_are_printed_and_drawn(steps, tmp_path):
    pytest.importorskip("matplotlib")
    done = run(steps, "--N", 32, "--by", "step", "--figure", tmp_path / "steps.svg")
    assert done.exit_code == 0
    assert "prompt = prompt, reward = reward, 3 steps (step)" in done.stdout
    assert "best of 32" in (tmp_path / "steps.svg").read_text()
    for option in (("--per-prompt",), ("--target-reward", 1), ("--step", 10)):
        refused = run(steps, "--N", 32, "--by", "step", *option)
        assert refused.exit_code == 2 and f"{option[0]} is given with --by" in refused.stderr


def test_what_was_read_is_printed_with_how_to_say_otherwise(steps):
    done = run(steps, "--N", 8, "--method", "max_at_k")
    assert "prompt = prompt, reward = reward, 12 prompts × 8, 3 steps: the last one" in done.stdout
    assert "say otherwise: --step 0 … 20 or all, --by step" in done.stdout
    done = run(steps, "--N", 8, "--method", "max_at_k", "--success", "< 1", "--where", "prompt=3")
    assert "reward = reward < 1, 1 prompt × 8" in done.stdout
