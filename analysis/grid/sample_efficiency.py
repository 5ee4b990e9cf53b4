"""Sample efficiency: the rollouts m that an estimator needs for another one's error.

python -m simulations.grid simulations/grids/rollouts.toml
python -m analysis.grid.sample_efficiency results/rollouts

The error of a 64-prompt batch falls with m. An estimator needs the m at which its error equals
that of the reference with few rollouts, by linear interpolation of log error in log m.
Linear TEA's own error on the Normal law is exact.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.table import Table

from analysis.core.read import BATCH, Results
from analysis.core.style import plus_minus
from analysis.core.write import Folder, opened, show, text_table
from tea_stats import Normal, tails
from tea_stats.estimators import lookup
from tea_stats.linear.normal_variance import normal_variance

REFERENCE, FEW = "linear TEA, k ≥ 1", 16


def needed(m: np.ndarray, error: np.ndarray, goal: float) -> float:
    """Return the m at which a falling error reaches the goal; beyond the last m, infinity.

    Parameters
    ----------
    m : ndarray, shape (n,)
        Group sizes, ascending.
    error : ndarray, shape (n,)
        Errors there, positive.
    goal : float
        Error to reach.

    Returns
    -------
    float
        The first crossing; m[0] where the goal is met from the start.

    Examples
    --------
    >>> needed(np.array([16.0, 64.0]), np.array([0.4, 0.1]), 0.2)
    32.0
    >>> needed(np.array([16.0, 64.0]), np.array([0.4, 0.3]), 0.2)
    inf
    """
    met = np.flatnonzero(error <= goal)
    if not len(met):
        return np.inf
    if met[0] == 0:
        return float(m[0])
    left, right = met[0] - 1, met[0]
    part = np.log(error[left] / goal) / np.log(error[left] / error[right])
    return float(np.round(m[left] * (m[right] / m[left]) ** part, 10))


def exact_error(cell: pd.Series) -> float | None:
    """Return the exact error of a batch for linear TEA on standard normal rewards; else None.

    There it is unbiased, and a thousand simulated batches determine its variance only to 5 %.
    """
    options = json.loads(cell["options"])
    if options.pop("name") != "linear_tea" or cell["family"] != repr(Normal()):
        return None
    estimator, N = lookup("linear_tea", options), int(cell["N"])
    if "normal" not in estimator.options["tails"]:
        return None
    gradient = 1.0, tails.normal_max_mean(N)
    variances = normal_variance(estimator.prepare(int(cell["m"]), N), gradient)
    return sum(variances) / BATCH / float(np.dot(gradient, gradient))


def table(results: Results, reference: str, few: int) -> pd.DataFrame:
    """Return law, N, estimator, goal (the reference's error), goal_mcse, m needed, low and high.

    `low` and `high` are the m needed if every error were two standard errors smaller, or larger.
    """
    rows = []
    fit = results.cells[results.cells["status"] == ""]
    for (law, N), own in fit.groupby(["law", "N"], sort=False):
        first = own[(own["estimator"] == reference) & (own["m"] == few)]
        if first.empty:
            continue
        goal, mcse = first["batch_nmse"].item(), first["batch_nmse_mcse"].item()
        exact = exact_error(first.iloc[0])
        if exact is not None:
            goal, mcse = exact, 0.0
        for label, line in own[own["estimator"] != reference].groupby("estimator", sort=False):
            line = line.sort_values("m")
            m, error = (line[x].to_numpy(float) for x in ("m", "batch_nmse"))
            reach = 2.0 * line["batch_nmse_mcse"].to_numpy(float)
            row = {"law": law, "N": N, "estimator": label, "goal": goal, "goal_mcse": mcse}
            row |= {"most": int(m[-1]), "m": needed(m, error, goal)}
            row["low"] = needed(m, np.maximum(error - reach, 1e-300), goal + 2.0 * mcse)
            row["high"] = needed(m, error + reach, goal - 2.0 * mcse)
            rows.append(row)
    return pd.DataFrame(rows)


def printed(needs: pd.DataFrame, reference: str, few: int) -> Iterator[Table | str]:
    """Yield the table, one line for each law and N."""
    labels = list(needs["estimator"].unique())
    yield (
        f"Rollouts m for the error that {reference} has with m = {few} "
        f"({BATCH}-prompt batch; in brackets: ± 2 s.e.)"
    )
    shown = text_table("law", "N", "error", *labels)
    for (law, N), own in needs.groupby(["law", "N"], sort=False):
        own = own.set_index("estimator")
        first = own.iloc[0]
        shown.add_row(
            law,
            str(N),
            plus_minus(first["goal"], first["goal_mcse"]),
            *(interval(own.loc[label]) if label in own.index else "–" for label in labels),
        )
    yield shown


def interval(row: pd.Series) -> str:
    """Write the m of a row of `table`, followed by (low–high) where these differ."""
    if np.isinf(row["m"]):
        return f"> {row['most']}"
    ends = [f"{x:.0f}" if np.isfinite(x) else f"> {row['most']}" for x in (row["low"], row["high"])]
    same = ends[0] == ends[1]
    return f"{row['m']:.0f}" + ("" if same else f" ({'–'.join(ends)})")


def main(
    folder: Folder,
    reference: Annotated[str, typer.Option(help="Estimator with few rollouts.")] = REFERENCE,
    m: Annotated[int, typer.Option(help="How many it has.")] = FEW,
) -> None:
    """Print how many rollouts the other estimators need for the reference's error."""
    needs = table(opened(folder), reference, m)
    if needs.empty:
        typer.echo(f"error: {folder} has no {reference!r} at m = {m}; give others", err=True)
        raise typer.Exit(1)
    show(printed(needs, reference, m), width=150)


if __name__ == "__main__":
    typer.run(main)
