"""Best-of-N of rewards of few values, threshold by threshold.

With values v_0 < v_1 < … and p_j the chance of a reward of v_j or more,

    V_N = v_0 + Σ_j (v_j − v_{j−1}) E[1 − (1 − p_j)^N],

so that every threshold is a 0/1 reward whose p varies from prompt to prompt by some law
(`success_laws`), and V_N never exceeds the largest value in the log. The posterior over laws gives
value and intervals; families of laws are averaged by their evidence.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import special

from tea_stats.families.law import Array
from tea_stats.prediction import fit
from tea_stats.prediction.fit import Counts, Method, column_means
from tea_stats.prediction.success_laws import Family, Posterior, beta_parameters, posterior
from tea_stats.reward_log.log import RewardLog

#: most distinct values that are taken for thresholds, and rewards for each of them at least
MOST_VALUES, REWARDS_EACH = 32, 8
#: laws that stand for the posterior, fewer where they, kinds of prompts and budgets fill the memory
FEWEST_LAWS, MOST_LAWS, LARGEST_BLOCK = 40, 400, 200_000


def thresholds(log: RewardLog) -> Array | None:
    """Return the distinct rewards in ascending order if they are few, else None.

    Two values are few in any log; up to 32 are, if there are eight rewards for each.
    """
    values = np.unique(log.rewards)
    enough = len(values) <= min(MOST_VALUES, len(log.rewards) // REWARDS_EACH)
    return values if len(values) == 2 or enough or log.is_binary else None


class Threshold:
    """Successes at one threshold: laws of p with weights, and what follows for N rollouts."""

    def __init__(
        self, successes: Counts, sizes: Counts, families: tuple[Family, ...], grid: Counts
    ) -> None:
        self.grid = grid
        kinds, self.kind, number = np.unique(
            np.column_stack([successes, sizes - successes]),
            axis=0,
            return_inverse=True,
            return_counts=True,
        )
        self.kind = self.kind.ravel()
        self.s, self.f = kinds.T.astype(float)
        self.number = number.astype(float)
        self.laws = [
            posterior(family, inflated, self.s, self.f, self.number)
            for family in families
            for inflated in (False, True)
        ]
        evidence = np.array([law.log_evidence for law in self.laws])
        self.share = np.exp(evidence - evidence.max())
        self.share /= self.share.sum()
        # numbers in memory: laws × kinds × budgets
        count = int(np.clip(LARGEST_BLOCK / (len(self.s) * len(grid)), FEWEST_LAWS, MOST_LAWS))
        sums, total = [], np.zeros((len(self.s), len(grid)))
        chances = []
        for law in self._support(count):
            mean, variance = self._moments(law)
            sums.append([np.einsum("k,lkn->ln", self.number, part) for part in (mean, variance)])
            total += mean.sum(axis=0)
            chances.append(law.population(grid))
        self.mean, self.square = (np.concatenate(parts) for parts in zip(*sums, strict=True))
        self.chances = np.concatenate(chances)
        self.values = (total / len(self.mean))[self.kind]

    def _support(self, count: int) -> list[Posterior]:
        """Return about `count` laws that stand for the posterior, of equal weight."""
        numbers = np.floor(self.share * count + 0.5).astype(int)
        numbers[np.argmax(self.share)] += count - numbers.sum()
        pairs = zip(self.laws, numbers.tolist(), strict=True)
        return [self._spread(law, n) for law, n in pairs if n > 0]

    def _spread(self, law: Posterior, count: int) -> Posterior:
        """Return laws at evenly spaced quantiles of the weights: equal weights, nothing random."""
        points = (np.arange(count) + 0.5) / count
        places = np.searchsorted(np.cumsum(law.weight), points)
        return law.at(np.minimum(places, len(law.x) - 1))

    def _moments(self, law: Posterior) -> tuple[Array, Array]:
        """Return mean and variance of a prompt's 1 − (1 − p)^N, shape (L, kinds, K) each."""
        can = law.solvable(self.s, self.f)[:, :, None]
        once = law.fails(self.s, self.f, self.grid)
        twice = law.fails(self.s, self.f, 2 * self.grid)
        mean = can * (1.0 - once)
        return mean, np.maximum(can * (1.0 - 2.0 * once + twice) - mean**2, 0.0)

    def average(self, target: str) -> Array:
        """Return the posterior mean over laws, for the population or for these prompts."""
        if target == "population":
            return np.asarray(self.chances.mean(axis=0))
        return column_means(self.values)

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return posterior draws of the average, shape (count, K)."""
        if target == "population":
            return np.asarray(self.chances[rng.integers(len(self.chances), size=count)])
        # given the law, the average over the prompts is nearly normal; its moments are closed forms
        which = rng.integers(len(self.mean), size=count)
        noise = fit.t_draws(np.zeros(len(self.grid)), self._correlation(), np.inf, count, rng)
        drawn = (self.mean[which] + noise * np.sqrt(self.square[which])) / self.number.sum()
        return np.clip(drawn, 0.0, 1.0)

    def likeliest(self) -> Posterior:
        """Return the likeliest law of the likeliest family."""
        return self.laws[int(np.argmax(self.share))].best()

    def _correlation(self) -> Array:
        """Return how the averages at two N vary together as the prompts' p do, shape (K, K)."""
        law, K = self.likeliest(), len(self.grid)
        fail = law.fails(self.s, self.f, self.grid)[0]
        pairs = np.add.outer(self.grid, self.grid).ravel()
        both = law.fails(self.s, self.f, pairs)[0].reshape(-1, K, K)
        joint = both - fail[:, :, None] * fail[:, None, :]
        covariance = np.einsum("s,sij->ij", self.number, joint)
        size = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        return np.asarray(covariance / np.multiply.outer(size, size))

    def bounds(self, chance: float) -> Array:
        """Return the quantile of 1 − (1 − p)^N for each prompt under the likeliest law, (P, K)."""
        law = self.likeliest()
        can = law.solvable(self.s, self.f)[0]
        # below the share of prompts that are never solved, the quantile of p is 0
        rest = np.clip((chance - (1.0 - can)) / np.maximum(can, 1e-300), 0.0, 1.0)
        if law.family.name == "beta":
            a, b = (part[0] for part in beta_parameters(law.x, law.y))
            p = special.betaincinv(a + self.s, b + self.f, rest)
        else:
            p = self._node_quantile(law, rest)
        p = np.where(chance <= 1.0 - can, 0.0, p)[:, None]
        ends = -np.expm1(self.grid * np.log1p(-np.minimum(p, 1.0 - 1e-16)))
        return np.asarray(ends[self.kind])

    def _node_quantile(self, law: Posterior, rest: Array) -> Array:
        nodes = np.linspace(-30.0, 12.0, 4201)
        density = -0.5 * ((nodes - law.x[0]) / np.exp(law.y[0])) ** 2
        p = np.empty(len(self.s))
        for place, (s, f) in enumerate(zip(self.s, self.f, strict=True)):
            logs = density + s * special.log_expit(nodes) + f * special.log_expit(-nodes)
            below = np.cumsum(np.exp(logs - logs.max()))
            p[place] = special.expit(np.interp(rest[place], below / below[-1], nodes))
        return p


class FewValued(Method):
    """V̂_N from the posterior at every threshold; subclasses name the families of laws."""

    few_valued = True
    families: ClassVar[tuple[Family, ...]]

    def __init__(self, log: RewardLog, grid: Counts, alpha: float) -> None:
        self.grid = grid
        values = np.unique(log.rewards)
        # one value is a threshold that all rewards pass
        self.lowest = 0.0 if log.is_binary else float(values[0])
        if log.is_binary:
            values = np.array([0.0, 1.0])
        self.gaps = np.diff(values)
        self.parts = [
            Threshold(
                np.add.reduceat(log.rewards >= value, log.offsets[:-1], dtype=np.int64),
                log.sizes,
                self.families,
                grid,
            )
            for value in values[1:]
        ]
        self.values = self._sum([part.values for part in self.parts], (len(log), len(grid)))
        self.details = self._details()

    def _details(self) -> dict[str, Any]:
        # the law of reaching the largest value: on it depends what N far beyond m gives
        if not self.parts:
            return {}
        part = self.parts[-1]
        unsolved = sum(
            share * float(law.weight @ law.unsolved)
            for share, law in zip(part.share, part.laws, strict=True)
        )
        names = [
            law.family.name + (", some never" if law.unsolved.any() else "") for law in part.laws
        ]
        details: dict[str, Any] = {
            "unsolved": float(unsolved),
            "laws": dict(zip(names, part.share.tolist(), strict=True)),
        }
        for law in part.laws:
            if law.family.name == "beta" and not law.unsolved.any():
                a, b = (float(x[0]) for x in beta_parameters(law.best().x, law.best().y))
                details |= {"a": a, "b": b, "mean": a / (a + b)}
        return details

    def _sum(self, parts: list[Array], shape: tuple[int, ...]) -> Array:
        """Return v_0 + Σ_j (v_j − v_{j−1}) P_j, the chances P_j falling with j."""
        total = np.full(shape, self.lowest)
        passed = np.ones(shape)
        for gap, part in zip(self.gaps, parts, strict=True):
            passed = np.minimum(passed, part)
            total += gap * passed
        return total

    def average(self, target: str) -> Array:
        """Return the posterior mean over laws, for the population or for these prompts."""
        return self._sum([part.average(target) for part in self.parts], (len(self.grid),))

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return posterior draws of the average, shape (count, K).

        How thresholds depend on each other is unknown: the highest draws are taken together, which
        makes intervals no narrower than any dependence would.
        """
        drawn = []
        for part in self.parts:
            own = part.draws(target, count, rng)
            drawn.append(own[np.argsort(own.mean(axis=1), kind="stable")])
        return self._sum(drawn, (count, len(self.grid)))

    def prompt_bounds(self, level: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return posterior quantiles of each prompt's V_N, all thresholds at once."""
        low, high = (
            self._sum([part.bounds(chance) for part in self.parts], self.values.shape)
            for chance in ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
        )
        return low, high
