"""Stacking: the methods weighed by their backtests, none of them chosen.

With v_j(N) the prediction of method j, b_j the mean error of its backtest at M and s_j that error's
standard error over prompts, s the least s_j and σ_j the spread of its own interval at N,

    w_j ∝ π_j exp(−mean over backtests of (b_j/s)² / 8) / σ_j,
    V̂_N = Σ_j w_j v_j(N) − ½ B log(αN)/log(αM),   B = ±(b² − s.e.²)₊^½, b = Σ_j w_j b_j:

half of what the stack's own backtest missed, beyond its noise, corrects the prediction, and half is
the standard deviation of an error that intervals include. A draw takes a method with chance w_j and
then one of its curves, so that where methods disagree the interval is wide. Draws above the value
are stretched by 1 + (.15 + 1.5 ĝ₊) min(1, 8/P)^½, ĝ the skewness of the log-normal tail and P the
prompts: what m rollouts did not see lies above, and the skewness of a mean falls like P^−½. From
`pool.PROMPTS` prompts on, intervals hold what all prompts together say as well, where it differs
(`tea_stats.prediction.pool`). The constants are the best of about thirty variants on the six
rewards that `simulations.real_logs` calls development; its other logs show what they give
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction import evidence, pool
from tea_stats.prediction.few_valued import FewValued, thresholds
from tea_stats.prediction.fit import Counts, Method
from tea_stats.prediction.success_laws import BETA, LOGIT_NORMAL
from tea_stats.reward_log.log import RewardLog

if TYPE_CHECKING:
    from tea_stats.prediction.backtest import Backtest

#: weights before any backtest
PRIOR = MappingProxyType(
    {
        "gaussian_tail": 0.2,
        "linear": 0.2,
        "gen_pareto": 0.2,
        "lognormal_tail": 0.4,
        # where prompts are many enough for it
        "pooled_shape": 0.2,
    }
)
#: squared standardised errors are divided by it: a backtest reaches only part of the way to N
TEMPERATURE = 8.0
#: part of the backtest's error that corrects the value, the rest being uncertainty
CORRECTED = 0.5
#: stretch of draws above the value less 1, what a skewness of 1 adds to it, and up to how many
#: prompts; an average over more of them is less skewed
STRETCH, STRETCH_BY_SKEWNESS, STRETCH_PROMPTS = 0.15, 1.5, 8
#: few values: part of the rollouts that the backtest predicts from, and how often
SHARE, SPLITS = 4, 2
#: few values: stretch of draws above the value less 1, four times beyond the rollouts and farther
STRETCH_CHANCES = 0.3


class StackedTails(Method):
    """The stack of rewards with a tail; max@k up to half of the rollouts."""

    def __init__(
        self,
        log: RewardLog,
        grid: Counts,
        alpha: float,
        fits: Mapping[str, Method],
        backtest: Backtest | None,
    ) -> None:
        self.log, self.grid, self.alpha, self.backtest = log, grid, alpha, backtest
        self.inside = fits["max_at_k"]
        # a ceiling is one value over the prompts, not one in units of each prompt's spread
        shared = len(log) >= pool.PROMPTS and evidence.ceiling(log) is None
        self.together = fits.get("pooled_shape") if shared else None
        self.fits = {name: fits[name] for name in PRIOR if name in fits}
        if not self._usable("pooled_shape"):
            self.fits.pop("pooled_shape", None)
        self.M = evidence.depth(log)
        # below half of the rollouts max@k is exact on average, and as precise as any method
        self.counted = (grid * alpha < 2.0 - 1e-9) | (2 * grid <= self.M)
        self.weights = self._weights()
        self.gap = self._gap()
        self.correction = -CORRECTED * self.gap * self._growth()
        self.values = self._blend(
            {name: fit.values for name, fit in self.fits.items()}, self.inside.values
        )
        self.details = {
            "alpha": alpha,
            "weights": dict(self.weights),
            "correction": self.correction.copy(),
        }

    def average(self, target: str) -> Array:
        """Return the weighted average, never falling with N."""
        parts = {name: fit.average(target) for name, fit in self.fits.items()}
        return evidence.monotone(self._blend(parts, self.inside.average(target)))

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average, shape (count, K)."""
        drawn = self.inside.draws(target, count, rng)
        if not self.fits:
            return np.where(self.counted, drawn, np.nan)
        own = self.average(target), self._beyond(target, count, rng)
        if self.together is None:
            return np.where(self.counted, drawn, own[1])
        pooled = self.together.average(target), self.together.draws(target, count, rng)
        return np.where(self.counted, drawn, pool.around(own, pooled))

    def _beyond(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the stack by the methods that extrapolate."""
        numbers = np.floor(np.array([*self.weights.values()]) * count + 0.5).astype(int)
        numbers[np.argmax(numbers)] += count - numbers.sum()
        parts = [
            fit.draws(target, int(n), rng)
            for fit, n in zip(self.fits.values(), numbers, strict=True)
            if n > 0
        ]
        beyond = np.concatenate(parts) + self.correction
        beyond += rng.standard_normal((count, 1)) * self.allowance()
        centre = self.average(target)
        stretch = self._stretch()
        with np.errstate(invalid="ignore"):
            beyond = np.where(beyond > centre, centre + stretch * (beyond - centre), beyond)
        # one method after the other so far
        return rng.permutation(beyond, axis=0)

    def agreement(self, target: str) -> pool.Agreement:
        """Return whether all prompts together differ, and from which budget on they contradict.

        They differ in what is said of the target; they contradict each other about these prompts.
        """
        if self.together is None or not self.fits or np.isnan(self.together.values).all():
            return pool.Agreement()
        both = {}
        for about in {target, "these_prompts"}:
            rng = np.random.default_rng(0)
            both[about] = (
                (self.average(about), self._beyond(about, pool.DRAWS, rng)),
                (self.together.average(about), self.together.draws(about, pool.DRAWS, rng)),
            )
        # up to the rollouts at hand the log itself tells who is right
        beyond = ~self.counted & (self.grid > self.M)
        first = np.flatnonzero(pool.contradict(*both["these_prompts"]) & beyond)
        return pool.Agreement(
            int(self.grid[max(first[0] - 1, 0)]) if first.size else None,
            bool((pool.differ(*both[target]) & ~self.counted)[-1]),
        )

    def allowance(self) -> Array:
        """Return the standard deviation of the extrapolation error that draws include, (K,)."""
        part = (1.0 - CORRECTED) * abs(self.gap) * self._growth()
        return np.where(self.counted, 0.0, part)

    def prompt_bounds(self, level: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the outermost ends that the methods of some weight give each prompt."""
        low, high = self.inside.prompt_bounds(level, rng)
        ends = [
            fit.prompt_bounds(level, rng)
            for name, fit in self.fits.items()
            if self.weights[name] >= 0.1
        ]
        if not ends:
            return np.where(self.counted, low, np.nan), np.where(self.counted, high, np.nan)
        return (
            np.where(self.counted, low, np.min([pair[0] for pair in ends], axis=0)),
            np.where(self.counted, high, np.max([pair[1] for pair in ends], axis=0)),
        )

    def _blend(self, parts: Mapping[str, Array], inside: Array) -> Array:
        total = np.full(inside.shape, np.nan if not parts else 0.0)
        for name, part in parts.items():
            # a weight of 0 leaves even an infinite prediction out
            total += self.weights[name] * part if self.weights[name] > 0.0 else 0.0
        return np.where(self.counted, inside, total + self.correction)

    def _weights(self) -> dict[str, float]:
        if not self.fits:
            return {}
        names = list(self.fits)
        spread = np.array([self._spread(fit) for fit in self.fits.values()])
        logs = np.log([PRIOR[name] for name in names]) - np.log(spread)
        for errors in self._errors():
            noise = np.min([_standard_error(error) for error in errors.values()])
            if noise > 0.0:
                squares = np.array([errors[name].mean() for name in names]) ** 2 / noise**2
                logs -= squares / TEMPERATURE / len(self._errors())
        logs = np.where(np.isnan(logs), -np.inf, logs)
        if not np.isfinite(logs).any():
            logs = np.zeros(len(names))
        weights = np.exp(logs - logs.max())
        weights[weights < 1e-3 * weights.max()] = 0.0
        return dict(zip(names, (weights / weights.sum()).tolist(), strict=True))

    def _usable(self, name: str) -> bool:
        """Return whether a method has a value at the last N and an error in every backtest."""
        if name not in self.fits or np.isnan(self.fits[name].values[:, -1]).all():
            return False
        scales = {} if self.backtest is None else self.backtest.scales
        return all(np.isfinite(errors.get(name, np.nan)).all() for errors in scales.values())

    def _spread(self, fit: Method) -> float:
        """Return half the width of a method's 68 % interval at the last N."""
        rng = np.random.default_rng(0)
        target = "population" if len(self.log) > 1 else "these_prompts"
        draws = fit.draws(target, 1000, rng)[:, -1]
        if np.isnan(draws).any():
            return 1.0
        low, high = np.quantile(draws, [0.16, 0.84], method="closest_observation")
        return max(float(high - low) / 2.0, 1e-300)

    def _errors(self) -> list[Mapping[str, Array]]:
        """Return, for each backtest of several prompts, the errors at M of all methods used."""
        if self.backtest is None or self.backtest.prompts < 2:
            return []
        return [
            errors
            for errors in self.backtest.scales.values()
            if all(name in errors and np.isfinite(errors[name]).all() for name in self.fits)
        ]

    def _gap(self) -> float:
        """Return the stack's own backtest error at M beyond its noise, ±(b² − s.e.²)₊^½."""
        errors = self._errors()
        if not errors:
            return 0.0
        own = sum(weight * errors[-1][name] for name, weight in self.weights.items())
        bias, noise = float(np.mean(own)), _standard_error(np.asarray(own))
        return float(np.sign(bias) * np.sqrt(max(bias**2 - noise**2, 0.0)))

    def _growth(self) -> Array:
        span = max(np.log(max(self.M * self.alpha, 1.0)), np.log(2.0))
        return np.asarray(np.log(np.maximum(self.grid * self.alpha, 1.0)) / span)

    def _stretch(self) -> float:
        """Return the factor of draws above the value."""
        fit = self.fits.get("lognormal_tail")
        skewness = 0.0 if fit is None else float(np.nan_to_num(getattr(fit, "estimated", 0.0)))
        excess = STRETCH + STRETCH_BY_SKEWNESS * max(skewness, 0.0)
        return 1.0 + excess * min(1.0, STRETCH_PROMPTS / len(self.log)) ** 0.5


class Chances(FewValued):
    """Rewards of few values: beta and logit-normal laws, weighed by their evidence."""

    families = (BETA, LOGIT_NORMAL)


class StackedChances(Chances):
    """The stack of rewards of few values, with the error that its backtest could not have seen.

    From m = M/4 of the M rollouts the laws predict the best of M, which is known, with the standard
    error s over prompts: a bias of that size shows in no backtest, and what N rollouts add beyond M
    is as uncertain in proportion. Draws include a normal error of standard deviation

        s · min((V̂_N − V̂_M)/(V̂_M − V̂_m), log(N/M)/log(M/m)),

    and draws above the value are stretched, by up to 1.3 where N ≥ 4M: prompts that no rollout has
    solved are those whose chances no law is fitted to. The factor is the least, in steps of .05,
    that covers pass@1000 in nine splits of ten of each development model of
    `simulations.real_logs`; the other models were predicted afterwards.
    """

    def __init__(self, log: RewardLog, grid: Counts, alpha: float, allow: bool = True) -> None:
        super().__init__(log, grid, alpha)
        beyond = np.log(np.maximum(grid / evidence.depth(log), 1.0)) / np.log(SHARE)
        self.stretch = STRETCH_CHANCES * np.minimum(beyond, 1.0) * allow
        self.unseen = self._unseen(log, alpha) if allow else np.zeros(len(grid))

    def allowance(self) -> Array:
        """Return the standard deviation of the extrapolation error that draws include, (K,)."""
        return self.unseen

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average, shape (count, K)."""
        drawn = super().draws(target, count, rng)
        drawn = drawn + rng.standard_normal((count, 1)) * self.unseen
        above = np.maximum(drawn - self.average(target), 0.0)
        drawn = drawn + self.stretch * above
        return np.clip(drawn, self.lowest, self.lowest + self.gaps.sum())

    def _unseen(self, log: RewardLog, alpha: float) -> Array:
        from tea_stats.prediction.max_at_k import MaxAtK  # it, too, is one of the methods

        M = evidence.depth(log)
        m = M // SHARE
        groups = evidence.groups_of(log, M, np.random.default_rng(0))
        if m < 2 or len(groups) < 2 or len(self.gaps) == 0:
            return np.zeros(len(self.grid))
        ends = np.array([m, M])
        known = MaxAtK(evidence.log_of(groups), ends, alpha).values
        errors = np.zeros(len(groups))
        for part in range(SPLITS):
            own = evidence.log_of(groups[:, part * m : (part + 1) * m])
            if len(np.unique(own.rewards)) > 1:
                errors += (Chances(own, ends[1:], alpha).values[:, 0] - known[:, 1]) / SPLITS
        low, high = known.mean(axis=0)
        rise = np.maximum(self.average("these_prompts") - high, 0.0) / max(high - low, 1e-300)
        growth = np.log(np.maximum(self.grid / M, 1.0)) / np.log(M / m)
        return np.asarray(_standard_error(errors) * np.minimum(rise, growth))


class Stack(Method):
    """All methods that suit the rewards, weighed by what the log shows of them."""

    title = "stacked"
    colour = "#6A3D9A"
    unbiased_on = "none exactly; every method's laws once the log has singled that method out"
    formula = (
        "V̂_N = Σ_j w_j V̂_N^(j) − B_N/2, w_j ∝ π_j e^{−(b_j/s)²/8}/σ_j; few values: by evidence"
    )
    reference = "this project; stacking as in Breiman (1996), averaging as in Hoeting et al. (1999)"

    def __init__(
        self,
        log: RewardLog,
        grid: Counts,
        alpha: float,
        fits: Mapping[str, Method] | None = None,
        backtest: Backtest | None = None,
    ) -> None:
        self.grid = grid
        self.inner: Method
        if thresholds(log) is not None:
            self.inner = StackedChances(log, grid, alpha, allow=backtest is not None)
        else:
            if fits is None:
                fits, backtest = alone(log, grid, alpha)
            self.inner = StackedTails(log, grid, alpha, fits, backtest)
        self.values, self.details = self.inner.values, self.inner.details

    def average(self, target: str) -> Array:
        """Return the predicted average over prompts."""
        return self.inner.average(target)

    def draws(self, target: str, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the average."""
        return self.inner.draws(target, count, rng)

    def allowance(self) -> Array:
        """Return the extrapolation error that draws include."""
        return self.inner.allowance()

    def agreement(self, target: str) -> pool.Agreement:
        """Return whether prompts by themselves and together agree; so where nothing is pooled."""
        inner = self.inner
        return inner.agreement(target) if isinstance(inner, StackedTails) else pool.Agreement()

    def prompt_bounds(self, level: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the ends of each prompt's interval."""
        return self.inner.prompt_bounds(level, rng)


def alone(log: RewardLog, grid: Counts, alpha: float) -> tuple[dict[str, Method], Backtest | None]:
    """Return the fits and the backtest that a stack needs, where none are at hand."""
    from tea_stats.prediction import backtest, methods  # they list the stack as one of theirs

    most = int(log.sizes.max())
    names = [name for name in ("max_at_k", *PRIOR) if methods.METHODS[name].least <= most]
    fits = {name: methods.METHODS[name](log, grid, alpha) for name in names}
    return fits, backtest.run(log, int(grid[-1]), names, alpha, np.random.default_rng(0))


def _standard_error(errors: Array) -> float:
    return float(errors.std(ddof=1) / np.sqrt(len(errors)))
