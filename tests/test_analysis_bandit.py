"""Bandit training's tables and figures agree with the results."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from analysis.bandit import figures, report
from analysis.bandit.read import EXACT, OWN, Scenario, Study, load
from analysis.core import style as _style
from analysis.core.read import ResultsError
from analysis.core.write import save
from simulations.bandit.run import run
from simulations.bandit.schema import read_study

CONFIG = """
seed = 3
responses = 32
steps = 12
rollouts = 16
runs = 6
tuning_runs = 2
quality_draws = 40
kl_limit = 0.5
reference = "TEA .25"
fractions = [0.5]
budgets = [[8, 64]]

[laws.Normal]
family = "Normal"

[laws.coin]
family = "Discrete"
values = [0.0, 1.0]
probabilities = [0.9, 0.1]

[policies.linear]
nuisance = 10
step_sizes = [0.1, 0.3, 0.9]

[policies.tabular]
tabular = true
step_sizes = [0.5, 1.0]

[estimators."TEA .25"]
name = "tea"

[estimators.RLOO]
name = "rloo"

[estimators.MaxRL]
name = "max_rl"
"""
LINEAR = Scenario("linear", 8, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the results folder of a study that takes a second."""

    @contextmanager
    def one_thread():
        with ThreadPoolExecutor(1) as pool:
            yield pool, 1

    path = tmp_path_factory.mktemp("bandit")
    (path / "small.toml").write_text(CONFIG)
    run(read_study(path / "small.toml"), path / "results", one_thread())
    return path / "results"


@pytest.fixture(autouse=True)
def style():
    """Draw as the command does, and leave no figure open."""
    matplotlib.use("Agg")
    with matplotlib.rc_context(_style.RC):
        yield
    plt.close("all")


# --- reading ------------------------------------------------------------------------------------


def test_a_study_is_read_whole(folder):
    study = load(folder)
    assert study.laws == ["Normal", "coin"] and study.reference == "TEA .25"
    assert study.scenarios == [LINEAR, Scenario("tabular", 8, 64)]
    assert study.options["RLOO"] == {"name": "rloo"}
    assert study.targets == {
        "50": "50 % of the exact path's gain",
        OWN: "90 % of TEA .25's own gain",
    }


def remove(path):
    path.unlink()


def truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def drop_a_column(path):
    pd.read_parquet(path).drop(columns="estimator").to_parquet(path)


def another_estimator(path):
    manifest = json.loads(path.read_text())
    del manifest["configuration"]["estimators"]["RLOO"]
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("curves.parquet", remove, "curves.parquet: missing"),
        ("finals.parquet", truncate, "finals.parquet: "),
        ("finals.parquet", drop_a_column, "finals.parquet: no column estimator"),
        ("manifest.json", remove, "manifest.json: missing"),
        ("manifest.json", truncate, "manifest.json: not JSON"),
        ("manifest.json", another_estimator, "has no estimator 'RLOO'"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_file_and_cure(
    name, damage, expected, folder, tmp_path
):
    out = tmp_path / "results"
    shutil.copytree(folder, out)
    damage(out / name)
    with pytest.raises(ResultsError) as error:
        load(out)
    message = str(error.value)
    assert str(out / name) in message and expected in message and "\n" not in message
    assert "run `tea-stats bandit`" in message


def test_the_command_says_what_is_missing(tmp_path):
    app = typer.Typer()
    app.command()(report.main)
    done = CliRunner().invoke(app, [str(tmp_path / "none")])
    assert done.exit_code == 1 and done.output.startswith("error: ")
    assert "no such folder; make it with `tea-stats bandit" in done.output


# --- what is derived ----------------------------------------------------------------------------


def test_rollouts_are_predicted_by_squared_cosines(folder):
    study = load(folder)
    rows = study.arms.set_index(["policy", "law", "estimator"])
    assert EXACT not in rows.index.get_level_values("estimator")
    for (policy, law, _), row in rows.iterrows():
        own = rows.loc[(policy, law, "TEA .25"), "cosine"]
        expected = (own / row["cosine"]) ** 2 if row["cosine"] > 0.0 else np.inf
        assert row["predicted"] == pytest.approx(expected)
    reversed_ = study.finals.assign(cosine=-0.1)
    assert (Study(study.curves, reversed_, study.configuration).arms["predicted"] == np.inf).all()


def test_means_are_over_all_laws_or_not_at_all(folder):
    study = load(folder)
    means = study.means.loc[tuple(LINEAR)]
    # MaxRL is for the coin alone
    assert set(means.index) == {"TEA .25", "RLOO"}
    rows = study.rows(LINEAR)
    rloo = rows[rows["estimator"] == "RLOO"]
    assert means.loc["RLOO", "share"] == pytest.approx(rloo["share"].mean())
    assert means.loc["RLOO", "share_se"] == pytest.approx(np.hypot(*rloo["share_se"]) / 2)
    assert means.loc["RLOO", f"ratio_{OWN}"] == pytest.approx(rloo[f"ratio_{OWN}"].median())


# --- tables -------------------------------------------------------------------------------------


def with_finals(study, **columns):
    """Return a study with other numbers in the linear policy's row of RLOO and Normal."""
    finals = study.finals.copy()
    here = (
        finals["policy"].eq("linear") & finals["estimator"].eq("RLOO") & finals["law"].eq("Normal")
    )
    for name, value in columns.items():
        finals.loc[here, name] = value
    return Study(study.curves, finals, study.configuration)


def test_the_report_agrees_with_the_results(folder):
    study = with_finals(load(folder), share=0.4321, share_se=0.0123, edge="highest")
    text = report.report(study)
    shares = text.split("Rollouts")[0]
    (line,) = [x for x in shares.split("tabular")[0].splitlines() if x.startswith("RLOO")]
    assert "43.2 ± 1.2↑" in line
    assert re.search(r"^TEA .25 +1.00 ± 0.00 +1.00 ± 0.00$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("ratio", "se", "less", "clear"),
    [
        (0.5, 0.1, 1, 1),
        (0.9, 0.1, 1, 0),
        (1.1, 0.01, 0, 0),
        (np.inf, np.nan, 0, 0),
        (0.0, np.nan, 1, 0),
    ],
)
def test_fewer_rollouts_are_counted(ratio, se, less, clear, folder):
    study = with_finals(load(folder), **{"ratio_50": ratio, "ratio_50_se": se})
    coin = study.rows(LINEAR).query("law == 'coin' and estimator == 'RLOO'").iloc[0]
    if not np.isnan(coin["ratio_50"]):
        less += coin["ratio_50"] < 1.0
        clear += coin["ratio_50"] + 2.0 * coin["ratio_50_se"] < 1.0
    total = 1 + (not np.isnan(coin["ratio_50"]))
    table = report.fewer(study).split("until 50 %")[1]
    (line,) = [x for x in table.split("until")[0].splitlines() if x.startswith("RLOO")]
    assert line.split()[1:5] == [str(less), "of", str(total), f"({clear})"]


# --- figures and summary ------------------------------------------------------------------------


def title(figure):
    return " ".join(figure.get_suptitle().split())


def test_every_figure_is_drawn_and_titles_are_findings(folder, tmp_path):
    study = load(folder)
    save(report.all_figures(study), tmp_path)
    names = {"quality", "shares", "regret_linear_m8_N64", "regret_tabular_m8_N64"}
    assert {path.stem for path in tmp_path.iterdir()} == names
    for path in tmp_path.glob("*.png"):
        assert path.stat().st_size > 20_000 and path.with_suffix(".pdf").stat().st_size > 5_000
    means = study.means.loc[tuple(LINEAR), "share"].sort_values()
    said = title(figures.regret(study, LINEAR))
    assert f"least by {means.index[0]} ({100 * means.iloc[0]:.0f} %)" in said


def test_the_figure_of_quality_names_the_factor_that_it_is_off(folder):
    study = load(folder)
    rows = study.arms.query("policy == 'linear' and estimator != 'TEA .25'")
    off = np.exp(np.median(np.abs(np.log(rows[f"ratio_{OWN}"] / rows["predicted"]))))
    said = title(figures.quality(study))
    assert (f"{off:.2f} (linear)" if off < 5 else "over 5 (linear)") in said


def test_regret_is_drawn_with_its_band(folder):
    study = load(folder)
    (panel, *_) = figures.regret(study, LINEAR).axes
    curves = study.rows(LINEAR, "curves").query("law == 'Normal'").set_index("estimator")
    exact = curves.loc[EXACT, "value_mean"].to_numpy()
    gain = exact[-1] - exact[0]
    drawn = {tuple(line.get_ydata().round(9)) for line in panel.lines}
    mean, band = (curves.loc["RLOO", x].to_numpy() / gain for x in ("regret_mean", "band"))
    assert tuple(mean.round(9)) in drawn
    highest = max(path.vertices[:, 1].max() for c in panel.collections for path in c.get_paths())
    assert highest >= (mean + band).max() - 1e-9


def test_a_summary_gives_the_same_tables(folder, tmp_path):
    study = load(folder)
    report.summarise(study, folder, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 60_000
    small = load(tmp_path)
    assert set(small.curves["step"]) == {0, 5, 10, 12}
    numbers = small.finals.select_dtypes("float64").columns
    assert len(numbers) > 15
    pd.testing.assert_frame_equal(small.finals, study.finals, rtol=2e-4)
    assert report.fewer(small) == report.fewer(study)
    figures.regret(small, LINEAR)
    figures.quality(small)
    figures.shares(small)
