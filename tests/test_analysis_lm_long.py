"""What is told of completions of some length: only what every run and the interval show."""

import pandas as pd
import pytest

pytest.importorskip("matplotlib")

from analysis.lm.training_figures import Training
from analysis.paper import lm_long

EMPTY = pd.DataFrame()
PAIRS = (("b", "a"), ("c", "a"), ("c", "b"))


def study(values, intervals, oracle=None):
    """Return a study of three arms: values by run, an interval for each of PAIRS, N = 1 and 8."""
    runs = [
        {"scenario": "s", "estimator": arm, "seed": seed, "N": N, "value": value}
        for arm, own in values.items()
        for seed, value in enumerate(own)
        for N in (1, 8)
    ]
    differences = [
        {"scenario": "s", "estimator": ours, "against": theirs, "N": N}
        | {"difference": (low + high) / 2.0, "low": low, "high": high}
        for (ours, theirs), (low, high) in zip(PAIRS, intervals, strict=True)
        for N in (1, 8)
    ]
    names = dict(zip("abc", ("rloo", "tea", "max_at_k"), strict=True))
    configuration = {
        "estimators": {label: {"name": name} for label, name in names.items()},
        "oracle": {"N": 8, "count": 4, "rollouts": 1024},
    }
    return Training(
        EMPTY,
        EMPTY,
        pd.DataFrame({"scenario": ["s"]}),
        pd.DataFrame(runs),
        pd.DataFrame(differences),
        EMPTY,
        EMPTY,
        EMPTY,
        oracle,
        {"configuration": configuration},
    )


def test_arms_are_told_apart_if_the_interval_and_every_run_agree():
    values = {"a": [0.1, 0.2], "b": [0.3, 0.4], "c": [0.5, 0.1]}
    # b above a: both agree; c above a: an interval, but not every run; b above c: no interval
    made = study(values, [(0.1, 0.3), (0.05, 0.35), (-0.3, 0.2)])
    assert list(lm_long.apart(made, "s", 8)) == [("b", "a")]
    below = {"a": [0.5, 0.6], "b": [0.3, 0.4], "c": [0.5, 0.5]}
    assert list(lm_long.apart(study(below, [(-0.3, -0.1)] * 3), "s", 1)) == [("a", "b")]


def test_what_is_told_names_both_arms_or_says_that_there_is_none():
    values = {"a": [0.1, 0.2], "b": [0.3, 0.4], "c": [0.5, 0.6]}
    text = lm_long.told(study(values, [(0.1, 0.3), (0.3, 0.5), (0.1, 0.3)]))
    assert "c is above a and b" in text and "b is above a" in text and "a is above" not in text
    none = lm_long.told(study(values, [(-0.1, 0.3)] * 3))
    assert none.count("no two arms are told apart") == 2


@pytest.mark.parametrize(
    ("value", "says"), [(0.62, r"is \num{0.62}, of \num{4} prompts"), (float("nan"), "noise")]
)
def test_the_cosine_of_the_means_gradient_is_told_with_its_halves(value, says):
    oracle = pd.DataFrame(
        {"scenario": ["s"], "reliability": [0.15], "mean_reliability": [0.4]}
    ).assign(mean_cosine=value)
    text = lm_long.cosine(study({"a": [0.1]}, [(0.0, 0.0)] * 3, oracle))
    assert says in text and r"\num{0.15} (best of \num{8}) and \num{0.40} (mean)" in text
    assert lm_long.cosine(study({"a": [0.1]}, [(0.0, 0.0)] * 3)) == "is not known"
