"""The league of batches as Markdown: numbers and tables of docs/findings/batches.md."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.batches import tables
from analysis.batches.read import GAINS, LEAST, MOST, NOISE, PLACE, SATURATED, League
from analysis.core.style import size, size_and_error
from analysis.guide.tables import markdown

#: settings that the page lists
SHOWN = 10
#: the noise of tables that have room for two
TWO = ("100", "1e+06")
#: what a column of gains is called
LEVELS = {"2": "two parameters", "100": "100", "10000": "10⁴", "1e+06": "10⁶"}


@dataclass(frozen=True)
class Page:
    """What the template may use of a league.

    Attributes
    ----------
    league : League
        The committed summary.
    default : str
        Label of the recommended estimator.
    """

    league: League
    default: str = "auto TEA"

    def rows(self, part: str) -> pd.DataFrame:
        """Return the rows of whole batches of one part, saturated settings left out."""
        return self.league.live[self.league.live["part"] == part]

    def settings(self, part: str | None = None) -> int:
        """Return how many settings there are, in all or in a part."""
        rows = self.league.whole
        return int((rows if part is None else rows[rows["part"] == part])["setting"].nunique())

    def saturated(self) -> int:
        """Return how many settings are left out, having nothing to learn."""
        rows = self.league.whole
        return int(rows[rows["signal"] < SATURATED]["setting"].nunique())

    def sizes(self, column: str) -> str:
        """Return the values of prompts, m or N."""
        assert column in PLACE
        return ", ".join(map(str, sorted(self.league.whole[column].unique())))

    @property
    def better(self) -> str:
        """The references."""
        return " and ".join(self.league.references)

    @property
    def most(self) -> str:
        """The largest ratio of errors that a default may have."""
        return f"{MOST:g}"

    @property
    def near(self) -> str:
        """The least share of the largest gain that counts as near it."""
        return f"{LEAST:g}"

    def within(self, part: str) -> str:
        """Return in how many of a part's settings the default's error is within the bound."""
        own = self._own(part)
        return f"{int((own['error_ratio'] <= MOST).sum())} of {len(own)}"

    def worst_ratio(self, part: str) -> str:
        """Return the default's largest ratio in a part, with its standard error and setting."""
        row = tables.worst(self.rows(part), self.default, 1).iloc[0]
        ratio = size_and_error(row["error_ratio"], row["error_ratio_mcse"])
        return f"{ratio} ({row['setting']})"

    def ratio(self, setting: str) -> str:
        """Return the default's ratio of errors in one setting, with its standard error."""
        rows = self.league.live[self.league.live["estimator"] == self.default]
        (row,) = rows[rows["setting"] == setting].to_dict("records")
        return size_and_error(row["error_ratio"], row["error_ratio_mcse"])

    def ratios(self, *labels: str) -> str:
        """Return the range of the default's ratio of errors over some kinds of batches."""
        rows = self.league.live[self.league.live["estimator"] == self.default]
        found = rows[rows["batch"].isin(labels)]["error_ratio"]
        return f"{size(found.min())} to {size(found.max())}"

    def gains(self, part: str, level: str) -> str:
        """Return in how many settings the default's gain is near the largest at some noise."""
        own = self._own(part)
        return f"{int((own[f'gain_{level}_to_best'] >= LEAST).sum())} of {len(own)}"

    def not_behind(self, part: str, level: str) -> str:
        """Return in how many settings the default's gain is near that of the better reference."""
        own = self._own(part)
        behind = own[f"gain_{level}_ratio"] < LEAST
        return f"{len(own) - int(behind.sum())} of {len(own)}"

    def often(self, part: str, level: str) -> str:
        """Return which estimator has a gain near the largest most often, and how often."""
        rows = self.rows(part)
        common = rows.groupby("estimator").filter(lambda own: len(own) == self._count(part))
        near = common[f"gain_{level}_to_best"] >= LEAST
        counts = near.groupby(common["estimator"]).sum().sort_values(kind="stable")
        best = str(counts.index[-1])
        within = common.loc[common["estimator"] == best, "error_ratio"] <= MOST
        return (
            f"{best} in {counts.iloc[-1]}, with an error of at most {MOST:g} times the reference's "
            f"in {int(within.sum())}"
        )

    def responses(self, part: str, *labels: str) -> str:
        """Return median efficiencies where every function of the reward is a direction."""
        median = self.rows(part).groupby("estimator")["response_efficiency"].median()
        return ", ".join(f"{label} {size(median[label])}" for label in labels)

    def _count(self, part: str) -> int:
        return int(self.rows(part)["setting"].nunique())

    def clean(self, prompts: int, other: str = "adaptive TEA") -> str:
        """Return the range of the default's error over another's on smooth laws, both parts."""
        rows = self.league.live[self.league.live["prompts"] == prompts]
        ratio = tables.against(rows, self.default, other)
        return f"{size(ratio.min())} to {size(ratio.max())}"

    def standings(self, part: str) -> str:
        """Return the table of a part: one line for each estimator."""
        lines = [
            [
                line["estimator"],
                str(line["settings"]),
                size(line["mean"]),
                _share(line["within"]),
                size_and_error(line["worst"], line["worst_mcse"]),
                *(_share(line[f"near_{level}"]) for level in NOISE),
            ]
            for line in tables.standings(self.rows(part)).to_dict("records")
        ]
        head = ["estimator", "settings", "mean ratio", f"ratio ≤ {MOST:g}", "worst ratio"]
        return markdown([*head, *(f"gain, {LEVELS[level]}" for level in NOISE)], lines)

    def groups(self, part: str) -> str:
        """Return the default's table by group of batches."""
        lines = [
            [
                line["group"],
                str(line["settings"]),
                size(line["mean"]),
                _share(line["within"]),
                f"{size_and_error(line['worst'], line['worst_mcse'])}, {line['worst_at']}",
                *(_share(line[f"near_{level}"]) for level in TWO),
            ]
            for line in tables.groups(self.rows(part), self.default).to_dict("records")
        ]
        head = ["batches", "settings", "mean ratio", f"ratio ≤ {MOST:g}", "worst ratio"]
        return markdown([*head, *(f"gain, {LEVELS[level]}" for level in TWO)], lines)

    def worst(self, part: str) -> str:
        """Return the table of the default's worst settings."""
        lines = [
            [
                line["setting"],
                size_and_error(line["error"], line["error_mcse"]),
                size_and_error(line["error_ratio"], line["error_ratio_mcse"]),
                *(size(line[f"{name}_to_best"]) for name in GAINS),
            ]
            for line in tables.worst(self.rows(part), self.default, SHOWN).to_dict("records")
        ]
        head = ["setting", "error", "ratio", *(f"gain, {LEVELS[level]}" for level in NOISE)]
        return markdown(head, lines)

    def _own(self, part: str) -> pd.DataFrame:
        rows = self.rows(part)
        return rows[rows["estimator"] == self.default]


def _share(value: float) -> str:
    return f"{value:.0%}".replace("%", " %")
