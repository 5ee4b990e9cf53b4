"""Bandit training: exact values, unbiased steps, common random numbers, and the command."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from simulations import bandit
from simulations.bandit_schema import EXACT, Study, read_study
from simulations.training import Bandits, build, draw, gradient, sampled_gradient, train, value
from tea_stats import advantages, best_of_n
from tea_stats.families import Normal, SoftmaxBandit

GRIDS = Path(__file__).parents[1] / "simulations" / "grids"


def softmax(logits):
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def policies(K=9, runs=4, features=None, seed=1):
    """Random bandits with ties among the rewards, the last one nearly deterministic."""
    rng = np.random.default_rng(seed)
    rewards = np.sort(rng.normal(size=(runs, K)).round(1), axis=1)
    initial = rng.normal(size=(runs, K)) * np.geomspace(1.0, 12.0, runs)[:, None]
    columns = None if features is None else rng.normal(size=(runs, K, features))
    return Bandits(rewards, initial, columns)


# --- exact truth --------------------------------------------------------------------------------


@pytest.mark.parametrize("N", [1, 2, 16, 512, 100_000])
def test_batch_value_and_gradient_are_those_of_best_of_n(N):
    bandits = policies(K=40)
    p = softmax(bandits.initial)
    for run, (r, logits) in enumerate(zip(bandits.rewards, bandits.initial, strict=True)):
        law = SoftmaxBandit(rewards=r, logits=logits)
        assert value(bandits.rewards, p, N)[run] == pytest.approx(
            best_of_n.value(law, N), rel=1e-11, abs=1e-11
        )
        expected = best_of_n.gradient(law, N)
        scale = max(1.0, np.linalg.norm(expected))
        assert gradient(bandits.rewards, p, N)[run] == pytest.approx(expected, abs=1e-11 * scale)


@pytest.mark.parametrize("features", [None, 3])
@pytest.mark.parametrize("N", [1, 7, 300])
def test_gradient_in_the_parameters_is_the_derivative_of_the_value(features, N):
    bandits = policies(features=features)
    theta = np.random.default_rng(2).normal(size=(4, bandits.parameters)) / 4

    def at(theta):
        return value(bandits.rewards, bandits.probabilities(theta), N)

    p = bandits.probabilities(theta)
    exact = bandits.pull_back(gradient(bandits.rewards, p, N))
    h = 1e-5
    for j in range(bandits.parameters):
        move = h * (np.arange(bandits.parameters) == j)
        difference = (at(theta + move) - at(theta - move)) / (2 * h)
        assert exact[:, j] == pytest.approx(difference, abs=1e-7)


def test_built_rewards_are_standardised_and_features_carry_the_share():
    rng = np.random.default_rng(3)
    bandits = build(Normal(), 4096, 3, rng, initial_sd=0.7, features=64, reward_share=0.25)
    p = bandits.probabilities(np.zeros((3, 64)))
    assert np.sum(p * bandits.rewards, axis=1) == pytest.approx(0.0, abs=1e-12)
    assert np.sum(p * bandits.rewards**2, axis=1) == pytest.approx(1.0)
    assert (np.diff(bandits.rewards, axis=1) >= 0).all()
    # the squared correlation with the normal score is a third of the share on average: 1/12
    z = np.sort(Normal().ppf((np.arange(4096) + 0.5) / 4096))
    squares = [np.corrcoef(z, f)[0, 1] ** 2 for run in bandits.features for f in run.T]
    assert np.mean(squares) == pytest.approx(1 / 12, abs=0.03)


# --- sampling and steps -------------------------------------------------------------------------


def test_draws_follow_the_policy():
    p = softmax(policies().initial)
    grid = np.broadcast_to((np.arange(100_000) + 0.5) / 100_000, (4, 100_000))
    for run, responses in enumerate(draw(p, grid)):
        assert np.bincount(responses, minlength=9) / 1e5 == pytest.approx(p[run], abs=2e-5)


@pytest.mark.parametrize("features", [None, 2])
@pytest.mark.parametrize(
    ("estimator", "options", "objective"),
    [("rloo", {}, 1), ("max_at_k", {}, 3), ("max_at_k", {"k": 2}, 2)],
)
def test_expected_gradient_of_an_unbiased_estimator_is_the_exact_one(
    estimator, options, objective, features
):
    """Every group of m = 3 out of K = 4 responses, weighted by its probability."""
    bandits, m = policies(K=4, runs=2, features=features), 3
    p = softmax(bandits.initial)
    expected = np.zeros((2, bandits.parameters))
    for group in itertools.product(range(4), repeat=m):
        responses = np.broadcast_to(group, (2, 1, m))
        rewards = np.take_along_axis(bandits.rewards[:, None], responses, axis=-1)
        A = advantages(estimator, rewards, 512, **options)
        weight = np.prod(p[:, list(group)], axis=1, keepdims=True)
        expected += weight * bandits.pull_back(sampled_gradient(p, responses, A))
    exact = bandits.pull_back(gradient(bandits.rewards, p, objective))
    assert expected == pytest.approx(exact, abs=1e-12)
    assert np.abs(exact).max() > 0.05  # else the line above says nothing


def test_groups_of_a_step_are_averaged():
    p = softmax(policies().initial)
    rng = np.random.default_rng(4)
    responses, A = rng.integers(0, 9, (4, 5, 3)), rng.normal(size=(4, 5, 3))
    each = [sampled_gradient(p, responses[:, [g]], A[:, [g]]) for g in range(5)]
    assert sampled_gradient(p, responses, A) == pytest.approx(np.mean(each, axis=0), abs=1e-15)


@pytest.mark.parametrize("features", [None, 3])
@pytest.mark.parametrize("N", [1, 64])
def test_the_exact_path_rises_and_its_first_step_has_the_given_length(features, N):
    bandits = policies(features=features)
    values, cosine = train(bandits, None, 4, 1, N, 1e-3, 60, np.random.default_rng(5))
    assert (np.diff(values, axis=1) > -1e-13).all()
    p = bandits.probabilities(np.zeros((4, bandits.parameters)))
    slope = np.linalg.norm(bandits.pull_back(gradient(bandits.rewards, p, N)), axis=1)
    assert np.diff(values, axis=1)[:3, 0] == pytest.approx(1e-3 * slope[:3], rel=0.02)
    assert cosine == pytest.approx(1.0)


def test_an_uninformative_step_changes_nothing():
    flat = Bandits(np.ones((2, 5)), np.zeros((2, 5)), None)
    values, cosine = train(flat, ("tea", {}), 4, 2, 64, 0.5, 5, np.random.default_rng(6))
    assert (values == 1.0).all() and (cosine == 0.0).all()


# --- cells, and what they say together ----------------------------------------------------------


def small_study(**changes):
    table = tomllib.loads((GRIDS / "bandit_quick.toml").read_text())
    table |= {"responses": 40, "steps": 6, "rollouts": 16, "runs": 5, "tuning_runs": 3}
    return Study.model_validate(table | {"budgets": [[8, 64]], **changes})


def one_cell(study, estimator):
    return bandit.run_cell(study, bandit.Cell("Normal", "linear", 8, 64, estimator))


def test_arms_share_random_numbers():
    """The same estimator under two labels has one curve; another label's luck is the same."""
    twins = [{"label": "TEA .25", "name": "tea"}, {"label": "again", "name": "tea"}]
    study = small_study(estimators=twins)
    first, second = (one_cell(study, label) for label in ("TEA .25", "again"))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    other = one_cell(small_study(), "RLOO")
    assert (first["step 0"] == other["step 0"]).all() and (first["step 1"] != other["step 1"]).all()


def test_runs_do_not_depend_on_how_many_there_are(monkeypatch):
    monkeypatch.setattr(bandit, "BATCH", 2)
    few, more = (one_cell(small_study(runs=runs), "TEA .25") for runs in (4, 8))
    pd.testing.assert_frame_equal(few, more.iloc[:4], check_exact=True)
    assert more.iloc[:, 2:].drop_duplicates().shape[0] == 8


def test_tuning_takes_the_step_size_with_the_best_mean_value():
    cell = one_cell(small_study(), "TEA .25")
    tuned = cell.filter(regex="^tuned ").iloc[0]
    assert cell["step_size"].unique() == [float(tuned.idxmax().split()[1])]
    assert tuned.nunique() == 3


def test_summary_is_what_its_columns_say():
    study = small_study()
    frames = {cell: bandit.run_cell(study, cell) for cell in bandit.cells(study)}
    curves, finals = bandit.summarize(study, frames)
    assert len(curves) == 7 * len(frames) and len(finals) == len(frames)
    scenario = dict(law="GumbelMin", policy="tabular", m=8, N=64)
    exact, tea, rloo = (
        frames[bandit.Cell(*scenario.values(), arm)].filter(regex="^step [0-9]").to_numpy()
        for arm in (EXACT, "TEA .25", "RLOO")
    )
    here = finals.query("law == 'GumbelMin' and policy == 'tabular'").set_index("estimator")
    row, root = here.loc["RLOO"], np.sqrt(5)
    area = (exact - rloo)[:, 1:].mean(axis=1)
    assert row["area"] == pytest.approx(area.mean())
    assert row["area_se"] == pytest.approx(area.std(ddof=1) / root)
    paired = (tea - rloo)[:, 1:].mean(axis=1)
    assert row["area_difference"] == pytest.approx(paired.mean())
    assert row["area_difference_se"] == pytest.approx(paired.std(ddof=1) / root)
    assert row["share"] == pytest.approx(area.mean() / (exact[:, 1:] - exact[:, :1]).mean())
    assert here.loc["TEA .25", "share_difference"] == here.loc[EXACT, "share"] == 0.0
    curve = curves.query("law == 'GumbelMin' and policy == 'tabular' and estimator == 'RLOO'")
    assert curve["regret_mean"].to_numpy() == pytest.approx((exact - rloo).mean(axis=0))
    assert curve["band"].to_numpy() == pytest.approx(1.96 * (exact - rloo).std(0, ddof=1) / root)
    assert list(curve["rollouts"]) == [16 * t for t in range(7)]


def test_ratio_standard_error_is_calibrated():
    rng = np.random.default_rng(7)
    z = []
    for _ in range(2000):
        gain = rng.normal(2.0, 0.5, 128)
        ratio, se = bandit.ratio_se(0.3 * gain + rng.normal(0.1, 0.4, 128), gain)
        z.append((ratio - 0.35) / se)
    # 2000 z-scores: the standard error of their standard deviation is 0.016
    assert np.std(z) == pytest.approx(1.0, abs=0.08) and abs(np.mean(z)) < 0.1


# --- the command --------------------------------------------------------------------------------


def write_config(path, **changes):
    """Write a small configuration; top-level keys only."""
    text = (GRIDS / "bandit_quick.toml").read_text()
    small = {"responses": 30, "steps": 3, "rollouts": 16, "runs": 4, "tuning_runs": 2}
    lines = []
    for line in text.splitlines():
        key = line.split(" = ")[0]
        new = (small | {"budgets": "[[8, 64]]"} | changes).get(key)
        lines.append(line if new is None else f"{key} = {new}")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bandit")
    study = read_study(write_config(folder / "small.toml"))
    bandit.run_study(study, folder / "one", workers=1)
    return study, folder / "one"


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def test_two_workers_and_one_agree_to_the_bit(finished, tmp_path):
    study, folder = finished
    bandit.run_study(study, tmp_path / "two", workers=2)
    assert bytes_of(tmp_path / "two") == bytes_of(folder)
    assert len(bytes_of(folder)) == 16 + 2


def test_a_rerun_computes_what_is_missing_or_damaged_and_nothing_else(finished, tmp_path, capsys):
    study, folder = finished
    before = bytes_of(folder)
    files = sorted((folder / "cells").iterdir())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    kept = files[2].stat().st_mtime_ns
    bandit.run_study(study, folder, workers=1)
    assert bytes_of(folder) == before
    assert files[2].stat().st_mtime_ns == kept
    assert files[1].name in capsys.readouterr().err.replace("\n", "")
    record = json.loads((folder / "manifest.json").read_text())
    assert record["computed"] == 2 and record["cells"] == 16
    assert record["configuration"]["seed"] == 2 and record["versions"]["numpy"]


def test_a_folder_of_another_configuration_is_refused(finished):
    study, folder = finished
    with pytest.raises(ValueError, match="holds results of another configuration"):
        bandit.run_study(study.model_copy(update={"seed": 3}), folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budgets": "[[7, 64]]"}, "m = 7 and rollouts is 16; give m ≥ 2 that divides rollouts"),
        ({"budgets": "[[8, 0]]"}, "budgets has N = 0; give N ≥ 1"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"reference": '"TEA"'}, "reference is 'TEA'; give the label of an estimator"),
        ({"runs": "8\nrum = 9"}, "rum: Extra inputs are not permitted"),
        ({"family": '"Norml"'}, "law 'Normal': family 'Norml' is unknown; give Normal,"),
        ({"family": '"Normal"\nscale = -1.0'}, "law 'Normal': scale is -1.0; give a finite number"),
        ({"family": '"Normal"\nsd = 1.0'}, "law 'Normal': Normal.__init__() got an unexpected key"),
        ({"name": '"teaa"'}, "estimator 'TEA .25': estimator 'teaa' is unknown; give one of tea,"),
        (
            {"name": '"tea"\noptions = { beta = 1 }'},
            "estimator 'TEA .25': tea has no option 'beta'",
        ),
        ({"name": '"max_rl"'}, "estimator 'TEA .25': it is defined for 0/1 rewards"),
        ({"label": '"exact"'}, "give distinct ones, not 'exact'"),
        ({"step_sizes": "[0.0]"}, "policies.0.step_sizes.0: Input should be greater than 0"),
        ({"runs": "= 4"}, "Invalid"),
    ],
)
def test_a_configuration_error_is_one_line_and_nothing_runs(tmp_path, changes, message):
    config = write_config(tmp_path / "wrong.toml", **changes)
    done = command(str(config), "--out", str(tmp_path / "out"))
    assert done.exit_code == 2
    lines = done.output.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"error: {config}") and message in lines[0]
    assert not (tmp_path / "out").exists()


def command(*arguments):
    app = typer.Typer()
    app.command()(bandit.main)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("name", ["bandit.toml", "bandit_quick.toml"])
def test_the_configurations_that_come_with_the_project_are_right(name):
    assert read_study(GRIDS / name).seed == 2
