"""The summaries that the article reads, and the one way to look something up in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import _bandit, lm_pool
from analysis._load import Results, ResultsError, load
from analysis.lm_pool_figures import Pools

SUMMARIES = Path("analysis/summaries")


@dataclass(frozen=True)
class Studies:
    """Summaries of the studies, each read when it is first asked for.

    Attributes
    ----------
    folder : Path
        Holds one folder a study.
    """

    folder: Path = SUMMARIES

    @cached_property
    def grid(self) -> Results:
        """Single groups: every estimator on 18 laws, all m and N."""
        return load(self.folder / "paper")

    @cached_property
    def theory(self) -> Results:
        """Single groups: the theory's rates, to m = 1024."""
        return load(self.folder / "theory")

    @cached_property
    def league(self) -> Results:
        """Batches: every estimator on 53 laws."""
        return load(self.folder / "league")

    @cached_property
    def rollouts(self) -> Results:
        """Batches: error against m, for how many rollouts an estimator needs."""
        return load(self.folder / "rollouts")

    @cached_property
    def bandit(self) -> _bandit.Study:
        """Softmax policies trained with each estimator's gradient."""
        return _bandit.load(self.folder / "bandit")

    @cached_property
    def lm_pool(self) -> Pools:
        """Pools of a language model's rollouts, each taken as a law."""
        return lm_pool.load(self.folder / "lm_pool")


class ClaimError(Exception):
    """A sentence of the article is no longer what the numbers say."""


def held(holds: bool, sentence: str, file: str) -> None:
    """Raise ClaimError unless a statement that the text makes in words still holds.

    Numbers change by themselves when a summary does; words such as "least" do not.
    """
    if not holds:
        raise ClaimError(f"no longer true: {sentence}; rewrite paper/{file}")


def one(rows: pd.DataFrame, where: Path, **key: Any) -> pd.Series:
    """Return the one row with these values.

    Raises
    ------
    ResultsError
        If there is none, or more than one; the message names the folder, the key and the cure.
    """
    found = rows
    for column, value in key.items():
        found = found[found[column] == value]
    if len(found) != 1:
        told = ", ".join(f"{column} = {value!r}" for column, value in key.items())
        raise ResultsError(
            f"{where}: {len(found)} rows with {told} where the article needs one; "
            "run the study again and renew its summary (paper/README.md has the commands)"
        )
    return found.iloc[0]
