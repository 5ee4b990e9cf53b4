"""The article's numbers on the theory's rates: predicted and measured biases, fitted slopes."""

from __future__ import annotations

import numpy as np

from analysis.core.read import Results
from analysis.grid import slopes
from analysis.grid.report import REFERENCE, REFERENCE_N
from analysis.paper.latex import count, decimal, ends, name, number, pm, row, span
from analysis.paper.studies import Studies, claim, one

FILE = "sections/theory.tex"
LAWS = ("Normal", "GaussianTail")
TEA, SAME, CROSS, CROSS3 = "TEA .25", "Prefix-TEA", "Prefix-TEA cross", "Prefix-TEA cross 3"
#: the N of the slopes in the text: the largest of the grid
N = 1024
#: predictions made before this code was written, for (loc, log scale) of the standard Normal law at
#: N = 128: TEA's in `analysis.grid.report`; good to ±.005, from m = 256 on ±.002, Prefix-TEA's ±.01
PREDICTED = {
    **{(TEA, m): pair for m, pair in REFERENCE.items()},
    (SAME, 64): (-0.082, -0.25),
    (SAME, 128): (-0.028, -0.091),
    (CROSS, 128): (-0.100, -0.160),
    (CROSS, 256): (-0.0255, -0.043),
}
#: tolerance of Prefix-TEA's predictions, and of TEA's
LOOSE, CLOSE = 0.01, 0.005
#: each estimator's bias is of the order of m to the power of minus this
ORDERS = {TEA: 1, "TEA .5": 1, SAME: 2, CROSS: 2}


def numbers(studies: Studies) -> dict[str, str]:
    """Return the theory grid's numbers by key."""
    results = studies.theory
    groups = results.cells.groupby("estimator")["reps"].max()
    values = {
        "theory/m": ends(results.m),
        "theory/m/largest": count(max(results.m)),
        "theory/N": ends(results.N),
        "theory/groups/least": count(results.cells["reps"].min()),
        "theory/groups/cross": count(groups[CROSS]),
        "theory/time": span(sum(run["seconds"] for run in results.manifest["runs"])),
    }
    fits = slopes.table(results, law=LAWS, parameter=["all"])
    for law, quantity in (("Normal", "bias"), ("GaussianTail", "bias"), ("Normal", "variance")):
        for label in (TEA, CROSS):
            key = {"law": law, "estimator": label, "quantity": quantity, "N": N}
            fit = one(fits, results.folder, **key)
            values[f"slope/{law}/{label}/{quantity}"] = _fit(fit["slope"], fit["se"])
            first = quantity == "variance" and fit["low"] < -1.0 < fit["high"]
            claim(not first, f"the variance of {label} has another slope than -1", FILE)
    growth = fits[(fits["quantity"] == "growth") & (fits["m"] == max(results.m))]
    values["growth/r2"] = decimal(float(np.floor(1000 * growth["r2"].min()) / 1000), 3)
    for label in (CROSS, CROSS3):
        values[f"local/{label}"] = decimal(_local(results, label), 1)
    return values | _biases(studies) | _price(studies.grid, results)


def _price(grid: Results, theory: Results) -> dict[str, str]:
    """Return the cost of debiasing at m = 16: the same-batch form's bias and error over TEA's."""
    cells = [
        one(grid.cells, grid.folder, law="Normal", estimator=label, m=16, N=REFERENCE_N)
        for label in (SAME, TEA)
    ]
    bias = cells[0]["bias_size"] / cells[1]["bias_size"]
    error, other = (cell["bias_size"] ** 2 + cell["variance"] for cell in cells)
    cross, tea = (
        one(theory.cells, theory.folder, law="Normal", estimator=label, m=64, N=N)["bias_size"]
        for label in (CROSS, TEA)
    )
    claim(cross > tea, "cross-fitted, there is more bias than TEA's at m = 64", FILE)
    return {"price/bias": decimal(bias, 1), "price/error": decimal(error / other, 1)}


def _biases(studies: Studies) -> dict[str, str]:
    results = studies.theory
    values = {"predicted/tolerance": decimal(LOOSE)}
    for (label, m), pair in PREDICTED.items():
        if label != CROSS:
            _agree(studies, label, m, pair)
    for m in (128, 256):
        for parameter in ("loc", "scale"):
            cell = _measured(results, CROSS, m, parameter)
            values[f"bias/{CROSS}/{m}/{parameter}"] = pm(cell["bias"], cell["bias_mcse"])
        loc, scale = PREDICTED[CROSS, m]
        values[f"predicted/{m}/loc"] = number(f"{loc:.{3 if m < 256 else 4}f}")
        values[f"predicted/{m}/scale"] = number(f"{scale:.3f}")
        cell = _measured(results, CROSS, m, "scale")
        off = abs(cell["bias"] - scale) - LOOSE
        claim(off > 3 * cell["bias_mcse"], f"the prediction at m = {m} was missed", FILE)
    return values


def _agree(studies: Studies, label: str, m: int, pair: tuple[float, float]) -> None:
    """Check that a measured bias is the predicted one, within its tolerance and 3 errors."""
    results = studies.theory if m in studies.theory.m else studies.grid
    for parameter, predicted in zip(("loc", "scale"), pair, strict=True):
        cell = _measured(results, label, m, parameter)
        reach = 3.0 * cell["bias_mcse"] + (CLOSE if label == TEA else LOOSE)
        near = abs(cell["bias"] - predicted) < reach
        claim(near, f"{label} at m = {m} has the predicted bias in {parameter}", FILE)


def _fit(slope: float, se: float) -> str:
    """Write a slope ± its standard error, two digits of it."""
    digits = 3 if se < 0.1 else 2
    return number(f"{slope:.{digits}f} ± {se:.{digits}f}")


def _local(results: Results, label: str) -> float:
    """Return the power of m between m = 64 and 128, at N = 128 on the Normal law."""
    cells = [
        one(results.cells, results.folder, law="Normal", estimator=label, m=m, N=REFERENCE_N)
        for m in (64, 128)
    ]
    claim(
        not any(cell["flagged"] for cell in cells),
        f"{label}: a bias significantly different from zero",
        FILE,
    )
    return float(np.log2(cells[1]["bias_size"] / cells[0]["bias_size"]))


def _measured(results: Results, label: str, m: int, parameter: str):
    key = {"law": "Normal", "estimator": label, "m": m, "N": REFERENCE_N, "parameter": parameter}
    return one(results.table, results.folder, **key)


def rows(studies: Studies) -> dict[str, list[str]]:
    """Return the tables of predicted and measured biases and of fitted slopes."""
    return {"biases": _bias_rows(studies), "slopes": _slope_rows(studies.theory)}


def _bias_rows(studies: Studies) -> list[str]:
    lines, before = [], None
    for (label, m), pair in PREDICTED.items():
        results = studies.theory if m in studies.theory.m else studies.grid
        cells = [name(label) if label != before else "", f"{m}"]
        for parameter, predicted in zip(("loc", "scale"), pair, strict=True):
            cell = _measured(results, label, m, parameter)
            digits = 3 if m < 256 or parameter == "scale" else 4
            cells += [number(f"{predicted:.{digits}f}"), pm(cell["bias"], cell["bias_mcse"])]
        if before not in (None, label):
            lines.append(r"\addlinespace")
        lines.append(row(cells))
        before = label
    return lines


def _slope_rows(results: Results) -> list[str]:
    fits = slopes.table(results, law=LAWS, parameter=["all"])
    lines = []
    for quantity in ("bias", "variance"):
        lines += [r"\addlinespace"] if lines else []
        for place, (label, order) in enumerate(ORDERS.items()):
            power = order if quantity == "bias" else 1
            cells = ["" if place else quantity, name(label), f"$-{power}$"]
            for law in LAWS:
                key = {"law": law, "estimator": label, "quantity": quantity, "N": N}
                fit = one(fits, results.folder, **key)
                cells.append(_interval(fit["slope"], fit["low"], fit["high"]))
            lines.append(row(cells))
    return lines


def _interval(slope: float, low: float, high: float) -> str:
    return f"{decimal(slope)} ({decimal(low)}, {decimal(high)})"
