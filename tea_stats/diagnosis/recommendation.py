"""Which estimator, alpha and m for a log and a budget N.

By simulation twice: of laws fitted to the log, and of the log's own prompts and rewards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tea_stats._validation import as_count, as_counts, as_seed
from tea_stats.diagnosis import sets as _sets, simulation, values as _values
from tea_stats.diagnosis.findings import check_log
from tea_stats.diagnosis.simulation import Score, Setting, Simulated
from tea_stats.diagnosis.values import Kind
from tea_stats.estimators import RECOMMENDED
from tea_stats.reward_log.log import RewardLog

#: group sizes tried besides the log's own
SIZES = (8, 16, 32, 64)
LARGEST_M = 256
#: another estimator replaces the default if its error is lower by this share, as the fitted law is
#: an estimate, and by this many standard errors of the difference, as some 20 are compared
LESS, CLEARLY = 1 / 3, 3.0
#: where the fitted laws do not agree, the default must have this many times the error: prompts of
#: 16 rollouts of one law differ, which costs methods that pool prompts up to so much
EXAGGERATED = 4.0
#: what replaces the default has at most this times the least error on the log itself; of several
#: the one whose worse ratio is least
WITHIN = 2.0
#: a batch's gradient with less error than this points the right way
SMALL_ERROR = 0.1
#: doubling m is not worth its price if it takes less than this share off the error
WORTHWHILE = 0.25
#: a gradient shorter than this share of ∇V_1 leaves nothing to learn
SATURATED = 0.1
#: TEA by its tail fraction
TEA = {0.25: "tea", **{alpha: f"tea(alpha={alpha})" for alpha in (0.1, 0.5, 1.0)}}


@dataclass(frozen=True)
class Recommendation:
    """An estimator for a log and a budget, and the simulation that it comes from.

    Attributes
    ----------
    N, m, prompts, batches : int
        Budget; rollouts per prompt that the choice is for; prompts in a batch; batches simulated.
    laws : dict
        What was simulated, with weights.
    scores : tuple of Score
        Every estimator at every m, on the laws.
    resampled : tuple of Score
        Every estimator at `m` on continuous rewards of the log itself; empty where `scores` are of
        the log's own prompts already.
    worst : dict
        For every estimator at `m`: its error over the least one, on the laws or on the log itself,
        whichever is larger.
    estimator : str
        The recommended one: `default`, unless another is clearly better.
    best : str
        The one with the least error at m, on the laws.
    default : str
        `tea_stats.RECOMMENDED`.
    alpha : float
        The tail fraction of TEA with the least error.
    enough_m : int or None
        The least m tried from which the recommended estimator's error is below `SMALL_ERROR`, or
        falls by less than `WORTHWHILE` when m doubles; None: no m tried is enough.
    saturation : float
        ‖∇V_N‖/‖∇V_1‖: below `SATURATED`, nothing is left to learn at this N.
    """

    N: int
    m: int
    prompts: int
    batches: int
    laws: dict[str, float]
    scores: tuple[Score, ...]
    resampled: tuple[Score, ...]
    worst: dict[str, float]
    estimator: str
    best: str
    default: str
    alpha: float
    enough_m: int | None
    saturation: float

    def score(self, estimator: str, m: int | None = None) -> Score:
        """Return the score of an estimator at an m, by default the one of the choice."""
        m = self.m if m is None else m
        return next(s for s in self.scores if (s.estimator, s.m) == (estimator, m))

    def on_the_log(self, estimator: str) -> Score | None:
        """Return the score of an estimator on the log itself, None where there is none."""
        return next((s for s in self.resampled if s.estimator == estimator), None)

    def at(self, m: int) -> list[Score]:
        """Return the scores at an m, least error first."""
        return sorted((s for s in self.scores if s.m == m), key=lambda s: s.error)


def recommend(
    log: RewardLog,
    N: int,
    *,
    m: int | Sequence[int] | None = None,
    prompts: int = 64,
    batches: int = 256,
    seed: int = 0,
) -> Recommendation:
    """Return the estimator with the least error on batches like those of a log.

    Parameters
    ----------
    log : RewardLog
        Rewards by prompt.
    N : int
        Deployment budget of best-of-N.
    m : int or sequence of int, optional
        Rollouts per prompt, at least 2 each; the choice is for the first. By default the median
        size of the log's groups, at most 256, with 8, 16, 32 and 64 besides.
    prompts : int
        Prompts whose gradients are averaged in a step, at least 2.
    batches : int
        Batches to simulate, at least 2.
    seed : int
        Seed of everything random.

    Returns
    -------
    Recommendation
        The choice, and the simulated errors that it comes from.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value, or there is nothing to choose by: rewards that
        are all equal, or continuous ones without a group of 4.

    Notes
    -----
    Continuous rewards: the laws of `linear.library.LIBRARY` that the log's best-of-k curve makes
    likely, at most three, each measured by `monte_carlo.measure` in location and scale, or where a
    law cannot be shifted in its own parameters, and averaged by their weights; and the prompts and
    rewards of the log, with a tail beyond them (`tea_stats.diagnosis.resampled`). The default may
    choose among the same laws, which is to its advantage where none of them fits; the log itself
    decides. Another estimator replaces the default if its error there is significantly lower, by a
    third where the laws agree, and by a factor of four where they do not. Few-valued rewards:
    prompts with the log's own frequencies, in the logits of the values.
    """
    check_log(log)
    N, seed = as_count("N", N), as_seed("seed", seed)
    prompts = as_count("prompts", prompts, at_least=2)
    batches = as_count("batches", batches, at_least=2)
    values = _values.count(log)
    if values.kind is Kind.CONSTANT:
        raise ValueError(
            f"log has the reward {values.top:g} for each of its {values.rollouts} rollouts; "
            "no estimator learns from that: check the reward column"
        )
    usual = min(LARGEST_M, max(2, values.median))
    sizes = as_counts("m", m, at_least=2) if m is not None else (usual, *SIZES)
    setting = Setting(N, sorted(set(sizes)), prompts, batches, seed)
    own: list[Score] = []
    if values.kind is not Kind.CONTINUOUS:
        binary = values.kind is Kind.BINARY
        simulated = simulation.few_valued(log, setting, binary=binary)
    else:
        sets = _sets.sets(log, np.random.default_rng(seed))
        if sets is None:
            raise ValueError(
                f"log has no prompt with {_sets.LEAST_SIZE} rollouts, too few to fit a law to; "
                "draw more rollouts of a prompt, or name the column that identifies the prompt"
            )
        simulated = simulation.continuous(sets, setting)
        own = simulation.resampled(log, setting, sizes[0])
    return _choose(simulated, setting, sizes[0], own)


def _choose(
    simulated: Simulated, setting: Setting, m: int, own: Sequence[Score] = ()
) -> Recommendation:
    """Pick the default unless another estimator is clearly better; then alpha and m."""
    here = {s.estimator: s for s in simulated.scores if s.m == m}
    sources = [here] + ([{s.estimator: s for s in own}] if own else [])
    worst = {
        label: max(source[label].error / _least(source) for source in sources)
        for label in here
        if all(label in source for source in sources)
    }
    # the log itself decides: its rewards are there, whatever law fits them
    decides = sources[-1]
    near = [x for x in worst if decides[x].error <= WITHIN * _least(decides)]
    rival = decides[min(near, key=lambda label: worst[label])]
    usual = decides[RECOMMENDED]
    agreed = here[rival.estimator].error < (1.0 - LESS) * here[RECOMMENDED].error
    enough_less = (1.0 - LESS if agreed else 1.0 / EXAGGERATED) * usual.error
    clear = rival.error < enough_less and -rival.difference > CLEARLY * rival.difference_mcse
    chosen = rival.estimator if clear else RECOMMENDED
    errors = {s.m: s.error for s in simulated.scores if s.estimator == chosen}
    return Recommendation(
        N=setting.N,
        m=m,
        prompts=setting.prompts,
        batches=setting.batches,
        laws=simulated.laws,
        scores=tuple(simulated.scores),
        resampled=tuple(own),
        worst=worst,
        estimator=chosen,
        best=min(here.values(), key=lambda s: s.error).estimator,
        default=RECOMMENDED,
        alpha=min((a for a in TEA if TEA[a] in worst), key=lambda a: worst[TEA[a]]),
        enough_m=enough(errors),
        saturation=simulated.saturation,
    )


def _least(scores: Mapping[str, Score]) -> float:
    return min(score.error for score in scores.values())


def enough(errors: Mapping[int, float]) -> int | None:
    """Return the least m whose error is small, or hardly less at 2 m; None if there is none.

    Examples
    --------
    >>> enough({8: 0.9, 16: 0.5, 32: 0.45}), enough({8: 0.9, 16: 0.5, 32: 0.25})
    (16, None)
    """
    for m in sorted(errors):
        falls = 2 * m not in errors or errors[2 * m] <= (1.0 - WORTHWHILE) * errors[m]
        if errors[m] <= SMALL_ERROR or not falls:
            return m
    return None
