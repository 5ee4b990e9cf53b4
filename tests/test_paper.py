"""The article: every number comes from a summary, every claim in words is checked against it."""

from __future__ import annotations

import doctest
import re
import shutil
from pathlib import Path

import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("statsmodels")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")
typer = pytest.importorskip("typer")

from typer.testing import CliRunner

from analysis.core.read import ResultsError
from analysis.paper import (
    __main__ as command,
    figures,
    grid,
    latex,
    league,
    lm_exact,
    sources,
    tell,
    theory,
)
from analysis.paper.studies import SUMMARIES, ClaimError, Studies, one
from tea_stats import ESTIMATORS
from tests import article

pytestmark = pytest.mark.xdist_group("paper")
ROOT = Path(__file__).parents[1]
#: tails of TEA; the only decimals that stand in the text's formulas
ALPHAS = {".1", ".25", ".5"}
#: numbers that belong to a name, a level of confidence by convention, and 0/1 rewards
NAMES = (r"95\,\%", "Beta(2, 5)", "GenPareto(0.2)", "SmolLM2-135M", "0/1")


@pytest.fixture(scope="module")
def studies():
    """Return the committed summaries."""
    return Studies(ROOT / SUMMARIES)


@pytest.fixture(scope="module")
def numbers(studies):
    """Return the article's numbers."""
    return tell.numbers(studies)


@pytest.fixture(scope="module")
def tables(studies):
    """Return the article's tables."""
    return tell.tables(studies)


def copied(studies, tmp_path, study, change):
    """Return the studies with one table changed."""
    shutil.copytree(studies.folder, tmp_path / "summaries")
    path = tmp_path / "summaries" / study / "table.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    return Studies(tmp_path / "summaries")


def scaled(column, factor, **key):
    """Return a change of one column where the others have these values."""

    def change(table):
        chosen = pd.Series(True, table.index)
        for name, value in key.items():
            chosen &= table[name] == value
        assert chosen.any()
        table.loc[chosen, column] *= factor
        return table

    return change


# --- numbers ------------------------------------------------------------------------------------


def test_the_text_uses_exactly_the_numbers_that_are_made(numbers):
    used = set(re.findall(r"\\val\{([^}#]*)\}", article.source()))
    assert used == set(numbers)


def test_a_changed_summary_changes_the_text(studies, numbers, tmp_path):
    sentence = re.search(
        r"On the Normal law at \$m=16\$.*?TEA \\val\{[^}]*\}", article.read(grid.FILE), re.DOTALL
    )[0]
    before = article.filled(sentence, numbers)
    assert "max@$m$\n\\num{0.11} and TEA \\num{0.25}" in before
    key = {"law": "Normal", "m": 16, "N": 128, "estimator": "max@m", "parameter": "all"}
    # the table keeps errors of single groups: their variance is most of max@m's error
    change = scaled("bias", 1.2, **key)
    after = article.filled(sentence, grid.numbers(copied(studies, tmp_path, "paper", change)))
    assert "max@$m$\n\\num{0.15} and TEA \\num{0.25}" in after
    assert before.replace("0.11", "0.15") == after


def test_a_changed_summary_changes_a_table(studies, tables, tmp_path):
    key = {"law": "Normal", "m": 64, "N": 128, "estimator": "TEA .25", "parameter": "loc"}
    changed = theory.rows(copied(studies, tmp_path, "theory", scaled("bias", 1.1, **key)))
    pairs = zip(tables["biases"], changed["biases"], strict=True)
    differ = [pair for pair in pairs if pair[0] != pair[1]]
    assert len(differ) == 1
    assert "-0.1364" in differ[0][0] and "-0.1500" in differ[0][1]


def test_a_claim_in_words_fails_with_its_numbers(studies, tmp_path):
    change = scaled("variance", 1e6, estimator="linear TEA", law="Normal")
    with pytest.raises(ClaimError, match=r"on Normal .* linear TEA .*rewrite paper/sections/off"):
        grid.numbers(copied(studies, tmp_path, "paper", change))


def test_a_missing_row_is_named_with_the_cure(studies, tmp_path):
    def change(table):
        return table[~((table["estimator"] == "Prefix-TEA cross") & (table["m"] == 256))]

    with pytest.raises(ResultsError, match=r"theory: 0 rows with .*cross.*m = 256.*run the study"):
        theory.rows(copied(studies, tmp_path, "theory", change))
    with pytest.raises(ResultsError, match="2 rows with"):
        one(pd.DataFrame({"m": [8, 8]}), Path("here"), m=8)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [("a%b", "1", "key is 'a%b'"), ("a", "nan", "a is 'nan'"), ("a", "", "a is ''")],
)
def test_a_number_that_tex_cannot_print_is_refused(key, text, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        latex.write_numbers({key: text}, tmp_path / "numbers.tex")


def test_the_command_ends_with_one_line_where_a_summary_is_missing(tmp_path):
    app = typer.Typer()
    app.command()(command.main)
    options = ["--summaries", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 1
    assert re.fullmatch(r"error: .*none/paper: no such folder; .*\n", result.output)


# --- no number is typed ---------------------------------------------------------------------------


def formulas(text):
    """Return the text without its displays, and the inline formulas by themselves."""
    displays = r"\\begin\{(equation|align)\}.*?\\end\{\1\}|\\\[.*?\\\]"
    text = re.sub(displays, " ", text, flags=re.DOTALL)
    inline = r"(?<!\\)\$(.*?)(?<!\\)\$"
    return re.sub(inline, " ", text, flags=re.DOTALL), re.findall(inline, text, re.DOTALL)


def prose(text):
    """Return what is printed as words: no keys, labels, lengths or names of files."""
    text = re.sub(r"\\(val|label|ref|input|tablerows|figuretop|texttt)\{[^}]*\}", " ", text)
    text = re.sub(r"\\cite\w*(\[[^]]*\])*\{[^}]*\}", " ", text)
    text = re.sub(
        r"\\(renewcommand|setlength|hspace|cmidrule|multicolumn)\*?(\([a-z]*\))?(\{[^}]*\})+",
        " ",
        text,
    )
    text = re.sub(r"\\begin\{tabular\}\{.*\}", " ", text)
    for name in NAMES:
        text = text.replace(name, " ")
    return text


@pytest.mark.parametrize("name", article.files()[1:])
def test_no_number_is_typed_in_prose(name):
    words, _ = formulas(article.read(name))
    assert re.findall(r".{0,30}\d.{0,30}", prose(words)) == []


@pytest.mark.parametrize("name", [x for x in article.files()[1:] if x != "linear_tea.tex"])
def test_formulas_in_the_text_have_no_number_but_settings(name, studies):
    results = [studies.grid, studies.theory, studies.league, studies.rollouts]
    settings = {str(size) for result in results for size in (*result.m, *result.N)}
    settings |= {"10^{-10}", "10^6"} | set("01234")
    _, inline = formulas(article.read(name))
    for formula in inline:
        formula = re.sub(r"\\val\{[^}]*\}", "", formula)
        numbers = re.findall(r"10\^(?:\{-?\d+\}|\d)|\d*\.\d+|\d+", formula)
        assert set(numbers) <= settings | ALPHAS, formula


def test_the_abstract_has_no_typed_number():
    abstract = re.search(r"\\begin\{abstract\}(.*?)\\end", article.read("paper.tex"), re.DOTALL)[1]
    words, inline = formulas(abstract)
    assert not re.search(r"\d", prose(words))
    assert inline == [x for x in inline if not re.search(r"\d", x.replace("N/8", ""))]


# --- tables, figures, references ------------------------------------------------------------------


def test_every_table_and_figure_is_shown_once_and_has_its_source(tables):
    rows = article.arguments("tablerows", article.source().replace(r"\tablerows}[1]", ""))
    drawn = article.arguments("figuretop", article.source().replace(r"\figuretop}[1]", ""))
    assert sorted(rows) == sorted(tables) and sorted(drawn) == sorted(figures.FIGURES)
    shown = {f"{name}.tex" for name in rows} | {f"{name}.pdf" for name in drawn}
    assert shown == set(sources.SOURCES)
    for script, _ in sources.SOURCES.values():
        assert (ROOT / script).is_file()


def test_rows_have_as_many_cells_as_their_table(tables):
    for name, lines in tables.items():
        pattern = rf"\\begin\{{tabular\}}\{{([^\n]*)\}}\n(?:(?!\\begin).)*?\\tablerows\{{{name}\}}"
        columns = re.search(pattern, article.source(), re.DOTALL)[1]
        columns = re.sub(r">\{[^}]*\}|p\{[^}]*\}", lambda x: "l" * x[0].startswith("p"), columns)
        for line in lines:
            if line != r"\addlinespace":
                assert line.count(" & ") == len(columns) - 1, (name, line)


def test_the_readme_has_the_sources_as_they_are(studies):
    text = (ROOT / "paper" / "README.md").read_text(encoding="utf-8")
    assert text.split(sources.START)[1].split(sources.END)[0].strip() == sources.table(studies)


def test_sources_change_with_a_manifest(studies, tmp_path):
    folder = tmp_path / "summaries"
    shutil.copytree(studies.folder, folder)
    path = folder / "theory" / "manifest.json"
    known = studies.theory.manifest["hash"]
    path.write_text(path.read_text(encoding="utf-8").replace(known, "0" * 16), encoding="utf-8")
    assert known in sources.table(studies) and known not in sources.table(Studies(folder))


def test_labels_and_works_are_used_and_exist():
    text = article.source()
    labels = re.findall(r"\\label\{([^}]*)\}", text)
    assert len(labels) == len(set(labels))
    references = set(re.findall(r"\\ref\{([^}]*)\}", text))
    assert references <= set(labels)
    floats = {label for label in labels if label.startswith(("tab:", "fig:"))}
    assert floats <= references
    bibliography = (article.PAPER / "references.bib").read_text(encoding="utf-8")
    works = re.findall(r"@\w+\{(\w+),", bibliography)
    cited = set(article.arguments(r"cite\w*", text))
    cited |= {key for e in ESTIMATORS.values() for key in e.citations}
    assert set(works) == cited and len(works) == len(set(works))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_methods_work_is_the_one_of_its_reference(name):
    bibliography = (article.PAPER / "references.bib").read_text(encoding="utf-8")
    entries = {key: body for key, body in re.findall(r"@\w+\{(\w+),(.*?)\n\}", bibliography, re.S)}
    record = ESTIMATORS[name]
    cited = "".join(entries[key] for key in record.citations)
    if cited:
        for code in re.findall(r"\d{4}\.\d{5}", record.reference):
            assert code in cited
        for year in re.findall(r"\((\d{4})\)", record.reference):
            assert year in cited


def test_every_method_is_in_the_table_of_methods(tables):
    for line, record in zip(tables["methods"], ESTIMATORS.values(), strict=True):
        title, objective, source = line.removesuffix(r" \\").split(" & ")
        assert title == latex.name(record.title) and objective == record.objective
        assert ("this article" in source) == ("this project" in record.reference)
        # no formula is left in plain text
        words = re.sub(r"\$.*?\$|\\texttt\{\w+\}|\\citet\{.*?\}", "", line)
        assert not re.search(r"\\_|\^|[<>=]|\bsum\b", words), line


def test_the_ranking_in_the_article_is_the_one_that_is_printed(tables, studies):
    ratios = league.performance_ratios(studies.league)
    own = ratios[(ratios["part"] == "held out") & (ratios["estimator"] == "TEA .5")]
    line = next(x for x in tables["standings"] if x.startswith("TEA .5 &"))
    worst = [own["to_tea"].max(), own["to_best"].max()]
    cells = line.removesuffix(r" \\").split(" & ")[5:7]
    assert cells == [rf"\num{{{worst[0]:.2f}}}", rf"\num{{{worst[1]:.0f}}}"]


@pytest.mark.parametrize("module", [latex, lm_exact])
def test_examples(module):
    results = doctest.testmod(module)
    assert results.attempted > 0 and results.failed == 0
