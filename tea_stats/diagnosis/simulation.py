"""The errors of estimators on batches like those of a log, by simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tea_stats.best_of_n import exact
from tea_stats.diagnosis import candidates, few_valued as _few_valued, resampled as _resampled
from tea_stats.diagnosis.sets import Sets
from tea_stats.estimators import RECOMMENDED
from tea_stats.families.law import Array, Law
from tea_stats.monte_carlo import measurement
from tea_stats.resampling import dirichlet, prompt_laws
from tea_stats.reward_log.log import RewardLog


@dataclass(frozen=True)
class Score:
    """The error of one estimator at one m: of a batch's gradient, relative to the exact one.

    Attributes
    ----------
    estimator : str
        Name, with options that are not the defaults.
    m : int
        Rollouts per prompt.
    error, error_mcse : float
        E‖ĝ − ∇V_N‖² / ‖∇V_N‖² with its Monte Carlo standard error; taking no step has 1.
    difference, difference_mcse : float
        This error minus that of the default, on the same rollouts.
    cosine : float
        Between mean gradient and exact one: an estimator in units of its own can be right up to a
        factor.
    """

    estimator: str
    m: int
    error: float
    error_mcse: float
    difference: float
    difference_mcse: float
    cosine: float


class Setting(NamedTuple):
    """What is simulated: budget, group sizes, prompts in a batch, batches, seed."""

    N: int
    sizes: Sequence[int]
    prompts: int
    batches: int
    seed: int


class Simulated(NamedTuple):
    """What was simulated with its weights, the errors, and ‖∇V_N‖/‖∇V_1‖."""

    laws: dict[str, float]
    scores: list[Score]
    saturation: float


#: columns of `_errors`, those of a `Score`
COLUMNS = ("nmse", "nmse_mcse", "mse_difference", "mse_difference_mcse", "cosine")
IS_ERROR = np.array([False, True, False, True, False])


def continuous(sets: Sets, setting: Setting) -> Simulated:
    """Simulate the laws that a log makes likely, and average over them."""
    laws = candidates.likely_laws(sets)
    weights = np.array(list(laws.values()))
    built = [candidates.simulated(name) for name in laws]
    scores = []
    for m in setting.sizes:
        by_law = [_errors(law, m, setting) for law in built]
        for label in by_law[0]:
            if all(label in errors for errors in by_law):
                parts = np.array([errors[label] for errors in by_law]) * weights[:, None]
                # laws are simulated independently
                values = np.where(IS_ERROR, np.hypot.reduce(parts), parts.sum(axis=0))
                scores.append(Score(label, m, *values.tolist()))
    norms = [[np.linalg.norm(exact.gradient(law, k)) for k in (setting.N, 1)] for law in built]
    return Simulated(laws, scores, float(weights @ [top / mean for top, mean in norms]))


def _errors(law: Law, m: int, setting: Setting) -> dict[str, list[float]]:
    """Return `COLUMNS` of each estimator that has a finite error under the law."""
    table = measurement.measure(
        law,
        candidates.estimators(m, setting.N, values=None, binary=False),
        m,
        setting.N,
        reps=setting.prompts * setting.batches,
        seed=setting.seed,
        prompts=setting.prompts,
        reference=RECOMMENDED,
    )
    table = table[(table["parameter"] == "all") & table["finite_second_moment"]]
    differences = ["mse_difference", "mse_difference_mcse"]
    # the default has no difference from itself
    table[differences] = table[differences].div(table["exact"] ** 2, axis=0).fillna(0.0)
    return dict(zip(table["estimator"], table[list(COLUMNS)].to_numpy().tolist(), strict=True))


def few_valued(log: RewardLog, setting: Setting, *, binary: bool) -> Simulated:
    """Simulate batches of the log's own prompts."""
    rng = np.random.default_rng(setting.seed)
    values, chances = dirichlet.posterior(log, rng)
    exact = _few_valued.truths(values, chances, setting.N)
    if not (exact**2).mean() > 0.0:
        raise ValueError(
            f"N is {setting.N}, for which the best of N is certain on every prompt of the log; "
            "give a smaller N"
        )
    scores = []
    for m in setting.sizes:
        errors = _few_valued.measure(
            values,
            chances,
            exact,
            candidates.estimators(m, setting.N, values=len(values), binary=binary),
            m,
            setting.N,
            prompts=setting.prompts,
            batches=setting.batches,
            rng=rng,
        )
        square, truth = errors.pop("exact")
        default, _ = errors[RECOMMENDED]
        for label, (error, g) in errors.items():
            cosine = _cosine(g.mean(axis=0), truth.mean(axis=0))
            both = (*ratio(error, square), *ratio(error - default, square))
            scores.append(Score(label, m, *both, cosine))
    means = exact.mean(axis=0), _few_valued.truths(values, chances, 1).mean(axis=0)
    top, mean = (float(np.linalg.norm(x)) for x in means)
    return Simulated({"the log's own prompts": 1.0}, scores, top / mean)


def resampled(log: RewardLog, setting: Setting, m: int) -> list[Score]:
    """Simulate batches of the log's own prompts and continuous rewards, at one m.

    Nothing where no prompt has anything to gain.
    """
    rng = np.random.default_rng(setting.seed)
    laws = prompt_laws(log, setting.N, few=False, rng=rng)
    errors = _resampled.measure(
        laws,
        candidates.estimators(m, setting.N, values=None, binary=False),
        m,
        setting.N,
        prompts=setting.prompts,
        batches=setting.batches,
        rng=rng,
    )
    square, truth, _ = errors.pop("exact")
    if not square.mean() > 0.0:
        return []
    default = errors[RECOMMENDED][0]
    scores = []
    for label, (error, g, _) in errors.items():
        cosine = _cosine(g.mean(axis=0), truth.mean(axis=0))
        both = (*ratio(error, square), *ratio(error - default, square))
        scores.append(Score(label, m, *both, cosine))
    return scores


def ratio(x: Array, y: Array) -> tuple[float, float]:
    """Return Σx/Σy with its standard error, first order.

    Examples
    --------
    >>> ratio(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
    (2.0, 0.0)
    """
    quotient = float(x.mean() / y.mean())
    return quotient, float((x - quotient * y).std(ddof=1) / y.mean() / math.sqrt(len(x)))


def _cosine(a: Array, b: Array) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0.0 else math.nan
