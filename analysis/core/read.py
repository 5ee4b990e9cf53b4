"""Read a results folder and check it; everything in `analysis` starts here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulations.core import store

#: rollout groups (prompts) per optimiser step, for "the error of a batch"
BATCH = 64

CELL_NUMBERS = [
    *("exact", "bias", "bias_mcse", "variance", "variance_mcse"),
    *("cosine", "cosine_mcse", "efficiency", "efficiency_mcse", "relative_se"),
]
TABLE_COLUMNS = [
    *("law", "family", "law_family", "law_parameters", "note", "status"),
    *("estimator", "options", "m", "N", "parameter"),
    *("reps", "degenerate", "finite_second_moment", *CELL_NUMBERS),
]
RESPONSE_COLUMNS = [
    *("law", "estimator", "options", "m", "N", "q", "reward"),
    *("response", "response_mcse", "exact"),
]
#: the committed summaries, which come with an installed package too
SUMMARIES = Path(__file__).parents[1] / "summaries"
#: what to do about a folder that cannot be used
CURE = "run `tea-stats grid` again into this folder"


class ResultsError(Exception):
    """A results folder cannot be used; the message names the folder or file and the cure."""


class Absent(Exception):
    """A figure or table needs something that this grid lacks; the message names it."""


@dataclass(frozen=True)
class Results:
    """A checked results folder.

    Attributes
    ----------
    folder : Path
        Where it was read from.
    table : DataFrame
        One row per (law, estimator, m, N, parameter), "all" included.
    response : DataFrame or None
        Advantage response curves, if the grid has them.
    manifest : dict
        Configuration and circumstances of the run.
    """

    folder: Path
    table: pd.DataFrame
    response: pd.DataFrame | None
    manifest: dict[str, Any]

    @cached_property
    def laws(self) -> list[str]:
        """Laws in the grid's order."""
        return list(self.table["law"].unique())

    @cached_property
    def families(self) -> dict[str, str]:
        """Family of each law, such as "Normal"."""
        first = self.table.drop_duplicates("law")
        return dict(zip(first["law"], first["law_family"], strict=True))

    @cached_property
    def law_parameters(self) -> dict[str, dict[str, Any]]:
        """Constructor's arguments of each law's family."""
        first = self.table.drop_duplicates("law")
        return {
            x: json.loads(y) for x, y in zip(first["law"], first["law_parameters"], strict=True)
        }

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Registry name and options of each estimator, in the grid's order."""
        first = self.table.drop_duplicates("estimator")
        return {e: json.loads(o) for e, o in zip(first.estimator, first.options, strict=True)}

    @cached_property
    def m(self) -> list[int]:
        """Group sizes, ascending."""
        return sorted(int(m) for m in self.table["m"].unique())

    @cached_property
    def N(self) -> list[int]:
        """Budgets, ascending."""
        return sorted(int(N) for N in self.table["N"].unique())

    @cached_property
    def prompts(self) -> int:
        """Groups in a batch, whose mean ĝ is one observation; 1 where groups are measured."""
        return int(self.manifest.get("configuration", {}).get("prompts", 1))

    @cached_property
    def parts(self) -> dict[str, list[str]]:
        """The configuration's groups of laws by name; without any, all laws as "all laws"."""
        parts = self.manifest.get("configuration", {}).get("parts") or {}
        return {part: list(laws) for part, laws in parts.items()} or {"all laws": self.laws}

    @cached_property
    def middle(self) -> tuple[int, int]:
        """The (m, N) of figures that show one cell: the middle m, and the N nearest to 8 m."""
        m = self.m[(len(self.m) - 1) // 2]
        return m, min(self.N, key=lambda N: abs(np.log(N / (8 * m))))

    @cached_property
    def theory_laws(self) -> list[str]:
        """Laws on which the paper's assumption holds: an exactly Gaussian upper tail."""
        return [law for law in self.laws if self.families[law] in ("Normal", "GaussianTail")]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per (law, estimator, m, N), with `add_errors`'s columns."""
        return add_errors(self.table[self.table["parameter"] == "all"], self.prompts)

    @cached_property
    def single(self) -> pd.DataFrame:
        """The cells of the `middle` (m, N): one row per law and estimator."""
        m, N = self.middle
        return self.cells[(self.cells["m"] == m) & (self.cells["N"] == N)]


def add_errors(rows: pd.DataFrame, prompts: int = 1) -> pd.DataFrame:
    """Add m/N, relative bias and variance, and the normalised error of a batch.

    The error of a batch, `batch_nmse`, is `bias_part` + `noise_part`: (bias² + variance / BATCH)
    over the exact gradient's square, where each row is of the mean of `prompts` groups. Each new
    number has its `_mcse`, to first order.

    A squared sample mean is too large by its own variance on average; that part is taken off,
    down to zero.
    """
    rows = rows.copy()
    noise = rows["variance"] / rows["reps"].where(rows["reps"] > 0)
    square = (rows["bias"] ** 2 - noise).clip(lower=0.0)
    square_mcse = np.sqrt(4.0 * square * rows["bias_mcse"] ** 2 + 2.0 * noise**2)
    scale = rows["exact"].abs().where(rows["exact"] != 0.0)
    rows["bias_size"] = np.sqrt(square)
    rows["relative_bias"] = rows["bias_size"] / scale
    rows["relative_bias_mcse"] = rows["bias_mcse"] / scale
    rows["relative_variance"] = rows["variance"] / scale**2
    rows["relative_variance_mcse"] = rows["variance_mcse"] / scale**2
    # the logarithm of a bias within 2 standard errors of zero is not known
    rows["flagged"] = ~(rows["bias_size"] >= 2.0 * rows["bias_mcse"])
    rows["bias_part"], rows["bias_part_mcse"] = square / scale**2, square_mcse / scale**2
    rows["noise_part"] = rows["relative_variance"] * prompts / BATCH
    rows["noise_part_mcse"] = rows["relative_variance_mcse"] * prompts / BATCH
    rows["batch_nmse"] = rows["bias_part"] + rows["noise_part"]
    rows["batch_nmse_mcse"] = np.hypot(rows["bias_part_mcse"], rows["noise_part_mcse"])
    rows["ratio"] = rows["m"] / rows["N"]
    return rows


def located(folder: Path | str) -> Path:
    """Return a results folder: the one named, else the committed summary of that name.

    Examples
    --------
    >>> located("league") == SUMMARIES / "league"
    True
    """
    folder = Path(folder)
    ours = SUMMARIES / folder.name
    named = folder.parent in (Path(), Path("analysis/summaries"))
    return ours if named and not folder.exists() and ours.is_dir() else folder


def load(folder: Path | str) -> Results:
    """Read and check a results folder.

    Raises
    ------
    ResultsError
        One line that names the folder or file, what is wrong, and the cure.
    """
    folder = located(folder)
    if not folder.is_dir():
        raise ResultsError(
            f"{folder}: no such folder; make it with `tea-stats grid quick --out {folder}`"
        )
    if (folder / "jobs").is_dir() and not (folder / "table.parquet").exists():
        raise ResultsError(
            f"{folder}: its study is not finished, or has no tables yet; run its command again to "
            "the end (of a recipe, `tea-stats recipe tables` after some runs)"
        )
    table = read_table(folder / "table.parquet", TABLE_COLUMNS)
    if not (table["parameter"] == "all").any():
        raise ResultsError(f"{folder / 'table.parquet'}: no row of a whole cell; {CURE}")
    response_file = folder / "response.parquet"
    response = read_table(response_file, RESPONSE_COLUMNS) if response_file.exists() else None
    return Results(folder, table, response, read_manifest(folder / "manifest.json"))


def read_table(path: Path, columns: list[str], cure: str = CURE) -> pd.DataFrame:
    """Read a Parquet file that has these columns; single precision becomes double."""
    if not path.is_file():
        raise ResultsError(f"{path}: missing; {cure}")
    try:
        frame = store.read(path)
    except store.Damaged as problem:
        raise ResultsError(f"{path}: not readable ({problem}); delete it and {cure}") from None
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise ResultsError(f"{path}: no column {', '.join(absent)}; {cure}")
    return frame.astype(dict.fromkeys(frame.select_dtypes("float32"), "float64"))


def read_manifest(path: Path, cure: str = CURE) -> dict[str, Any]:
    """Read the JSON object that says how the tables beside it were made."""
    if not path.is_file():
        raise ResultsError(f"{path}: missing; {cure}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ResultsError(f"{path}: not JSON ({problem}); {cure}") from None
    if not isinstance(manifest, dict):
        raise ResultsError(f"{path}: not a JSON object; {cure}")
    runs = manifest.get("runs", [])
    if not isinstance(manifest.get("configuration", {}), dict):
        raise ResultsError(f"{path}: its configuration is not a JSON object; {cure}")
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise ResultsError(f"{path}: its runs are not JSON objects; {cure}")
    return manifest
