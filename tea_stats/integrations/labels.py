"""Labels of groups and rollouts: which are refused, and which samples are one rollout."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from tea_stats.torch_bridge import tie_tolerance


def as_labels(kind: str, values: Iterable[Hashable], count: int) -> Sequence[Hashable]:
    """Return labels as a list of `count` values of one type, none of which means "missing"."""
    listed: list[Any] = values.tolist() if hasattr(values, "tolist") else list(values)
    # elements of arrays and tensors compare by value only as plain numbers
    labels = [value.item() if getattr(value, "ndim", None) == 0 else value for value in listed]
    if len(labels) != count:
        raise ValueError(
            f"there are {len(labels)} {kind} labels and {count} rewards; give one per rollout"
        )
    for place, label in enumerate(labels):
        if not isinstance(label, Hashable) or hasattr(label, "ndim"):
            raise TypeError(
                f"the {kind} label of rollout {place} is {label!r}; give strings or integers, one "
                "per rollout"
            )
        if is_missing(label):
            raise ValueError(
                f"the {kind} label of rollout {place} is {label!r}; give the prompt it is of"
                if kind == "group"
                else f"the {kind} label of rollout {place} is {label!r}; give a number or a name"
            )
        if type(label) is not type(labels[0]):
            raise TypeError(
                f"the {kind} label of rollout {place} is {label!r}, that of rollout 0 "
                f"{labels[0]!r}: which ones are equal is unclear; give labels of one type"
            )
    return labels


def is_missing(label: Hashable) -> bool:
    """Return whether a label stands for a missing one, as −1 does in pandas."""
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(label, str):
        return not label.strip()
    if isinstance(label, float):
        return not math.isfinite(label) or label == -1.0
    return isinstance(label, int) and label == -1


def merged(
    labels: Sequence[Hashable], names: Sequence[Hashable], rewards: Tensor
) -> tuple[list[int], list[int]]:
    """Return the first sample of each rollout, and the number of the rollout of each sample."""
    numbers: dict[tuple[Hashable, Hashable], int] = {}
    first: list[int] = []
    of_sample = []
    for sample, key in enumerate(zip(labels, names, strict=True)):
        number = numbers.setdefault(key, len(first))
        if number == len(first):
            first.append(sample)
        of_sample.append(number)
    shared = rewards[first][of_sample]
    # one reward that was added up twice may differ in its last digit
    width = tie_tolerance(rewards.dtype) * torch.maximum(rewards.abs(), shared.abs())
    close = (rewards == shared) | ((rewards - shared).abs() <= width)
    differs = ~close & ~(rewards.isnan() & shared.isnan())
    if differs.any():
        sample = int(differs.nonzero()[0])
        start = first[of_sample[sample]]
        raise ValueError(
            f"samples {start} and {sample} are of one rollout, {names[sample]!r}, and have the "
            f"rewards {rewards[start]:g} and {rewards[sample]:g}; give all samples of a rollout "
            "its one reward"
        )
    return first, of_sample
