"""What auto TEA takes a batch for: a report that a trainer can log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from tea_stats._validation import as_count, as_rewards
from tea_stats.estimators import ties
from tea_stats.estimators.auto_tea import NOTHING, AutoTEA, Belief, Part, belief
from tea_stats.estimators.memory import Memory
from tea_stats.estimators.record import Array
from tea_stats.linear.library import LIBRARY

#: name of "none of these laws"
NONE = "none"


@dataclass(frozen=True)
class BatchReport:
    """What auto TEA takes a batch for. Means are over the groups whose rewards differ.

    Attributes
    ----------
    N : int
        Deployment budget of best-of-N.
    groups : int
        Groups of at least two rollouts.
    alike : int
        Those whose rewards are all equal: their advantages are 0.
    others : float
        Mean number of other groups that a group's law is learnt from: not all equal, not
        few-valued; earlier ones by their weights. Without any, auto TEA is max@m, or levels where
        few-valued.
    few_valued : float
        Mean φ: 1 if rewards are a few values each (levels), 0 if not.
    ceiling : float
        Mean probability that a group has a ceiling, by the other groups and its own ties at the
        top (`tea_stats.estimators.ceilings`): its advantages are then a part of max@m's.
    laws : mapping
        Mean posterior probability of each law of the library given the other groups, each group
        with weight 1 − φ, and of "none" of them. "none" is 1 where every group is few-valued.
    capped : float
        Share of the groups that are few-valued for less than half and believe none of the laws by
        more than half: their advantages are mostly max@m.
    effective_N : float
        Geometric mean of the N that is extrapolated to, min(m, N) where max@m stands in.

    Examples
    --------
    >>> from tea_stats import Normal, batch_report
    >>> report = batch_report(Normal().sample((64, 16), np.random.default_rng(0)), N=128)
    >>> round(report.laws["none"], 3), report.capped, round(report.effective_N)
    (0.0, 0.0, 128)
    >>> print(batch_report([[0.0, 1.5, 2.0, 6.0]], N=16))
    1 group, 0 of equal rewards; no other group to learn a law from: max@m stands in.
    """

    N: int
    groups: int
    alike: int
    others: float
    few_valued: float
    ceiling: float
    laws: Mapping[str, float]
    capped: float
    effective_N: float

    def metrics(self) -> dict[str, float]:
        """Return all of it as numbers for a logger; laws of one family are one number."""
        families: dict[str, float] = {}
        for name, weight in self.laws.items():
            family = f"law_{name.partition('(')[0]}"
            families[family] = families.get(family, 0.0) + weight
        return {
            "groups": float(self.groups),
            "alike": float(self.alike),
            "others": self.others,
            "few_valued": self.few_valued,
            "ceiling": self.ceiling,
            "capped": self.capped,
            "effective_N": self.effective_N,
            **families,
        }

    def __str__(self) -> str:
        """Return it in words."""
        head = f"{self.groups} group{'s' * (self.groups != 1)}, {self.alike} of equal rewards"
        if self.alike == self.groups:
            return f"{head}; nothing can be learnt: all advantages are 0."
        if self.few_valued > 0.5:
            return f"{head}; few-valued by {self.few_valued:.0%}: levels in each prompt's own unit."
        if self.others == 0.0:
            return f"{head}; no other group to learn a law from: max@m stands in."
        if self.ceiling > 0.5:
            return f"{head}; a ceiling ({self.ceiling:.0%}): a part of max@m stands in."
        law = max(self.laws, key=lambda name: self.laws[name])
        believed = (
            "no law of the library fits: max@m stands in" if law == NONE else f"most like {law}"
        )
        return f"{head}; {believed} ({self.laws[law]:.0%}); effective N {self.effective_N:.0f}."


def batch_report(
    rewards: ArrayLike, N: int, mask: ArrayLike | None = None, memory: Memory | None = None
) -> BatchReport:
    """Return what auto TEA takes a batch for.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m rollouts per group; all leading axes together are the batch.
    N : int
        Deployment budget of best-of-N.
    mask : array_like of bool, shape (..., m), optional
        True for the rollouts that exist; the others' rewards may be NaN. Groups of all sizes are a
        batch, and groups of fewer than two rollouts are left out.
    memory : Memory, optional
        Earlier groups that the batch is evaluated with; it stays as it is.

    Returns
    -------
    BatchReport

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or shape, or lies outside its range.
    """
    budget = as_count("N", N)
    if mask is None:
        array = as_rewards(rewards, at_least=2)
        exists = np.ones(array.shape, dtype=bool)
    else:
        exists, shape = np.asarray(mask), np.shape(rewards)
        if exists.dtype != np.bool_ or exists.shape != shape:
            raise ValueError(
                f"mask has dtype {exists.dtype} and shape {exists.shape}; give booleans of the "
                f"rewards' shape {shape}"
            )
        array = as_rewards(np.where(exists, np.asarray(rewards), 0.0), at_least=2)
    m, tie = array.shape[-1], ties.of_array(rewards)
    table, present = array.reshape(-1, m), exists.reshape(-1, m)
    sizes = present.sum(axis=1)
    batch = [
        table[sizes == n][present[sizes == n]].reshape(-1, n) for n in np.unique(sizes[sizes >= 2])
    ]
    parts = AutoTEA().parts(batch, budget, tie, memory.earlier() if memory else NOTHING)
    found = belief(parts) if parts else []
    rows = [_rows(part, own, budget) for part, own in zip(parts, found, strict=True)]
    columns = np.vstack([np.empty((0, len(LIBRARY) + 7)), *rows])
    live = columns[columns[:, 0] == 1.0]
    weight = 1.0 - live[:, 2]
    if weight.any():
        shares = weight @ live[:, 6:] / weight.sum()
    else:
        shares = np.eye(len(LIBRARY) + 1)[-1]
    means = (
        live[:, 1:6].mean(axis=0) if len(live) else [0.0, 0.0, 0.0, 0.0, math.log(min(budget, m))]
    )
    others, few, ceiling, capped, log_N = (float(mean) for mean in means)
    return BatchReport(
        N=budget,
        groups=len(columns),
        alike=int(len(columns) - columns[:, 0].sum()),
        others=others,
        few_valued=few,
        ceiling=ceiling,
        laws=MappingProxyType(dict(zip([*LIBRARY, NONE], shares.tolist(), strict=True))),
        capped=capped,
        effective_N=math.exp(log_N),
    )


def _rows(part: Part, own: Belief, N: int) -> Array:
    """Return a row for each group: differ, others, φ, below a ceiling, capped, log N, laws."""
    live = np.ptp(part.rewards[: part.asked], axis=1) > 0.0
    held = 1.0 - own.uncapped * (1.0 - own.laws[:, -1])
    held *= 1.0 - own.few
    log_N = (1.0 - held) * math.log(N) + held * math.log(min(part.rewards.shape[1], N))
    capped = (own.few < 0.5) & (own.laws[:, -1] > 0.5)
    ceiling = 1.0 - own.uncapped
    return np.column_stack([live, own.others, own.few, ceiling, capped, log_N, own.laws])
