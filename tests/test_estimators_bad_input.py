"""Bad input: each message names the argument, its value, and the cure."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tea_stats import ESTIMATORS, advantages

GOOD = np.arange(16) % 2

#: rewards, error, and what the message says: argument, value, cure
BAD_REWARDS = {
    "nan": ([0.0, np.nan] * 8, ValueError, r"rewards\[1\] is nan; drop or repair"),
    "inf": ([[0.0] * 16, [1.0] * 15 + [-np.inf]], ValueError, r"rewards\[1, 15\] is -inf; drop"),
    "too large": (
        [1e301, 0.0] * 8,
        ValueError,
        r"rewards\[0\] is 1e\+301; give rewards in another",
    ),
    "infinite in float64": (
        np.array([0.0, 1.0] * 8, dtype="g") * np.array([1, 1e308] * 8, dtype="g") * 100,
        ValueError,
        r"rewards\[1\] is inf; drop or repair",
    ),
    "groups of two sizes": (
        [[0.0] * 16, [1.0] * 15],
        ValueError,
        r"rewards has groups of different sizes; give .* once for each size",
    ),
    "text": (["0", "1"] * 8, TypeError, r"rewards has dtype <U1; give .* real numbers"),
    "object": ([0, None] * 8, TypeError, r"rewards has dtype object; give .* real numbers"),
    "complex": (GOOD * 1j, TypeError, r"rewards has dtype complex128; give .* real numbers"),
    "dates": (GOOD.astype("M8[s]"), TypeError, r"rewards has dtype datetime64.*; give .* real"),
    "scalar": (3.0, ValueError, r"rewards is the scalar 3.0; give an array of shape \(\.\.\., m\)"),
    "empty": ([], ValueError, r"rewards has shape \(0,\) and no element; give groups"),
    "no group": (np.empty((0, 16)), ValueError, r"rewards has shape \(0, 16\) .*; give groups"),
    "no rollout": (np.empty((4, 0)), ValueError, r"rewards has shape \(4, 0\) .*; give groups"),
}

BAD_N = [
    (0, ValueError, r"N is 0; give an integer ≥ 1"),
    (-3, ValueError, r"N is -3; give an integer ≥ 1"),
    (2.5, TypeError, r"N is 2.5 of type float; give an integer ≥ 1"),
    (16.0, TypeError, r"N is 16.0 of type float; give an integer ≥ 1"),
    (True, TypeError, r"N is True, a boolean; give an integer ≥ 1"),
    ("16", TypeError, r"N is '16' of type str; give an integer ≥ 1"),
    (None, TypeError, r"N is None of type NoneType; give an integer ≥ 1"),
]

BAD_OPTIONS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("tea", {"alpha": 0.0}, ValueError, r"alpha is 0.0; give .* in \(0, 1\]"),
    ("tea", {"alpha": 1.5}, ValueError, r"alpha is 1.5; give .* in \(0, 1\]"),
    ("tea", {"alpha": np.nan}, ValueError, r"alpha is nan; give .* in \(0, 1\]"),
    ("tea", {"alpha": "0.5"}, TypeError, r"alpha is '0.5' of type str; give a real number"),
    ("cvar", {"alpha": -0.1}, ValueError, r"alpha is -0.1; give .* in \(0, 1\]"),
    ("cvar", {"alpha": None}, TypeError, r"alpha is None of type NoneType; give a real number"),
    ("cvar", {"alpha": [0.1]}, TypeError, r"alpha is \[0.1\] of type list; give a real number"),
    ("max_at_k", {"k": 0}, ValueError, r"k is 0; give an integer ≥ 1"),
    ("max_at_k", {"k": 17}, ValueError, r"k is 17, more than the m = 16 .*; give k ≤ m"),
    ("max_at_k", {"k": 2.0}, TypeError, r"k is 2.0 of type float; give an integer"),
    ("max_at_k", {"form": "loo-2"}, ValueError, r"form is 'loo-2'; give one of 's', 'loo'"),
    ("max_at_k", {"form": 1}, ValueError, r"form is 1; give one of 's', 'loo'"),
    (
        "max_at_k",
        {"k": 16, "form": "loo"},
        ValueError,
        r"form is 'loo' with k = m = 16.*; give k <",
    ),
    ("max_at_k", {"form": "canonical"}, ValueError, r"form is 'canonical' with k = m = 16.*; give"),
    ("max_at_k", {"k": 1, "form": "loo-1"}, ValueError, r"form is 'loo-1' with k = 1.*; give form"),
    ("tea", {"calibrated": 1}, TypeError, r"calibrated is 1; give True or False"),
    ("tea", {"calibrated": 0}, TypeError, r"calibrated is 0; give True or False"),
    (
        "tea",
        {"calibrated": True, "alpha": 0.1},
        ValueError,
        r"calibrated is True and alpha leaves k = 2 rollouts of m = \d+ in the tail.*k ≥ 3",
    ),
    ("tea", {"ddof": 2}, ValueError, r"ddof is 2; give 0 or 1"),
    ("tea", {"ddof": True}, TypeError, r"ddof is True, a boolean; give an integer"),
    ("tea", {"extrapolation": "mean"}, ValueError, r"extrapolation is 'mean'; give one of 'exp"),
    (
        "tea",
        {"calibrated": True, "ddof": 1},
        ValueError,
        r"calibrated is True with ddof = 1 .* chooses the coefficients itself; leave both",
    ),
    (
        "tea",
        {"calibrated": True, "extrapolation": "quantile"},
        ValueError,
        r"calibrated is True with ddof = 0 and extrapolation = 'quantile'.*; leave both",
    ),
    ("entropic", {"kl": 0.0}, ValueError, r"kl is 0.0; give a finite number in"),
    ("entropic", {"kl": 2.8}, ValueError, r"m is 16: .* below log m = 2.77, and kl is 2.8; give"),
    ("entropic", {"kl": "2"}, TypeError, r"kl is '2' of type str; give a real number"),
    ("order_statistic", {"k": 16}, ValueError, r"m is 16: subsets of k = 16 .*; give a larger m"),
    ("order_statistic", {"k": 0}, ValueError, r"k is 0; give an integer ≥ 1"),
    ("order_statistic", {"weights": "best"}, ValueError, r"weights is 'best'; give k numbers, or"),
    ("order_statistic", {"weights": "top"}, ValueError, r"weights is 'top'; give .* top:count"),
    ("order_statistic", {"weights": "max:1"}, ValueError, r"weights is 'max:1'; give k numbers"),
    ("order_statistic", {"weights": "top:9"}, ValueError, r"weights is 'top:9' and k is 8; give"),
    ("order_statistic", {"weights": "top:0"}, ValueError, r"weights is 'top:0' and k is 8; give"),
    ("order_statistic", {"weights": "trimmed:4"}, ValueError, r"weights is 'trimmed:4' and k is"),
    ("order_statistic", {"weights": "gini", "k": 1}, ValueError, r"weights is 'gini' and k is 1"),
    ("order_statistic", {"weights": [1.0]}, ValueError, r"weights has shape \(1,\).*k = 8 ranks"),
    (
        "order_statistic",
        {"weights": [np.nan] * 8},
        ValueError,
        r"weights\[0\] is nan; give finite numbers",
    ),
    ("pass_at_k", {"k": 17}, ValueError, r"k is 17, more than the m = 16 .*; give k ≤ m"),
    ("pass_at_k", {"k": True}, TypeError, r"k is True, a boolean; give an integer"),
    ("rs_grpo", {"beta": np.inf}, ValueError, r"beta is inf; give a finite number"),
    ("rs_grpo", {"beta": "2"}, TypeError, r"beta is '2' of type str; give a real number"),
]


@pytest.mark.parametrize("case", BAD_REWARDS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_bad_rewards(name: str, case: str) -> None:
    rewards, error, message = BAD_REWARDS[case]
    with pytest.raises(error, match=message):
        advantages(name, rewards, 64)


@pytest.mark.parametrize(("N", "error", "message"), BAD_N)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_bad_budget(name: str, N: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        advantages(name, GOOD, N)


@pytest.mark.parametrize(("name", "options", "error", "message"), BAD_OPTIONS)
def test_bad_options(
    name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        advantages(name, GOOD, 64, **options)


def test_the_quantile_needs_two_draws() -> None:
    with pytest.raises(ValueError, match=r"extrapolation is 'quantile' and N is 1.*; give N ≥ 2"):
        advantages("tea", GOOD, 1, extrapolation="quantile")


@pytest.mark.parametrize("name", [n for n, e in ESTIMATORS.items() if e.binary])
@pytest.mark.parametrize("value", [0.5, -1.0, 2.0])
def test_rewards_of_a_verifier_must_be_0_or_1(name: str, value: float) -> None:
    rewards = GOOD.astype(float)
    rewards[3] = value
    with pytest.raises(ValueError, match=rf"rewards\[3\] is {value}; .*0/1 rewards: threshold"):
        advantages(name, rewards, 64)


@pytest.mark.parametrize("name", ["teh", "TEA", "", None, 3, ["tea"]])
def test_an_unknown_estimator(name: Any) -> None:
    message = rf"estimator {re.escape(repr(name))} is unknown; give one of tea, .*rloo"
    with pytest.raises(ValueError, match=message):
        advantages(name, GOOD, 64)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_unknown_option(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} has no option 'alhpa'; its options: \w+"):
        advantages(name, GOOD, 64, alhpa=0.5)


@pytest.mark.parametrize("N", [np.int64(64), np.uint8(64), np.array(64)])
def test_integers_of_any_kind_are_budgets(N: Any) -> None:
    assert np.array_equal(advantages("max_at_k", GOOD, N), advantages("max_at_k", GOOD, 64))
