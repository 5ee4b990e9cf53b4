"""An estimator's constants as tensors: made once per setting and device, then kept."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from tea_stats import tails
from tea_stats._validation import as_count
from tea_stats.estimators import lookup
from tea_stats.torch_bridge._twins import ARRANGED, TWINS

#: kernel, its constants, and of the record: needs_order, pools, binary, most_values
Plan = tuple[str, tuple[Any, ...], bool, bool, bool, int | None]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def plan(
    name: str,
    m: int,
    N: int,
    device: torch.device,
    dtype: torch.dtype,
    cacheable: bool,
    **options: Any,
) -> Plan:
    """Return the kernel of an estimator and its constants on the device.

    A compiler evaluates this once and takes the result for constants. Fake tensors and other
    subclasses want constants of their own kind: these are made anew.
    """
    fixed = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    try:
        hash((N, *fixed.values()))
    except TypeError:  # an array, for instance, which `prepare` accepts or refuses
        cacheable = False
    make = cached_plan if cacheable else new_plan
    return make(name, m, N, device, dtype, **fixed)


def new_plan(
    name: str, m: int, N: int, device: torch.device, dtype: torch.dtype, **options: Any
) -> Plan:
    """Let the estimator prepare its constants, and move them to the device."""
    estimator = lookup(name, options)
    kernel = estimator.kernel.__name__
    if kernel not in TWINS:
        raise NotImplementedError(
            f"estimator {name!r} has no twin in torch: its kernel {kernel} is missing in TWINS of "
            "tea_stats/torch_bridge/_twins.py; write it there, or call tea_stats.advantages on an "
            "array"
        )
    # a group of one: only what never compares rollouts accepts it
    least = min(2, estimator.min_m)
    if m < least:
        raise ValueError(
            f"rewards has m = {m} rollouts in a group (its last axis); {name} needs m ≥ {least}"
        )
    budget = as_count("N", N)
    constants = estimator.prepare(m, budget, **{**estimator.defaults, **options})
    if kernel in ARRANGED:
        constants = ARRANGED[kernel](*constants)
    if estimator.affine:
        # the kernel leaves base and slope in c_N apart, the twin adds them up
        constants = *constants, tails.normal_max_mean(budget)
    # outside inference mode: constants made inside it could not be used by other calls
    with torch.inference_mode(False):
        placed = on_device(constants, device, dtype)
    kinds = estimator.needs_order, estimator.pools, estimator.binary, estimator.most_values
    return kernel, placed, *kinds


#: typed, because True == 1 == 1.0 and not all of them are valid
cached_plan = lru_cache(maxsize=512, typed=True)(new_plan)


def on_device(constants: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Return the constants with arrays as tensors (floats in `dtype`) and scalars as Python's."""
    if isinstance(constants, tuple):
        return tuple(on_device(constant, device, dtype) for constant in constants)
    if isinstance(constants, np.ndarray):
        real = constants.dtype.kind == "f"
        # tableaux are shared and read-only, so a copy it is
        return torch.tensor(constants, device=device, dtype=dtype if real else None)
    return constants.item() if isinstance(constants, np.generic) else constants
