"""The summary of a bandit study, recomputed from its runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from simulations.bandit.quality import jackknife_se
from simulations.bandit.schema import EXACT, Study
from simulations.bandit.summary import mean_se, reached, steps_needed, summarize

STUDY = Study.model_validate(
    {
        **{"seed": 0, "responses": 16, "steps": 6, "rollouts": 16, "runs": 20, "tuning_runs": 1},
        **{"quality_draws": 2, "kl_limit": 1.0, "reference": "TEA", "fractions": [0.5]},
        "budgets": [[16, 64]],
        "laws": {"Normal": {"family": "Normal"}},
        "policies": {"linear": {"step_sizes": [0.1, 0.2]}},
        "estimators": {"TEA": {"name": "tea"}, "RLOO": {"name": "rloo"}},
    }
)
SCENARIO = ("Normal", "linear", 16, 64)


def paths(gain, runs=20, seed=0):
    """Values that start at 1 and gain about `gain` a step."""
    noise = np.random.default_rng(seed).normal(scale=0.02, size=(runs, 6))
    rises = np.cumsum(gain + noise, axis=1)
    return 1.0 + np.concatenate([np.zeros((runs, 1)), rises], axis=1)


def frame(values, step_size=0.2):
    quality = dict.fromkeys(("cosine", "alignment", "steadiness"), 0.5)
    quality |= {f"{name}_se": 0.01 for name in quality}
    steps = {f"step {t}": values[:, t] for t in range(7)}
    return pd.DataFrame({"step_size": step_size, **quality, **steps})


@pytest.fixture(scope="module")
def tables():
    """Paths of the exact gradient, TEA and RLOO, and the summary of them."""
    exact = paths(0.5, runs=1)
    arms = {EXACT: exact, "TEA": paths(0.3, seed=1), "RLOO": paths(0.2, seed=2)}
    frames = {label: frame(values) for label, values in arms.items()}
    curves, finals = summarize(STUDY, {SCENARIO: frames})
    return arms, curves.set_index("estimator"), finals.set_index("estimator")


def test_regret_and_its_band(tables):
    arms, curves, _ = tables
    regret = arms[EXACT] - arms["RLOO"]
    curve = curves.loc["RLOO"]
    assert list(curve["rollouts"]) == [16 * t for t in range(7)]
    assert curve["regret_mean"].to_numpy() == pytest.approx(regret.mean(axis=0))
    half = 1.96 * regret.std(axis=0, ddof=1) / np.sqrt(20)
    assert curve["band"].to_numpy() == pytest.approx(half)
    assert (curves.loc[EXACT, ["regret_mean", "band"]] == 0.0).all(axis=None)


def test_area_share_and_gap(tables):
    arms, _, finals = tables
    row, (exact,), mine = finals.loc["RLOO"], arms[EXACT], arms["RLOO"]
    area = np.mean([exact[t] - mine[:, t] for t in range(1, 7)], axis=0)
    gain = np.mean(exact[1:] - exact[0])
    assert row["area"] == pytest.approx(area.mean())
    assert row["area_se"] == pytest.approx(area.std(ddof=1) / np.sqrt(20))
    assert row["share"] == pytest.approx(area.mean() / gain)
    assert row["gap"] == pytest.approx(np.mean(exact[6] - mine[:, 6]) / (exact[6] - exact[0]))
    paired = np.mean(arms["TEA"] - mine, axis=0)[1:].mean() / gain
    assert row["share_difference"] == pytest.approx(paired)
    per_run = (arms["TEA"] - mine)[:, 1:].mean(axis=1) / gain
    assert row["share_difference_se"] == pytest.approx(per_run.std(ddof=1) / np.sqrt(20))
    assert finals.loc["TEA", "share_difference"] == finals.loc[EXACT, "share"] == 0.0
    assert finals.loc[EXACT, "runs"] == 1 and row["runs"] == 20
    assert set(finals["edge"]) == {"highest"}


def test_rollouts_needed_and_their_ratio(tables):
    arms, _, finals = tables
    (exact,) = arms[EXACT]
    target = exact[0] + 0.5 * (exact[6] - exact[0])
    steps = {}
    for label in ("TEA", "RLOO"):
        mean = arms[label].mean(axis=0)
        crossing = np.flatnonzero(mean >= target)
        if len(crossing):
            after = crossing[0]
            steps[label] = np.interp(target, mean[after - 1 : after + 1], [after - 1, after])
    assert finals.loc["TEA", "rollouts_50"] == pytest.approx(16 * steps["TEA"])
    # RLOO gains 1.2 in all, and the target is 1.5
    assert "RLOO" not in steps and finals.loc["RLOO", "rollouts_50"] == np.inf
    assert finals.loc["RLOO", "ratio_50"] == np.inf and np.isnan(finals.loc["RLOO", "ratio_50_se"])
    assert finals.loc["TEA", "ratio_50"] == 1.0 and finals.loc["TEA", "ratio_50_se"] == 0.0
    # 90 % of what TEA gains, 0.3 a step, is 1.62: beyond RLOO too; the exact path has it in 3.24
    assert finals.loc["TEA", "rollouts_reference"] == pytest.approx(16 * 5.4, rel=0.02)
    assert finals.loc[EXACT, "ratio_reference"] == pytest.approx(0.3 / 0.5, rel=0.05)


def test_a_scenario_without_any_gain_gives_no_warning():
    flat = {label: frame(np.ones((runs, 7))) for label, runs in {EXACT: 1, "TEA": 4}.items()}
    _, finals = summarize(STUDY, {SCENARIO: flat})
    assert np.isnan(finals["share"]).all() and (finals["area"] == 0.0).all()


def test_a_single_run_has_no_standard_error():
    assert mean_se(np.array([[1.0, 2.0]]))[1] == pytest.approx([0.0, 0.0])


# --- steps until a target -----------------------------------------------------------------------


@given(curve=arrays(float, 6, elements=st.floats(-2.0, 2.0)), target=st.floats(-2.0, 2.0))
def test_reached_is_the_first_crossing(curve, target):
    (crossing,) = reached(curve[None], target)
    if crossing == np.inf:
        assert (curve < target).all()
        return
    assert (
        np.interp(crossing, np.arange(6), curve) == pytest.approx(target, abs=1e-9)
        or crossing == 0.0
    )
    assert (curve[: int(np.ceil(crossing))] < target).all()


def test_the_error_of_the_steps_needed_is_that_of_the_delta_method():
    rng = np.random.default_rng(3)
    slopes = rng.normal(1.0, 0.2, 400)
    lines = slopes[:, None] * np.arange(9.0)
    steps, left_out = steps_needed(lines, 4.0)
    assert steps == pytest.approx(4.0 / slopes.mean())
    expected = 4.0 / slopes.mean() ** 2 * slopes.std(ddof=1) / np.sqrt(400)
    assert jackknife_se(left_out) == pytest.approx(expected, rel=0.01)
