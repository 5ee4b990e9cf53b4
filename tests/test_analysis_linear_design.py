"""Figures of linear designs: lines and titles computed in another way."""

from __future__ import annotations

import re

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
matplotlib = pytest.importorskip("matplotlib")
typer = pytest.importorskip("typer")

import matplotlib.pyplot as plt
from typer.testing import CliRunner

from analysis.core import read, style
from analysis.core.write import save
from analysis.linear import designs
from tea_stats import linear_tea_design
from tea_stats.best_of_n import efficiency
from tea_stats.families import Normal
from tests.linear_definitions import bernstein
from tests.readable import check_text

app = typer.Typer()
app.command()(designs.main)


@pytest.fixture(autouse=True)
def drawing(monkeypatch):
    """Draw as the command does, at a coarser resolution, and close what was drawn."""
    monkeypatch.setitem(style.RC, "savefig.dpi", 75)
    matplotlib.use("Agg")
    with matplotlib.rc_context(style.RC):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def plain():
    """Return TEA's cells on the Normal law."""
    table = read.load(designs.SUMMARY).table
    rows = table[(table["law"] == "Normal") & (table["parameter"] == "all")]
    return rows[rows["estimator"].isin(designs.PLAIN)]


@pytest.fixture
def figures(plain):
    """Return what draws each figure."""
    return {
        "slopes": designs.slopes,
        "weights": designs.weights,
        "efficiency": lambda: designs.efficiency(plain),
    }


NAMES = ("slopes", "weights", "efficiency")


def title(figure):
    """Return a figure's title as one line."""
    return re.sub(r"\s+", " ", figure.get_suptitle())


# --- the files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_the_same_to_the_byte_when_drawn_again(name, figures, tmp_path):
    for folder in ("first", "second"):
        save({name: figures[name]}, tmp_path / folder)
    for kind in ("png", "pdf"):
        one, other = (tmp_path / folder / f"{name}.{kind}" for folder in ("first", "second"))
        assert one.read_bytes() == other.read_bytes()
    pixels = plt.imread(tmp_path / "first" / f"{name}.png")[..., :3].reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 50


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_can_be_read_on_a_page(name, figures):
    figure = figures[name]()
    assert figure.get_figwidth() == style.PAGE
    check_text(figure)
    figure.canvas.draw()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    heading = figure._suptitle.get_window_extent()
    legend = figure.legends[0].get_window_extent()
    assert not any(box.overlaps(heading) or box.overlaps(legend) for box in boxes)


def test_the_command_writes_every_figure(tmp_path):
    done = CliRunner().invoke(app, ["--out", str(tmp_path / "figures")])
    assert done.exit_code == 0, done.output
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    assert files == {f"{name}.{kind}" for name in NAMES for kind in ("png", "pdf")}


def test_a_summary_that_is_missing_is_one_line(tmp_path):
    done = CliRunner().invoke(app, ["--summary", str(tmp_path / "nowhere")])
    assert done.exit_code == 1
    assert re.fullmatch(r"error: \S*nowhere: no such folder; make it with .*\n", done.output)


# --- what they show -----------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "N"), designs.BUDGETS)
@pytest.mark.parametrize("share", designs.SHARES)
def test_the_response_is_the_polynomial_of_the_slopes(m, N, share):
    design = linear_tea_design(m, N, k_min=designs.k_min(m, share))
    for u in (0.0, 0.3, 0.77, 1.0):
        exact = bernstein(design.slopes, u) + design.top * m * u ** (m - 1)
        response = designs.response(design, np.array([u]))
        assert response == pytest.approx(exact, rel=1e-10, abs=1e-10)


def test_slopes_are_drawn_at_their_gaps():
    for axes, (m, N) in zip(designs.slopes().axes, designs.BUDGETS, strict=True):
        exact, *lines = axes.lines
        assert exact.get_ydata()[-1] == N
        dots = [line for line in lines if line.get_linestyle() == "None"]
        for line, share in zip(dots, designs.SHARES, strict=True):
            k_min = max(1, int(share * m))
            slopes = linear_tea_design(m, N, k_min=k_min).slopes
            np.testing.assert_allclose(line.get_xdata() * m, np.arange(k_min, m))
            assert np.array_equal(line.get_ydata(), slopes[k_min - 1 :])


def test_the_title_of_slopes_computed_another_way():
    m, N = designs.BUDGETS[-1]
    headline = title(designs.slopes())
    ends, zeros = [], []
    for k_min in (1, m // 2):
        design = linear_tea_design(m, N, k_min=k_min)
        # only the last Bernstein polynomial is not 0 at 1
        ends.append((m - 1) / m * design.slopes[-1] + m * design.top)
        u = np.linspace(0.2, 0.9, 7001)
        p = np.array([bernstein(design.slopes, x) + design.top * m * x ** (m - 1) for x in u])
        zeros.append(u[p < 0].max())
    assert f"u = {zeros[0]:.2f} (k_min = 1) or {zeros[1]:.2f} (m/2)" in headline
    assert f"slope {ends[0]:.1f} or {ends[1]:.1f}, the exact one with {N}" in headline


def test_weights_are_those_of_the_designs():
    figure = designs.weights()
    for axes, (m, N) in zip(figure.axes, designs.BUDGETS, strict=True):
        largest = 0.0
        for line, share in zip(axes.lines, designs.SHARES, strict=True):
            k, w = line.get_data()
            assert np.array_equal(k, np.arange(max(1, int(share * m)), m + 1))
            assert list(w) == list(linear_tea_design(m, N, k_min=int(k[0])).weights.values())
            assert m > 16 or sum(w) == pytest.approx(1.0, abs=1e-9)
            largest = max(largest, np.abs(w).max())
            low, high = axes.get_ylim()
            assert low < min(w) and max(w) < high
        power = int(np.floor(np.log10(largest)))
        assert f"{largest / 10**power:.0f}e{power} at m = {m}" in title(figure)


def test_efficiency_is_the_bound_over_the_variance(plain):
    figure = designs.efficiency(plain)
    for axes, ratio in zip(figure.axes, designs.RATIOS, strict=True):
        for line, share in zip(axes.lines[1:4], designs.SHARES, strict=True):
            for m, found in zip(*line.get_data(), strict=True):
                design = linear_tea_design(m, ratio * m, k_min=max(1, int(share * m)))
                exact = efficiency.least_square(Normal(), ratio * m) / design.variance
                assert found == pytest.approx(exact, rel=1e-9)
                assert 0.0 < found < 1.0
        drawn = [x.lines[0] for x in axes.containers]
        for line, label in zip(drawn, designs.PLAIN, strict=True):
            rows = plain.query(f"estimator == '{label}' and N == {ratio} * m")
            assert len(rows) >= 2
            assert dict(zip(*line.get_data(), strict=True)) == pytest.approx(
                dict(zip(rows["m"], rows["efficiency"], strict=True))
            )


def test_the_title_of_efficiency_says_what_the_lines_say(plain):
    figure = designs.efficiency(plain)
    headline = title(figure)
    for place in range(3):
        y = np.concatenate([axes.lines[1 + place].get_ydata() for axes in figure.axes])
        assert f"{100 * y.min():.0f} to {100 * y.max():.0f} % with" in headline
    more = plain.assign(efficiency=plain["efficiency"] * 1.1)
    assert designs.efficiency_headline(more) != designs.efficiency_headline(plain)
