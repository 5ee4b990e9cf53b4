"""A small copy of a results folder, from which every figure can be drawn again.

python -m analysis.summary results/paper analysis/summaries/paper
python -m analysis.figures analysis/summaries/paper --out figures/paper

It keeps the columns that `analysis` reads, to 24 significant bits; the rows of whole cells, and
those of single parameters on the laws that the theory speaks of; and the response curves that are
drawn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray

from analysis.core.read import RESPONSE_COLUMNS, TABLE_COLUMNS, Results
from analysis.core.write import Folder, opened
from analysis.grid import responses

#: bits of a double beyond single precision
SPARE = 29


def summarise(results: Results, out: Path) -> dict[Path, int]:
    """Write the small copy into `out`; return each file's size in bytes."""
    out.mkdir(parents=True, exist_ok=True)
    table = results.table
    kept = (table["parameter"] == "all") | table["law"].isin(results.theory_laws)
    files = {"table.parquet": table.loc[kept, TABLE_COLUMNS]}
    if results.response is not None:
        files["response.parquet"] = responses.drawn(results)[RESPONSE_COLUMNS]
    for name, frame in files.items():
        _write(frame, out / name)
    manifest = {**results.manifest, "summary": {name: len(f) for name, f in files.items()}}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return {out / name: (out / name).stat().st_size for name in [*files, "manifest.json"]}


def _write(frame: pd.DataFrame, path: Path) -> None:
    numbers = list(frame.select_dtypes("float64"))
    frame = frame.assign(**{name: rounded(frame[name].to_numpy()) for name in numbers})
    pq.write_table(
        pa.Table.from_pandas(frame, preserve_index=False),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=[name for name in frame if name not in numbers],
        # bytes of like rank stand beside each other, so that the empty ones take no room
        use_byte_stream_split=numbers,
    )


def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round doubles to the significant bits of single precision, which lacks their range.

    Examples
    --------
    >>> rounded(np.array([0.1, 1e-200])).tolist()
    [0.10000000149011612, 1.0000000260167473e-200]
    """
    half, mask = 1 << (SPARE - 1), -(1 << SPARE)
    bits = np.ascontiguousarray(values).view(np.int64)
    return np.where(np.isfinite(values), ((bits + half) & mask).view(np.float64), values)


def main(
    folder: Folder, out: Annotated[Path, typer.Argument(help="Folder for the small copy.")]
) -> None:
    """Write a small copy of a results folder."""
    if out.resolve() == folder.resolve():
        typer.echo(f"error: {out} is the results folder itself; give another one", err=True)
        raise typer.Exit(1)
    for path, size in summarise(opened(folder), out).items():
        typer.echo(f"{path}: {size / 1e3:.0f} kB")
