"""What every study writes the same way: figures, small tables to commit, and text on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from analysis.core import style
from analysis.core.read import Absent, Results, ResultsError, load
from simulations.core.store import Refused, explained, whole

Folder = Annotated[Path, typer.Argument(help="Results folder of simulations.grid.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the PNG and PDF files.")]


# --- commands -----------------------------------------------------------------------------------


@contextmanager
def one_line_errors(*kinds: type[Exception]) -> Iterator[None]:
    """End the program with one line on stderr, and exit status 1, for what the user can correct.

    Results that cannot be used, files that cannot be written, and errors of these kinds.
    """
    try:
        yield
    except (ResultsError, Absent, Refused, *kinds) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from None
    except OSError as problem:
        typer.echo(f"error: {explained(problem)}", err=True)
        raise typer.Exit(1) from None


def opened(folder: Path) -> Results:
    """Load a results folder, or end the program with one line."""
    with one_line_errors():
        return load(folder)


# --- figures ------------------------------------------------------------------------------------


def save(
    figures: Mapping[str, Callable[[], Figure]], out: Path, kinds: Iterable[str] = ("png", "pdf")
) -> list[Path]:
    """Draw each figure and write `<out>/<name>.<kind>`; the same numbers give the same bytes."""
    matplotlib.use("Agg")
    files = []
    with matplotlib.rc_context(style.RC):
        for name, draw in figures.items():
            figure = draw()
            for kind in kinds:
                files.append(out / f"{name}.{kind}")
                metadata = {"CreationDate": None} if kind == "pdf" else {}
                with one_line_errors(), whole(files[-1]) as partial:
                    figure.savefig(partial, format=kind, metadata=metadata)
                # the layout is computed once, so that all files show the same
                figure.set_layout_engine("none")
            plt.close(figure)
    return files


# --- summaries ----------------------------------------------------------------------------------


def write_summary(
    tables: Mapping[str, pd.DataFrame], manifest: Mapping[str, Any], folder: Path, bits: int = 24
) -> None:
    """Write a study's tables, small enough to commit, and its manifest; print their sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{name}.parquet": table for name, table in tables.items()}
    for path, table in files.items():
        write_parquet(table, path, bits)
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    for path in [*files, folder / "manifest.json"]:
        typer.echo(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def single(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its numbers in single precision."""
    return table.astype(dict.fromkeys(table.select_dtypes("float64"), "float32"))


def write_parquet(frame: pd.DataFrame, path: Path, bits: int) -> None:
    """Write a table with its numbers rounded to so many significant bits, which compress well."""
    numbers = list(frame.select_dtypes(["float32", "float64"]))
    frame = frame.assign(**{name: rounded(frame[name].to_numpy(), bits) for name in numbers})
    pq.write_table(
        pa.Table.from_pandas(frame, preserve_index=False),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=[name for name in frame if name not in numbers],
        # bytes of equal significance are stored together, so that the zeros take no room
        use_byte_stream_split=numbers,
    )


def rounded(values: NDArray[np.floating], bits: int) -> NDArray[np.floating]:
    """Round to so many significant bits; the precision, single or double, stays.

    Examples
    --------
    >>> rounded(np.array([0.1, 1e-200]), 24).tolist()
    [0.10000000149011612, 1.0000000260167473e-200]
    >>> rounded(np.array([1.0, 1.23456789, np.inf], dtype=np.float32), 13).tolist()
    [1.0, 1.234619140625, inf]
    """
    integer, full = (np.int32, 24) if values.dtype == np.float32 else (np.int64, 53)
    step = 1 << (full - bits)
    near = (np.ascontiguousarray(values).view(integer) + step // 2) & -step
    return np.where(np.isfinite(values), near.view(values.dtype), values)


# --- text on a terminal -------------------------------------------------------------------------


def text_table(*columns: str) -> Table:
    """Return an empty table; its first column is text, the others are numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="underline")
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left")
    return table


def show(parts: Iterable[Table | str], width: int) -> None:
    """Print tables and lines of text, at least `width` columns wide so that no number is cut."""
    console = Console(markup=False, width=max(width, Console().width))
    for part in parts:
        console.print(part, highlight=False)
