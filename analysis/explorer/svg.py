"""The figures' marks in a browser: markers as SVG paths, colours on a dark page."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline
from numpy.typing import ArrayLike

#: shares of red, green and blue in the luminance of sRGB (WCAG 2.2)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
#: the paper of the page in the dark, and the contrast that a mark needs on it (WCAG 2.2, 1.4.11)
NIGHT_PAPER, CONTRAST = "#15181d", 3.5


def night(colour: str) -> str:
    """Lighten a colour just enough to be visible on the dark page; black becomes white.

    Examples
    --------
    >>> night("#E69F00"), night("#0B3C5D"), night("#000000")
    ('#e69f00', '#4f738a', '#ffffff')
    """
    ink, least = np.array(to_rgb(colour)), CONTRAST * (_luminance(to_rgb(NIGHT_PAPER)) + 0.05)
    if np.ptp(ink) == 0.0 and _luminance(ink) + 0.05 < least:
        ink = 1.0 - ink
    shades = ((1.0 - white) * ink + white for white in np.linspace(0.0, 1.0, 201))
    return to_hex(next(shade for shade in shades if _luminance(shade) + 0.05 >= least))


def _luminance(colour: ArrayLike) -> float:
    c = np.asarray(colour)
    return float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ LUMINANCE)


def outline(marker: str) -> str:
    """Return a matplotlib marker as the path of an SVG, ten units wide.

    Examples
    --------
    >>> outline("s")
    'M-5 5L5 5L5 -5L-5 -5Z'
    """
    style = MarkerStyle(marker)
    path = style.get_path().transformed(style.get_transform())
    letters = {
        Outline.MOVETO: "M",
        Outline.LINETO: "L",
        Outline.CURVE3: "Q",
        Outline.CURVE4: "C",
        Outline.CLOSEPOLY: "Z",
    }
    steps = []
    for vertices, code in path.iter_segments(simplify=False):
        # y runs downwards in an SVG
        flipped = (vertices.reshape(-1, 2) * (10.0, -10.0)).round(2) + 0.0
        text = " ".join(f"{x:g}" for x in flipped.ravel())
        steps.append(letters[code] + (text if code != Outline.CLOSEPOLY else ""))
    return "".join(steps)
