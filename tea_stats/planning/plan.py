"""How many prompts and rollouts: for an interval of a given width, or to detect a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from tea_stats._validation import as_count, as_counts, as_real, as_seed
from tea_stats.comparison.pairs import divided, pair, unit
from tea_stats.comparison.values import few_valued
from tea_stats.families.law import Array
from tea_stats.planning.components import Components, components
from tea_stats.planning.extrapolated import simulate
from tea_stats.planning.sizes import prompts_for_power, prompts_for_width
from tea_stats.reward_log.log import RewardLog

#: rollouts tried by default, as multiples of N: the first ones extrapolate
MULTIPLES = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
#: fewer rollouts cannot be extrapolated from
LEAST_M = 8
#: a bias of this share of the goal costs an interval little of its coverage
TOLERATED = 1 / 4


@dataclass(frozen=True)
class Design:
    """A number of rollouts, and the prompts that it takes.

    Attributes
    ----------
    m : int
        Rollouts of each prompt, in each log.
    prompts : int
        Prompts that suffice if the pilot's variances are the true ones.
    assured : int
        Prompts that suffice for a share `assurance` of pilots like this one.
    rollouts : int
        m times `assured`, in each log.
    between, within : float
        Variance of one prompt's value: between prompts, and from its rollouts.
    method : str
        "max_at_k", or the method that extrapolates where m < N.
    bias : float
        Its mean error on the pilot's laws, in reward units, which no number of prompts lowers; 0
        for the difference of two policies alike.
    """

    m: int
    prompts: int
    assured: int
    rollouts: int
    between: float
    within: float
    method: str
    bias: float


@dataclass(frozen=True)
class Plan:
    """Designs that reach a goal, and what they rest on.

    Attributes
    ----------
    N : int
        Budget.
    half_width, difference : float or None
        The goal, in reward units; one of them.
    level, power, assurance : float
        Of the interval; of the test, for `difference`; see `Design.assured`.
    pilot_prompts : int
        Prompts of the pilot that were used.
    value : float
        Best-of-N of the pilot, or its difference.
    paired : bool
        Whether the plan is for a difference.
    assumed : float or None
        Standard deviation, between prompts, of the true difference, where no second pilot shows it.
    extrapolated : bool
        Whether the pilot has too few rollouts for an unbiased best-of-N: what is said of N then
        rests on the tail fitted to it.
    designs : tuple of Design
        By m.
    best, cheapest : Design
        The one of fewest rollouts that does not extrapolate; and of all whose bias is at most a
        quarter of the goal.
    """

    N: int
    half_width: float | None
    difference: float | None
    level: float
    power: float
    assurance: float
    pilot_prompts: int
    value: float
    paired: bool
    assumed: float | None
    extrapolated: bool
    designs: tuple[Design, ...]
    best: Design
    cheapest: Design


def plan(
    pilot: RewardLog,
    N: int,
    *,
    half_width: float | None = None,
    difference: float | None = None,
    against: RewardLog | None = None,
    varies: float = 1.0,
    m: int | Sequence[int] | None = None,
    level: float = 0.95,
    power: float = 0.8,
    assurance: float = 0.8,
    seed: int = 0,
) -> Plan:
    """Return how many prompts and rollouts reach a goal, from a pilot log.

    Parameters
    ----------
    pilot : RewardLog
        Rewards of a policy like the one to be measured, on prompts like those to be used.
    N : int
        Budget of best-of-N.
    half_width : float, optional
        Half the width of the interval to be reached, in reward units: of best-of-N, or with
        `against` of the difference.
    difference : float, optional
        Difference of two policies' best-of-N to be detected on the same prompts, in reward units.
        Give this or `half_width`.
    against : RewardLog, optional
        Pilot of the other policy, on prompts with the same labels.
    varies : float
        Without `against`: standard deviation, between prompts, of the true difference, as a
        multiple of `difference`.
    m : int or sequence of int, optional
        Rollouts of each prompt; by default N/8 (at least 8) to 4 N.
    level : float
        Nominal coverage of the interval; 1 − level is the level of the test.
    power : float
        Chance to detect the difference.
    assurance : float
        Share of pilots like this one whose plan is large enough.
    seed : int
        Seed of everything random.

    Returns
    -------
    Plan
        A design for each m.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value, or the pilot has too little to plan by.

    Notes
    -----
    A prompt's value has the variance τ² + ω²(m), see `tea_stats.planning.components`. P is the
    least number of prompts whose t interval has the half-width (`prompts_for_width`), or whose
    paired test has the power (`prompts_for_power`); `assured` takes the variance at the upper end
    of its own one-sided interval, by leaving out prompts of the pilot. For m < N a
    method of `prediction` is run on logs drawn from the pilot's laws, and its variance measured.

    Examples
    --------
    >>> pilot = RewardLog.from_groups(np.random.default_rng(0).normal(size=(64, 32)))
    >>> best = plan(pilot, 8, half_width=0.05, m=[8, 16]).best
    >>> best.m, best.prompts, best.assured
    (16, 245, 263)
    """
    goal = _goal(pilot, against, half_width, difference)
    N = as_count("N", N)
    level = as_real("level", level, above=0.0, below=1.0)
    power = as_real("power", power, above=0.0, below=1.0)
    assurance = as_real("assurance", assurance, above=0.0, below=1.0)
    varies = as_real("varies", varies, at_least=0.0)
    rng = np.random.default_rng(as_seed("seed", seed))
    first, second = pilot, against
    if against is not None:
        pairs = pair(pilot, against)
        if not pairs.paired:
            raise ValueError(
                "the two pilots have no two prompts in common; give logs of the same prompts, by "
                "the same labels (--prompt)"
            )
        first, second = pairs.a, pairs.b
    pilots = [first] if second is None else [first, second]
    if all((log.rewards == pilot.rewards[0]).all() for log in pilots):
        raise ValueError(
            f"every reward of the pilot is {pilot.rewards[0]:g}, which tells nothing of how they "
            "vary; give a pilot whose rewards differ"
        )
    by = unit(first) if second is None else unit(first, second)
    first = divided(first, by)
    second = None if second is None else divided(second, by)
    found = components(first, N, rng, second)
    assumed = varies * float(difference) if difference is not None and against is None else None
    goal = goal / by
    sizes = _sizes(N, m, few_valued(first, *([second] if second else [])))
    designs = []
    for size in sizes:
        within, bias, method = _within(found, size, rng)
        between, scale, error = found.between, 1.0, found.error(within)
        if assumed is not None:  # the noise of two policies like the pilot's, whose biases cancel
            between, scale, bias = (assumed / by) ** 2, 2.0, 0.0
            error = scale * float(within.std(ddof=1)) / math.sqrt(len(within))
        total = between + scale * float(within.mean())
        worst = total + max(0.0, float(special.ndtri(assurance))) * error
        if half_width is not None:
            counts = [prompts_for_width(v, goal, level) for v in (total, worst)]
        else:
            counts = [prompts_for_power(v, goal, level, power) for v in (total, worst)]
        designs.append(
            Design(
                m=size,
                prompts=counts[0],
                assured=counts[1],
                rollouts=size * counts[1],
                between=between * by**2,
                within=scale * float(within.mean()) * by**2,
                method=method,
                bias=bias * by,
            )
        )
    unbiased = [design for design in designs if design.method == "max_at_k"]
    exact = [design for design in designs if abs(design.bias) <= TOLERATED * goal * by]
    return Plan(
        N=N,
        half_width=half_width,
        difference=difference,
        level=level,
        power=power,
        assurance=assurance,
        pilot_prompts=len(found.product),
        value=found.value * by,
        paired=difference is not None or against is not None,
        assumed=assumed,
        extrapolated=found.extrapolated,
        designs=tuple(designs),
        best=min(unbiased or designs, key=lambda design: design.rollouts),
        cheapest=min(exact or designs, key=lambda design: design.rollouts),
    )


def _goal(
    pilot: RewardLog,
    against: RewardLog | None,
    half_width: float | None,
    difference: float | None,
) -> float:
    for name, log in (("pilot", pilot), ("against", against)):
        if not isinstance(log, RewardLog) and not (name == "against" and log is None):
            raise TypeError(
                f"{name} is of type {type(log).__name__}; give a RewardLog: reward_log.read(path)"
            )
    if (half_width is None) == (difference is None):
        given = "neither" if half_width is None else "both"
        raise ValueError(
            f"{given} of half_width and difference are given; give the half-width of the interval, "
            "or the difference to detect"
        )
    if half_width is not None:
        return as_real("half_width", half_width, above=0.0)
    return as_real("difference", difference, above=0.0)


def _sizes(N: int, m: int | Sequence[int] | None, few: bool) -> list[int]:
    """Return the rollouts to try; few-valued rewards have no method for single prompts below N."""
    if m is not None:
        sizes = sorted(set(as_counts("m", m, at_least=2 if N > 1 else 1)))
    else:
        usual = {max(1, round(N * share)) for share in MULTIPLES}
        sizes = sorted(size for size in usual if size >= N or size >= LEAST_M)
    if few or N < 2 * LEAST_M:
        short = [size for size in sizes if size < N]
        if m is not None and short:
            raise ValueError(
                f"m is {short[0]} and N is {N}: rewards of few values, and an N below "
                f"{2 * LEAST_M}, are planned with m ≥ N rollouts only; give such an m"
            )
        sizes = [size for size in sizes if size >= N]
    return sizes


def _within(found: Components, m: int, rng: np.random.Generator) -> tuple[Array, float, str]:
    """Return ω_i²(m), the bias and the method of a design."""
    if m >= found.N:
        return found.within(m), 0.0, "max_at_k"
    within, bias = simulate(found.laws, found.N, m, rng)
    return within, bias, "linear"
