"""The studies behind docs/diagnose.md, at the smallest size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("typer")

from simulations.checks import recommendation_regret, verdict_rates
from tea_stats.diagnosis import Verdict
from tea_stats.families import Normal

SUMMARIES = Path(__file__).parents[1] / "analysis" / "summaries"


def test_rates_are_shares_of_the_logs():
    result = verdict_rates.rates(Normal(), 40, 16, logs=8, seed=0)
    np.testing.assert_allclose(result[list(Verdict)].sum(axis=1), 1.0)
    assert tuple(result["assumption"]) == verdict_rates.ASSUMPTIONS
    pd.testing.assert_frame_equal(result, verdict_rates.rates(Normal(), 40, 16, logs=8, seed=0))


def test_prompts_of_a_log_differ_in_location_and_scale():
    rewards = verdict_rates.log(Normal(), 2000, 32, np.random.default_rng(0)).matrix()
    assert rewards.mean(axis=1).std() == pytest.approx(10.0, rel=0.1)
    assert np.log(rewards.std(axis=1)).std() == pytest.approx(verdict_rates.UNEVEN, rel=0.1)


def test_regret_is_the_error_over_the_least():
    result = recommendation_regret.row("tea", 0.3, {"tea": 0.4, "rloo": 0.2, "auto_tea": 0.5}, 64)
    assert (result["best"], result["least"], result["regret"]) == ("rloo", 0.2, 2.0)
    assert (result["foretold"], result["error"], result["default"]) == (0.3, 0.4, 0.5)


def test_a_verifier_is_measured_on_its_own_prompts(monkeypatch):
    monkeypatch.setattr(recommendation_regret, "BATCHES", 8)
    result = recommendation_regret.of_verifier(0.3, 2.0, 64, seed=0)
    assert result["regret"] >= 1.0
    assert result == recommendation_regret.of_verifier(0.3, 2.0, 64, seed=0)


def test_the_recommended_estimator_is_near_the_best_on_most_laws():
    table = pd.read_csv(SUMMARIES / "recommendation_regret.csv")
    assert (table["regret"] <= 1.3).sum() == 8
    assert table["regret"].max() < 3.0
