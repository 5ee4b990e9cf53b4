"""docs/contributing.md, followed to the letter: what it adds appears wherever the others do."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")
pytest.importorskip("pydantic")
pytest.importorskip("jinja2")
pytest.importorskip("typer")

from tests import contributed

pytestmark = pytest.mark.slow

GRID = """
seed = 1
m = [8]
N = [32]
reps = { 8 = 2000 }
[laws.secant]
family = "HyperbolicSecant"
scale = 2.0
[estimators."TEA .25"]
name = "tea"
[estimators."top two"]
name = "top_two"
"""

ESTIMATOR = """
import numpy as np
import tea_stats
from analysis.core import style
from analysis.core.read import load
from analysis.paper import exact
from analysis.readme import pages
from tea_stats.estimators import ESTIMATORS, lookup

assert tea_stats.__file__.startswith(r"{folder}"), tea_stats.__file__
rewards = np.random.default_rng(0).normal(size=(3, 8))
expected = tea_stats.top_two(rewards, N=32)
assert np.array_equal(tea_stats.advantages("top_two", rewards, N=32), expected)
assert isinstance(ESTIMATORS["top_two"], tea_stats.TopTwo)
assert style.looks({{"top two": {{"name": "top_two"}}}})["top two"] == lookup("top_two").mark
results = load("{folder}/results/tiny")
rows = results.cells[results.cells["estimator"] == "top two"]
assert len(rows) == 1 and np.isfinite(rows["batch_nmse"]).all() and set(rows["law"]) == {{"secant"}}
(line,) = [x for x in exact.rows(None)["methods"] if x.startswith("top two &")]
assert lookup("top_two").objective in line and "example of the documentation" in line
assert f"main ones of {{len(ESTIMATORS)}}" in pages.estimators()
"""

LAW = """
import numpy as np
import tea_stats
from tea_stats import best_of_n, monte_carlo

law = tea_stats.HyperbolicSecant(scale=2.0)
assert tea_stats.FAMILIES["HyperbolicSecant"] is type(law)
step = 1e-4
values = [best_of_n.value(tea_stats.HyperbolicSecant(scale=2.0 + s), 32) for s in (-step, step)]
slope = (values[1] - values[0]) / (2.0 * step)
assert np.allclose(best_of_n.gradient(law, 32), [1.0, slope], rtol=1e-6)
table = monte_carlo.measure(law, ["rloo"], m=8, N=1, reps=50_000)
row = table[table["parameter"] == "loc"].iloc[0]
assert abs(row["bias"]) < 5.0 * row["bias_mcse"]
"""

TORCH = """
import numpy as np, tea_stats, torch
from tea_stats import torch_bridge
rewards = np.random.default_rng(0).normal(size=(3, 8))
found = torch_bridge.advantages("top_two", torch.from_numpy(rewards), 32)
np.testing.assert_allclose(found.numpy(), tea_stats.top_two(rewards, 32), rtol=1e-12)
"""

DOCS = """
import sys; sys.path.insert(0, "docs/extensions")
from pathlib import Path
import registry
registry.write(Path("reference"))
text = Path("reference/estimators/top_two.rst").read_text("utf-8")
assert "E[mean of the two best of m] - V_1" in text and "tea_stats.top_two" in text
text = Path("reference/laws/HyperbolicSecant.rst").read_text("utf-8")
assert "tea_stats.HyperbolicSecant" in text
for kind, name in (("estimators", "top_two"), ("laws", "HyperbolicSecant")):
    assert name in Path("reference", kind, "index.rst").read_text("utf-8")
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of the repository with the page's estimator and law."""
    folder = tmp_path_factory.mktemp("copy")
    contributed.copy(folder)
    assert len(contributed.apply(folder, "An estimator")) == 3
    assert len(contributed.apply(folder, "A law")) == 4
    (folder / "tiny.toml").write_text(GRID)
    run(folder, "-m", "simulations.grid", "tiny.toml", "--workers", "1", "--out", "results/tiny")
    return folder


def run(folder, *arguments):
    """Run Python in the copy, and say what it prints if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_estimator_is_in_the_package_the_grid_the_article_and_the_readme(copy):
    run(copy, "-c", ESTIMATOR.format(folder=copy))


def test_the_estimator_is_in_figures(copy):
    printed = run(copy, "-m", "analysis.figures", "results/tiny", "--only", "winners", "--out", "x")
    assert (copy / "x" / "winners.png").is_file(), printed


def test_the_law_is_in_the_package_with_its_exact_truth(copy):
    run(copy, "-c", LAW)


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
def test_the_estimator_is_on_tensors(copy):
    run(copy, "-c", TORCH)


def test_both_have_pages(copy):
    run(copy, "-c", DOCS)


def test_the_tests_of_the_tables_pass(copy):
    files = ("test_estimators_unbiased.py", "test_estimators_properties.py", "test_families.py")
    chosen = "top_two or hyperbolic or accounted or two_settings"
    paths = [f"tests/{name}" for name in files]
    printed = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths, "-k", chosen)
    assert int(printed.split(" passed")[0].split()[-1]) > 50


def test_the_test_of_the_claim_finds_a_wrong_one(copy):
    path = copy / "tests" / "test_estimators_unbiased.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("- r.mean(axis=1)", "- 0.9 * r.mean(axis=1)"), encoding="utf-8")
    with pytest.raises(AssertionError, match="3 failed"):
        run(
            copy,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(path),
            "-k",
            "claim and top_two",
        )
    path.write_text(text, encoding="utf-8")


def test_a_change_that_does_not_fit_is_refused():
    assert contributed.patched("a\nb\n", " a\n+x\n+\n b\n+y\n") == "a\nx\n\nb\ny\n"
    with pytest.raises(AssertionError):
        contributed.patched("a\na\n", " a\n+x\n")
