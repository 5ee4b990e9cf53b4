"""Best-of-N curves of a log by each method, with intervals, backtest and recommendation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tea_stats._validation import as_choice, as_count, as_flag, as_real, as_seed
from tea_stats.families.law import Array
from tea_stats.prediction import backtest as _backtest, bands
from tea_stats.prediction.backtest import Backtest
from tea_stats.prediction.fit import Counts, Method
from tea_stats.prediction.methods import METHODS
from tea_stats.reward_log.log import RewardLog

#: what the average is taken over
TARGETS = ("population", "these_prompts")
#: draws behind intervals and bands
DRAWS = 10_000


@dataclass(frozen=True, eq=False)
class Curve:
    """The predicted best-of-N of one method.

    Attributes
    ----------
    method : str
        A key of `METHODS`.
    grid : ndarray of int, shape (K,)
        Budgets N.
    value : ndarray, shape (K,)
        Predicted V_N, averaged over prompts; reward units. NaN where the method has none.
    low, high : ndarray, shape (K,)
        Ends of the interval at each N.
    band_low, band_high : ndarray, shape (K,)
        Ends of the simultaneous band, which covers the whole curve.
    allowance : ndarray, shape (K,)
        Standard deviation that intervals and bands include for the error of extrapolation, as
        estimated by the backtest; 0 where it shows none, or with `extrapolation_error=False`.
    prompts : ndarray of int, shape (K,)
        Prompts with a value.
    prompt_values : ndarray, shape (P, K)
        Predicted V_N of each prompt.
    prompt_low, prompt_high : ndarray, shape (P, K), or None
        Ends of each prompt's own interval, with `prompt_intervals=True`.
    details : mapping
        What was fitted: the tail fraction alpha, the shape, a and b.
    """

    method: str
    grid: Counts
    value: Array
    low: Array
    high: Array
    band_low: Array
    band_high: Array
    allowance: Array
    prompts: Counts
    prompt_values: Array
    prompt_low: Array | None
    prompt_high: Array | None
    details: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Forecast:
    """Curves of one log.

    Attributes
    ----------
    log : RewardLog
        What was predicted from.
    N : int
        Largest budget.
    target : {"population", "these_prompts"}
        What the intervals are for.
    level : float
        Their nominal coverage.
    curves : mapping
        A `Curve` for each method.
    backtest : Backtest or None
        How well each method predicted the log's own best-of-k from fewer rollouts; None where a
        prompt has fewer than 8.
    recommended : str
        max@k if every prompt has N rollouts; else the method of least backtest error.
    """

    log: RewardLog
    N: int
    target: str
    level: float
    curves: Mapping[str, Curve]
    backtest: Backtest | None
    recommended: str


def budgets(N: int) -> Counts:
    """Return the grid of budgets up to N: about two for each doubling.

    Examples
    --------
    >>> budgets(100).tolist()
    [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 100]
    """
    steps = np.arange(0, int(2 * np.log2(N)) + 1)
    return np.unique(np.append(np.rint(2.0 ** (steps / 2)), N)).astype(np.int64)


def predict(
    rewards: RewardLog | ArrayLike,
    N: int,
    *,
    methods: Sequence[str] | None = None,
    alpha: float = 0.25,
    level: float = 0.9,
    target: str | None = None,
    prompt_intervals: bool = False,
    extrapolation_error: bool = True,
    seed: int = 0,
) -> Forecast:
    """Predict the best of N for N far beyond the rollouts at hand.

    Parameters
    ----------
    rewards : RewardLog or array_like, shape (..., m)
        Rewards of the rollouts of each prompt.
    N : int
        Largest budget of best-of-N; the grid goes up to it in steps of √2.
    methods : sequence of str, optional
        Keys of `METHODS`. By default all that apply to the rewards: for 0/1 rewards max@k
        and beta-binomial, for others all but beta-binomial.
    alpha : float
        Share of the rollouts that the Gaussian and the Pareto tail are fitted to, in (0, 1].
    level : float
        Nominal coverage of the intervals.
    target : {"population", "these_prompts"}, optional
        Whether intervals are for the average over the population that the prompts were drawn from,
        or over these very prompts, of which only the rollouts are random. By default "population",
        and "these_prompts" for a single prompt.
    prompt_intervals : bool
        Whether to give an interval for each prompt as well, on the assumption that the method's law
        is true.
    extrapolation_error : bool
        Whether intervals and bands of the average allow for the extrapolation error that the
        backtest shows, and not for sampling only.
    seed : int
        Seed of the draws behind the intervals, and of the backtest.

    Returns
    -------
    Forecast
        Curves, backtest and the recommended method.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, no prompt has enough rollouts
        for a method, or `methods` has beta_binomial and rewards are not 0 or 1.

    Examples
    --------
    >>> rewards = np.random.default_rng(0).normal(size=(64, 32))
    >>> curve = predict(rewards, 1024).curves["gaussian_tail"]
    >>> [round(float(line[-1]), 2) for line in (curve.value, curve.low, curve.high)]
    [3.17, 3.01, 3.33]
    """
    log = as_log(rewards)
    N = as_count("N", N)
    alpha = as_real("alpha", alpha, above=0.0, at_most=1.0)
    level = as_real("level", level, above=0.0, below=1.0)
    chosen = as_methods(methods, log)
    if target is None:
        target = "population" if len(log) > 1 else "these_prompts"
    as_choice("target", target, TARGETS)
    if target == "population" and len(log) == 1:
        raise ValueError(
            "target is 'population' and there is one prompt, which carries no information on "
            "others; give target='these_prompts' (--these-prompts), or a log of more prompts"
        )
    as_flag("prompt_intervals", prompt_intervals)
    as_flag("extrapolation_error", extrapolation_error)
    # a stream for each method, so that the others do not change its numbers
    seeds = {name: [as_seed("seed", seed), place] for place, name in enumerate(METHODS)}
    grid = budgets(N)
    backtest = _backtest.run(log, N, chosen, alpha, np.random.default_rng([seed, len(METHODS)]))
    curves = {}
    for name in chosen:
        allowance = np.zeros(len(grid))
        if extrapolation_error and backtest is not None and METHODS[name].extrapolates:
            allowance = backtest.allowance(name, grid, alpha)
        fit, rng = METHODS[name](log, grid, alpha), np.random.default_rng(seeds[name])
        curves[name] = _curve(name, fit, level, target, allowance, prompt_intervals, rng)
    return Forecast(
        log=log,
        N=N,
        target=target,
        level=level,
        curves=MappingProxyType(curves),
        backtest=backtest,
        recommended=_recommended(log, N, chosen, backtest),
    )


def _curve(
    name: str,
    fit: Method,
    level: float,
    target: str,
    allowance: Array,
    prompt_intervals: bool,
    rng: np.random.Generator,
) -> Curve:
    # the error of extrapolation grows with N: one draw of it moves the whole curve
    draws = fit.draws(target, DRAWS, rng) + rng.standard_normal((DRAWS, 1)) * allowance
    if METHODS[name].binary:
        draws = np.clip(draws, 0.0, 1.0)
    low, high = bands.pointwise(draws, level)
    band_low, band_high = bands.simultaneous(draws, level)
    ends = fit.prompt_bounds(level, rng) if prompt_intervals else (None, None)
    return Curve(
        method=name,
        grid=fit.grid,
        value=fit.average(target),
        low=low,
        high=high,
        band_low=band_low,
        band_high=band_high,
        allowance=allowance,
        prompts=(~np.isnan(fit.values)).sum(axis=0),
        prompt_values=fit.values,
        prompt_low=ends[0],
        prompt_high=ends[1],
        details=MappingProxyType(fit.details),
    )


def _recommended(log: RewardLog, N: int, chosen: Iterable[str], backtest: Backtest | None) -> str:
    names = list(chosen)
    if "max_at_k" in names and log.sizes.min() >= N:
        return "max_at_k"
    beyond = [name for name in names if METHODS[name].extrapolates] or names
    if backtest is None:
        return beyond[0]
    return min(beyond, key=lambda name: backtest.errors.get(name, np.inf))


def as_log(rewards: RewardLog | ArrayLike) -> RewardLog:
    """Return rewards as a log; the leading axes of an array are prompts."""
    if isinstance(rewards, RewardLog):
        return rewards
    array = np.asarray(rewards)
    return RewardLog.from_groups(
        array[None] if array.ndim == 1 else array.reshape(-1, array.shape[-1])
    )


def as_methods(methods: Sequence[str] | None, log: RewardLog) -> tuple[str, ...]:
    """Return the names of methods, checked against the log."""
    binary = log.is_binary
    if methods is None:
        suited = [name for name, method in METHODS.items() if method.binary == binary]
        methods = ["max_at_k", *(name for name in suited if name != "max_at_k")]
        most = int(log.sizes.max())
        methods = [name for name in methods if METHODS[name].least <= most]
    for name in methods:
        as_choice("method", name, tuple(METHODS))
        if METHODS[name].binary and not binary:
            raise ValueError(
                f"method is {name!r} and the rewards are not all 0 or 1; choose another method, or "
                "threshold the rewards first"
            )
        if METHODS[name].least > log.sizes.max():
            raise ValueError(
                f"method is {name!r}, which needs {METHODS[name].least} rollouts of a prompt; the "
                f"largest group has {log.sizes.max()}: draw more, or choose max_at_k"
            )
    if not methods:
        raise ValueError(f"methods is empty; give some of {', '.join(METHODS)}")
    return tuple(dict.fromkeys(methods))
