"""Write a page for each estimator and each law, from their tables and docstrings.

A new line in `tea_stats.ESTIMATORS` or `tea_stats.FAMILIES` makes a new page; its content is in the
record, the docstring and the templates of `docs/templates/registry`. The methods of
`tea_stats.prediction.METHODS` share a page.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tea_stats import ESTIMATORS, FAMILIES, RECOMMENDED, Affine, Law, Recorded
from tea_stats.prediction import METHODS

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1] / "templates" / "registry"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
#: two make laws out of other laws, and are not in the table
LAWS: dict[str, type[Law]] = {**FAMILIES, "Affine": Affine, "Recorded": Recorded}


def pages() -> dict[str, str]:
    """Return every page by its place in the folder."""
    estimators = [("name", "(1/m) Σ A S is unbiased for", "source")]
    for name, e in ESTIMATORS.items():
        estimators.append((f":doc:`{name} <{name}>`", e.unbiased_for, e.reference))
    laws = [("name", "law")]
    laws += [(f":doc:`{name} <{name}>`", summary(law)) for name, law in LAWS.items()]
    texts = {
        "estimators/index.rst": render("estimators", rows=estimators, names=ESTIMATORS),
        "laws/index.rst": render("laws", rows=laws, names=LAWS),
        "methods/index.rst": render("methods", methods=METHODS),
    }
    for name, e in ESTIMATORS.items():
        texts[f"estimators/{name}.rst"] = render("estimator", e=e, recommended=RECOMMENDED)
    return texts | {f"laws/{name}.rst": render("law", name=name) for name in LAWS}


def render(template: str, **values: object) -> str:
    """Fill in a template."""
    return TEMPLATES.get_template(f"{template}.rst").render(values)


def summary(documented: object) -> str:
    """Return the first paragraph of a docstring, as one line."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())


def write(folder: Path) -> list[Path]:
    """Write `estimators/`, `laws/` and `methods/` into a folder; return the files."""
    texts = {folder / place: text for place, text in pages().items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Sphinx reads again what has changed: a page that is the same stays as it is
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for stale in {*folder.glob("estimators/*"), *folder.glob("laws/*")} - set(texts):
        stale.unlink()
    return list(texts)
