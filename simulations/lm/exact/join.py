"""Put together what several machines ran of one exact training study.

python -m simulations.lm.exact.join results/lm_exact_1 results/lm_exact_2 --out results/lm_exact

A folder has the tables that `simulations.validate_lm` writes, or their small copy. What two folders
have is taken from the first of them, or where it rests on more seeds or prompts. A training run
follows from the configuration and its seed, but processors differ in the last digits, and a rollout
at the boundary between two tokens may then be another: most runs that folders share must be equal.
Of two arms that no folder has side by side, the interval over seeds comes from the runs' means, and
that over prompts is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from simulations.core import store
from simulations.core.command import one_line_errors, tell
from simulations.lm.exact import prediction, summary
from simulations.lm.exact.schema import EXACT, ExactStudy

#: what tells the rows of a table apart, outermost first
KEYS = {
    "start": ["scenario", "split", "prompt"],
    "gradients": ["scenario", "prompt", "N"],
    "checks": ["scenario"],
    "runs": ["scenario", "rate", "seed", "estimator", "step", "split"],
    "sweep": ["scenario", "rate", "seed", "batch", "estimator", "step", "split"],
    "frontier": ["scenario", "rate", "split", "estimator", "N", "kl"],
    "differences": ["scenario", "rate", "split", "N", "estimator", "against"],
    "quality": ["scenario", "prompt", "scores", "estimator", "m", "N", "groups"],
    "pools": ["reward", "prompt", "kind", "M", "N", "draw", "estimator"],
}
#: tables whose rows are of single prompts or runs, and the share of rows that must be equal where
#: several folders have them
SAME = {"start": 1.0, "gradients": 1.0, "runs": 0.5, "sweep": 0.5}
#: what says how much a row rests on, where that can differ: the larger one is taken
RESTS_ON = {"frontier": "seeds", "differences": "seeds", "quality": "prompts"}
#: small copies are in single precision, and processors differ in the last digits
TOLERANCE = 1e-4

Tables = dict[str, pd.DataFrame]


def read(folder: Path) -> tuple[Tables, dict[str, Any]]:
    """Return the tables of a folder that can be joined, and its manifest.

    Raises
    ------
    ValueError
        If the folder has no manifest, or no table of runs.
    """
    for name in ("manifest.json", "runs.parquet"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: no such file; give folders of an exact study")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    rates = np.array(manifest["configuration"]["training"]["rates"])
    tables = {}
    for name in KEYS:
        if (folder / f"{name}.parquet").is_file():
            table = store.read(folder / f"{name}.parquet")
            if "rate" in table:
                found = np.abs(table["rate"].to_numpy(float)[:, None] - rates).argmin(axis=1)
                table["rate"] = rates[found]
            tables[name] = table
    return tables, manifest


def joined(parts: Sequence[Tables], study: ExactStudy) -> Tables:
    """Return the tables of a study from those of its parts.

    Raises
    ------
    ValueError
        If parts differ in what they share.
    """
    tables = {}
    for name, key in KEYS.items():
        some = [part[name] for part in parts if name in part]
        if some:
            tables[name] = _union(name, some, key)
    arms = [*EXACT, *study.estimators]
    for name in ("runs", "sweep", "frontier"):
        if name in tables:
            tables[name] = _ordered(tables[name], KEYS[name], study, arms)
    tables["differences"] = _differences(tables, study)
    if "quality" in tables:
        tables["prediction"] = prediction.predicted(tables["quality"], tables["runs"], study)
    return tables


def _union(name: str, some: Sequence[pd.DataFrame], key: list[str]) -> pd.DataFrame:
    if name in SAME:
        _check(name, some, key, SAME[name])
    both = pd.concat(some, ignore_index=True)
    if name in RESTS_ON:
        # stable: of equals the first folder's
        both = both.sort_values(RESTS_ON[name], ascending=False, kind="stable")
    return both.drop_duplicates(key).sort_index().reset_index(drop=True)


def _check(name: str, some: Sequence[pd.DataFrame], key: list[str], least: float) -> None:
    for other in some[1:]:
        both = some[0].merge(other, on=key, suffixes=("", "_other"))
        for column in (c for c in both if f"{c}_other" in both):
            ours, theirs = both[column], both[f"{column}_other"]
            if ours.dtype.kind == "f":
                scale = max(1.0, float(ours.abs().max()))
                same = np.isclose(ours, theirs, rtol=0.0, atol=TOLERANCE * scale, equal_nan=True)
            else:
                same = (ours == theirs).to_numpy()
            if len(same) and same.mean() < least:
                where = both.loc[~same, key].iloc[0].to_dict()
                raise ValueError(
                    f"{name} differ in {column}, first at {where}: {ours[~same].iloc[0]} and "
                    f"{theirs[~same].iloc[0]}; join folders of one configuration and code"
                )


def _ordered(
    table: pd.DataFrame, key: list[str], study: ExactStudy, arms: list[str]
) -> pd.DataFrame:
    """Return rows in the order of the configuration."""
    place = {
        "scenario": {label: j for j, label in enumerate(study.scenarios)},
        "estimator": {label: j for j, label in enumerate(arms)},
        "rate": {rate: j for j, rate in enumerate(study.training.rates)},
        "split": {"trained": 0, "held out": 1},
    }
    order = [table[name].map(place[name]) if name in place else table[name] for name in key]
    return table.iloc[np.lexsort(order[::-1])].reset_index(drop=True)


def _differences(tables: Tables, study: ExactStudy) -> pd.DataFrame:
    """Return the known differences, with those that only the runs' means have."""
    key = KEYS["differences"]
    # means over prompts in the place of a single prompt: no interval over prompts
    ours = summary.differences(tables["runs"].assign(prompt="mean"), study)
    known = [tables[name] for name in ("differences",) if name in tables]
    # a folder's own row rests on as many seeds, and knows the prompts
    both = pd.concat([*known, ours], ignore_index=True)
    both = both.sort_values("seeds", ascending=False, kind="stable").drop_duplicates(key)
    return both.set_index(key).loc[pd.MultiIndex.from_frame(ours[key])].reset_index()


def join(folders: Sequence[Path], out: Path) -> Tables:
    """Join folders and write the tables and the manifest of the whole.

    Raises
    ------
    ValueError
        If a folder is none of an exact study, configurations differ, or what both have differs.
    """
    parts = [read(folder) for folder in folders]
    first = parts[0][1]
    for folder, (_, manifest) in zip(folders, parts, strict=True):
        if manifest["hash"] != first["hash"]:
            raise ValueError(
                f"{folder} is of another configuration than {folders[0]} ({manifest['hash']}, "
                f"{first['hash']}); join parts of one study"
            )
    tables = joined(
        [tables for tables, _ in parts], ExactStudy.model_validate(first["configuration"])
    )
    runs = [run for _, manifest in parts for run in manifest["runs"]]
    checks: dict[str, Any] = {}
    for _, manifest in parts:
        checks |= manifest.get("checks", {})
    for name, table in tables.items():
        store.write(table, out / f"{name}.parquet")
    store.write(first | {"runs": runs, "checks": checks}, out / "manifest.json")
    return tables


def main(
    folders: Annotated[list[Path], typer.Argument(help="Results folders, or small copies.")],
    out: Annotated[Path, typer.Option(help="Folder for the whole.")],
) -> None:
    """Put together what several machines ran of one exact training study."""
    with one_line_errors():
        if out.resolve() in [folder.resolve() for folder in folders]:
            raise ValueError(f"out is {out}, one of the folders; give another")
        tables = join(folders, out)
    runs = tables["runs"].groupby(["scenario", "estimator", "rate", "seed"]).ngroups
    tell(f"{out}: {runs} training runs")


if __name__ == "__main__":
    typer.run(main)
