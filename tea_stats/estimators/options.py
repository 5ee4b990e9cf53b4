"""An estimator's options as text, laws among them, and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tea_stats.estimators import lookup
from tea_stats.estimators.record import Estimator
from tea_stats.families import FAMILIES


def to_text(name: str, options: Mapping[str, Any]) -> str:
    """Return options as JSON, after checking that name and options exist.

    Examples
    --------
    >>> to_text("tea", {"alpha": 0.5})
    '{"alpha": 0.5}'
    """
    lookup(name, options)

    def plain(value: Any) -> Any:
        if type(value) in FAMILIES.values():
            return {"law": type(value).__name__, **dataclasses.asdict(value)}
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(f"{name} has the option {value!r}; give numbers, strings, None or laws")

    return json.dumps(options, default=plain)


@lru_cache(maxsize=512)
def from_text(name: str, options: str) -> Estimator:
    """Return the estimator whose options `to_text` wrote.

    Examples
    --------
    >>> from_text("tea", '{"alpha": 0.5}')
    TEA(alpha=0.5, calibrated=False, ddof=0, extrapolation='expected_maximum')
    """

    def law(fields: dict[str, Any]) -> Any:
        return FAMILIES[fields.pop("law")](**fields) if "law" in fields else fields

    return lookup(name, json.loads(options, object_hook=law))
