"""The noise and the bias of an extrapolated best-of-N, on the laws of a pilot's prompts."""

from __future__ import annotations

import numpy as np

from tea_stats.families.law import Array
from tea_stats.prediction.methods import METHODS
from tea_stats.resampling import PromptLaws
from tea_stats.reward_log.log import RewardLog

#: draws of each prompt
REPETITIONS = 200
#: what extrapolates each prompt by itself: nothing is shared, so that variances add
METHOD, ALPHA = "linear", 0.25


def simulate(
    laws: tuple[PromptLaws, ...], N: int, m: int, rng: np.random.Generator
) -> tuple[Array, float]:
    """Return the variance of each prompt's value from m rollouts, and the mean bias.

    Parameters
    ----------
    laws : tuple of PromptLaws
        Of one policy, or of two whose difference is planned for.
    N, m : int
        Budget, and rollouts, m < N.
    rng : numpy.random.Generator
        Source of all draws.

    Returns
    -------
    ndarray, shape (P,)
        Variance of the value, or of the difference.
    float
        Mean error of the value, or of the difference.
    """
    variance, bias = np.zeros(len(laws[0])), 0.0
    grid = np.array([N], dtype=np.int64)
    for place, own in enumerate(laws):
        rewards, _ = own.draw(m, rng, np.repeat(np.arange(len(own)), REPETITIONS))
        count = len(rewards)
        log = RewardLog(tuple(range(count)), rewards.ravel(), np.arange(count + 1) * m)
        values = METHODS[METHOD](log, grid, ALPHA).values[:, 0].reshape(len(own), REPETITIONS)
        if np.isnan(values).any():
            raise ValueError(
                f"m is {m} and N is {N}, which {METHOD!r} cannot extrapolate; give a larger m"
            )
        variance += values.var(axis=1, ddof=1)
        sign = 1.0 if len(laws) == 1 or place == 1 else -1.0
        bias += sign * float((values.mean(axis=1) - own.value(N)).mean())
    return variance, bias
