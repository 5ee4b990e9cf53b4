"""Passes over simulated rollouts: an estimator with its constants, for every N that they serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tea_stats import _kernels
from tea_stats.estimators import ESTIMATORS, Estimator, Prepared, lookup
from tea_stats.estimators.record import same
from tea_stats.families import FiniteLaw, Law
from tea_stats.monte_carlo.moments import Key

Array = NDArray[np.float64]
Order = NDArray[np.intp]
Requests = Mapping[str, tuple[str, Mapping[str, Any]]] | Sequence[str]


@dataclass(frozen=True)
class Pass:
    """One pass over the draws: a prepared estimator, serving every N listed.

    Attributes
    ----------
    label : str
        What the estimator is called in tables.
    options : mapping
        The options that were given; the estimator has the defaults of the others.
    prepared : Prepared
        The estimator with its constants.
    budgets : tuple of int
        The N for which these constants hold.
    """

    label: str
    options: Mapping[str, Any]
    prepared: Prepared
    budgets: tuple[int, ...]

    @property
    def estimator(self) -> Estimator:
        """The estimator."""
        return self.prepared.estimator

    @cached_property
    def keys(self) -> dict[int, Key]:
        """Where the sums of each budget are kept; those with the same advantages share theirs."""
        affine = self.estimator.affine
        return {N: Key(self.label, N if affine else self.budgets[0]) for N in self.budgets}

    def advantages(
        self, rewards: Array, order: Order | None
    ) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Yield advantages[G, m] of one batch of sorted groups, each with its budgets."""
        base, slope = self.prepared.batches(rewards, order)
        if self.estimator.affine:
            for budget in self.budgets:
                yield (budget,), base + self.estimator.slope_constant(budget) * slope
        else:
            yield self.budgets, base

    def measure(
        self, rewards: Array, order: Order | None, scores: Array, prompts: int = 1
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
        base, slope = self.prepared.batches(rewards, order, prompts)
        if self.estimator.affine:
            parts = np.empty((groups, 2 * d + 3))
            degenerate = _kernels.contract_parts(base, slope, scores, parts)
            for budget in self.budgets:
                x = np.empty((groups, d + 2))
                _kernels.extrapolate(parts, self.estimator.slope_constant(budget), x)
                yield self.keys[budget], x, degenerate
        else:
            x = np.empty((groups, d + 2))
            degenerate = _kernels.contract(base, scores, x)
            yield self.keys[self.budgets[0]], x, degenerate

    def has_finite_second_moment(self, law: Law, m: int) -> bool:
        """Return whether ĝ has a variance under this law."""
        if isinstance(law, FiniteLaw):
            return True
        bounded = self.estimator.bounded or law.moments_below > 2
        return bounded and self.estimator.has_finite_variance(m)


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


def passes(estimators: Requests, m: int, N: Sequence[int]) -> list[Pass]:
    """Return the passes over the draws; budgets with equal constants share one pass."""
    listed = []
    for label, (name, options) in requests(estimators).items():
        estimator = lookup(name, options)
        shared: list[tuple[Prepared, list[int]]] = []
        for budget in dict.fromkeys(N):
            prepared = estimator.at(m, budget)
            for known, budgets in shared:
                if same(known.constants, prepared.constants):
                    budgets.append(budget)
                    break
            else:
                shared.append((prepared, [budget]))
        listed += [Pass(label, options, known, tuple(budgets)) for known, budgets in shared]
    return listed


def check_law(law: Any) -> None:
    """Refuse what is not a law."""
    if not isinstance(law, Law):
        raise TypeError(f"law is {law!r}; give a law of tea_stats.families, such as Normal()")


def check_prompts(prompts: int, reps: int, listed: Sequence[Pass]) -> None:
    """Refuse groups that do not make whole batches, and batches of one where groups are pooled."""
    if reps % prompts:
        raise ValueError(
            f"reps is {reps}, which is not a multiple of prompts = {prompts}; give whole batches"
        )
    pooling = [one.estimator.name for one in listed if one.estimator.pools]
    if pooling and prompts == 1:
        raise ValueError(
            f"prompts is 1 and {pooling[0]!r} pools the prompts of a batch; give the number of "
            "groups in a batch, such as 64"
        )


def check_rewards(law: Law, listed: Sequence[Pass]) -> None:
    """Refuse an estimator of 0/1, or of few-valued, rewards on a law with other rewards."""
    for estimator in (one.estimator for one in listed):
        if not (estimator.binary or estimator.most_values):
            continue
        if not isinstance(law, FiniteLaw):
            kind, cure = "0/1 rewards", "a Discrete law with values 0 and 1"
            if estimator.most_values is not None:
                kind = f"at most {estimator.most_values} distinct rewards"
                cure = "a finite law, such as Discrete"
            raise ValueError(
                f"estimator {estimator.name!r} is defined for {kind} and the law is {law!r}; "
                f"give {cure}"
            )
        estimator.check(law.rewards_sorted)
