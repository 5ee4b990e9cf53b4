"""What `--json` prints, as JSON Schema (draft 2020-12): a file for each kind of output.

The first field, "schema", has the kind and its version, such as "tea-stats/compare/1". Within a
version fields may be added; one that goes, or changes its name or meaning, makes a new version.
Numbers that are unknown or infinite are null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any

from tea_stats._validation import as_choice

#: the version of each kind
SCHEMAS: Mapping[str, int] = MappingProxyType(
    {
        "predict": 1,
        "steps": 1,
        "diagnose": 1,
        "compare": 1,
        "plan": 1,
        "replications": 1,
        "simulate": 1,
    }
)


def identifier(kind: str) -> str:
    """Return the value of the field "schema".

    Examples
    --------
    >>> identifier("compare")
    'tea-stats/compare/1'
    """
    return f"tea-stats/{kind}/{SCHEMAS[kind]}"


def schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind of output.

    Parameters
    ----------
    kind : str
        Key of `SCHEMAS`.

    Returns
    -------
    dict
        With a "description" of each field.
    """
    as_choice("kind", kind, tuple(SCHEMAS))
    text = resources.files(__name__).joinpath(f"{kind}.json").read_text(encoding="utf-8")
    whole: dict[str, Any] = json.loads(text)
    return whole
