"""The article's numbers and names, which are LaTeX, as Markdown."""

from __future__ import annotations

import re

#: LaTeX as the article's numbers, names and cells have it, and the sign that it stands for
SIGNS = (
    (r"\\(?:ensuremath|num)\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1"),
    (r"\\textbf\{([^{}]*)\}", r"**\1**"),
    (r"\s*\\pm\s*", " ± "),
    (r"\\ge\s*", "≥ "),
    (r"\\infty\s*", "∞"),
    (r"\\cdot10\^\{-(\d+)\}", r"e−\1"),
    (r"\^\\dagger", "†"),
    (r"\\,\\%", " %"),
    (r"(?<=\d)\\,(?=\d)", ","),
    (r"\\[,!]", " "),
    (r"\$", ""),
    (r"--", "–"),
    (r"(?<![\w–])-(?=[\d.])", "−"),
    (r"k≥", "k ≥"),
)


def plain(text: str) -> str:
    r"""Return a number, name or cell of the article as Markdown.

    Examples
    --------
    >>> plain(r"\ensuremath{-0.349\pm 0.001}"), plain(r"14\,532"), plain(r"58\,\%")
    ('−0.349 ± 0.001', '14,532', '58 %')
    >>> plain(r"\textbf{0.03}"), plain(r"linear TEA, $k\ge 1$"), plain(r"GenPareto($-0.3$)")
    ('**0.03**', 'linear TEA, k ≥ 1', 'GenPareto(−0.3)')
    """
    for pattern, sign in SIGNS:
        text = re.sub(pattern, sign, text)
    if "\\" in text:
        raise ValueError(f"LaTeX is {text!r}; add its command to SIGNS of {__name__}")
    return text.strip()
