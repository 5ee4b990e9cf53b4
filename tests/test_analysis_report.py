"""Report, summary and commands, on a small grid that is measured here."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("pydantic")
pytest.importorskip("statsmodels")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")
typer = pytest.importorskip("typer")

from rich.console import Console
from typer.testing import CliRunner

from analysis import figures
from analysis.core import read, style, write
from analysis.grid import report, summary, winners
from tests.analysis_grid import changed, finding, scale

pytestmark = pytest.mark.xdist_group("small grid")
app = typer.Typer()
app.command("figures")(figures.main)
app.command("report")(report.main)
app.command("summary")(summary.main)


def run(*arguments):
    """Run one of the commands."""
    return CliRunner().invoke(app, [str(x) for x in arguments])


@pytest.fixture(scope="module")
def results(small_grid):
    """Return the small grid's results."""
    return read.load(small_grid)


# --- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["figures", "report"])
def test_a_folder_that_is_missing_is_one_line(command, tmp_path):
    done = run(command, tmp_path / "nowhere")
    assert done.exit_code == 1
    assert re.fullmatch(r"error: \S*nowhere: no such folder; make it with .*\n", done.output)


def test_a_law_that_is_not_there_is_one_line(small_grid):
    done = run("report", small_grid, "--law", "Cauchy")
    assert done.exit_code == 1
    assert done.output.startswith("error: law is 'Cauchy'; give one of Normal, GaussianTail")


# --- report -------------------------------------------------------------------------------------


def printed(results, tmp_path, law=None):
    """Return what the report prints, 100 columns wide."""
    console = Console(width=100, record=True, file=io.StringIO(), markup=False)
    report.show(results, tmp_path, law, console)
    return console.export_text()


def test_the_report_prints_what_the_table_says(results, tmp_path):
    text = printed(results, tmp_path)
    states = results.cells["status"].value_counts()
    assert f"{len(results.cells)} cells: {states['']} measured" in text
    assert f"{states['infinite']} infinite" in text and f"{states['undefined']} undefined" in text
    best = winners.winners(results).query("law == 'Normal' and ratio >= 1")
    first, count = next(iter(best["estimator"].value_counts().items()))
    line = next(x for x in text.splitlines() if x.startswith("Normal  "))
    assert line.rstrip().endswith(f"{first} {count}/{len(best)}")
    assert re.search(r"^heavy tail( +GRPO \d/\d){3}", text, re.MULTILINE)
    row = results.single.query("law == 'Normal' and estimator == 'TEA .25'").iloc[0]
    cosine = style.plus_minus(row["cosine"], row["cosine_mcse"])
    assert re.search(rf"^TEA \.25 .* {re.escape(cosine)} ", text, re.MULTILINE)


def test_the_report_sets_biases_beside_the_reference_of_the_theory(results, tmp_path):
    text = printed(results, tmp_path)
    rows = results.table.query("law == 'Normal' and estimator == 'TEA .25' and N == 128")
    rows = rows[rows["m"] == 16]
    for parameter, reference in zip(("loc", "scale"), report.REFERENCE[16], strict=True):
        row = rows[rows["parameter"] == parameter].iloc[0]
        assert abs(row["bias"] - reference) < 5 * row["bias_mcse"] + 0.005
        assert style.plus_minus(row["bias"], row["bias_mcse"]) in text
        assert style.number(reference, 3) in text
    more = changed(results, scale("bias", 2.0, law="Normal", parameter="loc", estimator="TEA .25"))
    assert printed(more, tmp_path) != text
    # a Normal law that is not the standard one has no reference
    other = changed(results, lambda t: t.assign(family=t["family"].str.replace("1.0", "2.0")))
    assert "ref." in text and "ref." not in printed(other, tmp_path)


def test_the_report_names_the_files(results, tmp_path):
    assert "no figures yet: tea-stats figures" in printed(results, tmp_path)
    (tmp_path / "winners.png").touch()
    text = printed(results, tmp_path, law="GumbelMin")
    assert f"{tmp_path / 'winners.png'} (and .pdf)" in text.replace("\n", "")
    assert "GumbelMin, m = 16" in text and "saturated: hardly" not in text
    spent = changed(results, lambda t: t.assign(status="saturated"))
    assert "saturated: hardly" in printed(spent, tmp_path)


# --- summary ------------------------------------------------------------------------------------


def test_a_summary_is_small_and_draws_the_same(results, small_grid, tmp_path):
    done = run("summary", small_grid, tmp_path / "small")
    assert done.exit_code == 0, done.output
    small = read.load(tmp_path / "small")
    size = sum(path.stat().st_size for path in (tmp_path / "small").iterdir())
    whole = sum((small_grid / f"{x}.parquet").stat().st_size for x in ("table", "response"))
    assert size < 0.6 * whole
    assert len(small.cells) == len(results.cells)
    assert set(small.response["m"]) == {16}
    manifest = json.loads((tmp_path / "small" / "manifest.json").read_text())
    assert manifest["hash"] == results.manifest["hash"]
    for name in figures.FIGURES:
        assert finding(name, small) == finding(name, results)


def test_a_summary_does_not_replace_its_results(small_grid):
    done = run("summary", small_grid, small_grid / ".." / small_grid.name)
    assert done.exit_code == 1 and "is the results folder itself" in done.output


@given(st.lists(st.floats(), min_size=1))
def test_rounding_keeps_24_bits_and_every_special_number(values):
    before = np.array(values)
    after = write.rounded(before, 24)
    special = ~np.isfinite(before) | (before == 0.0)
    assert np.array_equal(before[special], after[special], equal_nan=True)
    normal = ~special & (np.abs(before) > 1e-300) & (np.abs(before) < 1e308)
    before, after = before[normal], after[normal]
    assert (np.abs(after - before) <= 2.0**-24 * np.abs(before)).all()
    assert np.array_equal(after, write.rounded(after, 24))
    assert (after.view(np.int64) % 2**29 == 0).all()
