"""Exact tables of linear designs: `python -m analysis.linear_tables` prints them as LaTeX rows.

The tables of `paper/linear_tea.tex`, an appendix of the article: condition numbers in slopes and in
weights, efficiency on the Normal law, and the error of the extrapolation on other laws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.special import gammaln

from tea_stats import best_of_n, linear_tea_design
from tea_stats.best_of_n import efficiency
from tea_stats.families import ContinuousLaw, Gumbel, GumbelMin, Logistic, Normal, StudentT
from tea_stats.linear.design import advantage_square, gradient

Array = NDArray[np.float64]

SIZES = (8, 16, 32, 64, 128, 256)
BUDGETS = ((16, 128), (16, 512), (32, 512), (64, 512))
RATIOS = ((16, 128), (32, 512), (64, 1024))
OTHERS: Mapping[str, ContinuousLaw] = {
    "Logistic": Logistic(),
    "Gumbel": Gumbel(),
    "Gumbel, reversed": GumbelMin(),
    "Student $t_5$": StudentT(df=5.0),
}


# --- quantities ---------------------------------------------------------------------------------


def to_slopes(m: int) -> Array:
    """Return the map from weights w_1..w_m to coefficients (s_1..s_{m−1}, w_m), shape (m, m)."""
    b, k = np.arange(1.0, m)[:, None], np.arange(1.0, m)
    matrix = np.zeros((m, m))
    matrix[:-1, :-1] = m * np.exp(_log_choose(b - 1, k - 1) - _log_choose(m - 1, k))
    matrix[-1, -1] = 1.0
    return matrix


def to_weights(m: int) -> Array:
    """Return the inverse of `to_slopes`: binomial inversion, with alternating signs."""
    k, b = np.arange(1.0, m)[:, None], np.arange(1.0, m)
    size = np.exp(_log_choose(k - 1, b - 1) + _log_choose(m - 1, k)) / m
    matrix = np.zeros((m, m))
    matrix[:-1, :-1] = np.where((k - b) % 2, -size, size)
    matrix[-1, -1] = 1.0
    return matrix


def condition_in_weights(m: int) -> float:
    """Return the condition number of E[A²] as a form in w_k, scaled to a unit diagonal.

    It exceeds 10¹⁶ by far, but its two factors do not: the largest eigenvalue, and the norm of the
    inverse, D T⁻¹ H⁻¹ T⁻ᵀ D, whose factors are all known to full precision.
    """
    square = advantage_square(Normal(), m)
    in_weights = to_slopes(m).T @ square @ to_slopes(m)
    scale = np.sqrt(np.diag(in_weights))
    largest = np.linalg.eigvalsh(in_weights / scale / scale[:, None])[-1]
    root = np.linalg.inv(np.linalg.cholesky(square)).T
    return float(largest * np.linalg.norm(scale[:, None] * to_weights(m) @ root, 2) ** 2)


def largest_weight(m: int, N: int, k_min: int) -> tuple[float, bool]:
    """Return max |w_k| of a design on the Normal law, and whether its digits are known.

    Rounding perturbs the slopes by up to the condition number; the map to weights amplifies that.
    """
    design = linear_tea_design(m, N, k_min=k_min)
    largest = max(map(abs, design.weights.values()))
    size = float((np.abs(to_weights(m)[:-1, :-1]) @ np.abs(design.slopes)).max())
    return largest, size * float(np.finfo(float).eps) * design.condition < 0.01 * largest


def scale_error(law: ContinuousLaw, m: int, N: int, k_min: int) -> float:
    """Return (∂V^w − ∂V_N)/‖∇V_N‖ along the scale, for a design that is exact on the Normal law."""
    design = linear_tea_design(m, N, k_min=k_min)
    along = gradient(law, m)
    assert along is not None  # location-scale laws have ∂Q in closed form
    truth = best_of_n.gradient(law, N)
    miss = along @ np.append(design.slopes, design.top) - truth
    return float(miss[-1] / np.linalg.norm(truth))


def normal_efficiency(m: int, N: int, k_min: int) -> float:
    """Return the efficiency of a design on the Normal law."""
    variance = linear_tea_design(m, N, k_min=k_min).variance
    return efficiency.efficiency(Normal(), N, best_of_n.gradient(Normal(), N), variance)


def _log_choose(n: Array | int, k: Array) -> Array:
    """Return log C(n, k), −inf for k > n."""
    with np.errstate(divide="ignore"):
        return gammaln(np.add(n, 1.0)) - gammaln(k + 1.0) - gammaln(np.add(n, 1.0) - k)


# --- rows ---------------------------------------------------------------------------------------


def condition() -> list[str]:
    """Rows m, condition in slopes and in weights, that over 9^m, and the largest weights."""
    rows = []
    for m in SIZES:
        in_weights = condition_in_weights(m)
        share = math.exp(math.log(in_weights) - m * math.log(9.0))
        weights = [power_of_ten(*largest_weight(m, 8 * m, k_min)) for k_min in (1, m // 2)]
        in_slopes = linear_tea_design(m, 8 * m, k_min=1).condition
        cells = [f"{m}", f"{in_slopes:.0f}", power_of_ten(in_weights), f"{share:.2f}", *weights]
        rows.append(line(cells))
    return rows


def on_normal() -> list[str]:
    """Rows m, N, efficiency for k_min = 1, 4, m/4 and m/2."""
    rows = []
    for m, N in BUDGETS:
        values = [normal_efficiency(m, N, k_min) for k_min in (1, 4, m // 4, m // 2)]
        rows.append(line([f"{m}", f"{N}", *(f"{value:.3f}" for value in values)]))
    return rows


def off_normal() -> list[str]:
    """Rows law, error along the scale in per cent for each m, N and k_min."""
    rows = []
    for name, law in OTHERS.items():
        errors = [scale_error(law, m, N, k_min) for m, N in RATIOS for k_min in (1, m // 4, m // 2)]
        rows.append(line([name, *(f"${100 * error:+.0f}$" for error in errors)]))
    return rows


def power_of_ten(value: float, known: bool = True) -> str:
    r"""Write a number as LaTeX with two digits, or only its power of ten if they are not known.

    Examples
    --------
    >>> power_of_ten(5.55), power_of_ten(123456.0), power_of_ten(123456.0, known=False)
    ('5.5', '$1.2\\cdot10^{5}$', '$10^{5}$')
    """
    digits, exponent = f"{value:.1e}".split("e")
    if not known:
        return f"$10^{{{int(exponent)}}}$"
    return f"${digits}\\cdot10^{{{int(exponent)}}}$" if value >= 100.0 else f"{value:.2g}"


def line(cells: list[str]) -> str:
    """Write a row of a LaTeX table."""
    return " & ".join(cells) + r" \\"


#: name in the note -> rows
TABLES: Mapping[str, Callable[[], list[str]]] = {
    "condition": condition,
    "efficiency": on_normal,
    "error": off_normal,
}


def main() -> None:
    """Print every table's rows."""
    for name, rows in TABLES.items():
        typer.echo("\n".join([f"% table: {name}", *rows()]))
