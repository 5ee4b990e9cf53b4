"""The documentation site: built as `make docs` does, its links followed, its pages opened."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("furo")
pytest.importorskip("myst_parser")
pytest.importorskip("numpydoc")
pytest.importorskip("selenium")

import tea_stats
from tests.browser import look, skip_without, start, visit

ROOT = Path(__file__).parents[1]
BUILD = ["--fail-on-warning", "--keep-going", "--quiet", "-b", "html"]
# one worker builds the site, once
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]

#: elements that load what their attribute names
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """Links, anchors and loaded files of a page; `own` are the links of its own text."""

    def __init__(self, path):
        super().__init__()
        self.links, self.own, self.places, self.loaded, self.tags = [], [], {""}, [], []
        self.inside = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.places.add(values.get("id"))
        self.inside |= tag == "article"
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
            self.own += [values["href"]] * self.inside
        for element, name in LOADED:
            if tag == element and values.get(name):
                self.loaded.append(values[name])

    def handle_endtag(self, tag):
        self.inside &= tag != "article"


def build(source, out):
    """Build a site; return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *BUILD, source, out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the built site."""
    out = tmp_path_factory.mktemp("site")
    done = build("docs", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site):
    """Return every page of the site, by its path."""
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


@pytest.mark.parametrize("name", list(tea_stats.ESTIMATORS))
def test_every_estimator_has_a_page_with_a_formula(pages, site, name):
    page = pages[site / "reference" / "estimators" / f"{name}.html"]
    assert "math" in page.tags
    assert f"tea_stats.{name}" in page.places
    assert f"{name}.html" in pages[site / "reference" / "estimators" / "index.html"].own


@pytest.mark.parametrize("name", [*tea_stats.FAMILIES, "Affine"])
def test_every_law_has_a_page_with_a_formula(pages, site, name):
    page = pages[site / "reference" / "laws" / f"{name}.html"]
    assert "math" in page.tags
    assert f"tea_stats.{name}" in page.places
    assert f"{name}.html" in pages[site / "reference" / "laws" / "index.html"].own


def test_every_method_of_prediction_has_its_formula(site):
    text = html.unescape((site / "reference" / "methods" / "index.html").read_text("utf-8"))
    words = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", text))
    for name, method in tea_stats.prediction.METHODS.items():
        assert all(x in words for x in (name, method.title, method.formula, method.reference))


def test_pages_show_what_the_record_has(site):
    text = (site / "reference" / "estimators" / "max_rl.html").read_text(encoding="utf-8")
    record = tea_stats.ESTIMATORS["max_rl"]
    for words in (record.reference, "rewards 0 or 1", "its own"):
        assert words in text


def test_no_link_is_dead(pages):
    dead = []
    for path, page in pages.items():
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                dead.append((path.name, link))
            elif target in pages and unquote(parts.fragment) not in pages[target].places:
                dead.append((path.name, link))
    assert not dead
    assert sum(len(page.links) for page in pages.values()) > 1000


def test_nothing_is_loaded_from_a_network(pages):
    far = [(p.name, x) for p, page in pages.items() for x in page.loaded if urlsplit(x).netloc]
    assert not far


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[dead](nowhere.md)", "nowhere"),
        ("[dead](#nowhere)", "nowhere"),
        ("$\\nosuchcommand$", "formula"),
    ],
)
def test_a_strict_build_refuses(tmp_path, text, problem):
    source = tmp_path / "docs"
    source.mkdir()
    (source / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'docs' / 'extensions')!r})\n"
        "extensions = ['mathml', 'myst_parser']\n"
        "myst_enable_extensions = ['dollarmath']\n"
        "html_math_renderer = 'mathml'\n"
    )
    (source / "index.md").write_text(f"# Title\n\n{text}\n")
    done = build(source, tmp_path / "out")
    assert done.returncode != 0
    assert problem in done.stderr


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """Return one browser with an empty profile."""
    driver = start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.mark.browser
@skip_without
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_open_and_fit(chromium, pages, width):
    chromium.get_log("browser")
    look(chromium, width)
    for path in pages:
        if "_modules" in path.parts:
            continue
        visit(chromium, path.as_uri())
        assert chromium.execute_script("return document.documentElement.scrollWidth") <= width, path
        # a formula is drawn; one, or a table, that is too wide can be scrolled
        flat, cut = chromium.execute_script("""
            const formulas = [...document.querySelectorAll(".formula")];
            const boxes = [...formulas, ...document.querySelectorAll(".table-wrapper")];
            const height = box => box.querySelector("math").getBoundingClientRect().height;
            const scrolls = box => getComputedStyle(box).overflowX == "auto";
            return [formulas.filter(box => height(box) < 8).length,
                    boxes.filter(x => x.scrollWidth > x.clientWidth + 1 && !scrolls(x)).length];
        """)
        assert (flat, cut) == (0, 0), path
        assert chromium.get_log("browser") == [], path
