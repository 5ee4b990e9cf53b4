"""How Sphinx makes the site: `make docs`, which treats every warning as an error.

`CONTRIBUTING.md` gives the reasons for Sphinx. Nothing is loaded from a network: the theme brings
its own files, and formulas are MathML.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

import registry  # noqa: E402

import tea_stats  # noqa: E402
from analysis.guide import page  # noqa: E402

project = "tea_stats"
author = "the tea_stats authors"
copyright = "the tea_stats authors; Apache-2.0"
version = release = tea_stats.__version__

extensions = ["mathml", "myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
autodoc_mock_imports = ["skyrl", "trl", "verl"]
exclude_patterns = ["_build", "templates"]
html_theme = "furo"
html_title = f"tea_stats {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
# pages work from a file:// address, and nothing but them is published
html_copy_source = False
html_show_sourcelink = False

# names in backticks are code, and links where they name something that is documented here
default_role = "py:obj"
add_module_names = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3


def make_pages(app: Sphinx) -> None:
    """Write the pages that come from tables: of estimators and laws, and the guide."""
    registry.write(HERE / "reference")
    page.write()


def setup(app: Sphinx) -> None:
    """Have the pages made before Sphinx looks for them."""
    app.connect("config-inited", lambda app, config: make_pages(app))
