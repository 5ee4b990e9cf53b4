"""The study behind "the length of the step" in docs/trainers.md, at the smallest size."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("typer")

import pandas as pd

from simulations.checks import step_length

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.torch


def test_the_unit_of_the_rewards_counts_only_without_unit_rms(monkeypatch):
    monkeypatch.setattr(step_length, "STEPS", 5)

    def norms(estimator, unit_rms):
        runs = [step_length.train("sgd", 1.0, estimator, unit_rms, unit, 0) for unit in (1.0, 5.0)]
        return [run["first_norm"] for run in runs]

    for arm in (("grpo", False), ("linear_tea", True)):
        small, large = norms(*arm)
        assert large == pytest.approx(small, rel=1e-4)
    small, large = norms("linear_tea", False)
    assert large > 4.0 * small


def test_the_table_of_the_page_is_that_of_the_summary():
    table = pd.read_csv(ROOT / "analysis" / "summaries" / "step_length.csv")
    page = (ROOT / "docs" / "trainers.md").read_text(encoding="utf-8")
    for (estimator, unit_rms, unit), rows in table.groupby(["estimator", "unit_rms", "unit"]):
        name = f"`{estimator}`" + ", `unit_rms`" * unit_rms
        adam, sgd = (rows[rows["optimiser"] == optimiser] for optimiser in ("adam", "sgd"))
        first = adam[adam["rate"] == 0.1].iloc[0]
        cells = [name, f"{unit:g}", f"{first.first_norm:.2f}", f"{100 * first.clipped:.0f} %"]
        for part in (adam, sgd):
            best = part.loc[part["best_of_256"].idxmax()]
            cells += [f"{best.rate:g}", f"{best.best_of_256:.2f}"]
        cells.append(f"{sgd[sgd['rate'] == 10].iloc[0].best_of_256:.2f}")
        assert f"| {' | '.join(cells)} |" in page
