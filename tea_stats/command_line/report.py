"""One HTML file with all that a command says: self-contained, and nothing in it can run.

Text is escaped, figures are images inside the file, and the page's own policy forbids scripts,
frames and any request.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from tea_stats.command_line import shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: colours of verdicts on paper
COLOURS = {"green": "#1a7f37", "yellow": "#8a6100", "red": "#b3261e", "bright_black": "#666666"}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
p {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0; }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }}
caption {{ text-align: left; font-weight: bold; }}
th, td {{ padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right;
  overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }}
th:first-child, td:first-child {{ text-align: left; }}
img {{ max-width: 100%; height: auto; }}
footer {{ margin-top: 3rem; color: #666; font-size: .85rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
<footer>{footer}</footer>
</body>
</html>
"""


def check(path: Path | None) -> None:
    """Raise ValueError if a report cannot be written there, before anything is computed."""
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--report is {path}; give a name that ends in .html")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--report is {path}, in a folder that does not exist; make it first")


def write(
    path: Path,
    title: str,
    sections: Iterable[tuple[str, Iterable[shared.Part]]],
    figure: Figure | None = None,
    caption: str = "",
) -> None:
    """Write a report.

    Parameters
    ----------
    path : Path
        File to write.
    title : str
        Its heading.
    sections : iterable of (str, parts)
        Heading, or an empty one, and what is below it.
    figure : matplotlib Figure, optional
        Shown after the first section.
    caption : str
        What the figure shows.
    """
    from tea_stats import __version__

    blocks = []
    for place, (heading, parts) in enumerate(sections):
        if heading:
            blocks.append(f"<h2>{escaped(heading)}</h2>")
        blocks += [element(part) for part in parts]
        if place == 0 and figure is not None:
            blocks.append(image(figure, caption))
    page = PAGE.format(
        title=escaped(title),
        body="\n".join(blocks),
        footer=escaped(f"tea_stats {__version__}"),
    )
    path.write_text(page, encoding="utf-8")


def escaped(text: object) -> str:
    r"""Return text for HTML; a lone surrogate, which no file can hold, becomes U+FFFD.

    Examples
    --------
    >>> escaped("<script>'a'&\ud800")
    '&lt;script&gt;&#x27;a&#x27;&amp;�'
    """
    whole = str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    # signs that a browser takes for none: controls other than line breaks and tabs
    shown = "".join(x if x >= " " or x in "\n\t" else "\ufffd" for x in whole)
    return html.escape(shown, quote=True)


def element(part: shared.Part) -> str:
    """Return a part as HTML."""
    if isinstance(part, Table):
        return _table(part)
    return f"<p>{_inline(part)}</p>"


def _inline(cell: Any) -> str:
    if isinstance(cell, Text):
        colour = COLOURS.get(str(cell.style))
        text = escaped(cell.plain)
        if colour:
            return f'<strong style="color:{colour}">{text}</strong>'
        return f"<strong>{text}</strong>" if "bold" in str(cell.style) else text
    return escaped(cell)


def _table(table: Table) -> str:
    head = "".join(f"<th>{_inline(column.header)}</th>" for column in table.columns)
    rows = zip(*(column.cells for column in table.columns), strict=True)
    body = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    caption = f"<caption>{_inline(table.title)}</caption>" if table.title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def image(figure: Figure, caption: str) -> str:
    """Return a figure as an image inside the page."""
    from matplotlib import rc_context

    from tea_stats.command_line.figures import STYLE

    drawn = io.BytesIO()
    with rc_context(STYLE):
        # no date: the same log gives the same file
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(drawn.getvalue()).decode("ascii")
    text = escaped(caption)
    return f'<p><img alt="{text}" src="data:image/svg+xml;base64,{data}"></p>\n<p>{text}</p>'
