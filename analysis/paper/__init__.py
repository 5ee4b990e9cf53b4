"""From committed summaries to the article: its numbers, its tables' rows, its figures.

`python -m analysis.paper` writes `paper/generated/`; the LaTeX of `paper/` has no other source.
"""
