"""Numbers and names as LaTeX: what the reports print, with its signs made TeX's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from analysis.core import style
from analysis.grid.report import plus_minus

#: signs of the reports, as LaTeX mathematics
SIGNS = {
    "−": "-",
    "±": r"\pm ",
    "≥": r"\ge ",
    "≤": r"\le ",
    "∞": r"\infty ",
}
KEY = re.compile(r"[A-Za-z0-9 /.@,()<=+-]+")


def number(text: str) -> str:
    r"""Turn a report's number into LaTeX that works in text and in mathematics.

    Examples
    --------
    >>> number("−0.349 ± 0.001")
    '\\ensuremath{-0.349\\pm 0.001}'
    >>> number("0.35"), number("–"), number("∞")
    ('0.35', '--', '\\ensuremath{\\infty }')
    """
    if text == "–":
        return "--"
    found = text
    for sign, command in SIGNS.items():
        found = found.replace(f" {sign} ", command).replace(sign, command)
    return text if found == text else rf"\ensuremath{{{found}}}"


def pm(value: float, se: float, scale: float = 1.0) -> str:
    """Write a number ± its standard error, to the error's first digit."""
    return number(plus_minus(value, se, scale))


def fixed(value: float, se: float, digits: int = 2) -> str:
    """Write a number ± its standard error with so many decimals, for columns of a table."""
    return number(f"{style.number(value, digits)} ± {se:.{digits}f}")


def size(value: float) -> str:
    r"""Write a positive number to about two digits, as the league does.

    Examples
    --------
    >>> size(1.166), size(44.21), size(28942.0)
    ('1.17', '44', '28\\,942')
    """
    return count(value) if 1000.0 <= value < float("inf") else number(style.size(value))


def decimal(value: float, digits: int = 2) -> str:
    """Write a number with so many decimals and a true minus sign."""
    return number(style.number(value, digits))


def count(value: float) -> str:
    r"""Write a whole number, its thousands apart.

    Examples
    --------
    >>> count(250), count(14532)
    ('250', '14\\,532')
    """
    return f"{round(value):,}".replace(",", r"\,")


def ends(values: Sequence[int]) -> str:
    r"""Write the range of a list of sizes.

    Examples
    --------
    >>> ends([16, 64, 1024])
    '16 to 1\\,024'
    """
    return f"{count(min(values))} to {count(max(values))}"


def percent(share: float, digits: int = 0) -> str:
    r"""Write a share as per cent.

    Examples
    --------
    >>> percent(0.583)
    '58\\,\\%'
    """
    return decimal(100.0 * share, digits) + r"\,\%"


def span(seconds: float) -> str:
    """Write a run time in the unit that a reader thinks in.

    Examples
    --------
    >>> span(34.5), span(488.2), span(7300)
    ('34 s', '8 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def name(label: str) -> str:
    r"""Write the name of a law or an estimator.

    Examples
    --------
    >>> name("linear TEA, k ≥ 1"), name("2 % good mode"), name("GenPareto(-0.3)")
    ('linear TEA, $k\\ge 1$', '2\\,\\% good mode', 'GenPareto($-0.3$)')
    """
    found = re.sub(r"k ≥ (\d+)", r"$k\\ge \1$", label)
    found = re.sub(r"(?<=\()-([\d.]+)", r"$-\1$", found)
    found = found.replace(" % ", r"\,\% ").replace("max@m", "max@$m$")
    return re.sub(r"Student t\b", "Student $t$", found)


def row(cells: Iterable[str]) -> str:
    """Write a row of a table."""
    return " & ".join(cells) + r" \\"


def write_numbers(numbers: Mapping[str, str], path: Path) -> None:
    r"""Write the macro file: one `\newvalue{key}{LaTeX}` a line, in the order of the keys.

    Raises
    ------
    ValueError
        For a key that TeX could not look up, or a number that is not finite.
    """
    for key, text in numbers.items():
        if not KEY.fullmatch(key):
            raise ValueError(f"key is {key!r}; use letters, digits, blanks and /.@,()<=+-")
        if not text or "nan" in text.lower():
            raise ValueError(f"{key} is {text!r}; its summary has no such number: run it again")
    lines = [rf"\newvalue{{{key}}}{{{numbers[key]}}}" for key in sorted(numbers)]
    path.write_text("\n".join(["% written by `python -m analysis.paper`", *lines, ""]), "utf-8")
