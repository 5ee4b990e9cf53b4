"""What every method gives: a value for each prompt, and how uncertain their average is.

Two questions have two answers. For the POPULATION that the prompts come from, the values v_i of the
P prompts are independent and identically distributed, rollouts and all: the variance of their
average is Var(v_i)/P, and the spread between prompts already includes what the rollouts add.
Resampling rollouts within resampled prompts would count them twice. For THESE prompts only the
rollouts are random: Σ Var(v_i | prompt i)/P², estimated by a jackknife over each prompt's rollouts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tea_stats.best_of_n import exact
from tea_stats.families.law import Array
from tea_stats.families.location_scale import Normal
from tea_stats.reward_log.log import RewardLog

Counts = NDArray[np.int64]

#: simulated groups behind the interval of one prompt
REFERENCE_GROUPS = 4000
#: numbers in memory at a time where an array has prompts × rollouts × budgets
LARGEST_BLOCK = 4_000_000


class Method(ABC):
    """A method of prediction, fitted to a log.

    Attributes
    ----------
    title, colour : str
        Name in tables and figures, and colour: of Okabe and Ito, black where nothing is
        extrapolated.
    unbiased_on : str
        The laws on which the predicted V_N is exact on average.
    formula, reference : str
        V̂_N in one line, and its source.
    least : int
        Fewest rollouts of a prompt.
    extrapolates : bool
        Whether it predicts beyond the group's size.
    few_valued : bool
        Whether it is for rewards of few values, or else for rewards with a tail.
    grid : ndarray of int, shape (K,)
        Budgets N.
    values : ndarray, shape (P, K)
        Predicted V_N of each prompt, NaN where the method has none.
    details : dict
        What else was fitted, by name.
    """

    title: ClassVar[str]
    colour: ClassVar[str]
    unbiased_on: ClassVar[str]
    formula: ClassVar[str]
    reference: ClassVar[str]
    least: ClassVar[int] = 1
    extrapolates: ClassVar[bool] = True
    few_valued: ClassVar[bool] = False
    grid: Counts
    values: Array
    details: dict[str, Any]

    @abstractmethod
    def __init__(self, log: RewardLog, grid: Counts, alpha: float) -> None: ...

    def average(self, target: str) -> Array:
        """Return the predicted average over prompts, shape (K,); NaN where there is none."""
        return column_means(self.values)

    def averaged_prompts(self) -> Counts:
        """Return the number of prompts behind the average, shape (K,)."""
        return np.asarray((~np.isnan(self.values)).sum(axis=0))

    def allowance(self) -> Array:
        """Return the extrapolation error that `draws` include already, shape (K,)."""
        return np.zeros(len(self.grid))

    @abstractmethod
    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average, shape (count, K); NaN where its spread is unknown."""

    @abstractmethod
    def prompt_bounds(self, level: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the ends of each prompt's interval, shape (P, K) each."""


class GroupFit(Method):
    """A method whose value of a prompt is a location-scale equivariant function of its rewards.

    Subclasses give `group_values`; `reference_groups` is the law under which an interval for one
    prompt is exact.
    """

    def __init__(self, log: RewardLog, grid: Counts, alpha: float) -> None:
        self.log, self.grid, self.alpha = log, grid, alpha
        self.details = self.fit_shared()
        self.values = np.full((len(log), len(grid)), np.nan)
        for places, ascending in blocks(log, 1):
            self.values[places] = self.group_values(ascending)

    def fit_shared(self) -> dict[str, Any]:
        """Fit what all prompts share; return it by name."""
        return {}

    @abstractmethod
    def group_values(self, ascending: Array) -> Array:
        """Return values, shape (G, K), of groups of one size, sorted rewards (G, m)."""

    @abstractmethod
    def rollout_covariance(self, ascending: Array) -> Array:
        """Return jackknife covariances of `group_values`, shape (G, K, K)."""

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average: multivariate t around it, one prompt by its own law."""
        centre = column_means(self.values)
        prompts = int((~np.isnan(self.values)).any(axis=1).sum())
        if prompts == 1:
            if target == "population":
                return np.full((count, len(self.grid)), np.nan)
            return self._one_prompt(count, rng)
        if prompts == 0:
            return np.full((count, len(self.grid)), np.nan)
        if target == "population":
            covariance, freedom = mean_covariance(self.values), float(prompts - 1)
            # an average over one prompt has no spread
            lonely = (~np.isnan(self.values)).sum(axis=0) < 2
        else:
            number = np.maximum((~np.isnan(self.values)).sum(axis=0), 1)
            covariance, freedom = self.rollout_covariance_of_mean(number)
            lonely = np.zeros(len(self.grid), dtype=bool)
        return t_draws(np.where(lonely, np.nan, centre), covariance, freedom, count, rng)

    def rollout_covariance_of_mean(self, prompts: Counts) -> tuple[Array, float]:
        """Return Σ Cov(v_i | prompt i)/P² and Satterthwaite's degrees of freedom."""
        total = np.zeros((len(prompts),) * 2)
        sums = np.zeros(3)
        for _, ascending in blocks(self.log, len(prompts)):
            covariance = np.nan_to_num(self.rollout_covariance(ascending))
            total += covariance.sum(axis=0)
            size = np.einsum("gkk->g", covariance)
            sums += len(size), size.sum(), (size**2).sum()
        number, first, second = sums
        spread = second / number - (first / number) ** 2
        freedom = 2.0 * first**2 / (number * spread) if spread > 0.0 else np.inf
        # differences between prompts only lower it; one prompt's worth is the least there is
        return total / np.multiply.outer(prompts, prompts), float(np.clip(freedom, 2.0, 1e6))

    # --- one prompt: (v̂ − V_N)/s has a known law, whatever location and scale -------------------

    def reference_groups(self, m: int, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return sorted groups of a standard law, shape (count, m), and their true V_N."""
        truth = np.array([exact.value(Normal(), int(N)) for N in self.grid])
        return np.sort(rng.standard_normal((count, m)), axis=1), truth

    def pivots(self, m: int, count: int, rng: np.random.Generator) -> Array:
        """Return draws of (v̂ − V_N)/s, s the spread of the upper half, shape (count, K)."""
        if m < 2:
            return np.full((count, len(self.grid)), np.nan)
        groups, truth = self.reference_groups(m, count, rng)
        return (self.group_values(groups) - truth) / upper_spread(groups)[:, None]

    def _one_prompt(self, count: int, rng: np.random.Generator) -> Array:
        place = int(np.flatnonzero((~np.isnan(self.values)).any(axis=1))[0])
        rewards = np.sort(self.log.rewards[self.log.offsets[place] : self.log.offsets[place + 1]])
        pivots = self.pivots(len(rewards), count, rng)
        return self.values[place] - pivots * upper_spread(rewards[None])[0]

    def prompt_bounds(self, level: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the ends of each prompt's interval from the law of (v̂ − V_N)/s."""
        low, high = np.full((2, *self.values.shape), np.nan)
        ends = (1.0 - level) / 2.0, (1.0 + level) / 2.0
        for places, rewards in self.log.by_size():
            spread = upper_spread(np.sort(rewards, axis=1))[:, None]
            with np.errstate(invalid="ignore"):  # an infinite value has no interval
                pivots = self.pivots(rewards.shape[1], REFERENCE_GROUPS, rng)
                below, above = np.quantile(pivots, ends, axis=0)
                low[places] = self.values[places] - above * spread
                high[places] = self.values[places] - below * spread
        return low, high


def blocks(log: RewardLog, width: int) -> Any:
    """Yield places and sorted rewards of prompts of one size, a block of rows at a time."""
    for places, rewards in log.by_size():
        rows = max(1, LARGEST_BLOCK // (max(rewards.shape[1], width) * width))
        for start in range(0, len(places), rows):
            yield places[start : start + rows], np.sort(rewards[start : start + rows], axis=1)


def within_tail(grid: Counts, alpha: float) -> NDArray[np.bool_]:
    """Return for which N the best of N nearly always lies in the top share alpha: N ≥ 2/α.

    It lies outside that share with probability at most e^{−2}, and outside twice the share, over
    which a Gaussian tail is assumed, with at most e^{−4}.
    """
    return np.asarray(grid * alpha >= 2.0 - 1e-9)


def upper_spread(ascending: Array) -> Array:
    """Return the standard deviation of the upper half of each group, at least two, shape (G,)."""
    m = ascending.shape[1]
    return np.asarray(ascending[:, m - max(min(m, 2), -(-m // 2)) :].std(axis=1))


def column_means(values: Array) -> Array:
    """Return means over the prompts that have a value, NaN where there is none."""
    number = (~np.isnan(values)).sum(axis=0)
    total = np.where(np.isnan(values), 0.0, values).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def mean_covariance(values: Array) -> Array:
    """Return the covariance of the column means of P independent rows, NaN counting as absent."""
    number = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    off = np.nan_to_num(values - column_means(values)) / number
    return off.T @ off * (len(values) / max(len(values) - 1, 1))


def t_draws(
    centre: Array, covariance: Array, freedom: float, count: int, rng: np.random.Generator
) -> Array:
    """Return draws of a multivariate t law, shape (count, K).

    The root of the correlation is its symmetric one: unlike eigenvectors it has no sign to choose,
    and rewards in other units give the same draws in other units.
    """
    size = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    safe = np.where(size > 0.0, size, 1.0)
    parts, directions = np.linalg.eigh(covariance / np.multiply.outer(safe, safe))
    root = (directions * np.sqrt(np.maximum(parts, 0.0))) @ directions.T
    normal = rng.standard_normal((count, len(centre))) @ root * size
    if np.isfinite(freedom):
        normal /= np.sqrt(rng.chisquare(freedom, (count, 1)) / freedom)
    return centre + normal


# --- statistics that are linear in the sorted rewards --------------------------------------------


def left_out_covariance(ascending: Array, fewer: Array) -> Array:
    """Return the jackknife covariance of Σ w_j r_(j), from its weights on m − 1 rewards.

    Without rank j the statistic is T_j, and T_(j+1) − T_j = −w_j (r_(j+1) − r_(j)); the jackknife
    is ((m − 1)/m) Σ (T_j − T̄)². By Efron and Stein (1981) it is not too small on average.

    Parameters
    ----------
    ascending : ndarray, shape (G, m)
        Sorted rewards.
    fewer : ndarray, shape (m − 1, K)
        Weights on the sorted rewards of a group of m − 1.

    Returns
    -------
    ndarray, shape (G, K, K)
    """
    m = ascending.shape[1]
    steps = np.diff(ascending, axis=1)[:, :, None] * fewer
    left = np.concatenate([np.zeros_like(steps[:, :1]), -np.cumsum(steps, axis=1)], axis=1)
    left -= left.mean(axis=1, keepdims=True)
    return np.asarray((m - 1) / m * (left.transpose(0, 2, 1) @ left))
