r"""Variance between and within prompts, from a pilot log.

The value v̂_i of prompt i from m rollouts has the variance τ² + ω²(m) over prompts and rollouts: τ²
is that of the true values, ω²(m) the mean of Var(v̂_i | prompt i).

- Where the pilot's prompts have N rollouts, v̂_i is the unbiased best of N and τ² is the variance of
  the v̂_i less the mean of ω_i²(n_i), n_i the pilot's rollouts.
- Where they have fewer, τ² is the covariance of the values that two halves of a prompt's rollouts
  give: their noise is independent. Few-valued prompts are drawn from a posterior, without noise.
- ω_i²(m) is exact for the law of the prompt (`resampling.PromptLaws.variance`).

For a difference of two logs v̂_i and ω_i² are those of the difference. Each is a mean over prompts
of products of a prompt's own numbers, so that leaving out prompts gives the standard error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tea_stats.comparison.pairs import subset
from tea_stats.comparison.values import few_valued
from tea_stats.families.law import Array
from tea_stats.prediction.max_at_k import weights
from tea_stats.resampling import PromptLaws, prompt_laws
from tea_stats.resampling.dirichlet import MOST_PROMPTS
from tea_stats.reward_log.log import RewardLog

#: share of the pilot's prompts that must have N rollouts for an unbiased start
WITH_N = 0.75
#: random halves of each prompt's rollouts, and rollouts that can be halved
HALVES, HALVED = 4, 4


@dataclass(frozen=True, eq=False)
class Components:
    """What a pilot says about one prompt's value, or its difference; arrays of shape (P,).

    Attributes
    ----------
    N : int
        Budget.
    laws : tuple of PromptLaws
        One of the pilot, or two of a pair of pilots, the same prompts in the same order.
    product, first, second : ndarray
        τ² is the mean of `product` less that of `first` times that of `second`.
    value : float
        Best-of-N, or its difference.
    extrapolated : bool
        Whether the pilot has too few rollouts for an unbiased value, so that all rests on the
        tail of its laws.
    """

    N: int
    laws: tuple[PromptLaws, ...]
    product: Array
    first: Array
    second: Array
    value: float
    extrapolated: bool

    @property
    def between(self) -> float:
        """τ², at least 0."""
        return max(self._between(self.product.mean(), self.first.mean(), self.second.mean()), 0.0)

    def _between(self, product: float, first: float, second: float) -> float:
        count = len(self.product)
        # the mean of products less the product of means is (P − 1)/P of the covariance
        return float(product - first * second) * count / max(count - 1, 1)

    def within(self, m: int) -> Array:
        """Return ω_i²(m) of the unbiased best-of-N, m ≥ N."""
        return np.asarray(sum(laws.variance(self.N, m) for laws in self.laws))

    def error(self, within: Array) -> float:
        """Return the standard error of τ² + ω², by leaving out prompts."""
        columns = np.column_stack([self.product, self.first, self.second, within])
        count = len(columns)
        if count < 3:
            return 0.0
        left = (columns.sum(axis=0) - columns) / (count - 1)
        # without the bound at 0, which would hide how uncertain τ² is
        totals = np.array([self._between(*row[:3]) + row[3] for row in left.tolist()])
        return float(np.sqrt((count - 1) / count * ((totals - totals.mean()) ** 2).sum()))


def components(
    pilot: RewardLog, N: int, rng: np.random.Generator, against: RewardLog | None = None
) -> Components:
    """Return the variance components of a pilot, or of a pair of pilots with the same prompts."""
    logs = [pilot] if against is None else [pilot, against]
    few = few_valued(*logs)
    have = np.min([log.sizes for log in logs], axis=0)
    extrapolated = bool((have >= N).mean() < WITH_N)
    usable = np.flatnonzero(have >= (HALVED if extrapolated else N))
    if len(usable) < 2:
        raise ValueError(
            f"the pilot has {len(usable)} prompts with {HALVED} rollouts or more; give one with "
            "several prompts, each with several rollouts"
        )
    if len(usable) > MOST_PROMPTS:
        usable = np.sort(rng.choice(usable, MOST_PROMPTS, replace=False))
    logs = [subset(log, usable) for log in logs]
    laws = tuple(prompt_laws(log, N, few=few, rng=rng) for log in logs)
    if not extrapolated:
        values = _signed([_unbiased(log, N) for log in logs])
        noise = _signed([_own_noise(own, log, N) for own, log in zip(laws, logs, strict=True)], 1.0)
        return _about(N, laws, float(values.mean()), [(values, values)], noise, extrapolated)
    values = _signed([own.value(N) for own in laws])
    pairs = [(values, values)]
    if not few:
        halves = [[_halves(log, N, rng) for log in logs] for _ in range(HALVES)]
        pairs = [
            (_signed([pair[0] for pair in own]), _signed([pair[1] for pair in own]))
            for own in halves
        ]
    none = np.zeros(len(values))
    return _about(N, laws, float(values.mean()), pairs, none, extrapolated)


def _signed(parts: Sequence[Array], sign: float = -1.0) -> Array:
    """Return the only part, or the second and `sign` times the first."""
    return parts[0] if len(parts) == 1 else parts[1] + sign * parts[0]


def _about(
    N: int,
    laws: tuple[PromptLaws, ...],
    value: float,
    pairs: Sequence[tuple[Array, Array]],
    noise: Array,
    extrapolated: bool,
) -> Components:
    """Return components from pairs of values, taken about one centre so that nothing cancels."""
    centred = [(a - value, b - value) for a, b in pairs]
    product = np.mean([a * b for a, b in centred], axis=0)
    # `_between` scales by P/(P − 1), which the noise has no need of
    product = product - noise * (len(noise) - 1) / len(noise)
    first, second = (np.mean([pair[side] for pair in centred], axis=0) for side in (0, 1))
    return Components(N, laws, product, first, second, value, extrapolated)


def _unbiased(log: RewardLog, N: int) -> Array:
    """Return the unbiased best-of-N of each prompt."""
    values = np.empty(len(log))
    for places, rewards in log.by_size():
        ascending = np.sort(rewards, axis=1)
        lowest = ascending[:, :1]
        own = weights(rewards.shape[1], np.array([N]))
        values[places] = (lowest + (ascending - lowest) @ own)[:, 0]
    return values


def _own_noise(laws: PromptLaws, log: RewardLog, N: int) -> Array:
    """Return ω_i²(n_i), n_i the prompt's own rollouts."""
    noise = np.empty(len(log))
    for size in np.unique(log.sizes):
        places = np.flatnonzero(log.sizes == size)
        noise[places] = laws.at(places).variance(N, int(size))
    return noise


def _halves(log: RewardLog, N: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the values that two random halves of each prompt's rollouts give."""
    parts: list[list[Array]] = [[], []]
    for group in log:
        mixed = rng.permutation(group)
        middle = len(mixed) // 2
        parts[0].append(mixed[:middle])
        parts[1].append(mixed[middle:])
    values = [
        prompt_laws(RewardLog.from_groups(part), N, few=False, rng=rng).value(N) for part in parts
    ]
    return values[0], values[1]
