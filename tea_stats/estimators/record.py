"""The frozen record of an estimator, and the one way from rewards to advantages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats import _kernels, tails
from tea_stats._validation import as_count, as_rewards

Array = NDArray[np.float64]

#: rewards sorted at a time; 256 KiB of float64
TILE_SIZE = 32_768


@dataclass(frozen=True)
class Estimator:
    """One row of the registry: a function, the numbers it prepares, and the kernel that uses them.

    Attributes
    ----------
    name : str
        Name in `tea_stats.ESTIMATORS`.
    function : callable
        Public function `(rewards[..., m], N, **options) -> advantages[..., m]`.
    prepare : callable
        `(m, N, **options) -> tuple`: checks the options and returns the kernel's constants.
    kernel : callable
        `(sorted_rewards[G, m], *constants, out[G, m])`; with `needs_order`, the argsort of each
        group comes second; with `affine`, `base[G, m], slope[G, m]` stand in place of `out`.
    unbiased_for : str
        The objective whose gradient (1/m) Σ A_i S_i estimates without bias, or why there is none.
    reference : str
        Source of the formula.
    uses_N : bool
        Whether the advantages depend on N.
    affine : bool
        Whether they are base + c_N · slope, c_N the expected maximum of N standard normals, with
        parts that do not depend on N: a simulation then serves every N from one pass.
    scale_degree : int or None
        Rewards times s > 0 multiply the advantages by s**scale_degree; None: no such law.
    shift_invariant : bool
        Whether adding a constant to every reward changes nothing.
    needs_order : bool
        Whether the order in which the rollouts were drawn matters.
    pools : bool
        Whether a group's advantages depend on the other groups of the batch as well: the kernel
        then takes all of them at once.
    binary : bool
        Whether rewards must be 0 or 1.
    most_values : int or None
        How many distinct rewards a batch may have; None: any number.
    min_m : int
        Smallest group the estimator accepts at its defaults.
    finite_variance : callable, optional
        `(m, **options) -> bool`: whether the variance is finite for rewards of finite variance;
        None: always.
    """

    name: str
    function: Callable[..., Array]
    prepare: Callable[..., tuple[Any, ...]]
    kernel: Callable[..., None]
    unbiased_for: str
    reference: str
    uses_N: bool = False
    affine: bool = False
    scale_degree: int | None = 1
    shift_invariant: bool = True
    needs_order: bool = False
    pools: bool = False
    binary: bool = False
    most_values: int | None = None
    min_m: int = 2
    finite_variance: Callable[..., bool] | None = None

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The options and their default values, read off the function's signature."""
        parameters = inspect.signature(self.function).parameters.values()
        keyword = inspect.Parameter.KEYWORD_ONLY
        return MappingProxyType({p.name: p.default for p in parameters if p.kind is keyword})


def group_advantages(
    rewards: ArrayLike,
    N: int,
    prepare: Callable[..., tuple[Any, ...]],
    kernel: Callable[..., None],
    *,
    affine: bool = False,
    needs_order: bool = False,
    pools: bool = False,
    binary: bool = False,
    most_values: int | None = None,
    min_m: int = 2,
    **options: Any,
) -> Array:
    """Validate, sort each group, run the kernel on the sorted rewards, return in input order.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m rollouts per group, in reward units.
    N : int
        Deployment budget of best-of-N.
    prepare, kernel, affine, needs_order, pools, binary, most_values, min_m
        As in `Estimator`.
    **options
        Passed to `prepare`.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages, float64, in the order of the input.
    """
    array = as_rewards(rewards, at_least=min_m)
    budget = as_count("N", N)
    if binary:
        check_binary(array)
    if most_values is not None:
        check_few_values(array, most_values)
    m = array.shape[-1]
    constants = prepare(m, budget, **options)
    groups = np.ascontiguousarray(array).reshape(-1, m)
    advantages = np.empty_like(groups)
    # tiles that stay in cache: for large batches the memory traffic costs more than the sort
    rows = len(groups) if pools else max(1, TILE_SIZE // m)
    ascending, out, slope = np.empty((3, min(rows, len(groups)), m))
    for start in range(0, len(groups), rows):
        tile, found = groups[start : start + rows], advantages[start : start + rows]
        order = np.argsort(tile, axis=-1)
        r, a, b = ascending[: len(tile)], out[: len(tile)], slope[: len(tile)]
        _kernels.gather(tile, order, r)
        draws = (r, order) if needs_order else (r,)
        if affine:
            kernel(*draws, *constants, a, b)
            _kernels.scatter_parts(a, b, tails.normal_max_mean(budget), order, found)
        else:
            kernel(*draws, *constants, a)
            _kernels.scatter(a, order, found)
    return advantages.reshape(array.shape)


def check_binary(rewards: Array) -> None:
    """Raise ValueError unless every reward is 0 or 1."""
    wrong = (rewards != 0.0) & (rewards != 1.0)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"rewards{list(where)} is {rewards[where]}; this estimator is defined for 0/1 rewards: "
            "threshold them first, or choose another estimator"
        )


def check_few_values(rewards: Array, most_values: int) -> None:
    """Raise ValueError if there are more distinct rewards than this."""
    distinct = len(np.unique(rewards))
    if distinct > most_values:
        raise ValueError(
            f"rewards has {distinct} distinct values; this estimator is defined for at most "
            f"{most_values} of them: round rewards to fewer, or choose another estimator, such as "
            "adaptive_tea or linear_tea"
        )
