"""The article's LaTeX as text: its files in order, without comments; arguments of commands."""

from __future__ import annotations

import re
from pathlib import Path

PAPER = Path(__file__).parents[1] / "paper"


def read(name):
    """Return one file of `paper/` without its comments."""
    text = (PAPER / name).read_text(encoding="utf-8")
    return re.sub(r"(?m)(?<!\\)%.*$", "", text)


def files():
    """Return the article's files in the order in which they are read, the preamble's own first."""
    names = re.findall(r"\\input\{((?:sections/|linear)[^}]*)\}", read("paper.tex"))
    return ["paper.tex", *(f"{name}.tex" for name in names)]


def source():
    """Return the whole article as one text."""
    return "\n".join(map(read, files()))


def arguments(command, text):
    """Return the arguments of a command, those of one call apart at commas."""
    found = re.findall(rf"\\{command}(?:\[[^]]*\])*\{{([^}}]*)\}}", text)
    return [part.strip() for argument in found for part in argument.split(",")]


def filled(text, numbers):
    """Return a text with every number in its place."""
    return re.sub(r"\\val\{([^}]*)\}", lambda found: numbers[found[1]], text)
