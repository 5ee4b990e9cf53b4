"""Looking up the summaries that the article reads, and checking its claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.core.read import ResultsError
from analysis.studies import SUMMARIES, Studies

__all__ = ["SUMMARIES", "ClaimError", "Studies", "claim", "one"]


class ClaimError(Exception):
    """A sentence of the article no longer agrees with the numbers."""


def claim(holds: bool, sentence: str, file: str) -> None:
    """Raise ClaimError unless a statement that the text makes in words still holds.

    Numbers are renewed with their summary; words such as "least" are not.
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
    for column, value in key.items():
        rows = rows[rows[column] == value]
    if len(rows) != 1:
        values = ", ".join(f"{column} = {value!r}" for column, value in key.items())
        raise ResultsError(
            f"{where}: {len(rows)} rows with {values} where the article needs one; "
            "run the study again and renew its summary (paper/README.md has the commands)"
        )
    return rows.iloc[0]
