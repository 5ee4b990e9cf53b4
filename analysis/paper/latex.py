"""Numbers, names and rows of tables as LaTeX; siunitx typesets the numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from analysis.core import style

KEY = re.compile(r"[A-Za-z0-9 /.@,()<=+-]+")


def number(text: str) -> str:
    r"""Turn a number of a report, with or without its standard error, into LaTeX.

    Examples
    --------
    >>> number("−0.349 ± 0.001"), number("0.35"), number("–"), number("∞")
    ('\\num{-0.349 \\pm 0.001}', '\\num{0.35}', '--', '\\ensuremath{\\infty}')
    """
    special = {"–": "--", "∞": r"\ensuremath{\infty}"}
    if text in special:
        return special[text]
    plain = text.replace("−", "-").replace("±", r"\pm")
    return rf"\num{{{plain}}}"


def pm(value: float, se: float, scale: float = 1.0) -> str:
    """Write a number ± its standard error, to the error's first digit."""
    return number(style.plus_minus(value, se, scale))


def fixed(value: float, se: float, digits: int = 2) -> str:
    """Write a number ± its standard error with so many decimals, for columns of a table."""
    return number(f"{style.number(value, digits)} ± {se:.{digits}f}")


def size(value: float) -> str:
    """Write a positive number to about two digits."""
    return number(style.size(value))


def decimal(value: float, digits: int = 2) -> str:
    """Write a number with so many decimals."""
    return number(style.number(value, digits))


def count(value: float) -> str:
    """Write a whole number."""
    return number(f"{round(value)}")


def power_of_ten(value: float) -> str:
    r"""Write a small number with up to two digits and a power of ten.

    Examples
    --------
    >>> power_of_ten(5e-4), power_of_ten(1.2e-3)
    ('\\num{5e-4}', '\\num{1.2e-3}')
    """
    digits, exponent = f"{value:.1e}".split("e")
    return number(f"{float(digits):g}e{int(exponent)}")


def ends(values: Sequence[int]) -> str:
    r"""Write the range of a list of sizes.

    Examples
    --------
    >>> ends([16, 64, 1024])
    '\\num{16} to \\num{1024}'
    """
    return f"{count(min(values))} to {count(max(values))}"


def percent(share: float, digits: int = 0) -> str:
    r"""Write a share as per cent.

    Examples
    --------
    >>> percent(0.583)
    '\\num{58}\\,\\%'
    """
    return decimal(100.0 * share, digits) + r"\,\%"


def span(seconds: float) -> str:
    """Write a run time in seconds, minutes or hours.

    Examples
    --------
    >>> span(34.5), span(488.2), span(7300)
    ('34 s', '8 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


#: what TeX would read as a command, in a label
SPECIAL = {x: rf"\{x}" for x in "{}#$%&_"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def name(label: str) -> str:
    r"""Write the name of a law or an estimator; none of it is a command of TeX.

    Examples
    --------
    >>> name("linear TEA, k ≥ 1"), name("2 % good mode"), name("GenPareto(-0.3)")
    ('linear TEA, $k\\ge 1$', '2\\,\\% good mode', 'GenPareto($-0.3$)')
    >>> name(r"\input{a_b}")
    '\\textbackslash{}input\\{a\\_b\\}'
    """
    text = " ".join("".join(SPECIAL.get(x, x) for x in label).split("\n"))
    text = re.sub(r"k ≥ (\d+)", r"$k\\ge \1$", text)
    text = re.sub(r"(?<=\()-([\d.]+)", r"$-\1$", text)
    text = re.sub(r"@([km])\b", r"@$\1$", text.replace(r" \% ", r"\,\% "))
    return re.sub(r"Student t\b", "Student $t$", text)


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
