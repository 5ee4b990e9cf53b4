"""Auto TEA in batches as they are: each line of the table that led to it, before and after.

"Before" is the former default: beta-binomial for a batch of at most 64 distinct rewards, each of
them there twice on average, else adaptive TEA; both still exist. The error is that of the mean
gradient over 64 prompts, over the square of the exact one: prompts in units of their own ("all"),
in reward units ("all, one unit"), or those of one kind.
"""

from __future__ import annotations

import numpy as np
import pytest

from tea_stats import (
    Discrete,
    Gumbel,
    Law,
    Normal,
    NormalMixture,
    Recorded,
    auto_tea,
    batch_report,
    max_at_k,
    monte_carlo,
)

SEED = 12


def verifier(share: float, value: float = 1.0) -> Law:
    return Discrete([0.0, value], np.log([1.0 - share, share]))


def check_and_score(share: float) -> Law:
    return NormalMixture(share, 0.0, 0.1, 1.0, 0.1)


ROUNDED = Recorded(Normal(0.5, 0.1), step=0.01)
CLIPPED_GUMBEL = Recorded(Gumbel(), high=2.97)
GRADES = Recorded(Normal(12.0, 4.0), step=1.0, low=0.0, high=20.0)


def ceiling(quantile: float) -> Law:
    return Recorded(Normal(), high=float(Normal().ppf(quantile)))


#: kinds of prompts; whose error; m, N; the old default, and at least how many times the new error
#: it had (None: not told apart, or not the same estimator); the new one's error at most, times the
#: better of TEA and max@m
LINES = {
    "check + score, .35": (((check_and_score(0.35), 64),), "0", 16, 128, "adaptive_tea", 100, 1.5),
    "check + score, .5": (((check_and_score(0.5), 64),), "0", 16, 128, "adaptive_tea", 30, 1.5),
    "check + score, .2": (((check_and_score(0.2), 64),), "0", 16, 128, "adaptive_tea", 30, 1.5),
    "check + score, .8": (((check_and_score(0.8), 64),), "0", 16, 128, "adaptive_tea", 300, 1.5),
    "rounded to .01": (((ROUNDED, 64),), "0", 16, 512, None, None, 0.3),
    "half 0/1, half 0/10": (
        ((verifier(0.05), 32), (verifier(0.05, 10.0), 32)),
        "all, one unit",
        16,
        64,
        "beta_binomial",
        20,
        0.5,
    ),
    "one 0/100 among 0/1": (
        ((verifier(0.05), 63), (verifier(0.05, 100.0), 1)),
        "all",
        16,
        64,
        "beta_binomial",
        4,
        0.5,
    ),
    "one 0/1000 among normal": (
        ((Normal(), 7), (verifier(0.02, 1000.0), 1)),
        "0",
        16,
        512,
        "adaptive_tea",
        4,
        0.5,
    ),
    "one normal among 0/1": (
        ((verifier(0.02), 7), (Normal(), 1)),
        "all, one unit",
        8,
        512,
        "adaptive_tea",
        1.5,
        1.2,
    ),
    # a ceiling that one rollout in a thousand reaches seldom shows twice in a batch
    "ceiling .999": (((ceiling(0.999), 64),), "0", 16, 512, "adaptive_tea", 1.0, 9.0),
    "ceiling .98": (((ceiling(0.98), 64),), "0", 16, 128, "adaptive_tea", 10, 0.5),
    "ceiling .98, half of the prompts": (
        ((ceiling(0.98), 32), (Normal(), 32)),
        "all",
        16,
        128,
        "adaptive_tea",
        1.5,
        2.5,
    ),
    "ceiling .95, right-skewed": (((CLIPPED_GUMBEL, 64),), "0", 16, 128, "adaptive_tea", 30, 0.3),
    "grades 0 to 20": (((GRADES, 64),), "0", 16, 128, "adaptive_tea", 20, 0.3),
    "a third dead": (
        ((verifier(0.0002), 21), (verifier(0.05), 43)),
        "all",
        16,
        64,
        "adaptive_tea",
        5,
        2.0,
    ),
}


@pytest.mark.parametrize("line", LINES)
def test_the_error_has_the_right_order_of_magnitude(line):
    kinds, kind, m, N, old, times, bound = LINES[line]
    names = ["auto_tea", "tea", "max_at_k", *([old] if old else [])]
    batch = monte_carlo.Batch(kinds)
    table = monte_carlo.measure_batch(batch, names, m, N, batches=1280 // batch.prompts, seed=SEED)
    error = table[table["kind"] == kind].set_index("estimator")["error"]
    assert error["auto_tea"] <= bound * min(error["tea"], error["max_at_k"])
    if old:
        assert error[old] >= times * error["auto_tea"]


@pytest.mark.parametrize("m", [4, 16])
def test_a_single_group_gets_max_at_m(m):
    """Before, m = 4: six to eight times TEA's error, from designs that nothing spoke for."""
    rewards = np.random.default_rng(m).standard_normal((3, m))
    for group in rewards:
        assert np.array_equal(auto_tea(group, 128), max_at_k(group, 128))


@pytest.mark.parametrize("m", [128, 256, 1024])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_most_of_a_large_group_at_a_ceiling(m, share):
    """Its probability is below the least float for chances that are small."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(32, m))
    rewards = np.minimum(drawn, np.quantile(drawn, 1.0 - share))
    advantages = auto_tea(rewards, 2 * m)
    assert np.isfinite(advantages).all()
    report = batch_report(rewards, 2 * m)
    assert report.metrics()["ceiling"] == pytest.approx(1.0, abs=1e-6)
    # all best responses beside others are alike: nothing to gain
    several = (rewards == rewards.max(axis=1, keepdims=True)).sum(axis=1) >= 2
    assert np.abs(advantages[several]).max(initial=0.0) < 1e-6
