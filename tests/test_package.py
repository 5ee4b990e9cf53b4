"""The package as a whole: what importing it loads, what it documents, what version it is."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

import pytest

import tea_stats

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch",
    "trl",
    "matplotlib",
    "typer",
    "rich",
    "pandas",
    "scipy.stats",
    "statsmodels",
    "pyarrow",
    "dask",
)


# --- importing ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded():
    """Names of all modules that `import tea_stats` loads into a fresh interpreter."""
    command = [sys.executable, "-c", "import sys, tea_stats; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", HEAVY)
def test_import_does_not_load(package, loaded):
    pytest.importorskip(package)  # what is not installed cannot be loaded: no test at all
    assert package not in loaded
    assert {"numpy", "scipy", "numba", "tea_stats"} <= loaded


def test_each_heavy_package_is_imported_in_its_own_place_only():
    allowed = {
        "numba": "_kernels/_compiler.py",
        "torch": ("torch_bridge.py", "integrations/"),
        **dict.fromkeys(("typer", "rich", "matplotlib"), "command_line/"),
    }
    names = "|".join(allowed)
    for path in sorted((ROOT / "tea_stats").rglob("*.py")):
        imports = re.findall(rf"^\s*(?:from|import) ({names})\b", path.read_text(), re.MULTILINE)
        where = path.relative_to(ROOT / "tea_stats").as_posix()
        assert all(where.startswith(allowed[package]) for package in imports), path


# --- documentation ------------------------------------------------------------------------------


FUNCTIONS = [name for name in tea_stats.__all__ if inspect.isfunction(getattr(tea_stats, name))]
# what a user calls through a module; its other functions are helpers of the package
FUNCTIONS += ["best_of_n.value", "best_of_n.gradient", "best_of_n.advantage"]
FUNCTIONS += ["monte_carlo.measure", "monte_carlo.advantage_response"]
FUNCTIONS += ["monte_carlo.simulate_block", "monte_carlo.summarize"]
FUNCTIONS += ["prediction.predict", "prediction.budget_for", "prediction.linear_value"]
FUNCTIONS += ["reward_log.read"]
FUNCTIONS += ["tails.tail_count", "tails.tail_coefficient"]
FUNCTIONS += ["diagnosis.diagnose", "diagnosis.recommend"]


def sections(docstring):
    """Return a numpydoc docstring as a dict from section title to its lines."""
    lines = inspect.cleandoc(docstring).splitlines()
    titles = [i for i, line in enumerate(lines[1:]) if re.fullmatch("-{3,}", line)]
    return {lines[i]: lines[i + 2 : end] for i, end in pairwise([*titles, len(lines)])}


def documented_names(lines):
    """Return the names in a Parameters section: "a, b : float" gives a and b."""
    entries = [line.split(" :")[0] for line in lines if re.match(r"\*{0,2}\w", line)]
    return [name.strip().lstrip("*") for entry in entries for name in entry.split(",")]


def test_all_names_exist_and_are_named_once():
    assert len(set(tea_stats.__all__)) == len(tea_stats.__all__)
    for name in tea_stats.__all__:
        assert hasattr(tea_stats, name), name


def test_every_public_module_class_and_table_is_described():
    for name in tea_stats.__all__:
        value = getattr(tea_stats, name)
        if inspect.ismodule(value) or inspect.isclass(value):
            # a dataclass without a docstring gets its signature for one
            assert value.__doc__ and not value.__doc__.startswith(f"{name}("), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_has_the_numpydoc_sections(name):
    function = attrgetter(name)(tea_stats)
    found = sections(function.__doc__)
    expected = inspect.signature(function).parameters
    assert sorted(documented_names(found.get("Parameters", []))) == sorted(expected)
    assert "Returns" in found


def modules_with_examples():
    """Yield the names of the modules with a doctest."""
    for package in ("tea_stats", "simulations", "analysis"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if re.search(r"^\s*>>> ", path.read_text(), re.MULTILINE):
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples_in_docstrings(name):
    if name.startswith("tea_stats.torch_bridge"):
        pytest.importorskip("torch")
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0


# --- the project's files ------------------------------------------------------------------------


def test_version_is_the_same_everywhere():
    def first(path, pattern):
        return re.search(pattern, (ROOT / path).read_text(), re.MULTILINE)[1]

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = {
        "pyproject.toml": project["version"],
        "CITATION.cff": first("CITATION.cff", r"^version: (\S+)$"),
        "CHANGELOG.md": first("CHANGELOG.md", r"^## \[(\d\S*)\]"),
    }
    assert set(versions.values()) == {tea_stats.__version__}, versions


def test_the_notice_names_what_comes_with_the_package():
    """Texts that a model wrote, and files of others, are named with their origin."""
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for place in re.findall(r"^- ([\w/]+):", notice, re.MULTILINE):
        assert (ROOT / place).is_dir(), f"NOTICE names {place}, which is not there"
    summaries = ROOT / "analysis" / "summaries"
    quoting = {path.parent.name for path in summaries.glob("*/samples.parquet")}
    named = set(re.findall(r"\blm_\w+", notice))
    assert named == quoting
    for name in ("SmolLM2", "vaderSentiment", "alt-profanity-check", "all-MiniLM-L6-v2"):
        assert re.search(rf"{name}[\w-]* \((?:[\w ]+, )?(Apache-2.0|MIT)\)", notice), name


@pytest.mark.parametrize("where", ["module", "test"])
@pytest.mark.parametrize(("ci", "word"), [("true", "failed|error"), ("", "skipped")])
def test_missing_package_is_a_failure_only_in_ci(tmp_path, where, ci, word):
    guard = "pytest.importorskip('no_such_package')"
    bodies = {
        "module": f"import pytest\n{guard}\ndef test(): pass\n",
        "test": f"import pytest\ndef test(): {guard}\n",
    }
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_guarded.py").write_text(bodies[where])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        env={**os.environ, "CI": ci},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(rf"1 ({word})", done.stdout.splitlines()[-1]), done.stdout
    assert (done.returncode == 0) == (word == "skipped" and where == "test")
