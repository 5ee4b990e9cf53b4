"""Put estimators that were measured anew into a committed summary; all its other rows stay.

python -m analysis.remeasured analysis/summaries/league analysis/summaries/league_auto

The second folder is the summary of the same configuration with those estimators alone. A change of
one estimator touches its rows and no others, because draws depend on law, m and block: to measure
twenty arms again would give the same numbers. The manifest lists the new run and its estimators.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from analysis.core.read import ResultsError, read_manifest
from analysis.core.write import one_line_errors, write_summary

#: what tells the rows of one estimator apart, as far as a table has it
KEY = ("law", "policy", "setting", "reward", "pool", "prompt", "m", "N", "B", "parameter", "step")


def replaced(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return `old` with the rows of the estimators that `new` has taken from there.

    Raises
    ------
    ResultsError
        If the rows of these estimators are not the same ones, or columns differ.
    """
    labels = new["estimator"].unique()
    if list(old) != list(new):
        raise ResultsError(f"columns differ: {sorted(set(old) ^ set(new))}; summarise both alike")
    key = ["estimator", *(name for name in KEY if name in old)]
    ours = old["estimator"].isin(labels)
    places = pd.MultiIndex.from_frame(old.loc[ours, key])
    found = new.set_index(pd.MultiIndex.from_frame(new[key]))
    if not found.index.is_unique or set(places) != set(found.index):
        raise ResultsError(
            f"the summary has {len(places)} rows of {', '.join(labels)} and the new one "
            f"{len(found)}, or others; measure the same laws, m and N"
        )
    # in the places of the old rows, so that the order of arms stays the configuration's
    moved = found.loc[places].set_index(old.index[ours])
    return pd.concat([old[~ours], moved.astype(old.dtypes)]).sort_index()


def joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a summary, with the run that measured some estimators anew.

    Raises
    ------
    ResultsError
        If the configurations differ in more than the number of estimators.
    """
    ours, theirs = (dict(manifest["configuration"]) for manifest in (old, new))
    arms = theirs.pop("estimators")
    kept = ours.pop("estimators")
    differ = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    differ += [label for label, table in arms.items() if kept.get(label) != table]
    if differ:
        raise ResultsError(f"configurations differ in {', '.join(differ)}; leave out arms alone")
    runs = [{**run, "estimators": list(arms)} for run in new["runs"]]
    return {**old, "runs": [*old["runs"], *runs]}


def main(
    summary: Annotated[Path, typer.Argument(help="Summary that is to be brought up to date.")],
    new: Annotated[Path, typer.Argument(help="Summary of some of its estimators, measured anew.")],
) -> None:
    """Replace the rows of some estimators in a summary."""
    with one_line_errors():
        manifest = joined(*(read_manifest(x / "manifest.json") for x in (summary, new)))
        tables = {}
        for path in sorted(summary.glob("*.parquet")):
            table = pd.read_parquet(path)
            if "estimator" in table and (new / path.name).exists():
                table = replaced(table, pd.read_parquet(new / path.name))
            tables[path.stem] = table
        # numbers of both are rounded already, to 24 bits at most
        write_summary(tables, manifest, summary)


if __name__ == "__main__":
    typer.run(main)
