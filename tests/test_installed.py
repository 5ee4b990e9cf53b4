"""The package as a stranger installs it: the studies inside it, its versions, nowhere to write."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("pydantic")
pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

from tea_stats.command_line import app, studies

ROOT = Path(__file__).parents[1]
TINY = """
seed = 1
m = [8]
N = [32]
reps = { 8 = 2000 }
[laws.Normal]
family = "Normal"
[estimators.TEA]
name = "tea"
"""


def ended(command, folder, code=0, **environment):
    """Run a command in `folder` with `site` first on its path; return its two outputs."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "site"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Lay the files out as the wheel has them, in a folder that is no repository."""
    folder = tmp_path_factory.mktemp("installed")
    skipped = shutil.ignore_patterns("__pycache__", "pools")
    shutil.copytree(ROOT / "tea_stats", folder / "site" / "tea_stats", ignore=skipped)
    for name in ("simulations", "analysis"):
        inside = folder / "site" / "tea_stats" / "_studies" / "top_level" / name
        shutil.copytree(ROOT / name, inside, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tiny.toml").write_text(TINY)
    # a package of the user's own that has the name of one of ours
    (folder / "site" / "simulations").mkdir()
    (folder / "site" / "simulations" / "__init__.py").write_text("mine = True\n")
    return folder


# --- the studies --------------------------------------------------------------------------------


def test_import_leaves_the_names_of_the_studies_to_the_user(elsewhere):
    program = "import tea_stats, simulations; print(tea_stats.__file__, simulations.mine)"
    output, _ = ended(["-c", program], elsewhere)
    assert output.split() == [str(elsewhere / "site" / "tea_stats" / "__init__.py"), "True"]


@pytest.mark.slow
def test_grid_and_figures_run_from_an_installed_package(elsewhere):
    _, told = ended(["-m", "tea_stats", "grid", "tiny.toml", "--workers", "1"], elsewhere)
    assert "results/tiny/table.parquet: 1 estimators" in told
    manifest = json.loads((elsewhere / "results" / "tiny" / "manifest.json").read_text())
    (run,) = manifest["runs"]
    assert run["revision"] is None and not run["dirty"]
    # the same hash of the source as in the repository
    from simulations.core import manifests

    assert run["code"] == manifests.code_hash()
    command = ["-m", "tea_stats", "figures", "results/tiny", "--only", "responses"]
    assert "give one of bias_vs_m" in ended(command, elsewhere, code=1)[1]
    command = ["-m", "tea_stats", "figures", "league", "--only", "performance_profile"]
    assert "1 of 1 figures" in ended(command, elsewhere)[0]


def test_arguments_and_exit_codes_reach_the_studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in studies.STUDIES:
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0 and f"tea-stats {name}" in result.output, name
    result = CliRunner().invoke(app, ["grid", "nosuch", "--workers", "1"])
    assert result.exit_code == 2 and "give a TOML file, or one of bandit" in result.output
    result = CliRunner().invoke(app, ["report", "nosuch"])
    assert result.exit_code == 1 and "make it with `tea-stats grid quick" in result.output


@pytest.mark.parametrize(
    ("folder", "module"),
    [
        ("paper", "analysis.figures"),
        ("nosuch", "analysis.figures"),
        ("bandit", "analysis.bandit"),
        ("analysis/summaries/lm_pool", "analysis.lm.pools"),
        ("lm_cpu", "analysis.lm.training"),
        ("lm_exact", "analysis.lm.exact"),
    ],
)
def test_figures_knows_whose_results_they_are(folder, module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert studies.kind([folder, "--out", "x"]).startswith(module)
    # an option's value that is the name of a summary
    assert studies.kind(["--out", "bandit", folder]).startswith(module)
    assert studies.kind(["--out=bandit", folder, "--out", "lm_pool"]).startswith(module)


def test_one_line_names_the_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "simulations.grid.run", None)
    result = CliRunner().invoke(app, ["grid", "quick"])
    assert result.exit_code == 2 and len(result.output.splitlines()) == 1
    monkeypatch.undo()
    without = "import sys; sys.modules['typer'] = None; from tea_stats.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True)
    message = "tea-stats needs typer, which is not installed; pip install 'tea-stats[cli]'\n"
    assert done.returncode == 1 and done.stderr == message


# --- nowhere to write ---------------------------------------------------------------------------

PROGRAM = "import tea_stats; print(tea_stats.grpo([1, 2, 3], N=4))"


def test_import_where_numba_can_keep_nothing(tmp_path):
    nowhere = "from numba.core.caching import CacheImpl; CacheImpl._locator_classes = []; "
    done = subprocess.run([sys.executable, "-c", nowhere + PROGRAM], capture_output=True, text=True)
    assert done.stdout.split() == ["[-1.", "0.", "1.]"], done.stderr
    assert done.stderr.count("RuntimeWarning") == 1 and "NUMBA_CACHE_DIR" in done.stderr


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode != 0,
    reason="needs the right to mount",
)
def test_import_from_a_read_only_folder_without_a_home(elsewhere):
    mount = f"mount --bind {elsewhere} {elsewhere} && mount -o remount,ro,bind {elsewhere}"
    environment = {**os.environ, "HOME": "/proc/none", "PYTHONPATH": str(elsewhere / "site")}
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    command = ["unshare", "-m", "sh", "-c", f'{mount} && cd / && exec "$0" -c "$1"']
    done = subprocess.run(
        [*command, sys.executable, PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["[-1.", "0.", "1.]"], done.stderr
    assert done.stderr.count("RuntimeWarning") == 1


# --- what is declared ---------------------------------------------------------------------------


def test_the_lowest_versions_are_those_that_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["cli"], *extras["sim"], *extras["test"]]
    declared = dict(line.split(">=") for line in lines if ">=" in line)
    text = (ROOT / "tests" / "lowest.txt").read_text()
    tested = dict(re.findall(r"^(\S+)==(\S+)$", text, re.MULTILINE))
    for other in ("pyparsing", "click"):  # not ours
        tested.pop(other)
    untested = declared.keys() - tested.keys()
    assert untested == {"selenium", "pytest-xdist"}
    for name, version in tested.items():
        assert re.fullmatch(rf"{re.escape(declared[name])}(\.0)*", version), name
