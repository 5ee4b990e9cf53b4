"""README.md and docs/findings: as the generator writes them, no number typed, the code runs."""

from __future__ import annotations

import doctest
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")
typer = pytest.importorskip("typer")

from analysis.paper.studies import SUMMARIES, Studies
from analysis.readme import __main__ as command, pages, plain
from tea_stats import ESTIMATORS

ROOT = Path(__file__).parents[1]
#: numbers that are no results: names of works and models, settings by convention, versions
SETTINGS = (
    r"arXiv:\d{4}\.\d{5}|arxiv\.org/abs/\d{4}\.\d{5}|Apache-2\.0|3\.11|SmolLM2-135M|Beta\(2, 2\)",
    r"[mNkα] ?[=≥≤] ?\.?\d+\b|m ?≤ ?N/8|‖²",
)


@pytest.fixture(scope="module")
def texts():
    """Return every page as the generator writes it."""
    return pages.pages(Studies(ROOT / SUMMARIES))


def test_pages_are_what_the_generator_writes(texts):
    assert len(texts) >= 8
    for name, text in texts.items():
        old = (ROOT / name).read_text(encoding="utf-8")
        assert old == text, f"{name} is out of date: run python -m analysis.readme"


def test_readme_is_read_to_its_end(texts):
    text = texts["README.md"]
    assert len(text.splitlines()) <= 170
    first = text.split("\n\n")[1].replace("E max(R₁, …, R", "")
    assert len(re.findall(r"[.](?:\s|$)", first)) == 3
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 8
    (rows,) = re.findall(r"\| your rewards .*?\n\n", text, re.DOTALL)
    assert rows.count("\n| ") == 5
    for name, estimator in ESTIMATORS.items():
        listed = re.search(rf"^\| `{name}` \|", text, re.MULTILINE)
        assert bool(listed) is bool(estimator.mark and estimator.mark.main), name


def test_the_code_of_the_readme_runs(texts):
    (code,) = re.findall(r"```python\n(.*?)```", texts["README.md"], re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["advantages"].shape == names["rewards"].shape
    assert set(names["table"]["estimator"]) == {"tea", "grpo"}


def test_links_lead_somewhere(texts):
    for name, text in texts.items():
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if not link.startswith("http") and not link.endswith("which_estimator.md"):
                assert (ROOT / name).parent.joinpath(link).resolve().exists(), (name, link)


def test_no_number_is_typed_in_the_readme():
    template = (pages.TEMPLATES / "README.md").read_text(encoding="utf-8")
    prose = re.sub(
        r"```.*?```|\{\{.*?\}\}|`[^`]*`|<sub>.*?</sub>|\]\([^)]*\)", "", template, flags=re.S
    )
    prose = re.sub(r"R₁|best of 1024|64 rollouts of 64 prompts|0/1", "", prose)
    for pattern in SETTINGS:
        prose = re.sub(pattern, "", prose)
    assert re.findall(r".{0,30}\d.{0,30}", prose) == []


@pytest.mark.slow
def test_a_changed_summary_changes_the_readme(tmp_path, texts):
    shutil.copytree(ROOT / SUMMARIES, tmp_path / "summaries")
    path = tmp_path / "summaries" / "league" / "table.parquet"
    table = pd.read_parquet(path)
    table.loc[table["estimator"] == "TEA .25", ["bias", "variance"]] *= 1.5
    table.to_parquet(path)
    changed = pages.pages(Studies(tmp_path / "summaries"))
    lines = set(changed["README.md"].splitlines()) - set(texts["README.md"].splitlines())
    assert any("| `auto_tea` |" in line and "held-out laws" in line for line in lines)
    assert changed["docs/findings/rates.md"] == texts["docs/findings/rates.md"]


def test_a_number_is_taken_from_the_page_that_shows_it():
    assert float(pages.shown("share 0.8", "adaptive_tea")) > 100 * float(
        pages.shown("share 0.8", "tea")
    )
    with pytest.raises(ValueError, match="'share 0.7' and name 'tea': 0 such errors"):
        pages.shown("share 0.7", "tea")


def test_prose_is_wrapped_and_the_rest_left_alone():
    word = "word " * 40
    text = f"# {word}\n\n{word}\n\n- {word}\n- b\n\n| {word}|\n```\n{word}\n```\n`{'a b ' * 30}`\n"
    lines = pages.wrapped(text).splitlines()
    assert lines[0] == f"# {word}" and f"| {word}|" in lines and word in lines
    assert f"`{'a b ' * 30}`" in lines and sum(x.startswith("  word") for x in lines) == 2
    assert sum(len(x) <= 100 for x in lines) == len(lines) - 4


def test_unknown_latex_is_refused():
    with pytest.raises(ValueError, match="add its command to SIGNS"):
        plain.plain(r"\frac12")
    assert doctest.testmod(plain).failed == 0


def test_a_folder_without_summaries_is_named(tmp_path, capsys):
    with pytest.raises(typer.Exit):
        command.main(tmp_path / "none", tmp_path)
    assert re.search(r"error: .*none/\w+: no such folder", capsys.readouterr().err)
