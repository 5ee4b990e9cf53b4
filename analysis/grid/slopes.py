"""Rates: log|bias| and log variance against log m, and the variance's growth in log N.

python -m analysis.slopes results/theory --csv figures/slopes.csv
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import statsmodels.api as sm
import typer
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from analysis.core import style
from analysis.core.read import Results, add_errors
from analysis.core.write import Folder, one_line_errors, opened
from simulations.core.store import whole

#: rates are asymptotic: smaller groups are left out of the fit
FROM_M = 256


@dataclass(frozen=True)
class Line:
    """A fitted straight line: slope with standard error and 95 % interval, intercept, R²."""

    slope: float
    se: float
    intercept: float
    r2: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the slope."""
        return self.slope - style.Z * self.se, self.slope + style.Z * self.se


def power_law(x: ArrayLike, y: ArrayLike, y_se: ArrayLike) -> Line:
    """Fit log y = a + b log x by weighted least squares.

    The weights come from the Monte Carlo errors (delta method: se(log y) = se(y)/y). Where points
    miss the line by more than those, the slope's error is widened by √(χ²/degrees of freedom).
    """
    x, y = np.log(np.asarray(x, float)), np.asarray(y, float)
    errors = np.asarray(y_se, float) / y
    fit = sm.WLS(np.log(y), sm.add_constant(x), weights=errors**-2.0).fit(cov_type="fixed scale")
    misfit = 1.0
    if len(x) > 2:
        misfit = max(1.0, float(np.sqrt(np.sum((fit.resid / errors) ** 2) / (len(x) - 2))))
    # R² is undefined where all y are equal
    r2 = fit.rsquared if np.ptp(y) > 0.0 else float("nan")
    return Line(fit.params[1], fit.bse[1] * misfit, fit.params[0], r2)


def growth(N: ArrayLike, variance: ArrayLike) -> Line:
    """Fit variance = a + b log N by ordinary least squares.

    Unweighted: the budgets share their rollouts, so their errors are far from independent.
    """
    x = sm.add_constant(np.log(np.asarray(N, float)))
    fit = sm.OLS(np.asarray(variance, float), x).fit()
    return Line(fit.params[1], fit.bse[1], fit.params[0], fit.rsquared)


def fitted_sizes(m: Sequence[int], from_m: int = FROM_M) -> list[int]:
    """Return the m that rates are fitted to: those from `from_m` up, or else the largest three.

    Examples
    --------
    >>> fitted_sizes([128, 256, 512, 1024]), fitted_sizes([8, 16, 32, 64])
    ([256, 512, 1024], [16, 32, 64])
    """
    large = [size for size in m if size >= from_m]
    return large if len(large) >= 3 else list(m)[-3:]


def table(results: Results, from_m: int = FROM_M, **only: Sequence[object]) -> pd.DataFrame:
    """Return every slope that the grid allows, one row each.

    `only` restricts the fits, as in `table(results, law=["Normal"], parameter=["all"])`.

    Quantities: "bias" and "variance" (slopes on log m, per N and parameter; "all" is the norm and
    the total) and "growth" (variance on log N, per m; "all" only). `flagged` counts fitted biases
    within two standard errors of zero; do not trust a slope that rests on such points.
    """
    rows = results.table
    for column, values in only.items():
        rows = rows[rows[column].isin(list(values))]
    rows = add_errors(rows)
    rows = rows[rows["status"] == ""].sort_values(["m", "N"])
    sizes = fitted_sizes(results.m, from_m)
    rates = []
    head = ["law", "estimator", "N", "parameter"]
    for key, part in rows[rows["m"].isin(sizes)].groupby(head, sort=False):
        for quantity, column in (("bias", "bias_size"), ("variance", "variance")):
            points = part[(part[column] > 0.0) & (part[f"{quantity}_mcse"] > 0.0)]
            if len(points) < 2:
                continue
            line = power_law(points["m"], points[column], points[f"{quantity}_mcse"])
            flagged = int(points["flagged"].sum()) if quantity == "bias" else 0
            rates.append(dict(zip(head, key, strict=True)) | _row(quantity, line, points, flagged))
    head = ["law", "estimator", "m"]
    for key, part in rows[rows["parameter"] == "all"].groupby(head, sort=False):
        # estimators that do not use N have one variance for all N
        if len(part) >= 3 and np.ptp(part["variance"]) > 1e-9 * part["variance"].max():
            line = growth(part["N"], part["variance"])
            start = dict(zip(head, key, strict=True)) | {"parameter": "all"}
            rates.append(start | _row("growth", line, part, 0))
    names = ["law", "estimator", "parameter", "quantity", "m", "N"]
    numbers = ["slope", "se", "low", "high", "r2", "points", "flagged", "from_m", "to_m"]
    return pd.DataFrame(rates, columns=[*names, *numbers]).astype({"m": "Int64", "N": "Int64"})


def _row(quantity: str, line: Line, points: pd.DataFrame, flagged: int) -> dict[str, object]:
    low, high = line.interval
    return {
        "quantity": quantity,
        "slope": line.slope,
        "se": line.se,
        "low": low,
        "high": high,
        "r2": line.r2,
        "points": len(points),
        "flagged": flagged,
        "from_m": int(points["m"].min()),
        "to_m": int(points["m"].max()),
    }


def text(row: Mapping[str, float] | pd.Series) -> str:
    """Write a slope ± half of its 95 % interval."""
    return f"{style.number(row['slope'])} ± {style.Z * row['se']:.2f}"


def show(slopes: pd.DataFrame, laws: Sequence[str], N: int, console: Console) -> None:
    """Print the rates of these laws at one N, and the growth in log N at the largest m."""
    slopes = slopes[slopes["law"].isin(laws)]
    for law, part in slopes.groupby("law", sort=False):
        rates = part[part["N"] == N]
        span = f"m = {rates['from_m'].min()} to {rates['to_m'].max()}"
        grid = Table(title=f"{law}, N = {N}: slopes on log m, {span}", title_justify="left")
        for name in ("estimator", "parameter", "bias", "95 %", "variance", "95 %"):
            grid.add_column(name, justify="left" if name in ("estimator", "parameter") else "right")
        for (estimator, parameter), pair in rates.groupby(["estimator", "parameter"], sort=False):
            cells = pair.set_index("quantity").to_dict("index")
            grid.add_row(estimator, parameter, *_texts(cells, "bias"), *_texts(cells, "variance"))
        console.print(grid)
        largest = part[(part["quantity"] == "growth") & (part["m"] == part["m"].max())]
        for row in largest.itertuples():
            console.print(
                f"  {row.estimator}: variance at m = {row.m} is linear in log N "
                f"with slope {row.slope:.3g} ± {row.se:.2g}, R² = {row.r2:.4f}"
            )
    if slopes["flagged"].any():
        console.print("* some fitted biases are within two standard errors of zero")


def _texts(cells: dict[str, dict[str, float]], quantity: str) -> tuple[str, str]:
    if quantity not in cells:
        return "", ""
    row = cells[quantity]
    star = "*" if row["flagged"] else ""
    return f"{row['slope']:+.3f}{star}", f"{row['low']:+.3f} … {row['high']:+.3f}"


def main(
    folder: Folder,
    csv: Annotated[Path | None, typer.Option(help="Write every slope to this file.")] = None,
    from_m: Annotated[int, typer.Option(help="Smallest m that is fitted.")] = FROM_M,
    law: Annotated[list[str] | None, typer.Option(help="Laws to print; may be repeated.")] = None,
    budget: Annotated[int | None, typer.Option("-N", help="The N to print.")] = None,
) -> None:
    """Fit and print the rates of a results folder."""
    results = opened(folder)
    slopes = table(results, from_m)
    laws = law or results.theory_laws or results.laws
    show(slopes, laws, budget or results.middle[1], Console(markup=False))
    if csv is not None:
        with one_line_errors(), whole(csv) as partial:
            slopes.to_csv(partial, index=False, float_format="%.6g")
        typer.echo(f"every slope: {csv}")
