"""Laws and options as text on the command line: names from a table, arguments as literals.

parse_law("GenPareto(-.25)"), parse_law("Affine(Beta(5, 3))"), parse_options(["alpha=.5"])
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from tea_stats.families import FAMILIES, Affine, Discrete, Law, Recorded

KNOWN: Mapping[str, type[Law]] = {**FAMILIES, "Affine": Affine, "Recorded": Recorded}


def parse_law(text: str) -> Law:
    """Return the law that a text names; nothing in it is evaluated but literals.

    Parameters
    ----------
    text : str
        A family of `tea_stats`, with arguments if any: `Normal`, `"Beta(2, 5)"`. `Discrete` takes
        `probabilities` in place of `logits`; an argument may be a law.

    Raises
    ------
    ValueError
        If the text does not read like this, no such family exists, or it refuses its arguments.

    Examples
    --------
    >>> parse_law("GenPareto(-.25)")
    GenPareto(shape=-0.25, scale=1.0)
    >>> parse_law("Discrete([0, 1], probabilities=[.9, .1])").values.tolist()
    [0.0, 1.0]
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(
            f"law {text!r} cannot be read; give a name with arguments, such as Normal or "
            "'GenPareto(-.25)'"
        ) from None
    return _law(node, text)


def _law(node: ast.expr, text: str) -> Law:
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name) or call.func.id not in KNOWN:
        raise ValueError(
            f"law {text!r} names no law; give one of {', '.join(KNOWN)}, with arguments "
            "as in 'Beta(2, 5)'"
        )
    family = KNOWN[call.func.id]
    arguments = [_argument(entry, text) for entry in call.args]
    named = {entry.arg: _argument(entry.value, text) for entry in call.keywords if entry.arg}
    if len(named) < len(call.keywords):
        raise ValueError(f"law {text!r} contains **; name each argument")
    build: Any = family
    if family is Discrete and "probabilities" in named:
        build = Discrete.from_probabilities
    try:
        inspect.signature(build).bind(*arguments, **named)
        law: Law = build(*arguments, **named)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"law {text!r}: {error}; {call.func.id} takes {_signature(family)}"
        ) from None
    return law


def _argument(node: ast.expr, text: str) -> Any:
    """Return a literal, or a law."""
    if isinstance(node, ast.Call):
        return _law(node, text)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise ValueError(
            f"law {text!r} has the argument {ast.unparse(node)}; give numbers, lists of numbers, "
            "or another law"
        ) from None


def _signature(family: type[Law]) -> str:
    parameters = inspect.signature(family).parameters.values()
    listed = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    return f"({', '.join(listed)})"


def parse_options(entries: Iterable[str]) -> dict[str, Any]:
    """Return options given as NAME=VALUE; a value that is no literal is text.

    Examples
    --------
    >>> parse_options(["alpha=.5", "design=gumbel"])
    {'alpha': 0.5, 'design': 'gumbel'}
    """
    options: dict[str, Any] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not (equals and name.isidentifier()):
            raise ValueError(f"option {entry!r} is not NAME=VALUE; give for instance alpha=0.5")
        if name in options:
            raise ValueError(f"option {name!r} is given twice; give it once")
        try:
            options[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            options[name] = value
    return options
