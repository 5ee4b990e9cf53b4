"""`tea-stats estimators` and `tea-stats simulate`, and the laws that are given as text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tea_stats import ESTIMATORS, FAMILIES, RECOMMENDED, monte_carlo
from tea_stats.families import (
    Affine,
    Beta,
    Discrete,
    EmpiricalPool,
    GaussianTail,
    GenPareto,
    Normal,
    Recorded,
)

pytest.importorskip("typer")

from typer.testing import CliRunner

from tea_stats.command_line import app, shared
from tea_stats.command_line.laws import KNOWN, parse_law, parse_options


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


# --- text to law ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ("Normal", Normal()),
        (" Normal( ) ", Normal()),
        ("Normal(1, scale=2)", Normal(1.0, 2.0)),
        ("GenPareto(-.25)", GenPareto(-0.25)),
        ("Beta(2, 5)", Beta(2.0, 5.0)),
        ("GaussianTail(alpha=1e-1)", GaussianTail(alpha=0.1)),
        ("Affine(Beta(5, 3), scale=2)", Affine(Beta(5.0, 3.0), scale=2.0)),
        ("Recorded(Normal(5, 2), step=1, high=10)", Recorded(Normal(5.0, 2.0), 1.0, high=10.0)),
        ("Discrete([0, 1], [0.0, -1.5])", Discrete([0, 1], [0.0, -1.5])),
        (
            "Discrete([0, 1], probabilities=[.9, .1])",
            Discrete.from_probabilities([0, 1], [0.9, 0.1]),
        ),
        ("EmpiricalPool([1, 2], [[1.0], [-1.0]])", EmpiricalPool([1, 2], [[1.0], [-1.0]])),
    ],
)
def test_laws(text, law):
    assert parse_law(text) == law


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Gauss", r"names no law; give one of Normal, GaussianTail"),
        ("", r"cannot be read"),
        ("Normal(", r"cannot be read"),
        ("(" * 400, r"cannot be read"),
        ("Normal; Beta", r"cannot be read"),
        ("Normal + 1", r"names no law"),
        ("tea_stats.Normal()", r"names no law"),
        ("[Normal]", r"names no law"),
        ("Beta", r"missing a required argument: 'a'; Beta takes \(a, b\)"),
        ("Beta(2, -1)", r"b is -1"),
        ("Beta(2, 5, 6)", r"too many positional arguments; Beta takes \(a, b\)"),
        ("Normal(mean=1)", r"Normal takes \(loc=0.0, scale=1.0\)"),
        ("Normal(loc)", r"has the argument loc; give numbers"),
        ("Normal(2 ** 9)", r"has the argument 2 \*\* 9; give numbers"),
        ("Normal(**{'loc': 1})", r"contains \*\*; name each argument"),
        ("Normal(*[1, 2])", r"has the argument \*\[1, 2\]"),
        ("Normal('wide')", r"loc is 'wide'"),
        ("Affine(Gauss())", r"names no law"),
        ("Affine(3)", r"base is 3"),
        ("__import__('os').getcwd()", r"names no law"),
        ("Normal(__import__('os').getpid())", r"names no law"),
        ("Normal(open('secret'))", r"names no law"),
    ],
)
def test_what_is_no_law_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_law(text)


@given(st.text(max_size=40))
def test_any_text_is_a_law_or_a_one_line_error(text):
    try:
        parse_law(text)
    except ValueError as error:
        assert "law" in str(error)  # noqa: PT017


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_laws_without_arrays_read_their_own_text(loc, scale):
    assert parse_law(repr(Normal(loc, scale))) == Normal(loc, scale)


def test_every_family_can_be_named():
    assert set(FAMILIES) < set(KNOWN)


def test_options():
    options = parse_options(
        ["alpha=.5", "calibrated=True", "tails=('normal', 'gumbel')", "design=x"]
    )
    assert options == {
        "alpha": 0.5,
        "calibrated": True,
        "tails": ("normal", "gumbel"),
        "design": "x",
    }
    for entry, message in (("alpha", "is not NAME=VALUE"), ("=1", "is not"), ("a b=1", "is not")):
        with pytest.raises(ValueError, match=message):
            parse_options([entry])
    with pytest.raises(ValueError, match="given twice"):
        parse_options(["a=1", "a=2"])


# --- simulate ------------------------------------------------------------------------------------


def test_simulate_prints_what_measure_returns():
    arguments = ["Normal", "tea", "--m", 8, "--N", 64, "--option", "alpha=.5"]
    arguments += ["--prompts", 4, "--batches", 50, "--seed", 3]
    done = run("simulate", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    table = monte_carlo.measure(
        Normal(), {"tea": ("tea", {"alpha": 0.5})}, 8, 64, reps=200, seed=3, prompts=4
    ).set_index("parameter")
    for name in ("loc", "scale"):
        for key, value in printed["parameters"][name].items():
            assert value == pytest.approx(table.at[name, key], rel=1e-12)
    for key, value in printed["gradient"].items():
        assert value == pytest.approx(table.at["all", key], rel=1e-12)
    assert set(printed["parameters"]["loc"]) >= {"exact", "bias", "bias_mcse", "variance_mcse"}
    text = run("simulate", *arguments).stdout
    assert f"{printed['parameters']['scale']['exact']:.4g}" in text
    assert "tea on Normal(loc=0.0, scale=1.0), m = 8, N = 64, batches of 4" in text
    assert f"{printed['gradient']['cosine']:.4g} ± {printed['gradient']['cosine_mcse']:.1g}" in text


def test_simulate_warns_of_infinite_variance():
    done = run("simulate", "StudentT(2)", "tea", "--batches", 10)
    assert done.exit_code == 0, done.stderr
    assert "The variance is infinite" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Gauss", "tea"], "give one of Normal, GaussianTail"),
        (["Normal", "ppo"], "estimator 'ppo' is unknown; give one of tea, prefix_tea"),
        (["Normal", "tea", "--option", "beta=1"], "tea has no option 'beta'; its options: alpha"),
        (["Normal", "tea", "--option", "alpha"], "is not NAME=VALUE"),
        (["Normal", "tea", "--option", "alpha=2"], "alpha is 2"),
        (["Normal", "max_rl"], "is defined for 0/1 rewards"),
        (["Normal", "auto_tea", "--prompts", "1"], "prompts is 1"),
    ],
)
def test_simulate_refuses_in_one_line(arguments, message):
    done = run("simulate", *arguments, "--batches", "4")
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


# --- estimators ----------------------------------------------------------------------------------


def test_the_registry_is_listed(monkeypatch):
    monkeypatch.setattr(shared, "PIPE_WIDTH", 400)  # nothing is folded
    done = run("estimators")
    assert done.exit_code == 0
    for estimator in ESTIMATORS.values():
        # brackets and all: [mean of the best k - 1 of m]
        for fact in (estimator.name, estimator.unbiased_for, estimator.reference):
            assert fact in done.stdout
    assert f"The recommended default is {RECOMMENDED}" in done.stdout


def test_the_registry_as_json():
    printed = json.loads(run("estimators", "--json").stdout)
    assert list(printed) == list(ESTIMATORS)
    for name, estimator in ESTIMATORS.items():
        assert printed[name]["reference"] == estimator.reference
        assert printed[name]["unbiased_for"] == estimator.unbiased_for
        assert set(printed[name]["options"]) == set(estimator.defaults)
        assert printed[name]["summary"]
    assert [name for name in printed if printed[name]["recommended"]] == [RECOMMENDED]


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_each_estimator_is_shown(name):
    done = run("estimators", name)
    assert done.exit_code == 0
    words = " ".join(done.stdout.split())
    assert ESTIMATORS[name].reference in words
    for option, default in ESTIMATORS[name].defaults.items():
        assert f"{option}={default!r}" in words
    first = (ESTIMATORS[name].__doc__ or "").splitlines()[0]
    assert first in words


def test_a_formula_is_shown():
    # lines are cut to the terminal's width
    shown = " ".join(run("estimators", "linear_tea").stdout.split())
    assert r"\sum_k w_k" in shown or "Σ_k w_k" in shown
    assert np.all(["c̃" in run("estimators", "tea").stdout])
