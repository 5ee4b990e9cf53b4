"""Best-of-N curves of a log by each method, with intervals, backtest and recommendation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from tea_stats._validation import as_choice, as_count, as_flag, as_real, as_seed
from tea_stats.families.law import Array
from tea_stats.prediction import backtest as _backtest, bands, evidence, pool, verdict
from tea_stats.prediction.backtest import Backtest
from tea_stats.prediction.evidence import Repeats
from tea_stats.prediction.few_valued import thresholds
from tea_stats.prediction.fit import Counts, Method
from tea_stats.prediction.forecast import Curve, Forecast, budgets
from tea_stats.prediction.methods import METHODS
from tea_stats.prediction.stack import PRIOR, Stack
from tea_stats.prediction.units import Units, within
from tea_stats.reward_log.log import RewardLog

#: what the average is taken over
TARGETS = ("population", "these_prompts")
#: draws behind intervals and bands
DRAWS = 4_000
#: stream of random numbers of the backtest; those before it, and after, are the methods' own
BACKTEST_STREAM = 8
#: budgets are integers that floating point represents exactly
LARGEST_N = 2**53


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
        Keys of `METHODS`. By default all that apply to the rewards: max@k, the stack, and, for
        rewards of few values, beta-binomial and logit-normal; for others the tails.
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
        for a method, or a method of `methods` is for rewards of few values and they are not, or the
        other way round.

    Examples
    --------
    >>> rewards = np.random.default_rng(0).normal(size=(64, 32))
    >>> curve = predict(rewards, 1024).curves["gaussian_tail"]
    >>> [round(float(line[-1]), 2) for line in (curve.value, curve.low, curve.high)]
    [3.17, 3.0, 3.33]
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
    as_seed("seed", seed)
    if N > LARGEST_N:
        raise ValueError(f"N is {N}; give at most 2^53 = {LARGEST_N}")
    few = thresholds(log)
    repeats = evidence.repeats(log)
    if repeats is not None and few is not None and not (repeats.by_text and repeats.copies > 1):
        repeats = None  # rewards of few values repeat, whatever the completions
    used = repeats.distinct if repeats is not None and repeats.copies > 1 else log
    options = _Options(budgets(N), alpha, level, target, prompt_intervals, extrapolation_error)
    least = -np.inf if few is None else 0.0 if log.is_binary else float(few[0])
    options = replace(options, least=least, top=_largest(log, few))
    fits, backtest, curves = _predicted(used, N, chosen, options, seed)
    within_reach = evidence.depth(used)
    if few is None or len(few) > 1 or log.is_binary:  # one value tells nothing of others
        within_reach = evidence.reach(within_reach, few is not None)
    if repeats is not None and repeats.copies == 1 and "stack" in curves:
        within_reach = min(
            within_reach, evidence.reach(evidence.depth(repeats.distinct), few_valued=False)
        )
        curves["stack"] = _both(curves["stack"], repeats, N, options, seed)
    agreement = pool.Agreement()
    if isinstance(stack := fits.get("stack"), Stack):
        agreement = stack.agreement(target)
        within_reach = min(within_reach, agreement.until or within_reach)
        curves["stack"] = _cut(curves["stack"], within_reach)
    told = used if repeats is None else repeats.distinct
    best = verdict.recommended(told, N, chosen, backtest, few is not None)
    value = curves[best].value
    return Forecast(
        log=log,
        N=N,
        target=target,
        level=level,
        curves=MappingProxyType(curves),
        backtest=backtest,
        recommended=best,
        reach=within_reach,
        reason=verdict.reason(told, N, best, value, fits, backtest, within_reach, agreement),
        notes=tuple(verdict.notes(log, N, fits, options.top, repeats)),
    )


@dataclass(frozen=True)
class _Options:
    grid: Counts
    alpha: float
    level: float
    target: str
    prompt_intervals: bool
    extrapolation_error: bool
    least: float = -np.inf
    top: float | None = None


def _predicted(
    log: RewardLog, N: int, chosen: Sequence[str], options: _Options, seed: int
) -> tuple[dict[str, Method], Backtest | None, dict[str, Curve]]:
    """Return fits, backtest and curves of one log, in the rewards' own units."""
    # a stream for each method, so that the others do not change its numbers
    streams = (place for place in range(len(METHODS) + 1) if place != BACKTEST_STREAM)
    seeds = {name: [seed, place] for name, place in zip(METHODS, streams, strict=True)}
    units = Units.of(log)
    numbers, most = units.numbers(log), int(log.sizes.max())
    tails = thresholds(log) is None and "stack" in chosen
    parts = [name for name in ("max_at_k", *PRIOR) if METHODS[name].least <= most] if tails else []
    names = tuple(dict.fromkeys((*chosen, *parts)))
    rng = np.random.default_rng([seed, BACKTEST_STREAM])
    test = _backtest.run(numbers, N, names, options.alpha, rng)
    fits: dict[str, Method] = {
        name: METHODS[name](numbers, options.grid, options.alpha)
        for name in names
        if name != "stack"
    }
    if "stack" in chosen:
        stack = Stack(
            numbers,
            options.grid,
            options.alpha,
            fits if tails else None,
            test if options.extrapolation_error else None,
        )
        fits["stack"] = stack
        test = _with_stack(test, stack)
    curves = {}
    for name in chosen:
        allowance = np.zeros(len(options.grid))
        if name == "stack":
            allowance = fits[name].allowance()
        elif options.extrapolation_error and test is not None and METHODS[name].extrapolates:
            allowance = test.allowance(name, options.grid, options.alpha)
        curves[name] = _curve(
            name, fits[name], options, allowance, units, np.random.default_rng(seeds[name])
        )
    return fits, units.backtest(test), curves


def _with_stack(test: Backtest | None, stack: Method) -> Backtest | None:
    """Return the backtest with the stack's own: its weights, which this backtest has given it."""
    weights = stack.details.get("weights", {})
    if test is None or not weights or not all(name in test.predicted for name in weights):
        return test
    line = np.sum([w * test.predicted[name] for name, w in weights.items()], axis=0)
    own = np.sum([w * test.scales[test.m][name] for name, w in weights.items()], axis=0)
    noise = np.nan if len(own) < 2 else float(own.std(ddof=1) / np.sqrt(len(own)))
    return replace(
        test,
        predicted={**test.predicted, "stack": line},
        errors={**test.errors, "stack": float(np.sqrt(np.mean((line - test.truth) ** 2)))},
        biases={**test.biases, "stack": float(line[-1] - test.truth[-1])},
        standard_errors={**test.standard_errors, "stack": noise},
    )


def _curve(
    name: str,
    fit: Method,
    options: _Options,
    allowance: Array,
    units: Units,
    rng: np.random.Generator,
) -> Curve:
    draws = fit.draws(options.target, DRAWS, rng)
    if name != "stack":  # whose draws have it
        # the error of extrapolation grows with N: one draw of it moves the whole curve
        draws = draws + rng.standard_normal((DRAWS, 1)) * allowance
    (value, draws) = within(
        (units.rewards(fit.average(options.target)), units.rewards(draws)),
        options.least,
        options.top,
    )
    low, high = _around(value, bands.pointwise(draws, options.level))
    band_low, band_high = _around(value, bands.simultaneous(draws, options.level))
    prompt_values, *ends = within(
        tuple(
            units.rewards(part)
            for part in (
                fit.values,
                *(fit.prompt_bounds(options.level, rng) if options.prompt_intervals else ()),
            )
        ),
        options.least,
        options.top,
    )
    return Curve(
        method=name,
        grid=fit.grid,
        value=value,
        low=low,
        high=high,
        band_low=band_low,
        band_high=band_high,
        allowance=units.sizes(allowance),
        prompts=fit.averaged_prompts(),
        prompt_values=prompt_values,
        prompt_low=ends[0] if ends else None,
        prompt_high=ends[1] if ends else None,
        details=MappingProxyType(fit.details),
    )


def _around(value: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return ends that contain the value, which next to a bound may lie outside quantiles."""
    low, high = ends
    unknown = np.isnan(value)
    return (
        np.where(unknown, low, np.minimum(low, value)),
        np.where(unknown, high, np.maximum(high, value)),
    )


def _both(curve: Curve, repeats: Repeats, N: int, options: _Options, seed: int) -> Curve:
    """Return a curve that holds whether repeats are the policy's own or copies of rows."""
    _, _, curves = _predicted(repeats.distinct, N, ("stack",), options, seed)
    other = curves["stack"]
    wider = {
        line: choose(getattr(curve, line), getattr(other, line))
        for line, choose in (
            ("low", np.minimum),
            ("band_low", np.minimum),
            ("high", np.maximum),
            ("band_high", np.maximum),
        )
    }
    return replace(curve, value=(curve.value + other.value) / 2.0, **wider)


def _largest(log: RewardLog, few: Array | None) -> float | None:
    """Return the value that no reward exceeds, if the log shows one."""
    if few is None:
        return evidence.ceiling(log)
    # failures alone are failures of a 0/1 reward: a success may still come
    return 1.0 if log.is_binary else float(few[-1])


def _cut(curve: Curve, reach: int) -> Curve:
    """Return the curve without values beyond reach."""
    known = evidence.known(curve.grid, reach)
    lines = ["value", "low", "high", "band_low", "band_high", "prompt_values"]
    lines += [] if curve.prompt_low is None else ["prompt_low", "prompt_high"]
    return replace(curve, **{line: getattr(curve, line) * known for line in lines})


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
    few = thresholds(log) is not None
    if methods is None:
        suited = [
            name
            for name, method in METHODS.items()
            if name in ("max_at_k", "stack") or method.few_valued == few
        ]
        methods = ["max_at_k", *(name for name in suited if name != "max_at_k")]
        most = int(log.sizes.max())
        methods = [name for name in methods if METHODS[name].least <= most]
    for name in methods:
        as_choice("method", name, tuple(METHODS))
        if METHODS[name].few_valued and not few:
            raise ValueError(
                f"method is {name!r} and the rewards are not all 0 or 1, nor of few values; choose "
                "another method, or threshold the rewards first"
            )
        if METHODS[name].least > log.sizes.max():
            raise ValueError(
                f"method is {name!r}, which needs {METHODS[name].least} rollouts of a prompt; the "
                f"largest group has {log.sizes.max()}: draw more, or choose max_at_k"
            )
    if not methods:
        raise ValueError(f"methods is empty; give some of {', '.join(METHODS)}")
    return tuple(dict.fromkeys(methods))
