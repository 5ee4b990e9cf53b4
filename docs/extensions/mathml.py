"""Formulas as MathML: they are there when the page is, without scripts, fonts or a network.

Docutils, which Sphinx is built on, has the converter; MathJax would be a download at every visit,
or megabytes of scripts that nobody on PyPI keeps up to date. Formulas may use Unicode, so that a
docstring reads well in a terminal too.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

#: signs that docutils has by their TeX names only
NAMES = str.maketrans(
    {
        "−": "-",
        "·": r"\cdot ",
        "×": r"\times ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≠": r"\ne ",
        "≈": r"\approx ",
        "∝": r"\propto ",
        "∈": r"\in ",
        "∞": r"\infty ",
        "∂": r"\partial ",
        "∇": r"\nabla ",
        "∫": r"\int ",
        "Σ": r"\sum ",
        "√": r"\sqrt ",
        "…": r"\ldots ",
        "⌈": r"\lceil ",
        "⌉": r"\rceil ",
        "‖": r"\| ",
    }
)

UPRIGHT = '<mo stretchy="false">%s</mo>'

logger = logging.getLogger(__name__)


def mathml(formula: str, *, block: bool) -> str:
    """Return a formula in TeX, with Unicode letters and signs, as a MathML element."""
    element = str(tex2mathml(formula.translate(NAMES), as_block=block))
    # braces of sets and indicators are as high as a letter, like docutils' other brackets
    return element.replace("<mo>{</mo>", UPRIGHT % "{").replace("<mo>}</mo>", UPRIGHT % "}")


def visit(writer: Any, node: nodes.Element) -> None:
    """Write a formula; one that cannot be converted is a warning, an error in a strict build."""
    block = isinstance(node, nodes.math_block)
    try:
        element = mathml(node.astext(), block=block)
    except (SyntaxError, ValueError) as problem:
        logger.warning("formula %r: %s", node.astext(), problem, location=node)
        element = f"<code>{writer.encode(node.astext())}</code>"
    label = node.get("number") if block else None
    number = f'<span class="eqno">({label})</span>' if label else ""
    writer.body.append(f'<div class="formula">{number}{element}</div>' if block else element)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under the name "mathml"."""
    app.add_html_math_renderer("mathml", (visit, None), (visit, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
