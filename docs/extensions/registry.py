"""Write a page for each estimator and each law, from their tables and docstrings.

A new line in `tea_stats.ESTIMATORS` or `tea_stats.FAMILIES` makes a new page; what the page says is
in the record and the docstring. The methods of `tea_stats.prediction.METHODS` share a page.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

from tea_stats import ESTIMATORS, FAMILIES, RECOMMENDED, Affine, Estimator, Law
from tea_stats.prediction import METHODS

#: `Affine` makes laws out of other laws, and has no line in the table
LAWS: dict[str, type[Law]] = {**FAMILIES, "Affine": Affine}


def write(folder: Path) -> list[Path]:
    """Write `estimators/`, `laws/` and `methods/` into a folder; return the files."""
    pages = {f"estimators/{name}.rst": estimator_page(r) for name, r in ESTIMATORS.items()}
    pages |= {f"laws/{name}.rst": law_page(name) for name in LAWS}
    pages |= {"estimators/index.rst": estimator_index(), "laws/index.rst": law_index()}
    pages |= {"methods/index.rst": method_index()}
    for place, text in pages.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        # Sphinx reads again what has changed: a page that is the same stays as it is
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    written = [folder / place for place in pages]
    for stale in {*folder.glob("estimators/*"), *folder.glob("laws/*")} - set(written):
        stale.unlink()
    return written


def estimator_page(record: Estimator) -> str:
    """Return the page of an estimator: what its record knows, then its docstring."""
    recommended = ["This is the recommended default.", ""] if record.name == RECOMMENDED else []
    return "\n".join(
        [
            *heading(record.name),
            *recommended,
            *table(facts(record), stub=True),
            f".. autofunction:: tea_stats.{record.name}",
            "",
        ]
    )


def facts(record: Estimator) -> list[tuple[str, str]]:
    """Return what an estimator's record says, in words."""
    needs = f"m ≥ {record.min_m}" + (" at the defaults" if record.defaults else "")
    needs += ", rewards 0 or 1" * record.binary
    if record.most_values is not None:
        needs += f", at most {record.most_values} distinct rewards in a batch"
    unit = {0: "none, whatever the unit of the rewards", 1: "that of the rewards"}
    options = ", ".join(f"``{name}={value!r}``" for name, value in record.defaults.items())
    return [
        ("unbiased for", record.unbiased_for),
        ("source", record.reference),
        ("options", options or "none"),
        ("needs", needs),
        ("looks at", "all groups of the batch" if record.pools else "one group at a time"),
        ("depends on N", "yes" if record.uses_N else "no"),
        ("unit of an advantage", unit.get(record.scale_degree, "of its own")),
        ("shifting all rewards", "changes nothing" if record.shift_invariant else "matters"),
    ]


def law_page(name: str) -> str:
    """Return the page of a law: its docstring, and what it has beyond a `Law`."""
    return "\n".join([*heading(name), f".. autoclass:: tea_stats.{name}", "   :members:", ""])


def estimator_index() -> str:
    """Return the page that lists the estimators."""
    rows = [("name", "(1/m) Σ A S is unbiased for", "source")]
    rows += [(f":doc:`{n} <{n}>`", r.unbiased_for, r.reference) for n, r in ESTIMATORS.items()]
    return "\n".join(
        [
            *heading("Estimators"),
            "One signature, ``(rewards[..., m], N, **options) -> advantages[..., m]``; one table,",
            "``tea_stats.ESTIMATORS``; the gradient estimate is always (1/m) Σ A S, with A the",
            "advantages and S the scores ∇ log π(y) of the rollouts.",
            "",
            *table(rows),
            ".. autofunction:: tea_stats.advantages",
            "",
            ".. autoclass:: tea_stats.Estimator",
            "",
            *toctree(ESTIMATORS),
        ]
    )


def law_index() -> str:
    """Return the page that lists the laws."""
    rows = [("name", "what it is")]
    rows += [(f":doc:`{name} <{name}>`", summary(law)) for name, law in LAWS.items()]
    return "\n".join(
        [
            *heading("Laws"),
            "Each is an immutable value: draws, a score function, and tails in full precision,",
            "from which ``best_of_n`` has the exact truth. One table, ``tea_stats.FAMILIES``;",
            "``Affine`` makes location-scale families out of its laws.",
            "",
            *table(rows),
            ".. autoclass:: tea_stats.Law",
            "   :members:",
            "",
            *toctree(LAWS),
        ]
    )


def method_index() -> str:
    """Return the page of the methods that predict best-of-N."""
    sections = []
    for name, record in METHODS.items():
        needs = f"{record.least} or more rollouts of a prompt" + ", 0 or 1" * record.binary
        rows = [
            ("what it is", record.title),
            ("predicts", f"``{record.formula}``"),
            ("exact on", record.unbiased_on),
            ("needs", needs),
            ("source", record.reference),
        ]
        sections += [*heading(name, "-"), *table(rows, stub=True)]
    return "\n".join(
        [
            *heading("Methods of prediction"),
            "One table, ``tea_stats.prediction.METHODS``; :doc:`/reference/prediction` calls them.",
            "",
            *sections,
            *heading("The record of a method", "-"),
            ".. autoclass:: tea_stats.prediction.Method",
            "",
        ]
    )


# --- reStructuredText ---------------------------------------------------------------------------


def summary(documented: object) -> str:
    """Return the first paragraph of a docstring, as one line."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())


def heading(title: str, rule: str = "=") -> list[str]:
    """Return the lines of a title."""
    return [title, rule * len(title), ""]


def table(rows: Sequence[Sequence[str]], *, stub: bool = False) -> list[str]:
    """Return the lines of a table; its first row is its header, or with `stub` its first column."""
    lines = [".. list-table::", "   :stub-columns: 1" if stub else "   :header-rows: 1", ""]
    for first, *others in rows:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return [*lines, ""]


def toctree(names: Iterable[str]) -> list[str]:
    """Return the lines that put pages into the navigation."""
    return [".. toctree::", "   :hidden:", "", *(f"   {name}" for name in names), ""]
