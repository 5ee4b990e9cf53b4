"""How every figure looks: one colour and one marker per estimator, fonts, sizes, titles.

from analysis.core import style
looks = style.looks({"TEA .25": {"name": "tea", "alpha": 0.25}})
axes.plot(x, y, **looks["TEA .25"].line)
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tea_stats.estimators import ESTIMATORS, Mark, lookup

#: widths in inches: one column and two columns of a journal page
COLUMN, PAGE = 3.5, 7.0
#: 95 % interval of a Monte Carlo mean
Z = 1.96

RC = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.labelspacing": 0.35,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "tea_stats",
}

GREY, INK = "#8a8a8a", "#222222"


class Look(Mark):
    """Colour and marker of an estimator; `main` ones are drawn where not all can be."""

    @property
    def line(self) -> dict[str, Any]:
        """Keywords for `Axes.plot` and `Axes.errorbar`."""
        return {"color": self.colour, "marker": self.marker, "markeredgewidth": 0.5}


#: looks of the estimators' records, in the order of their table. Hues (Okabe and Ito; Tol) go by
#: kind of method: blue TEA, orange Prefix-TEA, crimson linear and dark red adaptive TEA, green
#: max@k, black and grey mean reward.
KNOWN = tuple(Look(*mark) for record in ESTIMATORS.values() for _, mark in record.marks)
#: for variants without a mark of their own, in the order in which they come
SPARE = tuple(
    Look(colour, marker)
    for marker, colours in {
        "o": ("#44AA99", "#A6761D", "#B2182B", "#5E4FA2", "#1B7837", "#4D4D4D"),
        "s": ("#2AA1A1", "#8C6D1F", "#D6604D", "#8073AC", "#5AAE61", "#35618F"),
        "D": ("#80CDC1", "#BF812D", "#F4A582", "#B2ABD2", "#A6DBA0", "#92C5DE"),
    }.items()
    for colour in colours
)


def looks(
    options: Mapping[str, Mapping[str, Any]], labels: Iterable[str] | None = None
) -> dict[str, Look]:
    """Return the looks of estimators `{label: {"name": …, **options}}`: of all, or of some labels.

    An estimator keeps its record's mark whatever else is drawn; of two with the same mark, the
    first has it and the other takes a spare one.
    """
    given: dict[str, Look] = {}
    spare = iter(SPARE * (1 + len(options) // len(SPARE)))
    for label, settings in options.items():
        look = _of_record(**settings)
        given[label] = next(spare) if look is None or look in given.values() else look
    return given if labels is None else {label: given[label] for label in labels}


def _of_record(name: str, **options: Any) -> Look | None:
    try:
        mark = lookup(name, options).mark
    except (TypeError, ValueError):  # results may be older than the table of estimators
        return None
    return mark and Look(*mark)


def ordered(options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the labels in the order of the estimators' table, those without a mark last."""
    places = {look: place for place, look in enumerate(KNOWN)}
    given = looks(options)
    return sorted(given, key=lambda label: places.get(given[label], len(places)))


def chosen(options: Mapping[str, Mapping[str, Any]], limit: int = 8) -> list[str]:
    """Return at most `limit` labels, in the table's order; main ones have priority."""
    given, labels = looks(options), ordered(options)
    first = sorted(labels, key=lambda label: not given[label].main)[:limit]
    return [label for label in labels if label in first]


def title(figure: Figure, text: str) -> None:
    """Set the figure's headline, left-aligned and wrapped to its width."""
    # one column has no room for 9 pt; a bold character is about 0.0088 in wide per point
    size = 9.0 if figure.get_figwidth() > COLUMN else 8.5
    # "m = 64", "34 %", "TEA .25" and "RLOO (3)" stay on one line
    text = re.sub(r" (?=\(\d|[.\d=%±<≤≥−])|(?<=[=±<≤≥]) ", "\N{NO-BREAK SPACE}", text)
    width = int(figure.get_figwidth() / (0.0088 * size))
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", linespacing=1.25, fontsize=size)


def legend(
    figure: Figure, given: Mapping[str, Look], labels: Iterable[str], *extra: Line2D | Patch
) -> None:
    """Put one legend of estimators (and `extra` handles) under the panels."""
    handles: list[Line2D | Patch] = [Line2D([], [], label=x, **given[x].line) for x in labels]
    handles += extra
    columns = max(1, int(figure.get_figwidth() / 0.9))
    placed = None
    # as many columns as fit the width
    while placed is None or (columns and _width(placed) > 0.95 * figure.get_figwidth()):
        if placed is not None:
            placed.remove()
        rows = -(-len(handles) // columns)
        columns = -(-len(handles) // rows)
        placed = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            columnspacing=1.0,
            handletextpad=0.5,
            borderpad=0.1,
            fontsize=7.5 if figure.get_figwidth() > COLUMN else 7.0,
        )
        columns -= 1


def _width(legend: Legend) -> float:
    return legend.get_window_extent().width / legend.figure.dpi


def every_other(values: Sequence[object]) -> list[str]:
    """Return every other value as text, the last one included, and "" between.

    Examples
    --------
    >>> every_other([16, 64, 256, 1024])
    ['', '64', '', '1024']
    """
    return [str(x) if (len(values) - place) % 2 else "" for place, x in enumerate(values)]


def grid_ticks(axes: Axes, values: Sequence[float], labels: Sequence[str] | None = None) -> None:
    """Make the x-axis logarithmic with ticks at the values of the grid, written as integers."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, labels or [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)


def number(value: float, digits: int = 2) -> str:
    """Write a number with a true minus sign, and none before a zero.

    Examples
    --------
    >>> number(-1.234), number(-0.001)
    ('−1.23', '0.00')
    """
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def size(value: float) -> str:
    """Write a positive number with about two significant digits.

    Examples
    --------
    >>> size(1.166), size(44.21), size(1037.9), size(np.inf)
    ('1.17', '44', '1038', '∞')
    """
    if not np.isfinite(value):
        return "∞"
    return f"{value:.{2 if value < 10.0 else 0}f}"


def plus_minus(value: float, mcse: float, scale: float = 1.0) -> str:
    """Write `scale` times a number and its standard error, to the error's first digit.

    Examples
    --------
    >>> plus_minus(-0.34912, 0.0012), plus_minus(0.34912, 0.0098, 100.0)
    ('−0.349 ± 0.001', '34.9 ± 1.0')
    """
    if not np.isfinite(value):
        return "–"
    if not mcse > 0.0:
        return number(scale * value, 3)
    # four decimals at most: a smaller error is shown as 0.0001
    error = max(scale * mcse, 1e-4)
    digits = max(0, int(-np.floor(np.log10(error))))
    return f"{number(scale * value, digits)} ± {error:.{digits}f}"


def size_and_error(value: float, mcse: float) -> str:
    """Write a positive number and its standard error, if that is positive and finite.

    Examples
    --------
    >>> size_and_error(2.294, 0.15), size_and_error(1001.6, 11.2), size_and_error(0.174, 0.0)
    ('2.29 ± 0.15', '1002 ± 11', '0.17')
    """
    return size(value) + (f" ± {size(mcse)}" if 0.0 < mcse < np.inf else "")
