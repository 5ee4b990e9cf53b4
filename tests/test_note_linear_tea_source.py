"""The note `paper/linear_tea.tex` as text: equations tested, tables current, LaTeX balanced."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest

pytest.importorskip("typer")

from analysis import linear_tables  # noqa: E402
from tea_stats import linear_tea_design  # noqa: E402
from tea_stats.families import Normal  # noqa: E402
from tea_stats.linear_design import advantage_square  # noqa: E402
from tests import test_note_linear_tea, test_note_linear_tea_design  # noqa: E402

SOURCE = (Path(__file__).parents[1] / "paper" / "linear_tea.tex").read_text(encoding="utf-8")
#: with comments and escaped characters gone
TEXT = re.sub(r"\\[\\{}$%&]", " ", re.sub(r"(?m)^%.*\n", "", SOURCE))


# --- equations ----------------------------------------------------------------------------------


def test_every_numbered_equation_has_a_test_of_its_name():
    labels = re.findall(r"\\label\{eq:([^}]*)\}", SOURCE)
    assert len(set(labels)) == len(labels) >= 30
    modules = (test_note_linear_tea, test_note_linear_tea_design)
    tests = {name for module in modules for name in vars(module) if name.startswith("test_")}
    assert {f"test_{label.replace('-', '_')}" for label in labels} <= tests


def test_every_numbered_line_has_a_label():
    for kind, body in re.findall(r"\\begin\{(equation|align)\}(.*?)\\end\{\1\}", SOURCE, re.DOTALL):
        lines = len(re.findall(r"\\\\\n", body)) + 1 if kind == "align" else 1
        assert body.count(r"\label{eq:") == lines, body
    assert r"\nonumber" not in SOURCE and r"\notag" not in SOURCE


# --- tables -------------------------------------------------------------------------------------


def rows(name):
    """Return a table's rows in the note."""
    return re.search(rf"% table: {name}\n(.*?)\\bottomrule", SOURCE, re.DOTALL)[1].splitlines()


@pytest.mark.parametrize("name", linear_tables.TABLES)
def test_tables_are_what_the_command_prints(name):
    assert rows(name) == linear_tables.TABLES[name]()


def test_every_table_is_printed_by_the_command():
    assert re.findall(r"% table: (\w+)", SOURCE) == list(linear_tables.TABLES)
    assert SOURCE.count(r"\begin{tabular}") == len(linear_tables.TABLES)


@pytest.mark.parametrize("m", [3, 8])
def test_the_two_maps_are_inverse(m):
    product = linear_tables.to_weights(m) @ linear_tables.to_slopes(m)
    np.testing.assert_allclose(product, np.eye(m), rtol=0, atol=1e-10)


@pytest.mark.parametrize("m", [8, 16, 24])
def test_condition_in_weights_by_arithmetic_of_many_digits(m):
    with mpmath.workdps(120):
        T = mpmath.matrix(m)
        for b in range(1, m):
            for k in range(1, b + 1):
                share = Fraction(m * int(mpmath.binomial(b - 1, k - 1)))
                share /= int(mpmath.binomial(m - 1, k))
                T[b - 1, k - 1] = mpmath.mpf(share.numerator) / share.denominator
        T[m - 1, m - 1] = mpmath.mpf(1)
        square = T.T * mpmath.matrix(advantage_square(Normal(), m).tolist()) * T
        scale = [mpmath.sqrt(square[k, k]) for k in range(m)]
        scaled = mpmath.matrix(m)
        for j in range(m):
            for k in range(m):
                scaled[j, k] = square[j, k] / scale[j] / scale[k]
        found = mpmath.eigsy(scaled, eigvals_only=True)
        exact = float(max(found) / min(found))
    assert linear_tables.condition_in_weights(m) == pytest.approx(exact, rel=1e-6)


def test_what_is_said_of_condition_numbers():
    for m in (64, 128, 256):
        assert linear_tea_design(m, 8 * m, k_min=1).condition == pytest.approx(m**2 / 2, rel=0.04)
    # the first m at which double precision is lost
    assert linear_tables.condition_in_weights(18) < 2.0**53 < linear_tables.condition_in_weights(19)


def test_the_lowest_slope_of_every_design_in_the_tables_is_negative():
    for m, N in {*linear_tables.BUDGETS, *linear_tables.RATIOS}:
        for k_min in (1, 4, m // 4, m // 2):
            design = linear_tea_design(m, N, k_min=k_min)
            assert design.slopes[k_min - 1] < 0.0 < design.slopes[-1]
            weights = list(design.weights.values())
            changes = sum(a * b < 0.0 for a, b in itertools.pairwise(weights))
            assert changes >= len(weights) - 3


# --- LaTeX, which is not run here ---------------------------------------------------------------


def test_environments_nest():
    stack = []
    for step, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", TEXT):
        if step == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []


def test_braces_brackets_and_dollars_are_closed_in_every_paragraph():
    body = TEXT.split(r"\begin{document}")[1]
    for paragraph in re.split(r"\n\s*\n", body):
        depth = 0
        for sign in re.findall(r"[{}]", paragraph):
            depth += 1 if sign == "{" else -1
            assert depth >= 0, paragraph
        assert depth == 0, paragraph
        assert paragraph.count("$") % 2 == 0, paragraph
    for left, right in ((r"\bigl", r"\bigr"), (r"\Bigl", r"\Bigr"), (r"\left", r"\right")):
        # \leftarrow is no \left
        counts = [
            len(re.findall(re.escape(side) + r"(?![a-zA-Z])", body)) for side in (left, right)
        ]
        assert counts[0] == counts[1], left


def test_references_have_targets_and_targets_are_used():
    labels = set(re.findall(r"\\label\{([^}]*)\}", SOURCE))
    references = set(re.findall(r"\\ref\{([^}]*)\}", SOURCE))
    assert references <= labels
    assert {label for label in labels if label.startswith("tab:")} <= references
    cited = set(re.findall(r"\\cite\{([^}]*)\}", SOURCE))
    assert cited == set(re.findall(r"\\bibitem\{([^}]*)\}", SOURCE))


def test_commands_are_defined():
    known = set(re.findall(r"\\newcommand\{\\(\w+)\}", SOURCE))
    # LaTeX's own, and those of amsmath, amsthm, booktabs and geometry
    known |= set(
        """author title date maketitle section label ref cite bibitem begin end
        documentclass usepackage newtheorem newcommand operatorname mathbf mathrm texttt
        caption centering noindent toprule midrule bottomrule multicolumn frac binom
        tbinom sum int iint max min log Pr partial nabla infty in cap emptyset mid perp le
        ge ne top cdot dots quad qquad hat text Bigl Bigr bigl bigr Longleftrightarrow
        alpha beta gamma mu pi psi rho sigma theta""".split()
    )
    assert set(re.findall(r"\\([a-zA-Z]+)", TEXT)) <= known
