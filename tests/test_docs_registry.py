"""The pages made from the tables: none is forgotten, and each has a formula that is drawn."""

from __future__ import annotations

import importlib.util
import inspect
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import tea_stats

EXTENSIONS = Path(__file__).parents[1] / "docs" / "extensions"
DOCUMENTED = [getattr(tea_stats, name) for name in tea_stats.ESTIMATORS]
DOCUMENTED += [*tea_stats.FAMILIES.values(), tea_stats.Affine, tea_stats.Recorded]


def extension(name):
    """Return a module of docs/extensions, which is no package."""
    spec = importlib.util.spec_from_file_location(name, EXTENSIONS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def formulas(documented):
    """Return the formulas of a docstring, each in one line."""
    text = inspect.getdoc(documented)
    found = re.findall(r"^\.\. math::(.*(?:\n(?: .*)?)*)", text, re.MULTILINE)
    return [" ".join(formula.split()) for formula in found]


@pytest.mark.parametrize("documented", DOCUMENTED, ids=lambda x: x.__name__)
def test_docstring_has_a_formula_that_can_be_drawn(documented):
    pytest.importorskip("sphinx")
    mathml = extension("mathml").mathml
    found = formulas(documented)
    assert found
    for formula in found:
        ElementTree.fromstring(mathml(formula, block=True).replace("&ApplyFunction;", ""))


@pytest.mark.parametrize("name", list(tea_stats.ESTIMATORS))
def test_an_estimator_has_a_formula_of_its_advantages(name):
    assert re.search(r"\bA(_i|_\{\(i\)\})? =", " ".join(formulas(getattr(tea_stats, name))))


@pytest.mark.parametrize(
    "law", [*tea_stats.FAMILIES.values(), tea_stats.Affine, tea_stats.Recorded]
)
def test_a_law_has_density_or_tail_score_and_source(law):
    text = " ".join(formulas(law))
    if law is not tea_stats.EmpiricalPool:  # whose scores are recorded
        assert re.search(r"\bS(_k|\(y\))? =", text)
    assert re.search(r"f\(r\) =|F\(r\) =|P\(R > r\) =|p_k =|π\(y\) =", text)
    assert re.search(r"\((19|20)\d\d\)", inspect.getdoc(law))


@pytest.mark.parametrize("formula", [r"\frac{a}", r"\nosuchcommand", "a ⊗⊗"])
def test_invalid_formulas_are_refused(formula):
    pytest.importorskip("sphinx")
    with pytest.raises((SyntaxError, ValueError)):
        extension("mathml").mathml(formula, block=True)


def test_unicode_and_tex_are_the_same_formula():
    pytest.importorskip("sphinx")
    mathml = extension("mathml").mathml
    assert mathml("Σ_i α − 1 ≤ ∞", block=True) == mathml(
        r"\sum_i \alpha - 1 \le \infty", block=True
    )


def test_pages_are_those_of_the_tables(tmp_path):
    pytest.importorskip("jinja2")
    registry = extension("registry")
    stale = tmp_path / "estimators" / "gone.rst"
    stale.parent.mkdir()
    stale.write_text("an estimator that is no more")
    written = registry.write(tmp_path)
    assert not stale.exists()
    assert {path.stem for path in tmp_path.glob("estimators/*")} == {*tea_stats.ESTIMATORS, "index"}
    laws = {*tea_stats.FAMILIES, "Affine", "Recorded", "index"}
    assert {path.stem for path in tmp_path.glob("laws/*")} == laws
    index = (tmp_path / "estimators" / "index.rst").read_text()
    for name, record in tea_stats.ESTIMATORS.items():
        page = (tmp_path / "estimators" / f"{name}.rst").read_text()
        for text in (page, index):
            assert record.unbiased_for in text and record.reference in text
        assert f":doc:`{name} <{name}>`" in index
    times = [path.stat().st_mtime_ns for path in written]
    assert registry.write(tmp_path) == written
    assert [path.stat().st_mtime_ns for path in written] == times


def test_the_recommended_estimator_is_marked():
    pages = extension("registry").pages()
    marked = [name for name, text in pages.items() if "recommended default" in text]
    assert marked == [f"estimators/{tea_stats.RECOMMENDED}.rst"]
