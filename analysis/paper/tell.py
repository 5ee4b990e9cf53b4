"""All numbers of the article, as macros and as rows of tables."""

from __future__ import annotations

from pathlib import Path

from analysis.paper import bandit, exact, grid, league, lm_exact, lm_long, lm_pool, theory
from analysis.paper.latex import write_numbers
from analysis.paper.studies import Studies

#: each has `numbers(studies)` and `rows(studies)`
PARTS = (exact, grid, theory, league, bandit, lm_pool, lm_exact, lm_long)


def numbers(studies: Studies) -> dict[str, str]:
    """Return every number of the article by key."""
    values: dict[str, str] = {}
    for part in PARTS:
        own = part.numbers(studies)
        twice = set(values) & set(own)
        if twice:
            raise ValueError(f"keys {sorted(twice)} come from two modules; rename one")
        values |= own
    return values


def tables(studies: Studies) -> dict[str, list[str]]:
    """Return the rows of every table by name."""
    return {name: lines for part in PARTS for name, lines in part.rows(studies).items()}


def write(studies: Studies, out: Path) -> list[Path]:
    """Write numbers.tex and one file of rows per table; return the files."""
    out.mkdir(parents=True, exist_ok=True)
    write_numbers(numbers(studies), out / "numbers.tex")
    written = [out / "numbers.tex"]
    for name, lines in tables(studies).items():
        written.append(out / f"{name}.tex")
        written[-1].write_text("\n".join([*lines, ""]), encoding="utf-8")
    return written
