"""The guide "Which estimator when": its numbers are those of the summaries, all of them."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("jinja2")
typer = pytest.importorskip("typer")

from analysis.core.read import Absent
from analysis.guide import (
    page,
    tables,
)
from analysis.guide.situations import SITUATIONS
from analysis.guide.sources import Sources

pytestmark = pytest.mark.xdist_group("guide")
M_AT_LEAST_N = next(s for s in SITUATIONS if s.grid == "paper")


@pytest.fixture(scope="module")
def sources():
    """Return the committed summaries."""
    return Sources(page.SUMMARIES)


@pytest.fixture(scope="module")
def text():
    """Return the page as it is."""
    return page.page(page.SUMMARIES)


def changed(folder, name, change):
    """Copy the summaries into a folder, with one table changed; return the folder."""
    shutil.copytree(page.SUMMARIES, folder, dirs_exist_ok=True)
    path = folder / name
    table = pd.read_parquet(path)
    change(table)
    table.to_parquet(path)
    return folder


def lines_that_differ(text, other):
    """Return the lines of the first text that the second has not."""
    return set(text.splitlines()) - set(other.splitlines())


# --- no number is typed -------------------------------------------------------------------------


def test_a_changed_error_on_the_pools_changes_who_is_nearest(tmp_path, text):
    def worsen(table):
        chosen = (table.reward == "tone") & (table.estimator == "max@m") & (table.kind == "pool")
        assert chosen.sum() > 8
        table.loc[chosen, "scaled_nmse"] = 0.999

    other = page.page(changed(tmp_path, "lm_pool/table.parquet", worsen))
    before = [line for line in text.splitlines() if "has the least error, or one not" in line]
    after = [line for line in other.splitlines() if "has the least error, or one not" in line]
    assert len(before) == len(after) == 1 and before != after
    gone = lines_that_differ(text, other)
    assert sum(line.startswith("| tone |") and "| max@m |" in line for line in gone) >= 1


def test_the_template_has_no_digits():
    template = page.TEMPLATE.read_text(encoding="utf-8")
    assert not re.findall(r".*\d.*", template)
    assert len(re.findall(r"\{\{", template)) > 15


def test_a_changed_error_changes_the_page(tmp_path, text):
    def worsen(table):
        cell = (table.law == "GumbelMin") & (table.m == 32) & (table.N == 512)
        chosen = cell & (table.estimator == "auto TEA") & (table.parameter == "all")
        assert chosen.sum() == 1
        table.loc[chosen, "bias"] = 100.0 * table.loc[chosen, "exact"]

    other = page.page(changed(tmp_path, "league/table.parquet", worsen))
    new = lines_that_differ(other, text)
    assert any(line.startswith("| GumbelMin, m = 32, N = 512 |") for line in new)
    assert any("[Skewed to the left]" in line for line in new)
    assert any(line.startswith("| chosen on |") for line in new)
    # where the estimator was not touched, nothing changes
    assert not any("[A heavy upper tail]" in line for line in new)


FILES = {"bandit": "finals", "lm_exact": "runs"}


@pytest.mark.parametrize(
    ("name", "estimator", "column", "make", "start"),
    [
        ("paper", "max@m", "variance", lambda x: tables.leaders(x, M_AT_LEAST_N), "| max@m |"),
        ("rollouts", "TEA .25", "variance", tables.worth, "| Logistic | 512 |"),
        ("bandit", "RLOO", "ratio_reference", tables.training, "| RLOO |"),
        ("lm_exact", "GRPO", "V_128", tables.trained, "| GRPO |"),
    ],
)
def test_every_summary_is_read(tmp_path, text, name, estimator, column, make, start):
    def scale(table):
        table.loc[table.estimator == estimator, column] *= 0.25

    file = f"{name}/{FILES.get(name, 'table')}.parquet"
    other = make(Sources(changed(tmp_path, file, scale)))
    assert any(line.startswith(start) for line in lines_that_differ(other, text))


# --- situations ---------------------------------------------------------------------------------


def test_every_cell_of_the_benchmark_is_in_one_situation(sources):
    rows = sources.ratios["league"]
    by_law = [s for s in SITUATIONS if s.grid == "league" and s.laws]
    counts = sum(s.holds(rows).astype(int) for s in by_law)
    assert (counts == 1).all()
    assert {law for s in by_law for law in s.laws} == set(sources.league.laws)


def test_headings_and_links_agree(text):
    headings = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert headings == {s.name for s in SITUATIONS}
    assert len({s.anchor for s in SITUATIONS}) == len(SITUATIONS)


def test_verifiers_are_saturated_or_have_rare_successes(sources):
    rare, saturated = (sources.cells(s) for s in SITUATIONS[:2])
    chance = {"10 % verifier": 0.1, "1 % verifier": 0.01, "0.1 % verifier": 0.001}
    assert (rare.N * rare.law.map(chance) <= 4.0).all() and set(rare.law) == set(chance)
    assert (saturated.N * saturated.law.map(chance) > 4.0).all() and len(saturated)


# --- tables -------------------------------------------------------------------------------------


def rows(**ratios):
    """Return performance ratios: one law, an estimator's values over several N."""
    lines = []
    for estimator, values in ratios.items():
        for N, value in enumerate(values, start=1):
            row = {"law": "x", "m": 8, "N": N, "estimator": estimator, "to_best": value}
            row |= {"to_best_mcse": 0.01 * value, "to_tea": value, "to_tea_mcse": 0.01 * value}
            row |= dict.fromkeys(("cosine", "cosine_mcse", "efficiency", "efficiency_mcse"), 1.0)
            lines.append(row)
    return pd.DataFrame(lines)


def test_ranking_is_by_geometric_means_over_all_cells():
    table = tables.ranking(rows(a=[1.0, 4.0, 8.0], b=[2.0, 1.0, 1.0], rare=[1.0, 1.0]))
    assert list(table.index) == ["b", "a"]  # `rare` lacks a cell
    assert table.loc["a", "mean_to_best"] == pytest.approx(32.0 ** (1 / 3))
    # log ratios have standard error .01 each, their mean .01/√3
    assert table.loc["a", "mean_to_best_mcse"] == pytest.approx(32.0 ** (1 / 3) * 0.01 / np.sqrt(3))


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({"default": [1.5], "other": [1.0]}, "other"),
        ({"default": [1.0], "other": [1.5]}, "default"),
        ({"default": [1.05], "other": [1.0]}, "default"),  # not much less
        ({"other": [1.0]}, "other"),
    ],
)
def test_the_default_is_left_for_what_is_clearly_better(ratios, expected):
    assert tables.advised(tables.ranking(rows(**ratios)), "default") == expected


def test_the_default_is_kept_within_the_noise():
    noisy = rows(default=[1.3], other=[1.0]).assign(to_best_mcse=0.3)
    assert tables.advised(tables.ranking(noisy), "default") == "default"


def test_a_missing_estimator_is_an_error():
    with pytest.raises(Absent, match="here has no tea at its defaults"):
        tables.label_of({"TEA": {"name": "tea", "alpha": 0.5}}, "tea", "here")


def test_numbers_agree_with_the_benchmark(sources, text):
    # the same numbers straight from the rows
    own = sources.ratios["league"]
    held_out = own[(own["part"] == "held out") & (own["estimator"] == sources.default)]
    mean = np.exp(np.mean(np.log(held_out["to_best"])))
    (line,) = [x for x in text.splitlines() if x.startswith("| held out |")]
    assert f" {mean:.3f}\u00a0±" in line
    assert f"| {(held_out['to_tea'] > 1.1).sum()} of {len(held_out)} |" in line


def test_a_page_that_is_there_is_left_alone(tmp_path, monkeypatch, text):
    monkeypatch.setattr(page, "page", lambda folder: text)
    out = tmp_path / "page.md"
    page.write(out=out)
    assert out.read_text(encoding="utf-8") == text
    before = out.stat().st_mtime_ns
    page.write(out=out)
    assert out.stat().st_mtime_ns == before
    out.write_text("old")
    page.write(out=out)
    assert out.read_text(encoding="utf-8") == text


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path, capsys):
    with pytest.raises(typer.Exit):
        page.main(tmp_path, tmp_path / "page.md")
    assert "league: no such folder; make it with" in capsys.readouterr().err
