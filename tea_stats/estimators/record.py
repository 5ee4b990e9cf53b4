"""What an estimator is, and the one way from rewards to advantages.

An estimator is a frozen value, as a law is: `TEA(alpha=0.5)`. It owns its options, prepares the
constants that they imply for groups of m and a budget N, and runs its kernel on sorted groups.
Everyone else asks it: the simulations, the diagnosis, torch, the trainers, figures and docs.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, ParamSpec, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tea_stats import _kernels, tails
from tea_stats._validation import as_count, as_rewards
from tea_stats.estimators import ties

Array = NDArray[np.float64]
Order = NDArray[np.intp]
P = ParamSpec("P")

#: rewards sorted at a time; 256 KiB of float64, which stay in cache
TILE_SIZE = 32_768


class Mark(NamedTuple):
    """Colour and marker of an estimator in figures; `main` ones are drawn where not all can be."""

    colour: str
    marker: str
    main: bool = False


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """A map from the m rewards of a group to m advantages; its fields are its options.

    Attributes
    ----------
    name : str
        Name in `tea_stats.ESTIMATORS`, and of the function in `tea_stats`.
    title : str
        Name in figures, tables and text.
    unbiased_for : str
        The objective whose gradient (1/m) Σ A_i S_i estimates without bias, or why there is none.
    objective : str
        The same in LaTeX.
    reference : str
        Source of the formula.
    citations : tuple of str
        Its keys in `paper/references.bib`.
    marks : tuple
        Pairs of options and their `Mark`, the first that agrees counts.
    uses_N : bool
        Whether the advantages depend on N.
    affine : bool
        Whether they are base + c · slope, with parts that do not depend on N and c from
        `slope_constant`: a simulation then serves every N from one pass.
    scale_degree : int or None
        Rewards times s > 0 multiply the advantages by s**scale_degree; None: no such law.
    bounded : bool
        Whether the advantages are, whatever the rewards, as z-scores within a group are.
    shift_invariant : bool
        Whether adding a constant to every reward changes nothing.
    needs_order : bool
        Whether the order in which the rollouts were drawn matters.
    pools : bool
        Whether a group's advantages depend on the other groups of the batch as well.
    binary : bool
        Whether rewards must be 0 or 1.
    most_values : int or None
        How many distinct rewards a batch may have; None: any number.
    min_m : int
        Smallest group the estimator accepts at its defaults.
    kernel : callable
        `(sorted_rewards[G, m], *constants, out[G, m])`; with `needs_order`, the argsort of each
        group comes second; with `affine`, `base[G, m], slope[G, m]` stand in place of `out`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    unbiased_for: ClassVar[str]
    objective: ClassVar[str]
    reference: ClassVar[str]
    citations: ClassVar[tuple[str, ...]] = ()
    marks: ClassVar[tuple[tuple[Mapping[str, Any], Mark], ...]] = ()
    uses_N: ClassVar[bool] = False
    affine: ClassVar[bool] = False
    scale_degree: ClassVar[int | None] = 1
    bounded: ClassVar[bool] = False
    shift_invariant: ClassVar[bool] = True
    needs_order: ClassVar[bool] = False
    pools: ClassVar[bool] = False
    binary: ClassVar[bool] = False
    most_values: ClassVar[int | None] = None
    min_m: ClassVar[int] = 2
    kernel: ClassVar[Callable[..., None]]

    def prepare(self, m: int, N: int) -> tuple[Any, ...]:
        """Check the options for groups of m and budget N; return the kernel's constants: none."""
        return ()

    def has_finite_variance(self, m: int) -> bool:
        """Return whether ĝ has a finite variance whenever the rewards have one."""
        return True

    def slope_constant(self, N: int) -> float:
        """Return c of an affine estimator, A = base + c · slope: by default c_N, the normal V_N."""
        return tails.normal_max_mean(N)

    # --- options --------------------------------------------------------------------------------

    @property
    def options(self) -> Mapping[str, Any]:
        """Every option and its value."""
        return MappingProxyType({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Every option and its default."""
        return MappingProxyType({f.name: f.default for f in dataclasses.fields(self)})

    def with_options(self, options: Mapping[str, Any]) -> Estimator:
        """Return this estimator with other options; TypeError for one that it does not have."""
        for option in options:
            if option not in self.defaults:
                known = ", ".join(self.defaults) or "none"
                raise TypeError(f"{self.name} has no option {option!r}; its options: {known}")
        return dataclasses.replace(self, **options) if options else self

    @property
    def mark(self) -> Mark | None:
        """How figures draw these options; None if they have no mark of their own."""
        for options, mark in self.marks:
            if all(getattr(self, key) == value for key, value in options.items()):
                return mark
        return None

    # --- from rewards to advantages -------------------------------------------------------------

    def at(self, m: int, N: int) -> Prepared:
        """Return the estimator with its constants for groups of m and budget N."""
        return Prepared(self, self.prepare(m, N))

    def advantages(self, rewards: ArrayLike, N: int, tie: float | None = None) -> Array:
        """Return the advantages of rewards (..., m): same shape, in the order of the input.

        Rewards that differ by a share `tie` of their size are equal: `tea_stats.estimators.ties`
        says when. By default it is the rounding of the rewards' type.
        """
        array = as_rewards(rewards, at_least=self.min_accepted)
        tie = ties.of_array(rewards) if tie is None else tie
        budget = as_count("N", N)
        array = self.check(array, tie)
        m = array.shape[-1]
        prepared = self.at(m, budget)
        groups = np.ascontiguousarray(array).reshape(-1, m)
        advantages = np.empty_like(groups)
        # tiles that stay in cache: for large batches the memory traffic costs more than the sort
        rows = len(groups) if self.pools else max(1, TILE_SIZE // m)
        sorted_rewards, base, slope = np.empty((3, min(rows, len(groups)), m))
        for start in range(0, len(groups), rows):
            tile, result = groups[start : start + rows], advantages[start : start + rows]
            order = np.argsort(tile, axis=-1)
            r, a, b = sorted_rewards[: len(tile)], base[: len(tile)], slope[: len(tile)]
            _kernels.gather(tile, order, r)
            ties.merge(r, tie)
            prepared.run(r, order, a, b)
            if self.affine:
                _kernels.scatter_parts(a, b, self.slope_constant(budget), order, result)
            else:
                _kernels.scatter(a, order, result)
        return advantages.reshape(array.shape)

    def of_sizes(self, batch: Sequence[Array], N: int, tie: float | None = None) -> list[Array]:
        """Return the advantages of the groups of each size (G, m): by themselves, by default."""
        return [self.advantages(groups, N, tie) for groups in batch]

    @property
    def min_accepted(self) -> int:
        """Smallest group to be tried: options other than the defaults may need fewer rollouts."""
        return min(2, self.min_m)

    def check(self, rewards: Array, tie: float = ties.DOUBLE) -> Array:
        """Return rewards, 0 and 1 if `binary`; ValueError where the estimator is not defined."""
        if self.binary:
            whole = np.rint(rewards)
            rewards = np.where(np.abs(rewards - whole) <= tie, whole, rewards)
            wrong = (rewards != 0.0) & (rewards != 1.0)
            if wrong.any():
                where = tuple(int(i) for i in np.argwhere(wrong)[0])
                raise ValueError(
                    f"rewards{list(where)} is {rewards[where]}; this estimator is defined for 0/1 "
                    "rewards: threshold them first, or choose another estimator"
                )
        if self.most_values is not None:
            # in one batch, not in each group: thresholds are values of all of them
            values = np.unique(rewards)
            tied = ties.merged(values, tie)
            rewards = tied[np.searchsorted(values, rewards)]
            distinct = len(np.unique(tied))
            if distinct > self.most_values:
                raise ValueError(
                    f"rewards has {distinct} distinct values; this estimator is defined for at "
                    f"most {self.most_values} of them: round rewards to fewer, or choose another "
                    "estimator, such as adaptive_tea or linear_tea"
                )
        return rewards


@dataclass(frozen=True)
class Prepared:
    """An estimator with its constants, to be run on sorted groups."""

    estimator: Estimator
    constants: tuple[Any, ...]

    def run(self, rewards: Array, order: Order | None, base: Array, slope: Array) -> None:
        """Fill base[G, m] with the advantages of one batch of sorted groups rewards[G, m].

        Those of an affine estimator are base + c · slope; other estimators leave `slope` alone.
        """
        draws = (rewards, order) if self.estimator.needs_order else (rewards,)
        outputs = (base, slope) if self.estimator.affine else (base,)
        self.estimator.kernel(*draws, *self.constants, *outputs)

    def batches(
        self, rewards: Array, order: Order | None, prompts: int | None = None
    ) -> tuple[Array, Array]:
        """Return base and slope of sorted groups, `prompts` a batch; None: all are one batch."""
        base, slope = np.empty((2, *rewards.shape))
        size = prompts if prompts and self.estimator.pools else len(rewards)
        for start in range(0, len(rewards), size):
            part = slice(start, start + size)
            self.run(
                rewards[part], order if order is None else order[part], base[part], slope[part]
            )
        return base, slope


def same(left: Any, right: Any) -> bool:
    """Return whether two structures of constants are equal, array by array."""
    if isinstance(left, tuple):
        return all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(np.array_equal(left, right))


# --- the plain function -----------------------------------------------------------------------


class Function(Protocol[P]):
    """A plain function `(rewards[..., m], N, **options) -> advantages[..., m]`."""

    __name__: str

    def __call__(self, rewards: ArrayLike, N: int, *_: P.args, **options: P.kwargs) -> Array:
        """Return the advantages, float64, in the order of the input."""


def as_function(estimator: Callable[P, Estimator]) -> Function[P]:
    """Return an estimator as a plain function, documented in full.

    The class describes the formula and its options. What all estimators share (rewards, N, the
    advantages, errors) is written here, once.
    """
    default = estimator()  # type: ignore[call-arg]  # every option has a default

    def function(rewards: ArrayLike, N: int, **options: Any) -> Array:
        return default.with_options(options).advantages(rewards, N)

    function.__name__ = function.__qualname__ = default.name
    function.__module__ = type(default).__module__
    function.__doc__ = document(default)
    kinds = inspect.Parameter
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            kinds("rewards", kinds.POSITIONAL_OR_KEYWORD, annotation="ArrayLike"),
            kinds("N", kinds.POSITIONAL_OR_KEYWORD, annotation="int"),
            *inspect.signature(type(default)).parameters.values(),
        ],
        return_annotation="Array",
    )
    return function  # type: ignore[return-value]


def document(estimator: Estimator) -> str:
    """Return the docstring of an estimator's function: the class's, and what all of them share."""
    text = inspect.cleandoc(type(estimator).__doc__ or "")
    summary, *parts = re.split(r"\n(?=\w+\n-{3,}\n)", text)
    sections = {part.split("\n", 1)[0]: part.strip() for part in parts}
    own_options = "".join(sections.pop("Parameters", "").partition("---\n")[2:])
    units: dict[int | None, str] = {1: " in reward units", 0: " without unit"}
    unit = units.get(estimator.scale_degree, "")
    shared = f"""
Parameters
----------
rewards : array_like, shape (..., m)
    Rewards of m ≥ {estimator.min_accepted} rollouts per group{", each 0 or 1" * estimator.binary}\
{", in the order drawn" * estimator.needs_order}, any real dtype\
{"; all leading axes together are the batch" * estimator.pools}. Those that differ by rounding
    only, 1.8e-15 of their size in float64, are equal (`tea_stats.estimators.ties`).
N : int
    Deployment budget of best-of-N{"" if estimator.uses_N else "; checked, not used"}.
{own_options}

Returns
-------
ndarray, shape (..., m)
    Advantages{unit}, float64, in the order of the input.

Raises
------
TypeError, ValueError
    If an argument has the wrong type or lies outside its range.
"""
    return "\n\n".join([summary.strip(), shared.strip(), *sections.values()])
