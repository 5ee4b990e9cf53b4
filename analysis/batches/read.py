"""Results of the league of batches, checked, and what its tables and figure are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.core.read import ResultsError, located, read_manifest, read_table

CURE = "run `python -m simulations.batches batches` again"
#: E‖S‖² of the gains that are judged
NOISE = ("2", "100", "10000", "1e+06")
GAINS = [f"gain_{level}" for level in NOISE]
#: figures that are kept, each with its standard error
KEPT = [
    *("error", "bias2", "variance", "signal", "cosine", "efficiency", "response_efficiency"),
    *("error_ratio", *GAINS, *(f"{name}_ratio" for name in GAINS)),
]
PLACE = ["setting", "batch", "group", "part", "estimator", "prompts", "m", "N", "kind"]
#: below this share of ∇V_1, the best of N has nothing left to learn
SATURATED = 0.01
#: a default may have this many times the error of the better reference, and this share of the gain
MOST, LEAST = 1.5, 0.9
#: group of the batches on which a default must not lose much
CLEAN = "one smooth law"
#: short names of parts
PARTS = ("development", "held out")


@dataclass(frozen=True)
class League:
    """A checked results folder.

    Attributes
    ----------
    folder : Path
        Where it was read from.
    table : DataFrame
        A row for each setting, estimator and kind of prompts.
    manifest : dict
        Configuration and circumstances of the run.
    """

    folder: Path
    table: pd.DataFrame
    manifest: Mapping[str, Any]

    @cached_property
    def whole(self) -> pd.DataFrame:
        """The rows of whole batches, every prompt in its own unit; columns that are used."""
        columns = [*PLACE, *KEPT, *(f"{name}_mcse" for name in KEPT)]
        return self.table.loc[self.table["kind"] == "all", columns].reset_index(drop=True)

    @cached_property
    def live(self) -> pd.DataFrame:
        """The same without saturated settings; `…_to_best` are gains over the setting's largest."""
        rows = self.whole[self.whole["signal"] >= SATURATED].copy()
        for name in GAINS:
            best = rows.groupby("setting")[name].transform("max")
            rows[f"{name}_to_best"] = np.where(best > 0.0, rows[name] / best, np.nan)
        return rows

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Estimators: label -> {"name": …, options}."""
        given = self.manifest["configuration"]["estimators"]
        skipped = ("laws", "m", "reps")
        return {x: {k: v for k, v in own.items() if k not in skipped} for x, own in given.items()}

    @property
    def references(self) -> list[str]:
        """Labels of the estimators whose better one the others are compared with."""
        return list(self.manifest["configuration"]["references"])


def load(folder: Path) -> League:
    """Read and check a results folder; ResultsError names the problem and the cure."""
    folder = located(folder)
    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such folder; {CURE}")
    table = read_table(folder / "table.parquet", [*PLACE, *KEPT], CURE)
    return League(folder, table, read_manifest(folder / "manifest.json", CURE))
