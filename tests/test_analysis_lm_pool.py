"""Tables of language-model pools: means over prompts, significant differences, rates."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.lm import pool_tables
from analysis.lm.pool_figures import GAUSSIAN, NORMAL, POOL, Pools

LABELS = {"TEA": "tea", "max@m": "max_at_k", "RLOO": "rloo"}


def rows_of(pool, kind, reward, values):
    """Rows of the table: `values` holds (cosine, error, bias) by estimator and m."""
    return [
        {
            "pool": pool,
            "reward": reward,
            "kind": kind,
            "estimator": label,
            "options": json.dumps({"name": LABELS[label]}),
            "m": m,
            "N": 128,
            "cosine": cosine,
            "cosine_mcse": 0.001,
            "scaled_nmse": error,
            "relative_bias": bias,
        }
        for (label, m), (cosine, error, bias) in values.items()
    ]


@pytest.fixture
def pools():
    """TEA leads max@m by .1 ± 0 in cosine, not in error; the bias of TEA falls as 1/m."""
    rows = []
    for k in range(4):
        wave = 0.05 * (-1) ** k
        values = {
            ("TEA", 16): (0.8 + wave, 0.30 + wave, 0.4),
            ("TEA", 64): (0.9, 0.20, 0.1),
            ("max@m", 16): (0.7 + wave, 0.32 - wave, 0.4),
            ("max@m", 64): (0.9, 0.25, 0.2 if k % 2 else 0.1),
            ("RLOO", 16): (0.2, 0.90, 0.9),
            ("RLOO", 64): (0.2, 0.90, 0.9),
        }
        rows += rows_of(f"p{k}", POOL, "tone", values)
        rows += rows_of(f"p{k}", GAUSSIAN, "tone", values)
    rows += rows_of(NORMAL, NORMAL, NORMAL, {key: (1.0, 0.1, 0.0) for key in values})
    table = pd.DataFrame(rows)
    model = table[table["kind"] == POOL].drop_duplicates(["estimator", "m"])
    model = model.assign(cosine_se=0.05, scaled_nmse_se=0.1)
    tail = {"reward": "tone", "skew": 0.0, "tied": 0.0, "qq_r2": 0.99, "shape": -0.2}
    tails = pd.DataFrame(
        [{"pool": "p0", **tail}]
        + [{"pool": "chance", **tail, "reward": x} for x in ("low", "median", "high")]
    )
    nothing = pd.DataFrame()
    noise = pd.DataFrame(
        {"pool": ["p0", "p1"], "reward": "tone", "N": 128, "share": [0.3, 0.5], "rule": 0.45}
    )
    return Pools(table, model, nothing, tails, nothing, noise, {})


def test_means_over_prompts_with_their_standard_error(pools):
    table = pool_tables.over_prompts(pools, "tone").set_index(["estimator", "m"])
    row = table.loc[("TEA", 16)]
    assert row["cosine"] == pytest.approx(0.8)
    # ± .05: sample variance 4 · .05²/3, and of a mean of 4 a quarter of it
    assert row["cosine_se"] == pytest.approx(0.05 / np.sqrt(3))


def test_differences_are_paired_by_prompt(pools):
    # the cosines differ by .1 on each prompt, though each varies by more than that over prompts
    best, value, _, tied = pool_tables.nearest(pools, "tone", 16, 128, "cosine")
    assert (best, tied) == ("TEA", []) and value == pytest.approx(0.8)
    # the errors differ by .02 on average, by -.12 and .08 in turn
    best, _, _, tied = pool_tables.nearest(pools, "tone", 16, 128, "scaled_nmse")
    assert (best, tied) == ("TEA", ["max@m"])


def test_slopes_of_the_bias(pools):
    table = pool_tables.slopes(pools)
    rows = table[table["kind"] == POOL].set_index("estimator")
    assert rows.loc["TEA", "slope"] == pytest.approx(-1.0)
    assert rows.loc["TEA", "slope_se"] == pytest.approx(0.0, abs=1e-12)
    # bias .1 and .2 in turn: slopes -1 and -.5
    assert rows.loc["max@m", "slope"] == pytest.approx(-0.75)
    assert rows.loc["max@m", "slope_se"] == pytest.approx(0.25 / np.sqrt(3))
    assert rows.loc["RLOO", "slope"] == pytest.approx(0.0)


def test_report_has_all_of_it_and_no_more_than_is_resolved(pools):
    text = pool_tables.report(pools)
    assert "pools: best cosine TEA (0.80 ± 0.03)\n" in text
    assert "lowest error TEA (0.30 ± 0.03); not significantly better than max@m" in text
    assert "model: cosine TEA 0.85 ± 0.05" in text
    assert "no bias" in text
    assert "tone   128   0.40  0.45" in text or "tone   128    0.4  0.45" in text
    vague = replace(pools, model=pools.model.assign(cosine_se=0.5))
    assert "its gradient is not resolved" in pool_tables.report(vague)
