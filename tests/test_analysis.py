"""Reading and judging results: the loader, the errors of a batch, rates, and looks."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("statsmodels")
matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("rich")
pytest.importorskip("typer")

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis.core import read, style
from analysis.grid import slopes
from tea_stats import ESTIMATORS

GRIDS = Path(__file__).parents[1] / "simulations" / "grids"


def cell(**changes):
    """Return one row of a whole cell, as the grid writes it."""
    row = dict.fromkeys(read.TABLE_COLUMNS, 0.0) | {
        "law": "Normal",
        "family": "Normal(loc=0.0, scale=1.0)",
        "law_family": "Normal",
        "law_parameters": '{"loc": 0.0, "scale": 1.0}',
        "note": "",
        "status": "",
        "estimator": "TEA",
        "options": '{"name": "tea"}',
        "m": 16,
        "N": 64,
        "parameter": "all",
        "reps": 64,
        "degenerate": 0,
        "finite_second_moment": True,
    }
    return row | {"exact": 4.0, "bias": 3.0, "bias_mcse": 0.1, "variance": 64.0} | changes


def judged(**changes):
    """Return one row after `add_errors`."""
    return read.add_errors(pd.DataFrame([cell(**changes)])).iloc[0]


# --- the errors of a batch ----------------------------------------------------------------------


def test_errors_of_a_batch_by_hand():
    row = judged(variance_mcse=8.0)
    # the mean of 64 groups of variance 64 has variance 1, which is in the squared bias too
    assert_allclose(row["bias_size"], np.sqrt(9.0 - 1.0))
    assert_allclose(row["relative_bias"], np.sqrt(8.0) / 4.0)
    assert_allclose(row["relative_bias_mcse"], 0.1 / 4.0)
    assert_allclose(row["relative_variance"], 64.0 / 16.0)
    assert_allclose(row["relative_variance_mcse"], 8.0 / 16.0)
    assert_allclose(row["bias_part"], 8.0 / 16.0)
    assert_allclose(row["noise_part"], 64.0 / 64.0 / 16.0)
    assert_allclose(row["batch_nmse"], 8.0 / 16.0 + 1.0 / 16.0)
    square_mcse = np.sqrt(4.0 * 8.0 * 0.1**2 + 2.0 * 1.0**2)
    assert_allclose(row["bias_part_mcse"], square_mcse / 16.0)
    assert_allclose(row["noise_part_mcse"], 8.0 / 64.0 / 16.0)
    assert_allclose(row["batch_nmse_mcse"], np.hypot(square_mcse, 8.0 / 64.0) / 16.0)
    assert_allclose(row["ratio"], 16 / 64)
    assert not row["flagged"]


def test_a_bias_below_its_noise_is_zero_and_flagged():
    row = judged(bias=0.9)
    assert row["bias_size"] == row["bias_part"] == 0.0
    assert row["flagged"]
    # 2 standard errors are the border
    assert judged(bias=np.sqrt(1.0 + 0.19**2))["flagged"]
    assert not judged(bias=np.sqrt(1.0 + 0.21**2))["flagged"]


def test_the_squared_bias_is_unbiased_and_its_error_calibrated():
    """Resolution 0.0002 of 0.16; the square of the mean itself is 0.01 away."""
    truth, sd, runs = 0.4, 0.1, 200_000
    biases = truth + sd * np.random.default_rng(1).standard_normal(runs)
    row = pd.DataFrame([cell(exact=1.0, bias_mcse=sd, variance=64.0 * sd**2)])
    rows = row.loc[np.zeros(runs, int)].reset_index(drop=True).assign(bias=np.abs(biases))
    # what is cut off at zero is less than a thousandth of a standard deviation here
    square = read.add_errors(rows)["bias_part"]
    se = square.std() / np.sqrt(runs)
    assert abs(square.mean() - truth**2) < 5 * se
    assert abs((biases**2).mean() - truth**2) > 30 * se
    at_truth = read.add_errors(row.assign(bias=np.hypot(truth, sd)))
    assert_allclose(at_truth["bias_part_mcse"], square.std(), rtol=0.01)


# --- rates --------------------------------------------------------------------------------------


def test_power_law_is_the_weighted_line_of_the_logarithms():
    x, y, se = np.array([8.0, 16, 32, 64]), np.array([3.0, 1.6, 0.7, 0.4]), np.array([3, 1, 2, 1.0])
    line = slopes.power_law(x, y, 0.01 * se)
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1, w=y / (0.01 * se))
    assert_allclose([line.slope, line.intercept], [slope, intercept], rtol=1e-10)


def test_power_law_finds_a_known_rate_and_its_interval_covers():
    """400 fits: the share of 95 % intervals that cover is known to ± 0.011."""
    rng, x, se, runs = np.random.default_rng(2), np.array([256.0, 512, 1024]), 0.02, 400
    y = 7.0 * x**-2.0
    lines = [
        slopes.power_law(x, y * (1.0 + se * rng.standard_normal(3)), se * y) for _ in range(runs)
    ]
    slope, error = np.array([(line.slope, line.se) for line in lines]).T
    assert abs(slope.mean() + 2.0) < 5 * slope.std() / np.sqrt(runs)
    covers = np.mean([line.interval[0] < -2.0 < line.interval[1] for line in lines])
    # where three points miss the line by more than their errors the interval is widened
    assert 0.95 - 5 * 0.011 < covers <= 1.0
    assert np.mean(np.abs(slope + 2.0) < 0.674 * error) < 0.75


def test_points_off_the_line_widen_the_interval():
    x, se = np.array([8.0, 16, 32, 64]), 0.01
    straight, bent = 5.0 / x, 5.0 / x * np.array([1.0, 1.2, 1.2, 1.0])
    on, off = (slopes.power_law(x, y, se * y) for y in (straight, bent))
    misfit = np.log(bent) - off.intercept - off.slope * np.log(x)
    assert_allclose(off.se, on.se * np.sqrt(np.sum((misfit / se) ** 2) / 2))
    assert_allclose(on.slope, -1.0)


def test_growth_is_a_line_in_log_n():
    N = np.array([16, 64, 256, 1024])
    line = slopes.growth(N, 3.0 + 2.0 * np.log(N))
    assert_allclose([line.slope, line.intercept, line.r2], [2.0, 3.0, 1.0])
    assert slopes.growth(N, N**0.5).r2 < 0.95


def results(rows):
    """Return results of a table made by hand."""
    return read.Results(Path("by hand"), pd.DataFrame(rows), None, {})


def test_the_table_of_slopes_finds_every_rate():
    many = 10**15
    rows = [
        cell(
            law=law, parameter=parameter, m=m, N=N, exact=1.0, reps=many,
            bias=5.0 * m**-order, bias_mcse=1e-4 * m**-order,
            variance=(2.0 + np.log(N)) / m, variance_mcse=0.01 / m,
        )
        for law, order in (("Normal", 1), ("Gumbel", 2))
        for parameter in ("loc", "all")
        for m in (64, 256, 512, 1024)
        for N in (16, 64, 256)
    ]  # fmt: skip
    rates = slopes.table(results(rows)).set_index(["law", "quantity", "parameter"]).sort_index()
    for law, order in (("Normal", 1), ("Gumbel", 2)):
        for parameter in ("loc", "all"):
            bias = rates.loc[law, "bias", parameter]
            assert_allclose(bias["slope"].astype(float), -order, atol=1e-4)
            assert_allclose(rates.loc[law, "variance", parameter]["slope"].astype(float), -1.0)
            assert set(bias["from_m"]) == {256} and set(bias["points"]) == {3}
        growth = rates.loc[law, "growth", "all"]
        assert_allclose(growth["slope"].astype(float) * growth["m"].astype(float), 1.0)
        assert_allclose(growth["r2"].astype(float), 1.0)
    only = slopes.table(results(rows), law=["Normal"], N=[64], parameter=["all"])
    assert set(only["law"]) == {"Normal"} and set(only["parameter"]) == {"all"}
    assert set(only["quantity"]) == {"bias", "variance"}  # growth needs more than one N


def test_a_slope_that_rests_on_noise_is_flagged():
    rows = [
        cell(m=m, exact=1.0, reps=10**9, bias=5.0 / m, bias_mcse=4.9 / 512, variance_mcse=1.0)
        for m in (256, 512, 1024)
    ]
    bias = slopes.table(results(rows)).query("quantity == 'bias'").iloc[0]
    assert (bias["points"], bias["flagged"]) == (3, 2)


# --- looks --------------------------------------------------------------------------------------


def shipped():
    """Yield the estimators of every grid that is shipped, as `{label: {"name": …, **options}}`."""
    for path in sorted(GRIDS.glob("*.toml")):
        yield tomllib.loads(path.read_text()).get("estimators", {})


DEFAULTS = {name: {"name": name} for name in ESTIMATORS}
MANY = {f"TEA {a}": {"name": "tea", "alpha": a} for a in np.linspace(0.01, 1.0, 60)}


@pytest.mark.parametrize("options", [DEFAULTS, MANY | DEFAULTS, *shipped()])
def test_looks_are_unique_as_far_as_there_are_any(options):
    given = style.looks(options)
    marks = [(look.colour, look.marker) for look in given.values()]
    spare = len(options) - len(style.KNOWN)
    assert len(set(marks)) == len(marks) or spare > len(style.SPARE)
    if len(options) <= len(style.KNOWN):
        assert len(set(marks)) == len(marks)
    assert sorted(style.ordered(options)) == sorted(options)


def test_an_estimator_keeps_its_look_whatever_else_is_drawn():
    everything = style.looks(DEFAULTS)
    for name in DEFAULTS:
        assert style.looks({"x": {"name": name}})["x"] == everything[name]
    default, written_out = {"name": "tea"}, {"name": "tea", "alpha": 0.25}
    assert style.looks({"x": default}) == style.looks({"x": written_out})
    removed = {"name": "tea", "an_option_of_old": True}
    assert style.looks({"x": removed})["x"] == style.SPARE[0]


#: Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
SIGHTS = {
    "all cones": np.eye(3),
    "no green cones": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    ),
    "no red cones": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    ),
}


def lab(colour, sight):
    """Return a colour as one eye sees it, in CIE Lab: about 2 is a just noticeable difference."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(SIGHTS[sight] @ linear, 0.0, 1.0)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ seen / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_differ_to_every_eye(sight):
    for left, right in itertools.combinations(style.KNOWN, 2):
        distance = np.linalg.norm(lab(left.colour, sight) - lab(right.colour, sight))
        if (left.main and right.main) or left.marker == right.marker:
            assert distance > 12.0, (left, right)
        assert left.marker != right.marker or left.colour != right.colour


def test_a_title_fits_its_figure_and_keeps_numbers_with_their_words():
    text = (
        "m = 32, N = 256: least error by TEA .5 (12), max@m (34 %) and CAT-BoN at slope −1.2 " * 3
    )
    for width in (style.COLUMN, style.PAGE):
        figure = Figure(figsize=(width, 3.0))
        with matplotlib.rc_context(style.RC):
            style.title(figure, text)
            figure.canvas.draw()
            box = figure._suptitle.get_window_extent()
        assert box.x1 <= figure.bbox.x1
        lines = figure.get_suptitle().split("\n")
        assert len(lines) > 1
        for line in lines:
            assert not re.match(r"[=(%−\d.]", line), line
            assert not line.endswith("="), line
        style.title(figure, "CAT-BoN " * 40)
        assert "-\n" not in figure.get_suptitle()


# --- the loader ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Return a folder with one cell, and the least that must be beside it."""
    pd.DataFrame([cell()]).to_parquet(tmp_path / "table.parquet")
    (tmp_path / "manifest.json").write_text(json.dumps({"configuration": {}}))
    return tmp_path


def test_a_folder_is_loaded(folder):
    loaded = read.load(str(folder))
    assert (loaded.laws, loaded.m, loaded.N) == (["Normal"], [16], [64])
    assert loaded.options == {"TEA": {"name": "tea"}}
    assert loaded.theory_laws == ["Normal"]
    assert loaded.law_parameters == {"Normal": {"loc": 0.0, "scale": 1.0}}
    assert loaded.response is None
    assert loaded.middle == (16, 64) and len(loaded.single) == 1


def no_column(folder):
    pd.DataFrame([cell()]).drop(columns=["bias", "status"]).to_parquet(folder / "table.parquet")


def no_cell(folder):
    pd.DataFrame([cell(parameter="loc")]).to_parquet(folder / "table.parquet")


def truncated(folder):
    content = (folder / "table.parquet").read_bytes()
    (folder / "table.parquet").write_bytes(content[: len(content) // 2])


def damaged_pages(folder):
    content = bytearray((folder / "table.parquet").read_bytes())
    content[4:400] = bytes(396)
    (folder / "table.parquet").write_bytes(bytes(content))


WRONG = {
    "no folder": (lambda f: [p.unlink() for p in f.iterdir()] + [f.rmdir()], "no such folder"),
    "no table": (lambda f: (f / "table.parquet").unlink(), r"table.parquet: missing"),
    "truncated": (truncated, r"table.parquet: not readable \(.*\); delete it and run"),
    "damaged": (damaged_pages, r"table.parquet: not readable \(.*\); delete it and run"),
    "no column": (no_column, r"table.parquet: no column status, bias; run"),
    "no cell": (no_cell, r"table.parquet: no row of a whole cell; run"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), r"manifest.json: missing"),
    "no JSON": (lambda f: (f / "manifest.json").write_text("{"), r"manifest.json: not JSON"),
    "no object": (lambda f: (f / "manifest.json").write_text("[]"), r"not a JSON object"),
    "response": (
        lambda f: pd.DataFrame({"q": [0.5]}).to_parquet(f / "response.parquet"),
        r"response.parquet: no column law, .*; run",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_folder_that_cannot_be_used_is_one_line_with_its_cure(wrong, folder):
    spoil, message = WRONG[wrong]
    spoil(folder)
    with pytest.raises(read.ResultsError, match=message) as error:
        read.load(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(folder))
    assert "tea-stats grid" in str(error.value)
