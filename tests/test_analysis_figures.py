"""Figures, report and summary of a small grid that is measured here."""

from __future__ import annotations

import io
import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("pydantic")
pytest.importorskip("statsmodels")
matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("rich")
typer = pytest.importorskip("typer")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.text import Text  # noqa: E402
from rich.console import Console  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from analysis import _figure, _load, _response, _style, _winners, figures, report, summary  # noqa: E402
from analysis._panels import MARKS  # noqa: E402
from simulations import grid  # noqa: E402
from simulations.grid_schema import read_grid  # noqa: E402

GRID = """
seed = 3
m = [8, 16, 32]
N = [16, 128, 1024]
reps = { 8 = 3_000, 16 = 3_000, 32 = 3_000 }

[laws.Normal]
family = "Normal"

[laws.GaussianTail]
family = "GaussianTail"

[laws.GumbelMin]
family = "GumbelMin"

[laws."heavy tail"]
family = "StudentT"
df = 1.8

[laws.verifier]
family = "Discrete"
values = [0.0, 1.0]
probabilities = [0.99, 0.01]

[estimators]
"TEA .25" = { name = "tea" }
"TEA .5" = { name = "tea", alpha = 0.5 }
"Prefix-TEA cross" = { name = "prefix_tea", crossfit = true, orderings = 1 }
"max@m" = { name = "max_at_k" }
RLOO = { name = "rloo" }
GRPO = { name = "grpo" }
MaxRL = { name = "max_rl" }

[response]
m = [16]
N = [128]
reps = 300
points = 17
"""
NAMES = list(figures.FIGURES)


@contextmanager
def one_thread():
    """Give a machine that computes one block at a time."""
    with ThreadPoolExecutor(1) as pool:
        yield pool, 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the results folder of a grid in which every kind of cell occurs."""
    place = tmp_path_factory.mktemp("analysis")
    (place / "small.toml").write_text(GRID)
    grid.run(read_grid(place / "small.toml"), place / "small", one_thread())
    return place / "small"


@pytest.fixture(scope="module")
def results(folder):
    """Return the grid's results."""
    return _load.load(folder)


@pytest.fixture(autouse=True)
def drawing(monkeypatch):
    """Draw as the commands do, at a coarser resolution, and close what was drawn."""
    monkeypatch.setitem(_style.RC, "savefig.dpi", 75)
    matplotlib.use("Agg")
    with matplotlib.rc_context(_style.RC):
        yield
    plt.close("all")


def finding(name, results):
    """Return a figure's title as one line."""
    figure = figures.FIGURES[name](results)
    plt.close(figure)
    return re.sub(r"\s+", " ", figure.get_suptitle())


def changed(results, change):
    """Return the results with another table."""
    return replace(results, table=change(results.table.copy()))


# --- figures ------------------------------------------------------------------------------------


def test_every_kind_of_cell_is_there(results):
    assert set(results.cells["status"]) == {"", "undefined", "infinite", "saturated"}


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_the_same_to_the_byte_when_drawn_again(name, results, tmp_path):
    draw = figures.FIGURES[name]
    files = _figure.save(draw, results, tmp_path / "first")
    again = _figure.save(draw, results, tmp_path / "second")
    assert [path.name for path in files] == [f"{name}.png", f"{name}.pdf"]
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    pixels = plt.imread(files[0])[..., :3].reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 50
    assert files[1].read_bytes().startswith(b"%PDF")


def tick_labels(axis):
    """Return the labels that an axis shows, and those that it keeps beyond its ends."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    labels = [(tick.get_loc(), label) for tick in ticks for label in (tick.label1, tick.label2)]
    inside = [label for place, label in labels if low <= place <= high]
    return inside, [label for _, label in labels if label not in inside]


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_can_be_read_in_one_column(name, results):
    figure = figures.FIGURES[name](results)
    assert figure.get_figwidth() == _style.COLUMN
    figure.canvas.draw()
    axes = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
    ticks = [tick_labels(axis) for axis in axes]
    hidden = {label for _, beyond in ticks for label in beyond}
    for text in set(figure.findobj(Text)) - hidden:
        box = text.get_window_extent()
        if text.get_text().strip() and text.get_visible() and box.width:
            assert text.get_fontsize() >= 6.0, text
            assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, text
            assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, text
    for axis, (inside, _) in zip(axes, ticks, strict=True):
        ends = ("x0", "x1") if axis.axis_name == "x" else ("y0", "y1")
        boxes = [x.get_window_extent() for x in inside if x.get_text() and x.get_visible()]
        spans = sorted(tuple(getattr(box, end) for end in ends) for box in boxes)
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end <= start + 1, (axis, inside)


def scale(column, factor, **where):
    """Return a change that multiplies a column on the rows where others have these values."""

    def change(table):
        rows = np.logical_and.reduce([table[name] == value for name, value in where.items()])
        table.loc[rows, column] *= factor
        return table

    return change


#: for each figure, a change of its numbers that its title has to tell
CHANGES = {
    "bias_vs_m": scale("bias", 1.2, law="Normal", estimator="TEA .25", m=32),
    "variance_vs_m": scale("variance", 1.2, law="Normal", estimator="TEA .25", m=32),
    "bias_variance_vs_ratio": scale("variance", 1e4, law="Normal", m=8),
    "frontier": scale("variance", 1e6, estimator="max@m"),
    "cosine": scale("cosine", 0.5, m=16),
    "efficiency": scale("efficiency", 3.0, estimator="GRPO"),
    "overview": scale("variance", 3.0, estimator="max@m"),
    "winners": scale("variance", 1e6, estimator="max@m"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_title_says_what_the_numbers_say(name, results):
    assert finding(name, results) != finding(name, changed(results, CHANGES[name]))


@pytest.mark.parametrize("name", ["response", "response_laws"])
def test_a_title_says_what_the_curves_say(name, results):
    rows = results.response.copy()
    rows.loc[rows["estimator"] == "max@m", "response"] *= 0.1
    assert finding(name, results) != finding(name, replace(results, response=rows))


def test_every_figure_is_in_these_tests():
    assert {*CHANGES, "response", "response_laws"} == set(NAMES)


# --- what titles say, counted again ---------------------------------------------------------------


def test_the_winner_is_the_one_of_least_error(results):
    found = _winners.winners(results).set_index(["law", "m", "N"])
    assert len(found) == 5 * 3 * 3
    for key, won in found.iterrows():
        cells = results.cells.set_index(["law", "m", "N"]).loc[[key]]
        fit = cells[cells["status"].isin(["", "saturated"])]
        errors = dict(zip(fit["estimator"], fit["batch_nmse"], strict=True))
        assert won["estimator"] == min(errors, key=errors.get)
        assert won["error"] == min(errors.values())
        assert won["status"] == ("saturated" if "saturated" in set(fit["status"]) else "")
    assert set(found.loc["heavy tail"]["estimator"]) == {"GRPO"}  # all others: infinite
    assert (found.loc["verifier"]["status"] == "saturated").any()


def test_a_winner_is_clear_where_the_runner_up_is_two_standard_errors_away(results):
    for law, rows in results.cells[results.cells["N"] == 128].groupby("law"):
        for m, cells in rows.groupby("m"):
            fit = cells[cells["status"].isin(["", "saturated"])].sort_values("batch_nmse")
            first, *others = fit.itertuples()
            gaps = [
                (x.batch_nmse - first.batch_nmse)
                / np.hypot(x.batch_nmse_mcse, first.batch_nmse_mcse)
                for x in others[:1]
            ]
            found = _winners.winners(results).query(f"law == '{law}' and m == {m} and N == 128")
            assert found["clear"].item() == all(gap > 2.0 for gap in gaps)


def test_cells_that_no_estimator_measures_have_no_winner(results):
    none = changed(results, lambda t: t.assign(finite_second_moment=False))
    found = _winners.winners(none).query("status != 'saturated'")
    assert len(found) > 5 * 3 * 2
    assert found["estimator"].isna().all() and not found["clear"].any()
    assert set(found["status"]) == {"infinite"}
    assert _winners.by_band(found) == {}


def test_bands_count_every_unsaturated_cell_once(results):
    found = _winners.winners(results)
    counts = sum(wins.sum() for wins in _winners.by_band(found).values())
    assert counts == (found["status"] == "").sum()
    assert _winners.by_band(found)["m ≥ N"].sum() == 2 * 5  # (16, 16) and (32, 16)


def test_the_title_of_winners_counts_them(results):
    found = _winners.winners(results).query("status == ''")
    title = finding("winners", results)
    for band, rows in (("m ≤ N/8", found.query("8 * m <= N")), ("m ≥ N", found.query("m >= N"))):
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
    rows = rows[rows["finite_second_moment"] & (rows["note"] == "") & rows["variance"].notna()]
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
    found = _response.distances(_response.curves(results))
    assert found["verifier", "max@m"] == pytest.approx(np.sqrt(max(0.0, square) / size))
    assert ("heavy tail", "max@m") not in found.index  # its variance is infinite


def test_a_response_may_be_shifted(results):
    moved = replace(results, response=results.response.assign(response=lambda t: t.response + 7.0))
    before, after = (_response.distances(_response.curves(x)) for x in (results, moved))
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
        values = values[values["estimator"].isin(_style.chosen(results.options, 6))]["batch_nmse"]
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


app = typer.Typer()
app.command("figures")(figures.main)
app.command("report")(report.main)
app.command("summary")(summary.main)


def run(*arguments):
    """Run one of the commands."""
    return CliRunner().invoke(app, [str(x) for x in arguments])


@pytest.mark.parametrize("command", ["figures", "report"])
def test_a_folder_that_is_missing_is_one_line(command, tmp_path):
    done = run(command, tmp_path / "nowhere")
    assert done.exit_code == 1
    assert re.fullmatch(r"error: \S*nowhere: no such folder; make it with .*\n", done.output)


def test_a_law_that_is_not_there_is_one_line(folder):
    done = run("report", folder, "--law", "Cauchy")
    assert done.exit_code == 1
    assert done.output.startswith("error: law is 'Cauchy'; give one of Normal, GaussianTail")


# --- report -------------------------------------------------------------------------------------


def printed(results, tmp_path, law=None):
    """Return what the report prints, 100 columns wide."""
    console = Console(width=100, record=True, file=io.StringIO(), markup=False)
    report.show(results, tmp_path, law, console)
    return console.export_text()


def test_the_report_prints_what_the_table_says(results, tmp_path):
    text = printed(results, tmp_path)
    states = results.cells["status"].value_counts()
    assert f"{len(results.cells)} cells: {states['']} measured" in text
    assert f"{states['infinite']} infinite" in text and f"{states['undefined']} undefined" in text
    found = _winners.winners(results).query("law == 'Normal' and ratio >= 1")
    first, count = next(iter(found["estimator"].value_counts().items()))
    line = next(x for x in text.splitlines() if x.startswith("Normal  "))
    assert line.rstrip().endswith(f"{first} {count}/{len(found)}")
    assert re.search(r"^heavy tail( +GRPO \d/\d){3}", text, re.MULTILINE)
    row = results.single.query("law == 'Normal' and estimator == 'TEA .25'").iloc[0]
    cosine = report.plus_minus(row["cosine"], row["cosine_mcse"])
    assert re.search(rf"^TEA \.25 .* {re.escape(cosine)} ", text, re.MULTILINE)


def test_the_report_sets_biases_beside_the_reference_of_the_theory(results, tmp_path):
    text = printed(results, tmp_path)
    rows = results.table.query("law == 'Normal' and estimator == 'TEA .25' and N == 128")
    rows = rows[rows["m"] == 16]
    for parameter, reference in zip(("loc", "scale"), report.REFERENCE[16], strict=True):
        row = rows[rows["parameter"] == parameter].iloc[0]
        assert abs(row["bias"] - reference) < 5 * row["bias_mcse"] + 0.005
        assert report.plus_minus(row["bias"], row["bias_mcse"]) in text
        assert _style.number(reference, 3) in text
    more = changed(results, scale("bias", 2.0, law="Normal", parameter="loc", estimator="TEA .25"))
    assert printed(more, tmp_path) != text
    # a Normal law that is not the standard one has no reference
    other = changed(results, lambda t: t.assign(family=t["family"].str.replace("1.0", "2.0")))
    assert "ref." in text and "ref." not in printed(other, tmp_path)


def test_the_report_names_the_files(results, tmp_path):
    assert "no figures yet: python -m analysis.figures" in printed(results, tmp_path)
    (tmp_path / "winners.png").touch()
    text = printed(results, tmp_path, law="GumbelMin")
    assert f"{tmp_path / 'winners.png'} (and .pdf)" in text.replace("\n", "")
    assert "GumbelMin, m = 16" in text and "saturated: hardly" not in text
    spent = changed(results, lambda t: t.assign(note="saturated: by hand"))
    assert "saturated: hardly" in printed(spent, tmp_path)


# --- summary ------------------------------------------------------------------------------------


def test_a_summary_is_small_and_draws_the_same(results, folder, tmp_path):
    done = run("summary", folder, tmp_path / "small")
    assert done.exit_code == 0, done.output
    small = _load.load(tmp_path / "small")
    size = sum(path.stat().st_size for path in (tmp_path / "small").iterdir())
    whole = sum((folder / f"{x}.parquet").stat().st_size for x in ("table", "response"))
    assert size < 0.6 * whole
    assert len(small.cells) == len(results.cells)
    assert set(small.response["m"]) == {16}
    manifest = json.loads((tmp_path / "small" / "manifest.json").read_text())
    assert manifest["hash"] == results.manifest["hash"]
    for name in NAMES:
        assert finding(name, small) == finding(name, results)


def test_a_summary_does_not_replace_its_results(folder):
    done = run("summary", folder, folder / ".." / folder.name)
    assert done.exit_code == 1 and "is the results folder itself" in done.output


@given(st.lists(st.floats(), min_size=1))
def test_rounding_keeps_24_bits_and_every_special_number(values):
    before = np.array(values)
    after = summary.rounded(before)
    special = ~np.isfinite(before) | (before == 0.0)
    assert np.array_equal(before[special], after[special], equal_nan=True)
    normal = ~special & (np.abs(before) > 1e-300) & (np.abs(before) < 1e308)
    before, after = before[normal], after[normal]
    assert (np.abs(after - before) <= 2.0**-24 * np.abs(before)).all()
    assert np.array_equal(after, summary.rounded(after))
    assert (after.view(np.int64) % 2**summary.SPARE == 0).all()
