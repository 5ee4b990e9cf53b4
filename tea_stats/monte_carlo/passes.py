"""Passes over simulated rollouts: an estimator with its constants, for every N that they serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tea_stats import _kernels, tails
from tea_stats.estimators import ESTIMATORS, Estimator, lookup
from tea_stats.estimators.record import check_binary, check_few_values
from tea_stats.families import FiniteLaw, Law
from tea_stats.monte_carlo.moments import Key

Array = NDArray[np.float64]
Requests = Mapping[str, tuple[str, Mapping[str, Any]]] | Sequence[str]


@dataclass(frozen=True)
class Cell:
    """One pass over the draws: an estimator with its constants, serving every N listed."""

    label: str
    estimator: Estimator
    options: Mapping[str, Any]
    constants: tuple[Any, ...]
    budgets: tuple[int, ...]

    @cached_property
    def keys(self) -> dict[int, Key]:
        """Where the sums of each budget are kept; those with the same advantages share theirs."""
        affine = self.estimator.affine
        return {N: Key(self.label, N if affine else self.budgets[0]) for N in self.budgets}

    def advantages(
        self, rewards: Array, order: NDArray[np.intp] | None
    ) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Yield advantages[G, m] of sorted groups, each with the budgets that it is for."""
        if self.estimator.affine:
            base, slope = self._parts(rewards, order)
            for budget in self.budgets:
                yield (budget,), base + tails.normal_max_mean(budget) * slope
        else:
            yield self.budgets, self._only(rewards, order)

    def measure(
        self, rewards: Array, order: NDArray[np.intp] | None, scores: Array, prompts: int = 1
    ) -> Iterator[tuple[Key, Array, int]]:
        """Yield a key, x[G, d + 2] of sorted groups, and how many of them are degenerate.

        Parameters
        ----------
        rewards, order, scores
            As `Law.draw_sorted` returns them; x is described in `tea_stats.monte_carlo.moments`.
        prompts : int
            Groups in a batch, for estimators that pool.
        """
        d, groups, _ = scores.shape
        if self.estimator.affine:
            parts = np.empty((groups, 2 * d + 3))
            degenerate = _kernels.contract_parts(*self._parts(rewards, order), scores, parts)
            for budget in self.budgets:
                x = np.empty((groups, d + 2))
                _kernels.extrapolate(parts, tails.normal_max_mean(budget), x)
                yield self.keys[budget], x, degenerate
        else:
            x = np.empty((groups, d + 2))
            degenerate = _kernels.contract(self._only(rewards, order, prompts), scores, x)
            yield self.keys[self.budgets[0]], x, degenerate

    def _only(
        self, rewards: Array, order: NDArray[np.intp] | None, prompts: int | None = None
    ) -> Array:
        """Return advantages; of one batch where `prompts` is None and the estimator pools."""
        out = np.empty_like(rewards)
        if self.estimator.pools:
            size = prompts or len(rewards)
            for start in range(0, len(rewards), size):
                batch = slice(start, start + size)
                self.estimator.kernel(rewards[batch], *self.constants, out[batch])
            return out
        draws = (rewards, order) if self.estimator.needs_order else (rewards,)
        self.estimator.kernel(*draws, *self.constants, out)
        return out

    def _parts(self, rewards: Array, order: NDArray[np.intp] | None) -> tuple[Array, Array]:
        """Return base and slope of an affine estimator."""
        base, slope = np.empty((2, *rewards.shape))
        draws = (rewards, order) if self.estimator.needs_order else (rewards,)
        self.estimator.kernel(*draws, *self.constants, base, slope)
        return base, slope

    def has_finite_second_moment(self, law: Law, m: int) -> bool:
        """Whether ĝ has a variance under this law."""
        if isinstance(law, FiniteLaw):
            return True
        settings = {**self.estimator.defaults, **self.options}
        test = self.estimator.finite_variance
        # z-scored and exponential-utility advantages are bounded, whatever the rewards
        bounded = self.estimator.scale_degree != 1
        return (bounded or law.moments_below > 2) and (test is None or test(m, **settings))


def requests(estimators: Requests) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return estimators as `{label: (name, options)}`, names and options checked."""
    cure = "give a list of names, or a mapping label -> (name, options)"
    if isinstance(estimators, str) or not isinstance(estimators, Mapping | Sequence):
        raise TypeError(f"estimators is {estimators!r}; {cure}")
    for label in estimators:
        if not isinstance(label, str):
            raise TypeError(f"estimators holds {label!r}; give names, as text")
    if not isinstance(estimators, Mapping):
        estimators = {name: (name, {}) for name in estimators}
    if not estimators:
        raise ValueError(f"estimators is empty; give some of {', '.join(ESTIMATORS)}")
    checked = {}
    for label, request in estimators.items():
        if not (isinstance(request, tuple | list) and len(request) == 2):
            raise TypeError(f"estimators[{label!r}] is {request!r}; give a pair (name, options)")
        name, options = request
        if not isinstance(options, Mapping):
            raise TypeError(f"estimators[{label!r}] has options {options!r}; give a dict")
        lookup(name, options)
        checked[label] = (name, dict(options))
    return checked


def cells(estimators: Requests, m: int, N: Sequence[int]) -> list[Cell]:
    """Return the passes over the draws; budgets with equal constants share one pass."""
    listed = []
    budgets_asked = dict.fromkeys(N)
    for label, (name, options) in requests(estimators).items():
        estimator = lookup(name, options)
        settings = {**estimator.defaults, **options}
        shared: list[tuple[tuple[Any, ...], list[int]]] = []
        for budget in budgets_asked:
            constants = estimator.prepare(m, budget, **settings)
            for known, budgets in shared:
                if _equal(known, constants):
                    budgets.append(budget)
                    break
            else:
                shared.append((constants, [budget]))
        listed += [Cell(label, estimator, options, c, tuple(budgets)) for c, budgets in shared]
    return listed


def _equal(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def check_law(law: Any) -> None:
    """Refuse what is not a law."""
    if not isinstance(law, Law):
        raise TypeError(f"law is {law!r}; give a law of tea_stats.families, such as Normal()")


def check_prompts(prompts: int, reps: int, passes: Sequence[Cell]) -> None:
    """Refuse groups that do not make whole batches, and batches of one where groups are pooled."""
    if reps % prompts:
        raise ValueError(
            f"reps is {reps}, which is not a multiple of prompts = {prompts}; give whole batches"
        )
    pooling = [cell.estimator.name for cell in passes if cell.estimator.pools]
    if pooling and prompts == 1:
        raise ValueError(
            f"prompts is 1 and {pooling[0]!r} pools the prompts of a batch; give the number of "
            "groups in a batch, such as 64"
        )


def check_rewards(law: Law, passes: Sequence[Cell]) -> None:
    """Refuse an estimator of 0/1, or of few-valued, rewards on a law with other rewards."""
    for cell in passes:
        most_values = cell.estimator.most_values
        if most_values is not None:
            if not isinstance(law, FiniteLaw):
                raise ValueError(
                    f"estimator {cell.estimator.name!r} is defined for at most {most_values} "
                    f"distinct rewards and the law is {law!r}; give a finite law, such as Discrete"
                )
            check_few_values(law.rewards_sorted, most_values)
        if cell.estimator.binary:
            if not isinstance(law, FiniteLaw):
                raise ValueError(
                    f"estimator {cell.estimator.name!r} is defined for 0/1 rewards and the law is "
                    f"{law!r}; give a Discrete law with values 0 and 1"
                )
            check_binary(law.rewards_sorted)
