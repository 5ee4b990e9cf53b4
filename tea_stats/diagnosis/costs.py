"""What in a log troubles best-of-N estimators, by name, and what each costs a training batch.

Costs are measured on batches drawn from the log: prompts with replacement, rollouts from the
prompt's own rewards. "Squared advantages" are those of TEA, whose error grows with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tea_stats._validation import as_count, as_seed
from tea_stats.diagnosis import signs, values as _values
from tea_stats.diagnosis.findings import check_log
from tea_stats.diagnosis.values import Kind, Values
from tea_stats.estimators.rloo import RLOO
from tea_stats.estimators.tea import TEA
from tea_stats.families.law import Array
from tea_stats.resampling import PromptLaws, prompt_laws
from tea_stats.reward_log.log import RewardLog

#: fewer rollouts than this have no tail for TEA
LEAST_TAIL = 4


@dataclass(frozen=True)
class Trouble:
    """One trouble of a log.

    Attributes
    ----------
    name : str
        Key of `TROUBLES`.
    title : str
        What it is, in a few words.
    found : str
        What shows it in this log.
    cost, cost_mcse : float
        What it costs a batch, and the Monte Carlo standard error of that.
    meaning : str
        What `cost` is.
    cure : str
        What to do.
    """

    name: str
    title: str
    found: str
    cost: float
    cost_mcse: float
    meaning: str
    cure: str


@dataclass(frozen=True, eq=False)
class Sample:
    """Batches drawn from a log.

    Attributes
    ----------
    log : RewardLog
        The log.
    values : Values
        Its counts.
    laws : PromptLaws
        Its prompts.
    prompt : ndarray of int, shape (B, G)
        Which law each group is drawn from.
    rewards : ndarray, shape (B, G, m)
        The groups of B batches.
    """

    log: RewardLog
    values: Values
    laws: PromptLaws
    prompt: NDArray[np.intp]
    rewards: Array

    def advantages(self, rewards: Array) -> Array:
        """Return TEA's advantages for some budget; RLOO's of groups too small for a tail."""
        m = rewards.shape[-1]
        estimator = TEA() if m >= LEAST_TAIL else RLOO()
        return estimator.advantages(rewards, max(2 * m, 2))

    def squares(self, rewards: Array) -> Array:
        """Return the sum of squared advantages of each group, shape (B, G)."""
        return (self.advantages(rewards) ** 2).sum(axis=-1)


def troubles(
    log: RewardLog, *, m: int | None = None, prompts: int = 64, batches: int = 64, seed: int = 0
) -> tuple[Trouble, ...]:
    """Return the troubles of a log, and what each costs.

    Parameters
    ----------
    log : RewardLog
        Rewards by prompt.
    m : int, optional
        Rollouts per prompt in training, at least 2; by default the median of the log's groups.
    prompts : int
        Prompts in a batch.
    batches : int
        Batches drawn.
    seed : int
        Seed of everything random.

    Returns
    -------
    tuple of Trouble
        In the order of `TROUBLES`; empty where there is none, or all rewards are equal.

    Examples
    --------
    >>> rewards = np.random.default_rng(0).normal(size=(100, 16))
    >>> rewards[0] *= 1000.0
    >>> [trouble.name for trouble in troubles(RewardLog.from_groups(rewards))]
    ['outlier_prompt']
    """
    check_log(log)
    values = _values.count(log)
    size = min(256, max(2, values.median)) if m is None else as_count("m", m, at_least=2)
    prompts = as_count("prompts", prompts, at_least=2)
    batches = as_count("batches", batches, at_least=2)
    rng = np.random.default_rng(as_seed("seed", seed))
    if values.kind is Kind.CONSTANT or values.largest < 2:
        return ()
    few = values.kind is not Kind.CONTINUOUS
    laws = prompt_laws(log, size, few=few, rng=rng, posterior=False)
    chosen = rng.integers(len(laws), size=batches * prompts)
    rewards, _ = laws.draw(size, rng, chosen)
    shape = (batches, prompts)
    sample = Sample(log, values, laws, chosen.reshape(shape), rewards.reshape(*shape, size))
    named = (kind(sample) for kind in TROUBLES.values())
    return tuple(trouble for trouble in named if trouble is not None)


def mean(x: Array) -> tuple[float, float]:
    """Return the mean over batches with its standard error."""
    return float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x)))


def effective(squares: Array) -> Array:
    """Return the effective number of groups in each batch, (Σ s)²/Σ s², s summed squares."""
    top = squares.max(axis=-1, keepdims=True)
    s = squares / np.where(top > 0.0, top, 1.0)
    return np.asarray(s.sum(axis=-1) ** 2 / np.maximum((s**2).sum(axis=-1), 1e-300))


# --- the troubles --------------------------------------------------------------------------------


def dead_prompts(sample: Sample) -> Trouble | None:
    """Return whether many prompts have equal rewards only."""
    share = sample.values.degenerate.estimate
    if not share > signs.DEAD:
        return None
    live = (sample.rewards.max(axis=-1) > sample.rewards.min(axis=-1)).sum(axis=-1)
    groups = sample.rewards.shape[1]
    return Trouble(
        "dead_prompts",
        "dead prompts",
        f"{share:.0%} of the prompts have equal rewards only",
        *mean(live.astype(float)),
        f"groups of {groups} that carry a gradient",
        "leave out prompts that always or never succeed, or draw more rollouts of them",
    )


def few_values(sample: Sample) -> Trouble | None:
    """Return whether rewards have few values, so that a tail has no spread."""
    if sample.values.kind not in (Kind.BINARY, Kind.FEW_VALUED):
        return None
    differ = sample.rewards.max(axis=-1) > sample.rewards.min(axis=-1)
    silent = (sample.squares(sample.rewards) == 0.0) & differ
    share = silent.sum(axis=-1) / np.maximum(differ.sum(axis=-1), 1)
    return Trouble(
        "few_values",
        "few values",
        f"{sample.values.distinct} distinct rewards",
        *mean(share),
        "share of the groups with unequal rewards that TEA makes nothing of: their tail is tied",
        "use an estimator for few values (beta_binomial, max_at_k), or a finer reward",
    )


def ceiling(sample: Sample) -> Trouble | None:
    """Return whether many rollouts have the largest reward."""
    found = signs.ceiling(sample.log, sample.values)
    if found is None:
        return None
    top = sample.values.top
    tied = (sample.rewards == top).sum(axis=-1) >= 2
    return Trouble(
        "ceiling",
        "ceiling",
        found,
        *mean(tied.mean(axis=-1)),
        f"share of the groups whose two best both have {top:g}: more draws gain them nothing",
        "use harder prompts, or do not clip the reward",
    )


def mixture(sample: Sample) -> Trouble | None:
    """Return whether there are two kinds of completions: a format check plus a score."""
    found = signs.two_kinds(sample.log, sample.values)
    if found is None:
        return None
    A = sample.advantages(sample.rewards)
    upper = signs.upper_kind(sample.rewards)
    # within each group the mean advantage of each kind: what only tells the kinds apart
    explained = np.zeros(A.shape[:2])
    for kind in (upper, ~upper):
        count = kind.sum(axis=-1)
        explained += (A * kind).sum(axis=-1) ** 2 / np.maximum(count, 1)
    share = explained.sum(axis=-1) / np.maximum((A**2).sum(axis=(-2, -1)), 1e-300)
    return Trouble(
        "mixture",
        "two kinds of completions",
        f"a gap of {found.gap:.3g} parts the rewards of {found.share:.0%} of the prompts; "
        f"{found.upper:.0%} of their rollouts are above it, with a spread of {found.spread:.2g}",
        *mean(share),
        "share of the squared advantages that only tells the two kinds apart",
        "a format check plus a score: train on the score once the format is learnt, or use tea or "
        "max_at_k",
    )


def mixed_units(sample: Sample) -> Trouble | None:
    """Return whether prompts have rewards in different units."""
    ratio = signs.scale_ratio(sample.log, sample.values)
    # ranges of few values do not scatter as spreads do
    few = sample.values.kind is not Kind.CONTINUOUS
    if not signs.units_differ(ratio, math.inf if few else sample.values.median):
        return None
    return Trouble(
        "mixed_units",
        "mixed units",
        f"a tenth of the prompts has rewards {ratio:.3g} times as wide as another tenth",
        *mean(effective(sample.squares(sample.rewards))),
        f"groups of {sample.rewards.shape[1]} that count, by their squared advantages; "
        f"{effective(sample.squares(_own_units(sample))).mean():.3g} in each prompt's own unit",
        "give all prompts one unit, or divide each prompt's rewards by its spread over the log",
    )


def outlier_prompt(sample: Sample) -> Trouble | None:
    """Return whether one prompt has rewards far wider than all others."""
    found = signs.outlier(sample.log)
    if found is None:
        return None
    label, share = found
    squares = sample.squares(sample.rewards)
    widths = np.ptp(sample.rewards, axis=-1)
    # batches that have drawn it
    inside = widths.max(axis=-1) >= signs.WIDE * np.median(widths, axis=-1)
    most = squares.max(axis=-1) / np.maximum(squares.sum(axis=-1), 1e-300)
    most = most[inside] if inside.sum() >= 2 else most
    return Trouble(
        "outlier_prompt",
        "outlier prompt",
        f"prompt {signs.short(label)} has {share:.0%} of the variance within prompts",
        *mean(most),
        "share of the squared advantages that it has of a batch that it is in",
        "look at that prompt's rewards; clip them, or leave it out",
    )


def duplicates(sample: Sample) -> Trouble | None:
    """Return whether prompts have a completion several times."""
    found = signs.duplicates(sample.log, sample.values)
    if found is None:
        return None
    return Trouble(
        "duplicates",
        "duplicates",
        found.text,
        found.effective,
        found.effective_error,
        f"rollouts that count, of {found.rollouts:.3g} a prompt",
        "sample at a higher temperature, or drop copies; intervals that count them are too narrow",
    )


TROUBLES: Mapping[str, Callable[[Sample], Trouble | None]] = MappingProxyType(
    {
        "dead_prompts": dead_prompts,
        "few_values": few_values,
        "ceiling": ceiling,
        "mixture": mixture,
        "mixed_units": mixed_units,
        "outlier_prompt": outlier_prompt,
        "duplicates": duplicates,
    }
)


def _own_units(sample: Sample) -> Array:
    """Return the batches' rewards divided by their prompt's own unit.

    The standard deviation of its law; of few-valued rewards the largest less the smallest.
    """
    laws = sample.laws
    centre = (laws.masses * laws.values).sum(axis=1, keepdims=True)
    spread = np.sqrt((laws.masses * (laws.values - centre) ** 2).sum(axis=1))
    if sample.values.kind is not Kind.CONTINUOUS:
        seen = laws.masses > 0.0
        top = np.where(seen, laws.values, -np.inf).max(axis=1)
        spread = top - np.where(seen, laws.values, np.inf).min(axis=1)
    unit = np.where(spread > 0.0, spread, 1.0)[sample.prompt]
    return np.asarray(sample.rewards / unit[..., None])
