"""Estimators measured anew take the places of their rows in a committed summary, and no others."""

from __future__ import annotations

import json
import re

import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("statsmodels")
pytest.importorskip("matplotlib")
pytest.importorskip("typer")

import typer
from pandas.testing import assert_frame_equal
from typer.testing import CliRunner

from analysis import remeasured
from analysis.core import read
from analysis.grid import summary
from simulations.grid import run
from simulations.grid.schema import read_grid
from tests import analysis_grid
from tests.studies import one_thread

app = typer.Typer()
app.command()(remeasured.main)


def measured(place, text):
    """Run a grid and return its summary's folder."""
    place.mkdir()
    (place / "small.toml").write_text(text)
    run.run(read_grid(place / "small.toml"), place / "results", one_thread())
    summary.summarise(read.load(place / "results"), place / "summary")
    return place / "summary"


@pytest.fixture(scope="module")
def grid():
    """Return a grid of seconds as text."""
    return re.sub(r"reps = \{.*\}", "reps = { 8 = 300, 16 = 300, 32 = 300 }", analysis_grid.GRID)


def alone(grid, *labels):
    """Return the grid with these estimators only."""
    lines = grid.splitlines()
    inside = slice(lines.index("[estimators]") + 1, lines.index("[response]"))
    lines[inside] = [line for line in lines[inside] if line.split(" =")[0].strip('"') in labels]
    return "\n".join(lines)


@pytest.fixture
def folders(grid, tmp_path):
    """Return the summary of a grid, and that of two of its estimators."""
    new = measured(tmp_path / "new", alone(grid, "TEA .5", "GRPO"))
    return measured(tmp_path / "old", grid), new


def test_an_estimator_alone_has_the_numbers_it_has_among_others(folders):
    old, new = folders
    before = pd.read_parquet(old / "table.parquet")
    # what stood there before is of another formula
    wrong = before["estimator"] == "GRPO"
    before.assign(bias=before["bias"].where(~wrong, 7.0)).to_parquet(old / "table.parquet")
    done = CliRunner().invoke(app, [str(old), str(new)])
    assert done.exit_code == 0, done.output
    assert_frame_equal(pd.read_parquet(old / "table.parquet"), before)
    runs = json.loads((old / "manifest.json").read_text())["runs"]
    assert [entry.get("estimators") for entry in runs] == [None, ["TEA .5", "GRPO"]]


def test_another_configuration_is_refused(grid, folders, tmp_path):
    old, _ = folders
    other = alone(grid, "GRPO").replace("seed = 3", "seed = 4")
    content = (old / "table.parquet").read_bytes()
    done = CliRunner().invoke(app, [str(old), str(measured(tmp_path / "other", other))])
    assert done.exit_code == 1
    assert "configurations differ in seed" in done.output
    assert (old / "table.parquet").read_bytes() == content


def test_rows_that_are_missing_are_noticed(folders):
    old, new = folders
    rows = pd.read_parquet(new / "table.parquet")
    with pytest.raises(read.ResultsError, match="measure the same laws"):
        remeasured.replaced(pd.read_parquet(old / "table.parquet"), rows.iloc[1:])


def test_methods_of_some_logs_take_the_places_of_theirs(tmp_path):
    configuration = {"seed": 1, "peers": {"x": 4}, "pools": {"names": ["a", "b"], "reps": 2}}
    rows = [
        {"log": log, "m": 8, "N": N, "method": method, "coverage": 0.5}
        for log in ("a", "b")
        for method in ("stack", "x")
        for N in (64, 128)
    ]
    new = [{**r, "coverage": 0.75} for r in rows if r["log"] == "b" and r["method"] == "stack"]
    part = {"seed": 1, "peers": {}, "pools": {"names": ["b"], "reps": 2}}
    for folder, table, own in (("old", rows, configuration), ("new", new, part)):
        (tmp_path / folder).mkdir()
        pd.DataFrame(table).to_parquet(tmp_path / folder / "table.parquet")
        manifest = {"configuration": own, "runs": [{"started": folder}]}
        (tmp_path / folder / "manifest.json").write_text(json.dumps(manifest))
    arguments = [str(tmp_path / "old"), str(tmp_path / "new")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    table = pd.read_parquet(tmp_path / "old" / "table.parquet")
    fresh = (table["log"] == "b") & (table["method"] == "stack")
    assert table["coverage"].tolist() == [0.75 if x else 0.5 for x in fresh] and fresh.sum() == 2
    assert_frame_equal(table.drop(columns="coverage"), pd.DataFrame(rows).drop(columns="coverage"))
    manifest = json.loads((tmp_path / "old" / "manifest.json").read_text())
    assert manifest["configuration"] == configuration
    assert [run["started"] for run in manifest["runs"]] == ["old", "new"]
    other = {**part, "pools": {"names": ["b"], "reps": 3}}
    (tmp_path / "new" / "manifest.json").write_text(
        json.dumps({"configuration": other, "runs": []})
    )
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1 and "configurations differ in pools.reps" in done.output
