"""Figures of a small grid that is measured here: their marks, and their headlines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("pydantic")
pytest.importorskip("statsmodels")
matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("rich")
typer = pytest.importorskip("typer")

import matplotlib.pyplot as plt
from typer.testing import CliRunner

from analysis import figures
from analysis.core import read, style
from analysis.core.panels import MARKS
from analysis.core.write import save
from analysis.grid import responses, winners
from tests.analysis_grid import changed, finding, scale
from tests.readable import check_text

pytestmark = pytest.mark.xdist_group("small grid")
NAMES = list(figures.FIGURES)


@pytest.fixture(scope="module")
def results(small_grid):
    """Return the small grid's results."""
    return read.load(small_grid)


@pytest.fixture(autouse=True)
def drawing(monkeypatch):
    """Draw as the commands do, at a coarser resolution, and close what was drawn."""
    monkeypatch.setitem(style.RC, "savefig.dpi", 75)
    matplotlib.use("Agg")
    with matplotlib.rc_context(style.RC):
        yield
    plt.close("all")


# --- figures ------------------------------------------------------------------------------------


def test_every_kind_of_cell_is_there(results):
    assert set(results.cells["status"]) == {"", "undefined", "infinite", "saturated"}


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_the_same_to_the_byte_when_drawn_again(name, results, tmp_path):
    draw = {name: lambda: figures.FIGURES[name](results)}
    files, again = save(draw, tmp_path / "first"), save(draw, tmp_path / "second")
    assert [path.name for path in files] == [f"{name}.png", f"{name}.pdf"]
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    pixels = plt.imread(files[0])[..., :3].reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 50
    assert files[1].read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_can_be_read_in_one_column(name, results):
    figure = figures.FIGURES[name](results)
    assert figure.get_figwidth() == style.COLUMN
    check_text(figure)


#: for each figure, a change of its numbers that has to change its title
CHANGES = {
    "bias_vs_m": scale("bias", 1.2, law="Normal", estimator="TEA .25", m=32),
    "variance_vs_m": scale("variance", 1.2, law="Normal", estimator="TEA .25", m=32),
    "bias_variance_vs_ratio": scale("variance", 1e4, law="Normal", m=8),
    "frontier": scale("variance", 1e6, estimator="max@m"),
    "cosine": scale("cosine", 0.5, m=16),
    "efficiency": scale("efficiency", 3.0, estimator="GRPO"),
    "overview": scale("variance", 3.0, estimator="max@m"),
    "winners": scale("variance", 1e6, estimator="max@m"),
    "heatmap": scale("variance", 1e3, estimator="GRPO"),
    "performance_profile": scale("variance", 1e6, estimator="max@m"),
    "benchmark_frontier": scale("variance", 0.1, estimator="max@m"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_title_follows_the_numbers(name, results):
    assert finding(name, results) != finding(name, changed(results, CHANGES[name]))


@pytest.mark.parametrize("name", ["response", "response_laws"])
def test_a_title_follows_the_curves(name, results):
    rows = results.response.copy()
    rows.loc[rows["estimator"] == "max@m", "response"] *= 0.1
    assert finding(name, results) != finding(name, replace(results, response=rows))


def test_every_figure_is_in_these_tests():
    assert {*CHANGES, "response", "response_laws"} == set(NAMES)


def test_only_the_named_figures_are_drawn(small_grid, tmp_path):
    app = typer.Typer()
    app.command()(figures.main)

    def run(*names):
        options = [word for name in names for word in ("--only", name)]
        return CliRunner().invoke(app, [str(small_grid), "--out", str(tmp_path), *options])

    assert run("winners", "cosine").exit_code == 0
    assert {path.stem for path in tmp_path.iterdir()} == {"winners", "cosine"}
    assert run("winers").output.startswith("error: only is 'winers'; give one of bias_vs_m, ")


# --- titles, counted again ------------------------------------------------------------------------


def test_the_winner_is_the_one_of_least_error(results):
    best = winners.winners(results).set_index(["law", "m", "N"])
    assert len(best) == 5 * 3 * 3
    for key, won in best.iterrows():
        cells = results.cells.set_index(["law", "m", "N"]).loc[[key]]
        fit = cells[cells["status"].isin(["", "saturated"])]
        errors = dict(zip(fit["estimator"], fit["batch_nmse"], strict=True))
        assert won["estimator"] == min(errors, key=errors.get)
        assert won["error"] == min(errors.values())
        assert won["status"] == ("saturated" if "saturated" in set(fit["status"]) else "")
    assert set(best.loc["heavy tail"]["estimator"]) == {"GRPO"}  # all others: infinite
    assert (best.loc["verifier"]["status"] == "saturated").any()


def test_a_winner_is_significant_where_the_runner_up_is_two_standard_errors_away(results):
    for law, rows in results.cells[results.cells["N"] == 128].groupby("law"):
        for m, cells in rows.groupby("m"):
            fit = cells[cells["status"].isin(["", "saturated"])].sort_values("batch_nmse")
            first, *others = fit.itertuples()
            gaps = [
                (x.batch_nmse - first.batch_nmse)
                / np.hypot(x.batch_nmse_mcse, first.batch_nmse_mcse)
                for x in others[:1]
            ]
            best = winners.winners(results).query(f"law == '{law}' and m == {m} and N == 128")
            assert best["significant"].item() == all(gap > 2.0 for gap in gaps)


def test_cells_that_no_estimator_measures_have_no_winner(results):
    none = changed(results, lambda t: t.assign(status=t["status"].replace("", "infinite")))
    best = winners.winners(none).query("status != 'saturated'")
    assert len(best) > 5 * 3 * 2
    assert best["estimator"].isna().all() and not best["significant"].any()
    assert set(best["status"]) == {"infinite"}
    assert winners.by_band(best) == {}


def test_bands_count_every_unsaturated_cell_once(results):
    best = winners.winners(results)
    counts = sum(wins.sum() for wins in winners.by_band(best).values())
    assert counts == (best["status"] == "").sum()
    assert winners.by_band(best)["m ≥ N"].sum() == 2 * 5  # (16, 16) and (32, 16)


def test_the_title_of_winners_counts_them(results):
    best = winners.winners(results).query("status == ''")
    title = finding("winners", results)
    for band, rows in (("m ≤ N/8", best.query("8 * m <= N")), ("m ≥ N", best.query("m >= N"))):
        wins = [list(rows["estimator"]).count(label) for label in results.options]
        share = f"{100 * max(wins) / len(rows):.0f} %"
        assert f"{band} ({share})" in title
        assert any(
            x in title for x, won in zip(results.options, wins, strict=True) if won == max(wins)
        )


def test_the_frontier_is_what_nothing_beats(results):
    rows = figures.frontier.frontier(results)
    for _, here in rows.groupby("law"):
        for one in here.itertuples():
            beaten = any(
                x.noise < one.noise and x.relative_bias < one.relative_bias
                for x in here.itertuples()
            )
            assert one.frontier == (not beaten)


def test_the_share_of_cells_where_bias_outweighs_noise(results):
    N = results.middle[1]
    rows = results.table.query(f"parameter == 'all' and N == {N} and m <= {N / 4}")
    rows = rows[rows["status"] == ""]
    square = (rows["bias"] ** 2 - rows["variance"] / rows["reps"]).clip(lower=0.0)
    share = 100 * (square > rows["variance"] / 64).mean()
    assert f"in {share:.0f} % of {len(rows)} cells" in finding("bias_variance_vs_ratio", results)


def test_distances_from_the_exact_advantage_by_hand(results):
    rows = results.response.query("law == 'verifier' and estimator == 'max@m'")
    weight = np.array([0.99, 0.01])
    gap = (rows["response"] - rows["exact"]).to_numpy()
    gap = gap - weight @ gap
    square = weight @ (gap**2 - rows["response_mcse"].to_numpy() ** 2)
    size = weight @ rows["exact"].to_numpy() ** 2
    distances = responses.distances(responses.curves(results))
    assert distances["verifier", "max@m"] == pytest.approx(np.sqrt(max(0.0, square) / size))
    assert ("heavy tail", "max@m") not in distances.index  # its variance is infinite


def test_a_response_may_be_shifted(results):
    moved = replace(results, response=results.response.assign(response=lambda t: t.response + 7.0))
    before, after = (responses.distances(responses.curves(x)) for x in (results, moved))
    pd.testing.assert_series_equal(before, after, rtol=1e-6)


# --- marks --------------------------------------------------------------------------------------


def test_what_has_no_number_is_marked(results):
    figure = figures.FIGURES["cosine"](results)
    panel = next(a for a in figure.axes if a.get_title(loc="left") == "heavy tail")
    cells = results.cells.query(f"law == 'heavy tail' and N == {results.middle[1]}")
    for status in ("infinite", "undefined"):
        marker = MARKS[status].get_marker()
        drawn = [x for x in panel.lines if x.get_marker() == marker and len(x.get_xdata()) == 1]
        assert len(drawn) == (cells["status"] == status).sum() > 0
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {MARKS[status].get_label() for status in MARKS} <= set(legend)
    fine = changed(results, lambda t: t[(t["law"] == "Normal") & t["estimator"].str.match("TEA")])
    figure = figures.FIGURES["cosine"](fine)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert not {MARKS[status].get_label() for status in MARKS} & set(legend)


def test_the_map_hatches_exactly_what_has_no_efficiency(results):
    figure = figures.FIGURES["efficiency"](results)
    hatches = [patch.get_hatch() for patch in figure.axes[0].patches if patch.get_hatch()]
    statuses = results.single["status"].value_counts()
    absent = len(results.laws) * len(results.options) - len(results.single)
    assert hatches.count("xxxx") == statuses.get("infinite", 0) > 0
    assert hatches.count("....") == statuses.get("undefined", 0) + absent
    assert hatches.count("////") == statuses.get("saturated", 0)


def test_what_lies_off_the_scale_is_counted(results):
    # RLOO's error on the Normal law is about 1: now 16, where the axis ends at 10
    results = changed(results, scale("bias", 4.0, law="Normal", estimator="RLOO"))
    figure = figures.FIGURES["overview"](results)
    assert "9↑" in " ".join(text.get_text() for text in figure.axes[0].texts)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        values = results.cells.query(f"law == '{axes.get_title(loc='left')}' and status == ''")
        values = values[values["estimator"].isin(style.chosen(results.options, 6))]["batch_nmse"]
        texts = " ".join(text.get_text() for text in axes.texts)
        for count, arrow in (((values > high).sum(), "↑"), ((values < low).sum(), "↓")):
            assert (f"{count}{arrow}" in texts) == (count > 0)


# --- grids that lack something ------------------------------------------------------------------


def test_a_grid_without_responses_draws_the_rest(results, tmp_path):
    few = changed(results, lambda t: t[(t["m"] == 16) & (t["law"] == "verifier")])
    drawn = figures.draw_all(replace(few, response=None), tmp_path)
    reasons = {name: text for name, text in drawn.items() if isinstance(text, str)}
    assert "no response curves" in reasons["response"]
    assert reasons["bias_vs_m"] == "needs at least 2 values of m; this grid has 16"
    assert {"frontier", "efficiency", "overview", "winners"} <= set(drawn) - set(reasons)
    assert sorted(path.stem for path in tmp_path.glob("*.png")) == sorted(set(drawn) - set(reasons))
