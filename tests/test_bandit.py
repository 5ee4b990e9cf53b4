"""The bandit study: common random numbers, tuning, resuming, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from simulations.bandit import cells as bandit_cells
from simulations.bandit import run as bandit

from simulations.bandit.schema import EXACT, read_study
from simulations.core import command as _command
from simulations.core import engines, store

ROOT = Path(__file__).parents[1]
GRIDS = ROOT / "simulations" / "grids"
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
CELLS = 2 * (3 + 3)


@pytest.fixture
def written(tmp_path):
    """Write a configuration and return its path."""

    def write(text, name="bandit.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def said(monkeypatch):
    """Collect what the user is told."""
    lines = []
    for module in (bandit, _command):
        monkeypatch.setattr(module, "tell", lines.append)
    return lines


@contextmanager
def one_thread():
    """Give an engine without the seconds that a process takes to start."""
    with ThreadPoolExecutor(1) as pool:
        yield pool, 1


def run(config, out, where=None):
    return bandit.run(read_study(config), out, where or one_thread())


def contents(out):
    """Every result of a folder, by file name, as text of its numbers."""
    files = sorted(path.relative_to(out) for path in out.rglob("*.parquet"))
    return {str(path): pd.read_parquet(out / path).to_csv(float_format="%r") for path in files}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """SMALL, run by one worker process: the result that every other way must give."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "bandit.toml").write_text(SMALL)
    manifest = run(folder / "bandit.toml", folder / "out", engines.local(1))
    return manifest, contents(folder / "out"), folder / "out"


# --- cells --------------------------------------------------------------------------------------


def one_cell(config, estimator, policy="linear", law="Normal"):
    return run_cell(Cell(read_study(config), law, policy, 8, 64, estimator))


def test_every_arm_that_exists_is_a_cell_after_the_exact_path(written):
    study = read_study(written(SMALL))
    found = [(cell.law, cell.policy, cell.estimator) for cell in cells(study)]
    normal = [
        ("Normal", policy, arm) for policy in study.policies for arm in (EXACT, "TEA", "RLOO")
    ]
    coin = [("coin", policy, arm) for policy in study.policies for arm in (EXACT, "TEA", "MaxRL")]
    assert found == normal + coin


def test_arms_share_random_numbers(written):
    """The same estimator under two labels has one path; so has one whose options say the same."""
    config = written(SMALL + '[estimators.again]\nname = "tea"\nalpha = 0.25\n')
    first, second = (one_cell(config, label) for label in ("TEA", "again"))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    other = one_cell(config, "RLOO")
    assert (first["step 0"] == other["step 0"]).all() and (first["step 1"] != other["step 1"]).all()


def test_runs_do_not_depend_on_how_many_there_are(written, monkeypatch):
    monkeypatch.setattr(bandit_cells, "BATCH", 2)
    few = one_cell(written(SMALL.replace("runs = 5", "runs = 4", 1)), "TEA")
    more = one_cell(written(SMALL.replace("runs = 5", "runs = 8", 1)), "TEA")
    pd.testing.assert_frame_equal(few, more.iloc[:4], check_exact=True)
    assert more["step 5"].nunique() == 8


def test_the_tuned_step_size_is_near_the_best_one_offered(written):
    cell = one_cell(written(SMALL), "TEA")
    tuned = cell.filter(regex="^tuned ").iloc[0]
    (found,) = cell["step_size"].unique()
    best = float(tuned.idxmax().split()[1])
    assert best / 2 < found < 2 * best and tuned.nunique() == 3
    (only,) = one_cell(written(SMALL), "TEA", policy="tabular")["step_size"].unique()
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
    assert manifest["runs"][-1]["cells"] == {"computed": CELLS, "kept": 0}
    assert len(reference[1]) == CELLS + 2


@pytest.mark.slow
@pytest.mark.dask
@pytest.mark.xdist_group("dask")
def test_a_dask_cluster_gives_the_same_to_the_bit(reference, written, tmp_path):
    pytest.importorskip("distributed")
    run(written(SMALL), tmp_path / "out", engines.dask(1, None))
    assert contents(tmp_path / "out") == reference[1]


@pytest.mark.slow
def test_killed_it_loses_no_finished_cell_and_resumes_to_the_same_bits(written, tmp_path):
    # some seconds of cells, each of which takes a fraction of one
    config = written(SMALL.replace("steps = 5", "steps = 200").replace("runs = 5", "runs = 20"))
    command = [sys.executable, "-m", "simulations.bandit", str(config), "--workers", "1", "--out"]
    options = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def finished():
        return len(list((tmp_path / "killed" / "cells").rglob("[!.]*.parquet")))

    process = subprocess.Popen([*command, tmp_path / "killed"], start_new_session=True, **options)
    give_up = time.monotonic() + 120
    while finished() < 3 and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = finished()
    assert kept >= 3
    assert not (tmp_path / "killed" / "finals.parquet").exists()
    subprocess.run([*command, tmp_path / "killed"], check=True, **options)
    run(config, tmp_path / "whole")
    manifest = json.loads((tmp_path / "killed" / "manifest.json").read_text())
    assert len(manifest["runs"]) == 2
    assert manifest["runs"][-1]["cells"] == {"computed": CELLS - kept, "kept": kept}
    assert kept < CELLS
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_second_run_computes_nothing(reference, written, tmp_path):
    config = written(SMALL)
    run(config, tmp_path / "out")
    # not even a worker is started
    again = run(config, tmp_path / "out", where="no machine")["runs"]
    assert again[-1]["cells"] == {"computed": 0, "kept": CELLS} and len(again) == 2
    assert contents(tmp_path / "out") == reference[1]


# --- files --------------------------------------------------------------------------------------


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    # inside the first column's data, where no length or offset stands
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))


def replace_by_a_sibling(path):
    path.write_bytes(next(p for p in sorted(path.parent.iterdir()) if p != path).read_bytes())


@pytest.mark.parametrize("damage", [truncate, flip_a_byte, replace_by_a_sibling, Path.unlink])
def test_a_damaged_or_missing_cell_is_computed_again_and_no_other(
    damage, reference, written, tmp_path, said
):
    config = written(SMALL)
    run(config, tmp_path / "out")
    victim, *others = sorted((tmp_path / "out" / "cells").rglob("*.parquet"))
    before = [path.stat().st_mtime_ns for path in others]
    damage(victim)
    manifest = run(config, tmp_path / "out")
    named = [line for line in said if str(victim) in line and "damaged" in line]
    assert len(named) == (damage is not Path.unlink)
    assert manifest["runs"][-1]["cells"]["computed"] == 1
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


def test_a_folder_that_is_not_of_a_study_is_refused(written, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(store.Refused, match=r"not empty and has no manifest.json; give another"):
        run(written(SMALL), tmp_path / "home")


def test_the_manifest_tells_how_the_results_were_made(reference):
    manifest = reference[0]
    assert manifest["configuration"]["laws"]["Normal"] == "Normal(loc=0.0, scale=1.0)"
    assert manifest["seeds"]["master"] == 3
    (this,) = manifest["runs"]
    assert {"started", "finished", "seconds", "revision", "dirty", "code", "machine"} <= set(this)
    assert this["versions"]["numpy"] == np.__version__


# --- configuration ------------------------------------------------------------------------------

WRONG = {
    "unknown key": ("seed = 3", "sed = 3", "sed is an unknown key; give one of seed, responses"),
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
    "unknown family": (
        'family = "Normal"',
        'family = "Norml"',
        "laws.\"Normal\": family is 'Norml', which is unknown; give one of Normal, ",
    ),
    "law out of range": (
        'family = "Normal"',
        'family = "Normal"\nscale = -1.0',
        'laws."Normal": scale is -1.0; give a finite number in (0, inf)',
    ),
    "unknown estimator": (
        'name = "tea"',
        'name = "teaa"',
        "estimators.\"TEA\": estimator 'teaa' is unknown; give one of tea, ",
    ),
    "unknown option": (
        'name = "tea"',
        'name = "tea"\nalfa = 0.5',
        "estimators.\"TEA\": tea has no option 'alfa'; its options: alpha",
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
    "not TOML": ("seed = 3", "seed 3", "not TOML: "),
}


def command(*arguments):
    app = typer.Typer()
    app.command()(bandit.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_configuration_error_is_one_line_and_nothing_runs(wrong, written, tmp_path, said):
    old, new, expected = wrong
    assert old in SMALL
    config = written(SMALL.replace(old, new))
    assert command(config, "--out", tmp_path / "out").exit_code == 2
    (line,) = said
    assert line.startswith(f"error: {config}: {expected}") and "\n" not in line
    assert not (tmp_path / "out").exists()


def test_the_command_refuses_an_address_without_dask(written, tmp_path, said):
    arguments = (written(SMALL), "--address", "tcp://here:1", "--out", tmp_path / "out")
    assert command(*arguments).exit_code == 2
    assert said == ["error: address is 'tcp://here:1' and engine is 'local'; add --engine dask"]


@pytest.mark.parametrize("name", ["bandit.toml", "bandit_quick.toml"])
def test_the_shipped_configurations_are_what_they_say(name):
    study = read_study(GRIDS / name)
    assert study.reference == "TEA .25"
    mode = study.built["1 % good mode"]
    # the second component is the rare one, and the good one
    assert mode.sf(3.0) == pytest.approx(0.01, rel=0.2) and mode.sf(1.0) < 0.2
