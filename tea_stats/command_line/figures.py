"""What the figures of the commands share: as wide as a column of print, and readable so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")
#: inches: a column of a two-column page
WIDTH = 3.5
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "savefig.dpi": 300,
    # labels stay text, and the same figure is the same file
    "svg.fonttype": "path",
    "svg.hashsalt": "tea_stats",
    # a label of a prompt is no formula
    "text.parse_math": False,
}


def check(path: Path | None) -> None:
    """Raise ValueError if a figure cannot be written there, before anything is computed."""
    if path is None:
        return
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--figure is {path}; give a name that ends in {', '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--figure is {path}, in a folder that does not exist; make it first")


def save(figure: Figure, path: Path) -> None:
    """Write a figure."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure.savefig(path)


def budgets(axes: Any, ticks: Any, most: int = 7) -> None:
    """Make the x-axis logarithmic, with these budgets written as integers."""
    axes.set_xscale("log", base=2)
    ticks = np.unique(ticks)
    while len(ticks) > most:
        ticks = ticks[::-2]
    axes.set_xticks(ticks, [f"{N:g}" if N < 1e6 else f"{N:.0e}" for N in ticks])
    axes.set_xticks([], minor=True)
