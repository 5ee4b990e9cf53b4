"""How predictions and verdicts were checked: numbers and tables from the committed summaries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.checks import real_logs
from analysis.guide.tables import markdown

#: verdicts in the order of the table's entries
VERDICTS = ["holds", "doubtful", "fails", "cannot tell"]
#: an interval's nominal coverage is .9; these are close to it, and not far from it
CLOSE, NEAR = (0.85, 0.95), (0.80, 0.99)


@dataclass(frozen=True)
class Coverage:
    """Coverage of the intervals of `tea-stats predict`, laws inside a method's model and outside.

    Attributes
    ----------
    folder : Path
        Holds the folder `coverage`.
    """

    folder: Path

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row for each law, method, target, size of the log, and N or band."""
        return pd.read_parquet(self.folder / "coverage" / "table.parquet")

    def of(self, band: bool = False, **key: str) -> pd.Series:
        """Return the coverage of single intervals, or of bands, in the cells with these values."""
        rows = self.cells[(self.cells["N"] == "band") == band]
        for column, value in key.items():
            rows = rows[rows[column] == value]
        return rows["coverage"]

    def close(self, limits: tuple[float, float], **key: str) -> str:
        """Return the share of single intervals whose coverage is within limits."""
        return f"{self.of(**key).between(*limits).mean():.0%}".replace("%", " %")

    def logs(self, model: str, method: str | None = None) -> int:
        """Return the number of logs in a cell."""
        rows = self.cells[self.cells["model"] == model]
        rows = rows if method is None else rows[rows["method"] == method]
        return int(rows["reps"].max())

    def withheld(self, prompts: int, m: int, N: int) -> pd.Series:
        """Return the share of logs of a size that have no recommended value at N, by law, largest.

        The log is large enough to reach N, so it is a contradiction that withholds it.
        """
        rows = self.cells[(self.cells["model"] == "recommended") & (self.cells["N"] == str(N))]
        rows = rows[(rows["prompts"] == prompts) & (rows["m"] == m)]
        by_law = 1.0 - rows.groupby("law")["reps"].max() / self.logs("recommended")
        return by_law.sort_values(ascending=False)

    def recommended(self, inside: bool, model: str = "recommended") -> pd.Series:
        """Return the coverage of what is recommended, by law, where some method is made for it."""
        made_for = self.cells.loc[self.cells["model"] == "inside", "law"].unique()
        rows = self.cells[(self.cells["model"] == model) & (self.cells["N"] != "band")]
        rows = rows[rows["law"].isin(made_for) == inside]
        return rows.groupby("law", sort=False)["coverage"].mean()

    def table(self, model: str) -> str:
        """Return the table of the laws inside a method's model, outside, or the recommended."""
        rows = self.cells[self.cells["model"] == model]
        lines = []
        for (law, method, target), _ in rows.groupby(["law", "method", "target"], sort=False):
            key = {"law": law, "method": method, "target": target}
            single, band = self.of(**key), self.of(band=True, **key)
            texts = (f"{x:.2f}" for x in (single.mean(), single.min(), single.max(), band.mean()))
            lines.append([law, f"`{method}`", target.replace("_", " "), *texts])
        return markdown(["law", "method", "for", "mean", "least", "most", "band, mean"], lines)


@dataclass(frozen=True)
class Verdicts:
    """How often the verdicts and the recommendation of `tea-stats diagnose` are right.

    Attributes
    ----------
    folder : Path
        Holds `verdict_rates.csv` and `recommendation_regret.csv`.
    """

    folder: Path

    @cached_property
    def rates(self) -> pd.DataFrame:
        """Share of each verdict, by law, size of the log and assumption."""
        return pd.read_csv(self.folder / "verdict_rates.csv")

    @cached_property
    def advice(self) -> pd.DataFrame:
        """The recommendation and its error, by the law that the log was drawn from."""
        return pd.read_csv(self.folder / "recommendation_regret.csv")

    def table(self, assumption: str) -> str:
        """Return per cent holds/doubtful/fails/cannot tell, laws by sizes of the log."""
        rows = self.rates[self.rates["assumption"] == assumption]
        entries = (100.0 * rows[VERDICTS]).round().astype(int).astype(str).agg("/".join, axis=1)
        sizes = [f"{prompts} × {m}" for prompts, m in zip(rows["prompts"], rows["m"], strict=True)]
        wide = rows.assign(entry=entries, size=sizes).pivot(
            index="law", columns="size", values="entry"
        )
        wide = wide.loc[rows["law"].unique(), list(dict.fromkeys(sizes))]
        lines = [[law, *row] for law, row in zip(wide.index, wide.to_numpy(), strict=True)]
        return markdown(["law", *wide.columns], lines)

    def false_alarms(self) -> pd.Series:
        """Return the share of alarms on normal logs, for the two verdicts on a Gaussian tail."""
        rows = self.rates[self.rates["law"] == "Normal"]
        rows = rows[rows["assumption"].isin(["gaussian_shape", "straight_plot"])]
        return rows["doubtful"] + rows["fails"]

    def recommendations(self) -> str:
        """Return the recommendation for each law, its error and the least error of all."""
        lines = [
            [row.law, f"`{row.chosen}`", f"{row.foretold:.2g}", f"{row.error:.2g}"]
            + [f"{row.default:.2g}", f"{row.least:.2g}, `{row.best}`"]
            for row in self.advice.itertuples()
        ]
        head = ["law of the log", "recommended", "error predicted", "error"]
        return markdown([*head, "error of the default", "least error"], lines)


@dataclass(frozen=True)
class Plans:
    """Coverage of `tea-stats compare`, and the widths that plans lead to.

    Attributes
    ----------
    folder : Path
        Holds `comparisons.csv` and `plans.csv`.
    """

    folder: Path

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """Coverage by world, size of the logs and N."""
        return pd.read_csv(self.folder / "comparisons.csv")

    @cached_property
    def plans(self) -> pd.DataFrame:
        """Widths over goals by world, pilot and N, with the pilot's rollouts over N."""
        table = pd.read_csv(self.folder / "plans.csv")
        return table.assign(ratio=table["pilot_m"] / table["N"])

    @property
    def shape(self) -> str:
        """The size of the logs compared."""
        first = self.comparisons.iloc[0]
        return f"{first['prompts']} prompts × {first['m']}"

    def of(self, within: bool) -> pd.DataFrame:
        """Return the paired comparisons within the rollouts, or beyond."""
        rows = self.comparisons[self.comparisons["pairs"]]
        return rows[(rows["method"] == "max_at_k") == within]

    def coverage(self, within: bool) -> str:
        """Return least and greatest coverage."""
        share = self.of(within)["coverage"]
        return f"{share.min():.2f} to {share.max():.2f}"

    def mean(self, within: bool) -> str:
        """Return the mean coverage."""
        return f"{self.of(within)['coverage'].mean():.3f}"

    def weakest(self) -> str:
        """Return the world with the least coverage beyond the rollouts."""
        rows = self.of(False)
        return str(rows.loc[rows["coverage"].idxmin(), "world"])

    def apart(self) -> str:
        """Return least and greatest coverage without pairs."""
        share = self.comparisons[~self.comparisons["pairs"]]["coverage"]
        return f"{share.min():.2f} to {share.max():.2f}"

    def paired(self) -> str:
        """Return the table of paired comparisons."""
        lines = [
            [row.world, f"{row.N}", f"`{row.method}`", f"{row.difference:.3g}"]
            + [f"{row.bias:+.2g} ± {row.bias_mcse:.1g}", f"{row.coverage:.3f}"]
            + [f"{row.half_width:.2g}", f"{row.unpaired_half_width:.2g}", f"{row.reps}"]
            for row in self.comparisons[self.comparisons["pairs"]].itertuples()
        ]
        head = ["rewards", "N", "method", "truth", "bias", "coverage", "half-width", "unpaired"]
        return markdown([*head, "logs"], lines)

    def table(self) -> str:
        """Return the table of planned widths."""
        lines = [
            [row.world, f"{row.pilot_m}", f"{row.N}", f"{row.width:.2f} ± {row.width_mcse:.1g}"]
            + [f"{row.assured_width:.2f}", f"{100 * row.reached:.0f} %"]
            for row in self.plans.itertuples()
        ]
        return markdown(["rewards", "pilot's m", "N", "width", "assured", "suffices for"], lines)

    def widths(self, ratio: float) -> str:
        """Return least and greatest width, where the pilot has so many times N rollouts."""
        width = self.plans[self.plans["ratio"] == ratio]["width"]
        return f"{width.min():.2f} to {width.max():.2f}"

    def reached(self, ratio: float) -> str:
        """Return the mean share of pilots whose assured number suffices."""
        return f"{100 * self.plans[self.plans['ratio'] == ratio]['reached'].mean():.0f} %"


class Predictions(real_logs.RealLogs):
    """Predictions on real logs, their tables as Markdown."""

    def markdown(self, name: str) -> str:
        """Return "tails", "counts" or "laws" as a table."""
        heads = {
            "tails": (real_logs.TAIL_HEAD, self.tails),
            "counts": (real_logs.COUNT_HEAD, lambda: self.counts(1000)),
            "laws": (real_logs.LAW_HEAD, self.laws),
        }
        head, rows = heads[name]
        return markdown([*head], rows())

    def reps(self, kind: str) -> int:
        """Return the number of splits of a log."""
        rows = self.table[(self.table["kind"] == kind) & (self.table["method"] == "recommended")]
        return int(rows["asked"].max())
