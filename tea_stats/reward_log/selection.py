"""From what was gathered to logs: one step or several, repeated rollouts once, prompts in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tea_stats.estimators import ties
from tea_stats.reward_log.errors import LogError, listing
from tea_stats.reward_log.gather import Codes, Gathered
from tea_stats.reward_log.log import RewardLog
from tea_stats.reward_log.reading import Reading
from tea_stats.reward_log.sources import natural
from tea_stats.reward_log.values import Array, shown

#: what is said of steps that cannot be used
ONE_EACH = (
    "{file} has one rollout of each of its {prompts}{at}; best-of-N needs several of the "
    "same prompt: name the column that identifies the prompt (--prompt){or_all}, or give --wide if "
    "each row is a prompt and each column a rollout"
)
LM_EVAL = (
    "; lm-eval scores one response of each document: read the samples of several runs together"
)


@dataclass(frozen=True)
class Rollouts:
    """All rollouts of a log, in the order of the files.

    Attributes
    ----------
    codes, steps : ndarray of int, shape (R,)
        The number of the prompt and of the step, in the order of `order`.
    rewards : ndarray, shape (R,)
        The rewards.
    texts : ndarray of int or None
        Equal where texts are.
    labels : list
        The label of each prompt.
    order : list
        All steps, sorted; empty without steps.
    repeated : int
        Rollouts left out because they came again.
    notes : tuple of str
        What was noticed on the way.
    """

    codes: Codes
    steps: Codes
    rewards: Array
    texts: Codes | None
    labels: list[Hashable]
    order: list[Any]
    repeated: NDArray[np.int64]
    notes: tuple[str, ...]


def rollouts(gathered: Gathered, explicit: bool) -> Rollouts:
    """Return all rollouts, those that came twice once; `explicit`: the user named their number."""
    codes, rewards = np.concatenate(gathered.codes), np.concatenate(gathered.rewards)
    keys = list(gathered.steps)
    order = sorted(keys, key=_step_key)
    place = {key: i for i, key in enumerate(order)}
    steps = np.zeros(len(codes), dtype=np.int64)
    if keys:
        rank = np.array([place[key] for key in keys])
        steps = rank[np.concatenate(gathered.step_codes)]
    texts = np.concatenate(gathered.texts) if gathered.texts else None
    repeated, notes = np.zeros(max(1, len(order)), dtype=np.int64), list(gathered.choice.notes)
    if gathered.rollouts:
        ids = np.concatenate(gathered.rollouts)
        kept = _once(gathered.choice.rollout or "", codes, steps, ids, rewards, explicit, notes)
        repeated = np.bincount(np.delete(steps, kept), minlength=len(repeated))
        codes, steps, rewards = codes[kept], steps[kept], rewards[kept]
        texts = None if texts is None else texts[kept]
    if gathered.filled:
        notes.append(f"{gathered.filled:,} missing parts of sums count as 0")
    labels = _labels(gathered)
    return Rollouts(codes, steps, rewards, texts, labels, order, repeated, tuple(notes))


def _labels(gathered: Gathered) -> list[Hashable]:
    """Return the labels of prompts; a task that all samples of an evaluation share is no part."""
    keys: list[Any] = list(gathered.prompts)
    if gathered.choice.format == "inspect_ai log" and len(gathered.choice.prompt) == 2:
        parts = [key[2] for key in keys]
        if len({task for task, _ in parts}) == 1:
            return [shown(sample) for _, sample in parts]
    return [shown(key) for key in keys]


def _step_key(step: Any) -> tuple[bool, float, Any]:
    if isinstance(step, int | float):
        return False, float(step), []
    return True, 0.0, natural(str(step))


def _once(
    name: str,
    codes: Codes,
    steps: Codes,
    ids: Codes,
    rewards: Array,
    explicit: bool,
    notes: list[str],
) -> Codes:
    """Return the places of rollouts, those with the same prompt, step and number only once.

    Of several the last counts: a run that is resumed writes its last rollouts again.
    """
    everything = np.arange(len(codes))
    order = np.lexsort((everything, ids, steps, codes))
    c, s, i = codes[order], steps[order], ids[order]
    same = (c[1:] == c[:-1]) & (s[1:] == s[:-1])
    again = same & (i[1:] == i[:-1])
    if not again.any():
        return everything
    differ = again & (rewards[order][1:] != rewards[order][:-1])
    if not explicit:
        kept = len(codes) - int(again.sum())
        groups = len(codes) - int(same.sum())
        if kept == groups:
            return everything  # one number for all rollouts of a prompt: the prompt's own
        if differ.any() and kept < len(codes) / 2:
            notes.append(
                f"{name} numbers no rollouts, as most of its values come several times with "
                f"different rewards (--rollout {name} takes it for their number nevertheless)"
            )
            return everything
    if differ.any():
        notes.append(
            f"{int(differ.sum()):,} rollouts came again with another reward, by {name}; the later "
            "one is used (--rollout none keeps both)"
        )
    last = np.ones(len(codes), dtype=bool)
    last[:-1] = ~again
    return np.sort(order[last])


# --- steps ---------------------------------------------------------------------------------------


def step_number(found: Rollouts, wanted: str | int | float | None) -> int | None:
    """Return the number of the step to use; None: all together."""
    if not found.order or (isinstance(wanted, str) and wanted.lower() == "all"):
        return None
    if wanted is None or wanted == "last":
        return len(found.order) - 1
    if wanted == "first":
        return 0
    for number, step in enumerate(found.order):
        if str(step) == str(wanted) or _equal(step, wanted):
            return number
    raise LogError(
        f"step is {wanted!r}, but the log has the steps {listing(found.order)}; give one of them, "
        "or all"
    )


def _equal(step: Any, wanted: Any) -> bool:
    try:
        return float(step) == float(wanted)
    except (TypeError, ValueError):
        return False


def select(found: Rollouts, number: int | None, reading: Reading, file: str) -> RewardLog:
    """Return the log of one step, or of all; LogError if no prompt has two rollouts."""
    own = slice(None) if number is None else found.steps == number
    codes, rewards = found.codes[own], found.rewards[own]
    sizes = np.bincount(codes, minlength=len(found.labels))
    kept = np.flatnonzero(sizes)
    if sizes.max(initial=0) < 2:
        several = number is not None and len(found.order) > 1
        message = ONE_EACH.format(
            file=file,
            prompts=f"{len(kept)} prompt{'s' * (len(kept) != 1)}",
            at=f" at step {found.order[number]}" if several and number is not None else "",
            or_all=", take all steps together (--step all)" if several else "",
        )
        raise LogError(message + LM_EVAL * ("lm-eval" in reading.format))
    order = np.argsort(codes, kind="stable")
    sizes = sizes[kept]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    texts, duplicates = None, 0
    if found.texts is not None:
        texts = np.unique(found.texts[own], return_inverse=True)[1].reshape(-1)[order]
        pairs = np.stack([np.sort(codes), texts])
        duplicates = pairs.shape[1] - np.unique(pairs, axis=1).shape[1]
    notes = list(found.notes)
    if number is not None and number == len(found.order) - 1 and len(found.order) > 1:
        others = np.bincount(found.steps, minlength=len(found.order))
        if others[number] < np.median(others[:-1]) / 2:
            notes.append(
                f"the last step has {others[number]:,} rollouts, others have "
                f"{int(np.median(others[:-1])):,}: it may be incomplete (--step "
                f"{found.order[-2]} for the one before)"
            )
    used = None if number is None else found.order[number]
    return RewardLog(
        tuple(found.labels[place] for place in kept),
        ties.rounded(rewards[order]),
        offsets,
        texts,
        dataclasses.replace(
            reading,
            prompts=len(kept),
            least=int(sizes.min()),
            most=int(sizes.max()),
            steps=tuple(found.order),
            step_used=used,
            repeated=int(found.repeated.sum() if number is None else found.repeated[number]),
            duplicates=duplicates,
            notes=tuple(notes),
        ),
    )
