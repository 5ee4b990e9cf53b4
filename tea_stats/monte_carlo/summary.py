"""From power sums and the exact gradient to bias, variance, error, cosine and efficiency.

Standard errors are those of sample means, or first-order (delta method) for functions of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tea_stats.monte_carlo.moments import PowerSums

Array = NDArray[np.float64]
Row = dict[str, Any]


def options_text(name: str, options: Mapping[str, Any]) -> str:
    """Return a registry name and its options as stable JSON."""
    return json.dumps({"name": name, **dict(sorted(options.items()))}, default=_plain)


def _plain(value: Any) -> Any:
    """Return an option's value as JSON has it: a sequence as a list, a law as its repr."""
    return list(value) if isinstance(value, Iterable) else repr(value)


def rows(
    parameters: tuple[str, ...],
    sums: PowerSums,
    truth: Array,
    information: Array,
    comparison: PowerSums | None,
) -> list[Row]:
    """Return one row per parameter and the cell's row ("all")."""
    each = [
        {"parameter": name, **_parameter(sums, truth, j, comparison)}
        for j, name in enumerate(parameters)
    ]
    return [*each, {"parameter": "all", **_cell(sums, truth, information, comparison)}]


def _parameter(sums: PowerSums, truth: Array, j: int, comparison: PowerSums | None) -> Row:
    n = sums.reps
    mean = sums.mean[j]
    variance = sums.covariance[j, j]
    third, fourth = sums.third[j], sums.fourth[j]
    bias = mean - truth[j]
    population = variance * (n - 1) / n
    row = {
        "mean": mean,
        "exact": truth[j],
        "bias": bias,
        "bias_mcse": math.sqrt(max(variance, 0.0) / n),
        "variance": variance,
        # Var(s²) = [μ₄ − σ⁴ (n − 3)/(n − 1)] / n
        "variance_mcse": _root((fourth - population**2 * (n - 3) / (n - 1)) / n),
        "mse": population + bias**2,
        # Var((g − t)²) = μ₄ + 4 b μ₃ + 4 b² σ² − σ⁴
        "mse_mcse": _root(
            (fourth + 4 * bias * third + 4 * bias**2 * population - population**2) / n
        ),
        "reps": n,
        "degenerate": sums.degenerate,
    }
    if comparison is not None:
        unit = np.zeros(len(comparison.mean))
        unit[j] = 1.0
        row["bias_difference"] = comparison.mean[j]
        row["bias_difference_mcse"] = comparison.mean_se(unit)
    return row


def _cell(sums: PowerSums, truth: Array, information: Array, comparison: PowerSums | None) -> Row:
    d = len(truth)
    n = sums.reps
    covariance = sums.covariance
    mean = sums.mean[:d]
    bias = mean - truth
    size, bias_size = math.hypot(*truth), math.hypot(*bias)
    total = float(np.trace(covariance[:d, :d]))
    # ‖ĝ‖² is the last entry of x: ‖ĝ − t‖² = ‖ĝ‖² − 2tᵀĝ + ‖t‖² is linear in x
    error = _direction(sums, -2.0 * truth)
    mse = float(error @ sums.mean) + size**2
    mse_mcse = sums.mean_se(error)
    row = {
        "mean": float(np.linalg.norm(mean)),
        "exact": size,
        "bias": bias_size,
        "bias_mcse": _ratio(sums.mean_se(_pad(sums, bias)), bias_size),
        "variance": total,
        "variance_mcse": sums.mean_se(_direction(sums, -2.0 * mean)),
        "mse": mse,
        "mse_mcse": mse_mcse,
        "reps": n,
        "degenerate": sums.degenerate,
        "nmse": _ratio(mse, size**2),
        "nmse_mcse": _ratio(mse_mcse, size**2),
        "relative_se": _ratio(math.sqrt(max(total, 0.0) / n), size),
        "advantage_square": float(sums.mean[d]),
        "advantage_square_mcse": math.sqrt(max(covariance[d, d], 0.0) / n),
        **_alignment(sums, truth, information),
    }
    if comparison is not None:
        row["bias_difference"] = float("nan")
        row["bias_difference_mcse"] = float("nan")
        row["mse_difference"] = float(error @ comparison.mean)
        row["mse_difference_mcse"] = comparison.mean_se(error)
    return row


def _alignment(sums: PowerSums, truth: Array, information: Array) -> Row:
    """Cosine with the exact gradient, and efficiency; `monte_carlo.measure` defines both."""
    d, n = len(truth), sums.reps
    inverse = np.linalg.pinv(information, hermitian=True)
    covariance = sums.covariance
    mean, noise = sums.mean[:d], covariance[:d, :d] / n
    # neither figure depends on the truth's length: as it is, products of a tiny one underflow
    truth = np.ldexp(truth, -int(np.frexp(np.abs(truth).max())[1]))
    along = inverse @ truth
    signal = float(mean @ along)
    truth_square = float(truth @ along)
    # the squares of sample means carry noise upwards; its expectation is taken off
    mean_square = float(mean @ inverse @ mean - np.trace(inverse @ noise))
    signal_square = signal**2 - float(along @ noise @ along)
    advantage_square = float(sums.mean[d])
    names = ("cosine", "cosine_mcse", "efficiency", "efficiency_mcse")
    if min(mean_square, truth_square, advantage_square) <= 0.0:
        return dict.fromkeys(names, float("nan"))
    cosine = signal / math.sqrt(mean_square * truth_square)
    cosine_slope = along / math.sqrt(mean_square * truth_square) - (
        cosine / mean_square * (inverse @ mean)
    )
    efficiency = signal_square / (truth_square * advantage_square)
    efficiency_slope = _pad(sums, 2.0 * signal * along / (truth_square * advantage_square))
    efficiency_slope[d] = -efficiency / advantage_square
    values = (
        cosine,
        sums.mean_se(_pad(sums, cosine_slope)),
        efficiency,
        sums.mean_se(efficiency_slope),
    )
    return dict(zip(names, values, strict=True))


def _pad(sums: PowerSums, gradient: Array) -> Array:
    """Return a direction in x that takes these coefficients of ĝ and nothing else."""
    return np.concatenate([gradient, np.zeros(len(sums.mean) - len(gradient))])


def _direction(sums: PowerSums, gradient: Array) -> Array:
    """Return the direction of ‖ĝ‖² + gradientᵀ ĝ."""
    direction = _pad(sums, gradient)
    direction[-1] = 1.0
    return direction


def _root(value: float) -> float:
    return math.sqrt(max(value, 0.0))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0.0 else float("nan")
