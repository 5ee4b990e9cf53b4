"""The coverage study: its arithmetic, and the committed summary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
import pandas as pd

from analysis.checks.coverage import tables
from analysis.readme.checks import Coverage
from simulations.checks import coverage
from tea_stats.prediction import METHODS, TARGETS, predict

SUMMARY = Path(__file__).parents[1] / "analysis" / "summaries" / "coverage" / "table.parquet"


def test_a_job_is_repeatable_and_counts_shares():
    place = [case.name for case in coverage.CASES].index("Normal")
    rows, again = (coverage.coverage(place, 8, 16, 5, 1) for _ in range(2))
    pd.testing.assert_frame_equal(rows, again)
    assert (rows["coverage"] * 5 % 1.0).abs().max() < 1e-12
    assert set(rows[rows["method"] == "max_at_k"]["N"]) == {"8", "16", "band"}
    assert (rows["median_width"].isna() == (rows["N"] == "band")).all()
    assert "recommended" not in set(rows["method"])


def test_the_recommended_curve_is_that_of_predict():
    place = [case.name for case in coverage.CASES].index("Normal")
    rows = coverage.coverage(place, 8, 16, 5, 1, recommended=3)
    own = rows[rows["method"] == "recommended"]
    alone = coverage.coverage(place, 8, 16, 5, 1)
    others = rows[rows["method"] != "recommended"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, alone)  # on the same logs
    assert set(own["model"]) == {"recommended"} and set(own["reps"]) == {3}
    # 16 rollouts reach N = 256
    assert set(own["N"]) == {"8", "16", "64", "256", "band"} and set(own["target"]) == set(TARGETS)
    stream = coverage.logs(coverage.CASES[place], 8, 16, np.random.default_rng([1, place, 8, 16]))
    log, truth = next(stream)
    forecast = predict(log, 1024, level=0.9, target="population", seed=0)
    curve = forecast.curves[forecast.recommended]
    low, high, *_ = coverage._ends(log, "population", 0)
    at = np.searchsorted(curve.grid, coverage.GRID)
    np.testing.assert_array_equal(low, curve.low[at])
    np.testing.assert_array_equal(high, curve.high[at])
    assert forecast.recommended == "stack" and np.isnan(low[-1])


def test_an_interrupted_study_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(coverage, "CASES", coverage.CASES[:2])
    monkeypatch.setattr(coverage, "SHAPES", ((8, 16),))
    made = []

    def counted(*job):
        made.append(job)
        return original(*job)

    original = coverage.coverage
    monkeypatch.setattr(coverage, "coverage", counted)
    coverage.main(tmp_path / "out", reps=3)
    whole = pd.read_parquet(tmp_path / "out" / "table.parquet")
    next((tmp_path / "out" / "jobs").glob("GaussianTail*")).unlink()
    coverage.main(tmp_path / "out", reps=3)
    assert [place for place, *_ in made] == [0, 1, 1]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / "table.parquet"), whole)


@pytest.mark.parametrize("case", coverage.CASES, ids=lambda case: case.name)
def test_the_truth_is_that_of_the_logs(case):
    """The mean of the prompts' own truths over many logs is the population's."""
    stream = coverage.logs(case, 64, 4, np.random.default_rng(2))
    own = np.array([next(stream)[1]["these_prompts"] for _ in range(400)])
    population = next(stream)[1]["population"]
    mcse = own.std(axis=0) / np.sqrt(400)
    assert (np.abs(own.mean(axis=0) - population) < 5 * mcse + 1e-5).all()


def test_every_law_and_method_of_the_summary_exists():
    summary = pd.read_parquet(SUMMARY)
    assert set(summary["law"]) == {case.name for case in coverage.CASES}
    assert set(summary["method"]) <= {*METHODS, "recommended"}
    assert set(zip(summary["prompts"], summary["m"], strict=True)) == set(coverage.SHAPES)


def test_inside_the_model_nominal_90_is_85_to_95():
    """Of 782 intervals, each known to ±.02 or .03, the mean is .905; most lie in .85 to .95."""
    summary = pd.read_parquet(SUMMARY)
    points = summary[summary["N"] != "band"]
    inside = points[points["model"] == "inside"]
    assert len(inside) > 700
    assert abs(inside["coverage"].mean() - 0.9) < 0.01
    assert inside["coverage"].between(0.85, 0.95).mean() > 0.85
    outside = points[points["model"] == "outside"]
    assert outside["coverage"].min() < 0.1  # a wrong model is noticed


def test_what_is_recommended_covers_on_every_law():
    summary = pd.read_parquet(SUMMARY)
    own = summary[(summary["model"] == "recommended") & (summary["N"] != "band")]
    by_law = own.groupby("law")["coverage"].mean()
    assert set(by_law.index) == {case.name for case in coverage.CASES}
    assert by_law.min() > 0.88 and by_law.max() < 0.96
    # a mode of 2 % at 128 prompts × 64: covered where a value is said; before, in 4 % of logs
    rare = own[(own["law"] == "rare good mode") & (own["prompts"] == 128) & (own["m"] == 64)]
    assert rare["coverage"].min() > 0.8
    withheld = Coverage(SUMMARY.parents[1]).withheld(128, 64, 1024)
    assert (
        withheld.index[0] == "rare good mode" and withheld.iloc[0] > 0.5 and withheld.iloc[1] < 0.1
    )


def test_the_table_is_printed():
    headline, table, *_ = list(tables(pd.read_parquet(SUMMARY)))
    assert headline.startswith("laws inside the method's model: ")
    assert table.row_count > 10
