"""The difference of two policies' best-of-N, with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from tea_stats._validation import as_choice, as_count, as_real, as_seed
from tea_stats.comparison.differences import Difference, paired, same_prompts, unpaired
from tea_stats.comparison.pairs import Pairs, divided, pair, unit
from tea_stats.comparison.values import usual_method
from tea_stats.families.law import Array
from tea_stats.prediction.curves import TARGETS
from tea_stats.prediction.methods import METHODS
from tea_stats.reward_log.log import RewardLog

#: fewer prompts with a difference than this make an interval too narrow
FEW_DIFFERENT = 10
#: fewer prompts are a small sample of the population
FEW_PROMPTS = 8


@dataclass(frozen=True, eq=False)
class Comparison:
    """Best-of-N of two policies and its difference, b − a; in reward units.

    Attributes
    ----------
    N : int
        Budget.
    level : float
        Nominal coverage of the interval.
    target : {"population", "these_prompts"}
        What the interval is for.
    method : str
        "max_at_k", unbiased, where every prompt has N rollouts; else a key of `METHODS`, which
        extrapolates.
    paired : bool
        Whether prompts were compared one by one.
    pairs : Pairs
        The prompts compared.
    value_a, value_b : float
        Best-of-N of each.
    difference, low, high : float
        value_b − value_a, and the ends of its interval.
    standard_error, freedom : float
        Of the sampling, without `allowance`; degrees of freedom of Student's t.
    allowance : float
        Standard deviation added for the error of the extrapolation, by the backtest of the
        difference itself; 0 within the rollouts.
    each : ndarray, shape (P,), or None
        Difference of each pair of prompts.
    unpaired_error : float
        What the standard error would be without pairs; nan where there are none.
    notes : tuple of str
        Caveats.
    """

    N: int
    level: float
    target: str
    method: str
    paired: bool
    pairs: Pairs
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    standard_error: float
    freedom: float
    allowance: float
    each: Array | None
    unpaired_error: float
    notes: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.low <= 0.0 <= self.high


def compare(
    a: RewardLog,
    b: RewardLog,
    N: int,
    *,
    level: float = 0.95,
    target: str | None = None,
    method: str | None = None,
    alpha: float = 0.25,
    seed: int = 0,
) -> Comparison:
    """Return by how much the best of N of policy b exceeds that of policy a.

    Parameters
    ----------
    a, b : RewardLog
        Rewards of the two policies; prompts with the same label are pairs.
    N : int
        Budget of best-of-N.
    level : float
        Nominal coverage of the interval.
    target : {"population", "these_prompts"}, optional
        Whether the interval is for the average over the population that the prompts come from, or
        over these prompts, of which only the rollouts are random. By default "population", and
        "these_prompts" where one prompt is compared.
    method : str, optional
        A key of `prediction.METHODS`. By default "max_at_k" where every prompt has N rollouts; else
        "linear", or "beta_binomial" for rewards of few values, threshold by threshold.
    alpha : float
        Share of the rollouts that the Gaussian and the Pareto tail are fitted to.
    seed : int
        Seed of the draws for these prompts.

    Returns
    -------
    Comparison
        The difference, its interval, and what they rest on.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, or a method does not suit the
        logs.

    Notes
    -----
    Population, paired: with d_i the difference of prompt i, the interval is d̄ ± t_{P−1} s/√P. The
    d_i of different prompts are independent, whatever their rollouts do, so that s has the spread
    between prompts and the noise of the rollouts. Where a method fits something to all prompts, the
    error is a jackknife's that leaves out groups of prompts and fits again. Where N is beyond the
    rollouts, the standard deviation `allowance` is added: the error
    that the difference extrapolated from m of the rollouts to all of them has, beyond its noise,
    taken to grow as in `prediction.Backtest.allowance`. Not paired: Welch's t. Where no prompt
    differs, the interval is that of the share of prompts that do, times the range of the rewards.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> quality = rng.normal(size=(100, 1))  # of the prompts
    >>> before = RewardLog.from_groups(quality + rng.normal(size=(100, 32)))
    >>> after = RewardLog.from_groups(quality + 0.2 + rng.normal(size=(100, 32)))
    >>> result = compare(before, after, 16)
    >>> [round(x, 2) for x in (result.difference, result.low, result.high)]
    [0.24, 0.15, 0.33]
    """
    for name, log in (("a", a), ("b", b)):
        if not isinstance(log, RewardLog):
            raise TypeError(
                f"{name} is of type {type(log).__name__}; give a RewardLog: reward_log.read(path)"
            )
    N = as_count("N", N)
    level = as_real("level", level, above=0.0, below=1.0)
    alpha = as_real("alpha", alpha, above=0.0, at_most=1.0)
    pairs = pair(a, b)
    single = min(len(pairs.a), len(pairs.b)) == 1
    if target is None:
        target = "these_prompts" if single else "population"
    as_choice("target", target, TARGETS)
    if target == "population" and single:
        raise ValueError(
            "target is 'population' and there is one prompt to compare, which carries no "
            "information on others; give target='these_prompts' (--these-prompts)"
        )
    name = usual_method(pairs.a, pairs.b, N) if method is None else method
    _check_method(name, pairs, N)
    _not_all_equal(pairs, N)
    rng = np.random.default_rng(as_seed("seed", seed))
    by = unit(pairs.a, pairs.b)
    inner = replace(pairs, a=divided(pairs.a, by), b=divided(pairs.b, by))
    if target == "these_prompts":
        found = same_prompts(inner, N, name, alpha, rng)
    elif pairs.paired:
        found = paired(inner, N, name, alpha)
    else:
        found = unpaired(inner, N, name, alpha)
    return _result(pairs, N, level, target, name, found.times(by))


def _result(
    pairs: Pairs, N: int, level: float, target: str, method: str, found: Difference
) -> Comparison:
    difference = found.value_b - found.value_a
    half = _half_width(found, level)
    bound = math.inf
    if pairs.a.is_binary and pairs.b.is_binary:
        bound = 1.0
    if found.standard_error == 0.0 and target == "population":
        half = max(half, _none_differs(pairs, level))
    return Comparison(
        N=N,
        level=level,
        target=target,
        method=method,
        paired=pairs.paired,
        pairs=pairs,
        value_a=found.value_a,
        value_b=found.value_b,
        difference=difference,
        low=max(difference - half, -bound),
        high=min(difference + half, bound),
        standard_error=found.standard_error,
        freedom=found.freedom,
        allowance=found.allowance,
        each=found.each,
        unpaired_error=found.unpaired_error,
        notes=tuple(_notes(pairs, N, target, method, found)),
    )


def _half_width(found: Difference, level: float) -> float:
    if math.isnan(found.standard_error):
        return math.inf
    total = math.hypot(found.standard_error, found.allowance)
    return float(special.stdtrit(found.freedom, 0.5 + 0.5 * level)) * total


def _none_differs(pairs: Pairs, level: float) -> float:
    """Return the range of the rewards times the largest share of prompts that may differ."""
    share = 1.0 - (1.0 - level) ** (1.0 / min(len(pairs.a), len(pairs.b)))
    return _range(pairs) * share


def _range(pairs: Pairs) -> float:
    """Return how far two rewards can lie apart: 1 for 0/1 rewards, else as far as in the logs."""
    binary = pairs.a.is_binary and pairs.b.is_binary
    return 1.0 if binary else float(np.ptp(np.concatenate([pairs.a.rewards, pairs.b.rewards])))


def _not_all_equal(pairs: Pairs, N: int) -> None:
    """Refuse logs of one reward, where nothing tells how far apart others are, or how rare."""
    value = pairs.a.rewards[0]
    equal = (pairs.a.rewards == value).all() and (pairs.b.rewards == value).all()
    have = min(pairs.a.sizes.min(), pairs.b.sizes.min())
    if equal and (_range(pairs) == 0.0 or have < N):
        raise ValueError(
            f"every reward of both logs is {value:g}, which tells nothing of a best of {N}; draw "
            "more rollouts, or give logs whose rewards differ"
        )


def _check_method(method: str, pairs: Pairs, N: int) -> None:
    as_choice("method", method, tuple(METHODS))
    least = int(min(pairs.a.sizes.min(), pairs.b.sizes.min()))
    if method == "max_at_k" and least < N:
        raise ValueError(
            f"N is {N} and a prompt has {least} rollouts, fewer than 'max_at_k' needs; give an N "
            f"up to {least}, or a method that extrapolates (linear, beta_binomial)"
        )
    if least < METHODS[method].least:
        raise ValueError(
            f"method is {method!r}, which needs {METHODS[method].least} rollouts of each prompt; "
            f"one has {least}: draw more, or give N up to {least}"
        )


def _notes(pairs: Pairs, N: int, target: str, method: str, found: Difference) -> list[str]:
    notes = []
    if not pairs.paired:
        notes.append(
            "the logs have no two prompts in common, so they are compared as two independent "
            "samples of prompts (Welch); with the same prompts the interval would be narrower"
        )
    elif pairs.by_place:
        notes.append(
            "prompts have no labels but their numbers: they are paired by their place in the logs"
        )
    if pairs.paired and pairs.alone_a + pairs.alone_b:
        notes.append(
            f"{pairs.alone_a:,} prompts of the first log and {pairs.alone_b:,} of the second have "
            "no counterpart and are left out"
        )
    if target == "population" and len(pairs.a) < FEW_PROMPTS:
        notes.append(f"{len(pairs.a)} prompts are a small sample of the population they come from")
    if found.each is not None and target == "population":
        different = int((found.each != 0.0).sum())
        if different == 0:
            notes.append(
                "no prompt differs: the interval is that of the share of prompts that may, times "
                "the range of the rewards"
            )
        elif different < min(FEW_DIFFERENT, len(found.each)):
            notes.append(f"only {different} prompts differ: the interval may be too narrow")
    if method != "max_at_k":
        least = int(min(pairs.a.sizes.min(), pairs.b.sizes.min()))
        notes.append(
            f"N = {N} is beyond the {least} rollouts that every prompt has: {METHODS[method].title}"
            f" extrapolates both logs; up to N = {least} nothing need be extrapolated"
        )
        if math.isnan(found.backtest):
            notes.append("too few rollouts for a backtest: the interval is of the sampling only")
    return notes
