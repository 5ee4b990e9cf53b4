"""Argument checks: every message names the argument, its value, and the cure.

Public functions call these; the kernels behind them check nothing.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: beyond this, sums and multiples of rewards would overflow
LARGEST_REWARD = 1e300


def as_rewards(rewards: ArrayLike, *, at_least: int = 1) -> NDArray[np.float64]:
    """Return rewards as a float64 array of shape (..., m), m ≥ `at_least`, all finite."""
    try:
        array = np.asarray(rewards)
    except ValueError:
        raise ValueError(
            "rewards has groups of different sizes; give an array of shape (..., m), "
            "or call once for each size"
        ) from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"rewards has dtype {array.dtype}; give an array of real numbers "
            "(float, integer or boolean), for instance np.asarray(rewards, dtype=float)"
        )
    if array.ndim == 0:
        raise ValueError(
            f"rewards is the scalar {array}; give an array of shape (..., m), one row per group"
        )
    if array.size == 0:
        raise ValueError(
            f"rewards has shape {array.shape} and no element; give groups of at least one rollout"
        )
    m = array.shape[-1]
    if m < at_least:
        raise ValueError(
            f"rewards has m = {m} rollouts in a group (its last axis); "
            f"this estimator needs m ≥ {at_least}"
        )
    with np.errstate(over="ignore"):  # a long double may be infinite in float64
        array = array.astype(np.float64, copy=False)
    # false for NaN, too; the two ends need no array of the same size
    if array.size and not (array.max() <= LARGEST_REWARD and array.min() >= -LARGEST_REWARD):
        usable = np.abs(array) <= LARGEST_REWARD
        where = tuple(int(i) for i in np.argwhere(~usable)[0])
        cure = (
            f"give rewards in another unit, within ±{LARGEST_REWARD:g}"
            if np.isfinite(array[where])
            else "drop or repair such rollouts first (an estimator cannot guess a missing reward)"
        )
        raise ValueError(f"rewards{list(where)} is {array[where]}; {cure}")
    return array


def as_reals(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return value as a float64 array of any shape; NaN and infinities pass."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise ValueError(f"{name} is {value!r}; give rows of equal length") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; give real numbers")
    return array.astype(np.float64, copy=False)


def as_finite(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return value as a float64 array of any shape, all finite."""
    array = as_reals(name, value)
    if not np.isfinite(array).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise ValueError(
            f"{name}{where if where else ''} is {array[tuple(where)]}; give finite numbers"
        )
    return array


def as_array(
    name: str, value: ArrayLike, shape: tuple[int | None, ...], cure: str = ""
) -> NDArray[np.float64]:
    """Return value as a finite float64 array of this shape (None: any length ≥ 1)."""
    expected = ", ".join("any" if n is None else str(n) for n in shape)
    expected = f"({expected},)" if len(shape) == 1 else f"({expected})"
    array = as_reals(name, value)
    fits = array.ndim == len(shape) and all(
        have == want if want is not None else have > 0
        for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        hint = f" ({cure})" if cure else ""
        raise ValueError(f"{name} has shape {array.shape}; give shape {expected}{hint}")
    return as_finite(name, array)


def as_size(name: str, value: Any) -> int | tuple[int, ...]:
    """Return value if it is the size of an array: an integer ≥ 0, or a tuple of such."""
    lengths = value if isinstance(value, tuple | list) else (value,)
    size = tuple(as_count(name, length, at_least=0) for length in lengths)
    return size if isinstance(value, tuple | list) else size[0]


def as_generator(name: str, value: Any) -> np.random.Generator:
    """Return value if it is a NumPy random generator."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"{name} is {value!r}; give a generator: numpy.random.default_rng(seed)")
    return value


def as_count(name: str, value: Any, *, at_least: int = 1) -> int:
    """Return value as an int ≥ `at_least`; a float, even 4.0, is a TypeError."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}, a boolean; give an integer ≥ {at_least}")
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} is {value!r} of type {type(value).__name__}; give an integer ≥ {at_least}"
        ) from None
    if count < at_least:
        raise ValueError(f"{name} is {count}; give an integer ≥ {at_least}")
    return count


def as_counts(name: str, value: int | Sequence[int], *, at_least: int = 1) -> tuple[int, ...]:
    """Return an integer, or a sequence of them, as a tuple of integers ≥ `at_least`."""
    values = [value] if np.ndim(value) == 0 else list(value)  # type: ignore[arg-type]
    if not values:
        raise ValueError(f"{name} is empty; give at least one integer")
    return tuple(as_count(name, entry, at_least=at_least) for entry in values)


def as_real(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> float:
    """Return value as a finite float inside the stated (open or closed) bounds."""
    if isinstance(value, str | bytes | bool | np.bool_):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}; give a real number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} is {value!r} of type {type(value).__name__}; give a real number"
        ) from None
    except OverflowError:
        raise ValueError(f"{name} is an integer beyond 1e308; give a smaller number") from None
    inside = above < number < below and at_least <= number <= at_most
    if not (math.isfinite(number) and inside):
        raise ValueError(f"{name} is {number}; give {_interval(above, at_least, below, at_most)}")
    return number


def _interval(above: float, at_least: float, below: float, at_most: float) -> str:
    if max(above, at_least) == -math.inf and min(below, at_most) == math.inf:
        return "a finite number"
    left = f"[{at_least:g}" if at_least > above else f"({above:g}"
    right = f"{at_most:g}]" if at_most < below else f"{below:g})"
    return f"a finite number in {left}, {right}"


def as_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return value if it is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; give one of {', '.join(map(repr, choices))}")
    return str(value)


def as_flag(name: str, value: Any) -> bool:
    """Return value as a bool; anything but True or False is a TypeError."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; give True or False")
    return bool(value)


def as_seed(name: str, value: Any) -> int:
    """Return value as a non-negative integer seed."""
    return as_count(name, value, at_least=0)
