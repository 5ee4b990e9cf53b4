"""The bandit study: common random numbers, tuning, resuming, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from simulations.bandit import jobs as bandit_jobs, run as bandit
from simulations.bandit.jobs import Scenario, best_step_size, jobs, train_arm
from simulations.bandit.schema import EXACT, read_study
from simulations.core import engines, store
from tests.studies import DAMAGE, GRIDS, contents, kill_and_resume, one_thread

SMALL = """
seed = 3
responses = 32
steps = 5
rollouts = 16
runs = 5
tuning_runs = 3
quality_draws = 20
kl_limit = 0.5
reference = "TEA"
fractions = [0.5, 0.8]
budgets = [[8, 64]]

[laws.Normal]
family = "Normal"

[laws.coin]
family = "Discrete"
values = [0.0, 1.0]
probabilities = [0.9, 0.1]

[policies.linear]
nuisance = 10
step_sizes = [0.1, 0.3, 0.9]

[policies.tabular]
tabular = true
step_sizes = [0.5]

[estimators.TEA]
name = "tea"

[estimators.RLOO]
name = "rloo"
laws = ["Normal"]

[estimators.MaxRL]
name = "max_rl"
"""
JOBS = 2 * (3 + 3)


@pytest.fixture
def written(tmp_path):
    """Write a configuration and return its path."""

    def write(text, name="bandit.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def run(config, out, where=None):
    return bandit.run(read_study(config), out, where or one_thread())


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """SMALL, run by one worker process: the result that every other way must give."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "bandit.toml").write_text(SMALL)
    manifest = run(folder / "bandit.toml", folder / "out", engines.local(1))
    return manifest, contents(folder / "out"), folder / "out"


# --- jobs ---------------------------------------------------------------------------------------


def trained(config, estimator, policy="linear", law="Normal"):
    return train_arm(read_study(config), Scenario(law, policy, 8, 64), estimator)


def test_every_arm_that_exists_is_a_job_after_the_exact_path(written, tmp_path):
    study = read_study(written(SMALL))
    listed = [(at.law, at.policy, label) for at, label in jobs(study, tmp_path)]
    normal = [
        ("Normal", policy, arm) for policy in study.policies for arm in (EXACT, "TEA", "RLOO")
    ]
    coin = [("coin", policy, arm) for policy in study.policies for arm in (EXACT, "TEA", "MaxRL")]
    assert listed == normal + coin


def test_arms_share_random_numbers(written):
    """The same estimator under two labels has one path, with its options given or not."""
    config = written(SMALL + '[estimators.again]\nname = "tea"\nalpha = 0.25\n')
    first, second = (trained(config, label) for label in ("TEA", "again"))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    other = trained(config, "RLOO")
    assert (first["step 0"] == other["step 0"]).all() and (first["step 1"] != other["step 1"]).all()


def test_runs_do_not_depend_on_how_many_there_are(written, monkeypatch):
    monkeypatch.setattr(bandit_jobs, "BATCH", 2)
    few = trained(written(SMALL.replace("runs = 5", "runs = 4", 1)), "TEA")
    more = trained(written(SMALL.replace("runs = 5", "runs = 8", 1)), "TEA")
    pd.testing.assert_frame_equal(few, more.iloc[:4], check_exact=True)
    assert more["step 5"].nunique() == 8


def test_the_tuned_step_size_is_near_the_best_one_offered(written):
    arm = trained(written(SMALL), "TEA")
    tuned = arm.filter(regex="^tuned ").iloc[0]
    (chosen,) = arm["step_size"].unique()
    best = float(tuned.idxmax().split()[1])
    assert best / 2 < chosen < 2 * best and tuned.nunique() == 3
    (only,) = trained(written(SMALL), "TEA", policy="tabular")["step_size"].unique()
    assert only == 0.5


@pytest.mark.parametrize("top", [0.3, 0.5, 0.7])
def test_the_step_size_is_the_top_of_the_parabola(top):
    sizes = np.array([0.1, 0.25, 0.5, 1.2])
    height = 2.0 - np.log(sizes / top) ** 2
    assert best_step_size(sizes, height) == pytest.approx(top)
    # nothing is extrapolated
    assert best_step_size(sizes, sizes) == 1.2 and best_step_size(sizes, -sizes) == 0.1
    assert best_step_size(sizes, np.ones(4)) == 0.1
    assert best_step_size(sizes, np.array([0.0, 1.0, 1.0, 1.0])) in (0.25, pytest.approx(0.35, 0.1))


def test_the_exact_path_is_one_run_and_no_arm_is_better(reference):
    _, _, out = reference
    finals = pd.read_parquet(out / "finals.parquet")
    assert set(finals["estimator"]) == {EXACT, "TEA", "RLOO", "MaxRL"}
    assert set(finals.loc[finals["estimator"] == EXACT, "runs"]) == {1}
    arms = finals[finals["estimator"] != EXACT]
    assert set(arms["runs"]) == {5} and (arms["share"] > -0.05).all()


# --- nothing but the configuration matters ------------------------------------------------------


def test_two_workers_give_the_same_to_the_bit(reference, written, tmp_path):
    manifest = run(written(SMALL), tmp_path / "out", engines.local(2))
    assert contents(tmp_path / "out") == reference[1]
    assert manifest["runs"][-1]["jobs"] == {"computed": JOBS, "kept": 0}
    assert len(reference[1]) == JOBS + 2


@pytest.mark.slow
@pytest.mark.dask
@pytest.mark.xdist_group("dask")
def test_a_dask_cluster_gives_the_same_to_the_bit(reference, written, tmp_path):
    pytest.importorskip("distributed")
    run(written(SMALL), tmp_path / "out", engines.dask(1, None))
    assert contents(tmp_path / "out") == reference[1]


@pytest.mark.slow
def test_killed_it_loses_no_finished_job_and_resumes_to_the_same_bits(written, tmp_path):
    # some seconds of jobs, each of which takes a fraction of one
    config = written(SMALL.replace("steps = 5", "steps = 200").replace("runs = 5", "runs = 20"))
    kept = kill_and_resume("simulations.bandit", config, tmp_path / "killed", "jobs")
    run(config, tmp_path / "whole")
    manifest = json.loads((tmp_path / "killed" / "manifest.json").read_text())
    assert len(manifest["runs"]) == 2
    assert manifest["runs"][-1]["jobs"] == {"computed": JOBS - kept, "kept": kept}
    assert kept < JOBS
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_second_run_computes_nothing(reference, written, tmp_path):
    config = written(SMALL)
    run(config, tmp_path / "out")
    # not even a worker is started
    again = run(config, tmp_path / "out", where="no machine")["runs"]
    assert again[-1]["jobs"] == {"computed": 0, "kept": JOBS} and len(again) == 2
    assert contents(tmp_path / "out") == reference[1]


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [*DAMAGE, Path.unlink])
def test_a_damaged_or_missing_job_is_computed_again_and_no_other(
    damage, reference, written, tmp_path, capsys
):
    config = written(SMALL)
    run(config, tmp_path / "out")
    victim, *others = sorted((tmp_path / "out" / "jobs").rglob("*.parquet"))
    before = [path.stat().st_mtime_ns for path in others]
    damage(victim)
    manifest = run(config, tmp_path / "out")
    named = f"{victim} is damaged" in capsys.readouterr().err
    assert named == (damage is not Path.unlink)
    assert manifest["runs"][-1]["jobs"]["computed"] == 1
    assert [path.stat().st_mtime_ns for path in others] == before
    assert contents(tmp_path / "out") == reference[1]


@pytest.mark.parametrize(
    "change",
    [("seed = 3", "seed = 4"), ("0.9, 0.1", "0.8, 0.2"), ("kl_limit = 0.5", "kl_limit = 0.6")],
)
def test_a_folder_of_another_configuration_is_refused(change, reference, written):
    out = reference[2]
    with pytest.raises(store.Refused, match="another configuration .* give another --out"):
        run(written(SMALL.replace(*change)), out)
    assert contents(out) == reference[1]


# --- configuration ------------------------------------------------------------------------------

WRONG = {
    "unknown key": ("seed = 3", "sed = 3", "sed is an unknown key; give one of seed, laws, "),
    "missing key": ("runs = 5\n", "", "runs is missing; add it"),
    "unknown key of a policy": (
        "nuisance = 10",
        "noise = 10",
        "policies.linear.noise is an unknown key; give one of tabular, nuisance, step_sizes",
    ),
    "m does not divide": ("[[8, 64]]", "[[7, 64]]", "budgets has m = 7 and rollouts is 16; give"),
    "m too small": ("[[8, 64]]", "[[1, 64]]", "budgets.0.0 is 1; input should be greater than"),
    "N too small": ("[[8, 64]]", "[[8, 0]]", "budgets.0.1 is 0; input should be greater than"),
    "budget twice": ("[[8, 64]]", "[[8, 64], [8, 64]]", "budgets is [[8, 64], [8, 64]]; give dist"),
    "step size": ("[0.1, 0.3, 0.9]", "[0.0]", "policies.linear.step_sizes.0 is 0.0; input should"),
    "step sizes fall": (
        "[0.1, 0.3, 0.9]",
        "[0.3, 0.1]",
        "policies.linear: step_sizes is [0.3, 0.1]; give increasing numbers",
    ),
    "unknown option": (
        'name = "tea"',
        'name = "tea"\nalfa = 0.5',
        "estimators.\"TEA\": tea has no option 'alfa'; its options: alpha",
    ),
    "law out of range": (
        'family = "Normal"',
        'family = "Normal"\nscale = -1.0',
        'laws."Normal": scale is -1.0; give a finite number in (0, inf)',
    ),
    "reps": ('name = "tea"', 'name = "tea"\nreps = { 8 = 9 }', 'estimators."TEA": reps is for'),
    "exact taken": ("[estimators.RLOO]", "[estimators.exact]", 'estimators."exact": this label is'),
    "reference": (
        '= "TEA"',
        '= "tea"',
        "reference is 'tea'; give the label of an estimator: 'TEA'",
    ),
    "reference not everywhere": (
        'reference = "TEA"',
        'reference = "RLOO"',
        "reference is 'RLOO', which does not exist for laws.\"coin\" at m = 8, N = 64; give one",
    ),
}


def refused(*arguments):
    """Return the line with which the command ends."""
    app = typer.Typer()
    app.command()(bandit.main)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 2
    (line,) = done.output.splitlines()
    return line


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_configuration_error_is_one_line_and_nothing_runs(wrong, written, tmp_path):
    old, new, expected = wrong
    assert old in SMALL
    config = written(SMALL.replace(old, new))
    line = refused(config, "--out", tmp_path / "out")
    assert line.startswith(f"error: {config}: {expected}")
    assert not (tmp_path / "out").exists()


def test_the_command_refuses_an_address_without_dask(written, tmp_path):
    line = refused(written(SMALL), "--address", "tcp://here:1", "--out", tmp_path / "out")
    assert line == "error: address is 'tcp://here:1' and engine is 'local'; add --engine dask"


@pytest.mark.parametrize("name", ["bandit.toml", "bandit_quick.toml"])
def test_the_shipped_configurations_are_what_they_say(name):
    study = read_study(GRIDS / name)
    assert study.reference == "TEA .25"
    mode = study.built["1 % good mode"]
    # the second component is the rare one, and the good one
    assert mode.sf(3.0) == pytest.approx(0.01, rel=0.2) and mode.sf(1.0) < 0.2
