"""README.md and the pages of docs/findings, each a template filled with numbers."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.batches.page import Page
from analysis.guide.tables import markdown
from analysis.paper import grid, lm_pool, tell, theory
from analysis.paper.studies import Studies
from analysis.readme import checks
from analysis.readme.plain import plain
from tea_stats import ESTIMATORS, FAMILIES

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "docs" / "templates"
WRAP = {"width": 100, "break_on_hyphens": False, "break_long_words": False}


def names() -> dict[str, str]:
    """Return the template of each page, by the page's place in the repository."""
    findings = sorted(path.name for path in (TEMPLATES / "findings").glob("*.md"))
    return {"README.md": "README.md"} | {f"docs/findings/{x}": f"findings/{x}" for x in findings}


def pages(studies: Studies) -> dict[str, str]:
    """Return the text of every page, by the page's place in the repository."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    context = values(studies)
    return {
        name: f"<!-- written by `python -m analysis.readme` from docs/templates/{template} -->\n"
        + wrapped(environment.get_template(template).render(context))
        for name, template in names().items()
    }


def wrapped(text: str) -> str:
    """Return Markdown with lines of at most 100 characters, but for tables, code and figures."""
    parts = re.split(r"(```.*?```|^(?:\||#|!\[|<!--).*?$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if i % 2 else _wrapped(part) for i, part in enumerate(parts))


def _wrapped(prose: str) -> str:
    parts = re.split(r"(\n\s*\n|\n(?=- ))", prose)
    for i, part in enumerate(parts[::2]):
        start, words, end = re.fullmatch(r"(\s*)(.*?)(\s*)", part, re.DOTALL).groups()
        # code in a line, and a relation, are not broken; no-break spaces stay
        words = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\0"), words)
        words = re.sub(r"\b([mNα]) ([=≤≥≪]) ", "\\1\u00a0\\2\u00a0", words)
        words = re.sub(r"[ \n]+", " ", words)
        indent = "  " if words.startswith("- ") else ""
        lines = textwrap.fill(words, subsequent_indent=indent, **WRAP)
        parts[2 * i] = start + lines.replace("\0", " ") + end
    return "".join(parts)


def values(studies: Studies) -> dict[str, object]:
    """Return what the templates may use: the article's numbers `n`, tables, printed output."""
    rows = tell.tables(studies)

    def table(name: str, head: str) -> str:
        """Return a table of the article, its columns named by `head`, as Markdown."""
        lines = [line.removesuffix(r" \\").split(" & ") for line in rows[name] if " & " in line]
        return markdown(head.split(", "), ([plain(x) for x in cells] for cells in lines))

    return {
        "n": {key: plain(text) for key, text in tell.numbers(studies).items()},
        "few": grid.CELL[0],
        "near": lm_pool.N,
        "far": lm_pool.FAR,
        "slopes_N": theory.N,
        "table": table,
        "estimators": estimators(),
        "families": len(FAMILIES),
        "printed": printed,
        "shown": shown,
        "batches": Page(studies.batches),
        "coverage": checks.Coverage(studies.folder),
        "verdicts": checks.Verdicts(studies.folder),
        "plans": checks.Plans(studies.folder),
    }


def estimators() -> str:
    """Return the table of the main estimators: name, what each is unbiased for, source."""
    main = {name: e for name, e in ESTIMATORS.items() if e.mark and e.mark.main}
    lines = [[f"`{name}`", e.unbiased_for, e.reference] for name, e in main.items()]
    table = markdown(["name", "(1/m) Σ A ∇log π is unbiased for", "source"], lines)
    rest = f"These are the main ones of {len(ESTIMATORS)}; `tea-stats estimators` lists all."
    return f"{table}\n\n{rest}"


def shown(case: str, name: str) -> str:
    """Return the error of an estimator that docs/findings/mixed_rewards.md shows for a case.

    The tests run that page, and compare what it prints.
    """
    text = (ROOT / "docs" / "findings" / "mixed_rewards.md").read_text(encoding="utf-8")
    errors = re.findall(rf"^{re.escape(case)}: .*?\b{name} (\S+) ±", text, re.MULTILINE)
    if len(errors) != 1:
        raise ValueError(
            f"case is {case!r} and name {name!r}: {len(errors)} such errors, one needed"
        )
    return errors[0]


@cache
def printed(command: str, paragraphs: int, skip: int = 0) -> str:
    """Return a command and some paragraphs of what it prints, on the tutorial's log."""
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    log = re.search(r"```python\n(.*?)```", tutorial, re.DOTALL)[1]
    _, *arguments = shlex.split(command)
    with TemporaryDirectory() as folder:
        _run(["-c", log], folder)
        text = _run(["-m", "tea_stats", *arguments], folder)
    text = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    kept = text.split("\n\n")[skip : skip + paragraphs]
    return "\n".join([f"$ {command}", *["..."] * bool(skip), "\n\n".join(kept)])


def _run(arguments: Sequence[str], folder: str) -> str:
    environment: Mapping[str, str] = {
        **os.environ,
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"{shlex.join(arguments)} failed: {done.stderr}")
    return done.stdout
