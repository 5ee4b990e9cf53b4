"""What both language-model studies share: results read and checked, and a small copy to commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.core import write
from analysis.core.read import ResultsError, located, read_manifest, read_table


def tables(
    folder: Path, columns: Mapping[str, list[str]], cure: str, optional: Sequence[str] = ()
) -> dict[str, Any]:
    """Read a study's tables, by name the columns they must have, and its manifest.

    Raises
    ------
    ResultsError
        One line that names the folder or file, the problem and the cure.
    """
    folder = located(folder)
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
    content = {field.name: getattr(study, field.name) for field in fields(study)}
    tables = {x: write.single(y) for x, y in content.items() if isinstance(y, pd.DataFrame)}
    write.write_summary(tables, read_manifest(results / "manifest.json"), folder)
