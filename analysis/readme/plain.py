"""The article's numbers and names, which are LaTeX, as Markdown."""

from __future__ import annotations

import re

#: LaTeX as the article's numbers, names and cells have it, and the sign that it stands for
SIGNS = (
    (r"\\num\{(\d+)\}", lambda whole: f"{int(whole[1]):,}"),
    (r"\\(?:num|ensuremath)\{([^{}]*)\}", r"\1"),
    (r"\\textbf\{([^{}]*)\}", r"**\1**"),
    (r"\s*\\pm\s*", "\u00a0±\u00a0"),
    (r"\s*\\ge\s*", " ≥ "),
    (r"\\infty\s*", "∞"),
    (r"\\nabla\s*", "∇"),
    (r"_\{(\w+)\}", r"_\1"),
    (r"\^\\dagger", "†"),
    (r"\\,\\%", "\u00a0%"),
    (r"\$", ""),
    (r"--", "–"),
    (r"(?<![\w–])-(?=[\d.])", "−"),
)


def plain(text: str) -> str:
    r"""Return a number, name or cell of the article as Markdown.

    Examples
    --------
    >>> plain(r"\num{-0.349 \pm 0.001}"), plain(r"\num{14532}"), plain(r"\num{58}\,\%")
    ('−0.349\xa0±\xa00.001', '14,532', '58\xa0%')
    >>> plain(r"\textbf{\num{0.03}}"), plain(r"linear TEA, $k\ge 1$"), plain(r"GenPareto($-0.3$)")
    ('**0.03**', 'linear TEA, k ≥ 1', 'GenPareto(−0.3)')
    """
    for pattern, sign in SIGNS:
        text = re.sub(pattern, sign, text)
    if "\\" in text:
        raise ValueError(f"LaTeX is {text!r}; add its command to SIGNS of {__name__}")
    return text.strip()
