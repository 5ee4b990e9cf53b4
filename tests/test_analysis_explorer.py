"""The explorer page: its numbers are the table's, it needs nothing else, and it is reproducible."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")
pytest.importorskip("statsmodels")
typer = pytest.importorskip("typer")

from typer.testing import CliRunner

from analysis.core import style as _style
from analysis.core.read import BATCH, load
from analysis.explorer import page as explorer, svg

ROOT = Path(__file__).parents[1]
SUMMARIES = ROOT / "analysis" / "summaries"
pytestmark = pytest.mark.xdist_group("explorer")
CELL = ["law", "estimator", "m", "N"]


class Reader(HTMLParser):
    """Read a page as a browser does: its elements, and the text of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.inside = [], {}, ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") or dict(attrs).get("type") or tag

    def handle_data(self, data):
        self.texts[self.inside] = self.texts.get(self.inside, "") + data

    @cached_property
    def data(self):
        return json.loads(self.texts["data"])


@pytest.fixture(scope="module", params=["paper", "league"])
def results(request):
    """Return a committed summary: a grid of groups, and one of batches."""
    return load(SUMMARIES / request.param)


@pytest.fixture(scope="module")
def read(results):
    """Return its page, parsed."""
    return Reader(explorer.page(results))


def table_of(read):
    """Return the page's cells as a table, by law, estimator, m and N."""
    rows = pd.DataFrame(read.data["cells"])
    rows["law"] = [read.data["laws"][place]["name"] for place in rows["law"]]
    rows["estimator"] = [read.data["estimators"][place]["name"] for place in rows["estimator"]]
    return rows.set_index(CELL).astype({x: float for m in explorer.METRICS for x in [m.key]})


def finite(values):
    """Return the values with NaN for ±∞, which JSON has no word for."""
    return values.where(np.isfinite(values))


# --- the page's numbers are the table's ---------------------------------------------------------


def test_numbers_are_those_of_the_table(results, read):
    cells = results.cells.set_index(CELL)
    rows = table_of(read).loc[cells.index]
    assert len(rows) == len(table_of(read)) == len(cells)
    for metric in explorer.METRICS:
        if metric.key == "sd":
            continue
        value, error = cells[metric.column], cells[f"{metric.column}_mcse"]
        # half a unit of the sixth digit, and of the third
        assert_allclose(rows[metric.key], finite(value), rtol=5.1e-6)
        assert_allclose(rows[f"{metric.key}_se"].astype(float), finite(error), rtol=5.1e-3)
    assert_array_equal(rows["status"], cells["status"])
    assert_array_equal(rows["flagged"].astype(bool), cells["flagged"])
    notes = np.array(read.data["notes"], dtype=object)[rows["note"]]
    assert_array_equal(notes, cells["note"].fillna(""))


def test_standard_deviation_is_that_of_a_batch(results, read):
    cells, rows = results.cells.set_index(CELL), table_of(read)
    rows = rows.loc[cells.index]
    # the variance of one observation, which is the mean of `prompts` groups
    expected = cells["variance"].clip(lower=0.0) * results.prompts / BATCH / cells["exact"] ** 2
    assert_allclose(rows["sd"] ** 2, finite(expected), rtol=1.1e-5)
    assert_allclose(rows["bias"] ** 2 + rows["sd"] ** 2, rows["error"], rtol=3e-5)
    # first order: the share of error of a root is half of the square's
    known = (expected > 0.0) & np.isfinite(expected)
    share = rows.loc[known, "sd_se"].astype(float) / rows.loc[known, "sd"]
    assert_allclose(share, (cells["variance_mcse"] / cells["variance"] / 2)[known], rtol=5.2e-3)


def test_what_does_not_exist_is_null(results, read):
    rows = table_of(read)
    undefined = rows[rows["status"] == "undefined"]
    assert len(undefined) == (results.cells["status"] == "undefined").sum() > 0
    assert undefined[[metric.key for metric in explorer.METRICS]].isna().all(axis=None)
    assert "NaN" not in read.texts["data"] and "Infinity" not in read.texts["data"]


def test_responses_are_the_tables_up_to_a_constant():
    results = load(SUMMARIES / "paper")
    twice = pd.concat([results.response, results.response.assign(m=64, N=1024)])
    read = Reader(explorer.page(replace(results, response=twice)))
    given = twice.set_index(["law", "m", "N", "estimator"]).sort_values("q")
    count = 0
    for found in read.data["responses"]:
        law = read.data["laws"][found["law"]]["name"]
        for curve in found["curves"]:
            name = read.data["estimators"][curve["estimator"]]["name"]
            rows = given.loc[[(law, found["m"], found["N"], name)]]
            assert_allclose(found["q"], rows["q"], rtol=5.1e-6)
            assert_allclose(found["exact"], rows["exact"], rtol=5.1e-6)
            assert_allclose(curve["se"], rows["response_mcse"], rtol=5.1e-3)
            moved = np.array(curve["response"]) - rows["response"]
            size = np.abs(rows["response"]).max() + np.abs(curve["response"]).max()
            assert np.ptp(moved) <= 1.1e-5 * size
            count += len(rows)
    assert count == len(twice)


def test_a_grid_without_responses_has_none():
    assert Reader(explorer.page(load(SUMMARIES / "league"))).data["responses"] == []


def test_laws_are_in_the_grids_order_with_their_parts(results, read):
    shown = read.data["laws"]
    assert [law["name"] for law in shown] == results.laws
    parts = {name: {law["name"] for law in shown if law["part"] == name} for name in results.parts}
    assert parts == {name: set(laws) for name, laws in results.parts.items()}
    # parameters to four digits: the page has room for a line
    families = dict(zip(results.table["law"], results.table["family"], strict=True))
    for law in shown:
        long, short = (re.findall(r"-?\d+\.\d+", x) for x in (families[law["name"]], law["family"]))
        assert_allclose([float(x) for x in short], [float(x) for x in long], rtol=6e-4)
        assert len(law["family"]) < 220


# --- looks --------------------------------------------------------------------------------------


def test_looks_are_those_of_the_figures(results, read):
    looks = _style.looks(results.options)
    shown = read.data["estimators"]
    assert [x["name"] for x in shown] == _style.ordered(results.options)
    assert {x["name"]: x["day"] for x in shown} == {e: look.colour for e, look in looks.items()}
    assert {x["name"]: x["marker"] for x in shown} == {
        e: svg.outline(look.marker) for e, look in looks.items()
    }
    assert {x["name"] for x in shown if x["main"]} == set(_style.chosen(results.options))


# --- the page stands alone ----------------------------------------------------------------------


def test_nothing_is_fetched(read):
    for tag, attributes in read.tags:
        assert tag not in {"iframe", "img", "object", "embed", "base", "audio", "video"}
        assert "src" not in attributes and "srcset" not in attributes
        assert attributes.get("href", "data:,") == "data:,"
    policy = next(a["content"] for _, a in read.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "http" not in policy
    program, style = read.texts["module"], read.texts["style"]
    # the one address is the name of SVG's elements, which nobody visits
    assert set(re.findall(r"\w+://[^\"'`\s]*", program + style)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|import|eval)\b", program)
    assert not re.search(r"@import|@font-face|url\(", style)


def test_page_is_whole_and_small(results, read):
    page = explorer.page(results)
    assert "@@" not in page and page.rstrip().endswith("</html>")
    assert len(page.encode()) < 3e6
    for name in explorer.PROGRAM:
        assert f"// --- {name}" in read.texts["module"]


def test_no_name_of_a_grid_ends_its_element():
    results = load(SUMMARIES / "paper")
    name = "</script><script>alert(1)</script> <!-- @@program@@ & \u2028"
    table = results.table.replace({"law": {"Normal": name}})
    page = explorer.page(replace(results, table=table, response=None))
    assert Reader(page).data["laws"][0]["name"] == name
    assert page.count("<script") == 2


def test_page_names_its_run(results, read):
    about, run = read.data["about"], results.manifest["runs"][0]
    assert about["seed"] == results.manifest["configuration"]["seed"]
    assert run["code"] in about["code"] and run["started"][:10] in about["dates"]
    assert about["hash"] == results.manifest["hash"]
    assert about["config"] == run["config"] and (ROOT / run["config"]).is_file()
    assert f"--out results/{about['grid']}" in about["rebuild"][0]
    bare = Reader(explorer.page(replace(results, manifest={"configuration": {}})))
    assert bare.data["about"]["code"] == ["unknown"]


# --- the command --------------------------------------------------------------------------------


def command(*arguments):
    """Run the command with these arguments."""
    app = typer.Typer()
    app.command()(explorer.main)
    return CliRunner().invoke(app, [str(x) for x in arguments])


def test_same_results_same_bytes(tmp_path):
    copy, out = tmp_path / "elsewhere" / "paper", tmp_path / "deep" / "page.html"
    shutil.copytree(SUMMARIES / "paper", copy)
    done = command(copy, "--out", out)
    assert done.exit_code == 0, done.output
    assert str(out) in done.output
    again = tmp_path / "again.html"
    subprocess.run(
        [sys.executable, "-m", "analysis.explorer", SUMMARIES / "paper", "--out", again],
        cwd=ROOT,
        # other places in sets
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
    )
    assert out.read_bytes() == again.read_bytes()


def test_folder_without_results_is_refused(tmp_path):
    out = tmp_path / "page.html"
    for folder, reason in ((tmp_path, "missing"), (tmp_path / "none", "no such folder")):
        refused = command(folder, "--out", out)
        assert refused.exit_code == 1
        assert refused.output.startswith("error: ") and str(folder) in refused.output
        assert reason in refused.output and "tea-stats grid" in refused.output
        assert refused.output.count("\n") == 1
    assert not out.exists()
