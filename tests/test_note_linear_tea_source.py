"""The article's equations, each with a test of its name, and the numbers of its appendix."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

import mpmath
import numpy as np
import pytest

typer = pytest.importorskip("typer")
for package in ("pandas", "pyarrow", "statsmodels", "matplotlib", "rich"):
    pytest.importorskip(package)

from typer.testing import CliRunner

from analysis.linear import tables
from analysis.paper import exact
from analysis.paper.studies import Studies
from tea_stats import linear_tea_design
from tea_stats.families import Normal
from tea_stats.linear.design import advantage_square
from tests import (
    article,
    test_note_linear_tea,
    test_note_linear_tea_design,
    test_paper_equations,
)

SOURCE = article.source()


# --- equations ----------------------------------------------------------------------------------


def test_every_numbered_equation_has_a_test_of_its_name():
    labels = re.findall(r"\\label\{eq:([^}]*)\}", SOURCE)
    assert len(set(labels)) == len(labels) >= 38
    modules = (test_note_linear_tea, test_note_linear_tea_design, test_paper_equations)
    tests = {name for module in modules for name in vars(module) if name.startswith("test_")}
    assert {f"test_{label.replace('-', '_')}" for label in labels} <= tests


def test_every_numbered_line_has_a_label():
    for kind, body in re.findall(r"\\begin\{(equation|align)\}(.*?)\\end\{\1\}", SOURCE, re.DOTALL):
        lines = len(re.findall(r"\\\\\n", body)) + 1 if kind == "align" else 1
        assert body.count(r"\label{eq:") == lines, body
    assert r"\nonumber" not in SOURCE and r"\notag" not in SOURCE


# --- tables -------------------------------------------------------------------------------------


def test_the_appendix_has_the_tables_that_the_command_prints():
    shown = re.findall(r"\\tablerows\{linear_(\w+)\}", SOURCE)
    assert shown == list(tables.TABLES)
    printed = CliRunner().invoke(_app(), []).output.splitlines()
    rows = exact.rows(Studies())
    assert printed == [
        line for name in shown for line in (f"% table: {name}", *rows[f"linear_{name}"])
    ]


def _app():
    app = typer.Typer()
    app.command()(tables.main)
    return app


@pytest.mark.parametrize("m", [3, 8])
def test_the_two_maps_are_inverse(m):
    product = tables.to_weights(m) @ tables.to_slopes(m)
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
        computed = mpmath.eigsy(scaled, eigvals_only=True)
        exact = float(max(computed) / min(computed))
    assert tables.condition_in_weights(m) == pytest.approx(exact, rel=1e-6)


def test_what_is_said_of_condition_numbers():
    for m in (64, 128, 256):
        assert linear_tea_design(m, 8 * m, k_min=1).condition == pytest.approx(m**2 / 2, rel=0.04)
    # the first m at which double precision is lost
    assert tables.condition_in_weights(18) < 2.0**53 < tables.condition_in_weights(19)


def test_the_lowest_slope_of_every_design_in_the_tables_is_negative():
    for m, N in {*tables.BUDGETS, *tables.RATIOS}:
        for k_min in (1, 4, m // 4, m // 2):
            design = linear_tea_design(m, N, k_min=k_min)
            assert design.slopes[k_min - 1] < 0.0 < design.slopes[-1]
            weights = list(design.weights.values())
            changes = sum(a * b < 0.0 for a, b in itertools.pairwise(weights))
            assert changes >= len(weights) - 3
