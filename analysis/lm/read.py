"""What both language-model studies share: results read and checked, and a small copy to commit."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.core.read import ResultsError, read_manifest, read_table


def tables(
    folder: Path, columns: Mapping[str, list[str]], cure: str, optional: Sequence[str] = ()
) -> dict[str, Any]:
    """Read a study's tables, by name the columns they must have, and its manifest.

    Raises
    ------
    ResultsError
        One line that names the folder or file, the problem and the cure.
    """
    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such folder; {cure}")
    content: dict[str, Any] = {}
    for name, needed in columns.items():
        path = folder / f"{name}.parquet"
        missing = name in optional and not path.exists()
        content[name] = None if missing else read_table(path, needed, cure)
    return content | {"manifest": read_manifest(folder / "manifest.json", cure)}


def write_summary(study: Any, results: Path, folder: Path) -> None:
    """Write a study's tables in single precision, small enough to commit, and its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for field in fields(study):
        table = getattr(study, field.name)
        if isinstance(table, pd.DataFrame):
            small = table.astype(dict.fromkeys(table.select_dtypes("float64"), "float32"))
            small.to_parquet(folder / f"{field.name}.parquet", index=False, compression="zstd")
    shutil.copyfile(results / "manifest.json", folder / "manifest.json")
