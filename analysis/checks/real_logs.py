"""Predictions on real logs, printed: `python -m analysis.real_logs FOLDER`.

One table for rewards with a tail, one for public counts beside other packages, one for simulated
laws: coverage of nominal 90 % intervals, mean width and root mean square error, each over splits
and budgets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from rich.table import Table

from analysis.core.read import read_table
from analysis.core.write import one_line_errors, show, text_table

COLUMNS = ["log", "part", "kind", "m", "N", "method", "coverage", "width", "rmse", "bias"]
#: the methods that the rule before the stack chose from
SINGLE = ("gaussian_tail", "linear", "gen_pareto")
PEERS = ("saber-risk", "scorio", "passk-inference", "pyextremes")
Rows = list[list[str]]


@dataclass(frozen=True)
class RealLogs:
    """What the study's table says.

    Attributes
    ----------
    folder : Path
        Holds `table.parquet`.
    """

    folder: Path

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each log, m, N and method."""
        hint = "run `python -m simulations.real_logs`"
        return read_table(self.folder / "table.parquet", COLUMNS, hint)

    def over(self, method: str, **key: object) -> pd.Series:
        """Return coverage, width, rmse and bias of a method, averaged over the cells of a key."""
        rows = self.table[self.table["method"] == method]
        for column, value in key.items():
            rows = rows[rows[column] == value]
        # no split has a number where the log cannot tell
        squares = (rows["rmse"] ** 2 * rows["splits"]).sum() / max(rows["splits"].sum(), 1)
        return pd.Series(
            {
                "coverage": rows["coverage"].mean(),
                "width": rows["width"].mean(),
                "rmse": squares**0.5 if rows["splits"].any() else float("nan"),
                "bias": rows["bias"].mean(),
                "answered": rows["splits"].sum() / rows["asked"].sum(),
            }
        )

    def logs(self, kind: str, part: str | None = None) -> list[str]:
        """Return the names of the logs of a kind."""
        rows = self.table[self.table["kind"] == kind]
        if part is not None:
            rows = rows[rows["part"] == part]
        return list(rows["log"].unique())

    def coverage(self, kind: str, part: str | None = None) -> float:
        """Return the coverage of the recommended interval, averaged over logs."""
        names = self.logs(kind, part)
        return sum(self.over("recommended", log=name)["coverage"] for name in names) / len(names)

    def least(self, kind: str) -> tuple[str, float]:
        """Return the log of least coverage, and that."""
        cells = {x: self.over("recommended", log=x)["coverage"] for x in self.logs(kind)}
        name = min(cells, key=lambda log: cells[log])
        return name, cells[name]

    def ratios(self) -> pd.DataFrame:
        """Return error over the best single method's and width over the rule's before, by log."""
        rows = {}
        for name in self.logs("tail"):
            own, before = (self.over(method, log=name) for method in ("recommended", "least error"))
            best = min(self.over(method, log=name)["rmse"] for method in SINGLE)
            rows[name] = {"error": own["rmse"] / best, "width": own["width"] / before["width"]}
        return pd.DataFrame(rows).T

    def worse(self, bound: float) -> list[str]:
        """Return the rewards whose error is above a multiple of the best single method's."""
        error = self.ratios()["error"]
        return list(error[error > bound].index)

    def below(self, bound: float, N: int) -> list[str]:
        """Return the models whose pass@N is covered less often than a share of the time."""
        share = {x: self.over("recommended", log=x, N=N)["coverage"] for x in self.logs("0/1")}
        return [name for name, coverage in share.items() if coverage < bound]

    def overall(self, N: int) -> float:
        """Return the share of splits of all models in which pass@N is covered."""
        return float(self.over("recommended", kind="0/1", N=N)["coverage"])

    def inside(self) -> tuple[float, float, float]:
        """Return mean, least and most coverage over the laws that some method is made for."""
        names = [
            name for name in self.logs("simulated") if name not in ("rare good mode", "copies")
        ]
        cells = [self.over("recommended", log=name)["coverage"] for name in names]
        return sum(cells) / len(cells), min(cells), max(cells)

    def tails(self) -> Rows:
        """Return a row for each reward with a tail."""
        lines = []
        for name in self.logs("tail"):
            part = self.table.loc[self.table["log"] == name, "part"].iloc[0]
            own, before = (self.over(method, log=name) for method in ("recommended", "least error"))
            ratio = self.ratios().loc[name]
            lines.append([name, part, *_three(own), *_three(before), *(f"{x:.2f}" for x in ratio)])
        return lines

    def counts(self, N: int) -> Rows:
        """Return a row for each model and m: recommended, then the peers with an interval."""
        lines = []
        for name in self.logs("0/1"):
            part = self.table.loc[self.table["log"] == name, "part"].iloc[0]
            for m in sorted(self.table.loc[self.table["log"] == name, "m"].unique()):
                key = {"log": name, "m": m, "N": N}
                line = [name, part, str(m), *_three(self.over("recommended", **key))]
                for peer in PEERS[:3]:
                    there = (self.table["method"] == peer).any()
                    own = self.over(peer, **key) if there else None
                    cells = ["–"] * 3 if own is None else _three(own)
                    line += [cells[2]] if peer == "passk-inference" else [cells[0], cells[2]]
                lines.append(line)
        return lines

    def laws(self) -> Rows:
        """Return a row for each simulated law and N."""
        rows = self.table[(self.table["kind"] == "simulated")]
        lines = []
        for (name, N), _ in rows.groupby(["log", "N"], sort=False):
            own = self.over("recommended", log=name, N=N)
            lines.append([name, str(N), *_three(own), f"{1.0 - own['answered']:.0%}"])
        return lines


TAIL_HEAD = (
    "reward", "logs", "coverage", "width", "rmse", "before: coverage", "width", "rmse",
    "rmse / best single", "width / before",
)  # fmt: skip
COUNT_HEAD = (
    "model", "logs", "m", "coverage", "width", "rmse", "SABER: coverage", "rmse",
    "scorio: coverage", "rmse", "kernel: rmse",
)  # fmt: skip
LAW_HEAD = ("law", "N", "coverage", "width", "rmse", "no number")


def tables(study: RealLogs) -> Iterator[Table | str]:
    """Yield headlines and tables."""
    parts = (
        ("rewards with a tail", TAIL_HEAD, study.tails()),
        ("public counts, pass@1000", COUNT_HEAD, study.counts(1000)),
        ("simulated laws", LAW_HEAD, study.laws()),
    )
    for title, head, rows in parts:
        if rows:
            yield title
            table = text_table(*head)
            for row in rows:
                table.add_row(*row)
            yield table


def _three(cells: pd.Series) -> list[str]:
    return [
        "–" if pd.isna(cells[name]) else f"{cells[name]:.{digits}f}"
        for name, digits in (("coverage", 2), ("width", 2), ("rmse", 3))
    ]


def main(folder: Path) -> None:
    """Print what a results folder says of predictions on real logs."""
    with one_line_errors():
        show(tables(RealLogs(folder)), width=150)
