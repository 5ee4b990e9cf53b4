"""The one way to look something up in the summaries that the article reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.core.read import ResultsError
from analysis.studies import SUMMARIES, Studies

__all__ = ["SUMMARIES", "ClaimError", "Studies", "held", "one"]


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
