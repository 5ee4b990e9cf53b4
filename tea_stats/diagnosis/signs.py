"""The signs by which troubles are told: shares and ratios of the log, with their thresholds.

Thresholds are such that logs of one smooth law for all prompts, heavy-tailed or skewed, show none
of them; a test draws such logs.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tea_stats.diagnosis.values import Kind, Values
from tea_stats.families.law import Array
from tea_stats.reward_log.log import RewardLog

#: share of prompts with equal rewards only, as in the verdict "rewards differ"
DEAD = 0.2
#: ratio of the 90 % to the 10 % quantile of the prompts' spreads; small groups need more
UNITS = 8.0
#: an outlier's spread over the median, and its share of the variance within prompts
WIDE, MOST = 10.0, 0.5
#: share of a group's variance that two kinds explain; of prompts where they do, more for small
#: groups; rollouts it needs
EXPLAINED, TWO_KINDS, LEAST = 0.9, 0.25, 8
#: rollouts of a kind
EACH_KIND = 2
#: share of the prompts at the ceiling, as in the verdict; repetitions of the largest reward where
#: others are not repeated
AT_CEILING, REPEATED = 0.2, 3
#: share of the rollouts that repeat another
DUPLICATES = 0.05


class TwoKinds(NamedTuple):
    """Two kinds of completions: share of prompts that show them, gap, share above, spread."""

    share: float
    gap: float
    upper: float
    spread: float


class Duplicates(NamedTuple):
    """What was counted; rollouts a prompt, and how many of them count, with standard error."""

    text: str
    rollouts: float
    effective: float
    effective_error: float


def spreads(log: RewardLog) -> Array:
    """Return the standard deviation of each prompt's rewards, 0 for single ones, shape (P,)."""
    spread = np.zeros(len(log))
    for places, rewards in log.by_size():
        if rewards.shape[1] >= 2:
            spread[places] = rewards.std(axis=1, ddof=1)
    return spread


def scale_ratio(log: RewardLog, values: Values) -> float:
    """Return the 90 % over the 10 % quantile of spreads above zero, nan without ten of them.

    Of few-valued rewards the spread is the range, which is their unit; a rare success is no unit.
    """
    spread = spreads(log)
    if values.kind is not Kind.CONTINUOUS:
        starts = log.offsets[:-1]
        spread = np.maximum.reduceat(log.rewards, starts) - np.minimum.reduceat(log.rewards, starts)
    spread = spread[spread > 0.0]
    if len(spread) < 10:
        return float("nan")
    low, high = np.quantile(spread, (0.1, 0.9))
    return float(high / low)


def units_differ(ratio: float, rollouts: float) -> bool:
    """Whether spreads of that ratio are more than those of groups of so many rollouts scatter."""
    return ratio >= UNITS * (1.0 + LEAST / rollouts)


def outlier(log: RewardLog) -> tuple[Hashable, float] | None:
    """Return the label of a prompt far wider than others, and its share of the variance."""
    spread = spreads(log)
    usable = spread[spread > 0.0]
    if len(usable) < 4:
        return None
    place = int(np.argmax(spread))
    relative = spread / spread[place]
    share = 1.0 / float((relative**2).sum())
    if spread[place] < WIDE * np.median(usable) or share < MOST:
        return None
    return log.prompts[place], share


def ceiling(log: RewardLog, values: Values) -> str | None:
    """Return what shows a ceiling, or None."""
    if values.at_ceiling.estimate > AT_CEILING:
        return (
            f"the best of {values.at_ceiling.estimate:.0%} of the prompts has the largest reward, "
            f"{values.top:g}"
        )
    count = int((log.rewards == values.top).sum())
    rollouts_a_value = values.rollouts / values.distinct
    if values.kind is Kind.CONTINUOUS and count >= REPEATED * max(rollouts_a_value, 1.0):
        _, inverse = np.unique(log.rewards, return_inverse=True)
        usual = np.bincount(inverse)
        # rounded rewards are repeated everywhere, but less and less towards the largest
        if count > REPEATED * usual[-11:-1].max(initial=1):
            return (
                f"{count} rollouts have the largest reward, {values.top:g}; just below it next to "
                "none are equal"
            )
    return None


def best_split(ascending: Array) -> tuple[NDArray[np.intp], Array]:
    """Return the split of each sorted group that explains most of its variance.

    How many rewards are above it, and the share that it explains; shapes (G,).
    """
    m = ascending.shape[1]
    centred = ascending - ascending.mean(axis=1, keepdims=True)
    above = np.cumsum(centred[:, ::-1], axis=1)[:, :-1]  # sums of the k largest, k = 1 … m − 1
    k = np.arange(1, m)
    between = above**2 * (1.0 / k + 1.0 / (m - k)) / m
    total = (centred**2).mean(axis=1)
    place: NDArray[np.intp] = between.argmax(axis=1)
    best = np.take_along_axis(between, place[:, None], axis=1)[:, 0]
    return place + 1, best / np.where(total > 0.0, total, 1.0)


def upper_kind(rewards: Array) -> NDArray[np.bool_]:
    """Return which rewards of each group are above its best split, shape (..., m)."""
    flat = rewards.reshape(-1, rewards.shape[-1])
    ascending = np.sort(flat, axis=1)
    count, _ = best_split(ascending)
    lowest = np.take_along_axis(ascending, (flat.shape[1] - count)[:, None], axis=1)
    return np.asarray(flat >= lowest).reshape(rewards.shape)


def two_kinds(log: RewardLog, values: Values) -> TwoKinds | None:
    """Return the two kinds of completions of a log of continuous rewards, or None."""
    if values.kind is not Kind.CONTINUOUS:
        return None
    eligible = shown = 0
    gaps, uppers, inner = [], [], []
    for _, rewards in log.by_size():
        m = rewards.shape[1]
        if m < LEAST:
            continue
        ascending = np.sort(rewards, axis=1)
        ascending = ascending[ascending[:, -1] > ascending[:, 0]]
        count, explained = best_split(ascending)
        both = (explained >= EXPLAINED) & (count >= EACH_KIND) & (count <= m - EACH_KIND)
        eligible += len(ascending)
        shown += int(both.sum())
        rows = np.flatnonzero(both)
        lowest = m - count[rows]
        gaps.append(ascending[rows, lowest] - ascending[rows, lowest - 1])
        uppers.append(count[rows] / m)
        for row, low in zip(rows.tolist(), lowest.tolist(), strict=True):
            inner.append(ascending[row, low:].std())
    needed = TWO_KINDS * (1.0 + LEAST / values.median)
    if not eligible or shown < max(needed * eligible, 2):
        return None
    upper = float(np.concatenate(uppers).mean())
    gap = float(np.median(np.concatenate(gaps)))
    return TwoKinds(shown / eligible, gap, upper, float(np.median(inner)))


def duplicates(log: RewardLog, values: Values) -> Duplicates | None:
    """Return the repeated completions of a log, by their text where it has them, or None.

    Without texts, equal rewards of one prompt count where rewards are continuous and those of
    different prompts are hardly ever equal.
    """
    texts = getattr(log, "completions", None)
    if texts is None:
        if values.kind is not Kind.CONTINUOUS or _shared_values(log):
            return None
        kinds, what = log.rewards, "rewards"
    else:
        kinds, what = np.asarray(texts), "completions"
    owner = np.repeat(np.arange(len(log)), log.sizes)
    if texts is None:  # a dead prompt is another trouble
        alive = np.repeat(spreads(log) > 0.0, log.sizes)
        owner, kinds = owner[alive], kinds[alive]
    order = np.lexsort((kinds, owner))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(owner[order]) != 0) | (np.diff(kinds[order]) != 0)
    counts = np.diff(np.append(np.flatnonzero(first), len(order)))
    prompt = owner[order][first]
    repeated = 1.0 - len(counts) / len(order)
    if repeated < DUPLICATES:
        return None
    squares = np.bincount(prompt, weights=counts.astype(float) ** 2, minlength=len(log))
    sizes = np.bincount(owner, minlength=len(log)).astype(float)
    own = sizes[sizes > 0] ** 2 / squares[sizes > 0]
    error = float(own.std(ddof=1) / np.sqrt(len(own))) if len(own) > 1 else 0.0
    text = f"{repeated:.0%} of the rollouts repeat the {what[:-1]} of a sibling"
    return Duplicates(text, float(sizes[sizes > 0].mean()), float(own.mean()), error)


def _shared_values(log: RewardLog) -> bool:
    """Whether equal rewards are as usual between prompts as within them: a coarse scale."""
    owner = np.repeat(np.arange(len(log)), log.sizes)
    order = np.lexsort((owner, log.rewards))
    equal = np.diff(log.rewards[order]) == 0.0
    same = np.diff(owner[order]) == 0
    return bool((equal & ~same).sum() * 5 > (equal & same).sum())


def short(label: object, most: int = 40) -> str:
    """Return a label as text of one line."""
    text = " ".join(str(label).split())
    return text if len(text) <= most else text[: most - 3] + "..."
