"""Put estimators that were measured anew into a committed summary; all its other rows stay.

python -m analysis.remeasured analysis/summaries/league analysis/summaries/league_auto

The second folder is the summary of the same configuration with those estimators alone. A change of
one estimator touches its rows and no others, because draws depend on law, m and block: to measure
twenty arms again would give the same numbers. The manifest lists the new run and its estimators.
In the study on real logs, where splits depend on log, m and number, it is the methods of some of
the logs that are measured anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from analysis.core.read import ResultsError, read_manifest
from analysis.core.write import one_line_errors, write_summary

#: what tells the rows of one estimator apart, as far as a table has it
KEY = (
    "law", "log", "policy", "setting", "reward", "pool", "prompt", "m", "N", "B", "parameter",
    "step",
)  # fmt: skip
#: columns that name what is measured
MEASURED = ("estimator", "method")


def replaced(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return `old` with the rows of the estimators, or methods, that `new` has taken from there.

    Raises
    ------
    ResultsError
        If the rows of these estimators are not the same ones, or columns differ.
    """
    if list(old) != list(new):
        raise ResultsError(f"columns differ: {sorted(set(old) ^ set(new))}; summarise both alike")
    who = next(name for name in MEASURED if name in old)
    labels = new[who].unique()
    key = [who, *(name for name in KEY if name in old)]
    ours = old[who].isin(labels)
    if "log" in old:
        ours &= old["log"].isin(new["log"])
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
    if "estimators" not in ours:
        if differ := list(_beyond(theirs, ours)):
            raise ResultsError(
                f"configurations differ in {', '.join(differ)}; leave out logs alone"
            )
        return {**old, "runs": [*old["runs"], *({**run, "of": theirs} for run in new["runs"])]}
    arms = theirs.pop("estimators")
    kept = ours.pop("estimators")
    differ = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    differ += [label for label, table in arms.items() if kept.get(label) != table]
    if differ:
        raise ResultsError(f"configurations differ in {', '.join(differ)}; leave out arms alone")
    runs = [{**run, "estimators": list(arms)} for run in new["runs"]]
    return {**old, "runs": [*old["runs"], *runs]}


def _beyond(part: dict[str, Any], whole: dict[str, Any]) -> Iterator[str]:
    """Yield the entries of a configuration that are no part of another's: lists may be shorter."""
    for name, entry in part.items():
        other = whole.get(name)
        if isinstance(entry, dict) and isinstance(other, dict):
            yield from (f"{name}.{inner}" for inner in _beyond(entry, other))
        elif not (
            set(entry) <= set(other)
            if isinstance(entry, list) and isinstance(other, list)
            else entry == other
        ):
            yield name


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
            if set(MEASURED) & set(table) and (new / path.name).exists():
                table = replaced(table, pd.read_parquet(new / path.name))
            tables[path.stem] = table
        # numbers of both are rounded already, to 24 bits at most
        write_summary(tables, manifest, summary)


if __name__ == "__main__":
    typer.run(main)
