"""The one-step gain: how much of the exact gradient's progress a noisy step makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tea_stats._validation import as_count, as_reals
from tea_stats.families.law import Array

#: E‖S‖² at which batches are judged: two parameters, a small model, a language model
NOISE = (2.0, 1e2, 1e4, 1e6)


def one_step_gain(
    along: ArrayLike,
    truth_square: ArrayLike,
    mean_square: ArrayLike,
    advantage_square: ArrayLike,
    rollouts: int,
    noise: ArrayLike = NOISE,
) -> Array:
    r"""Return the one-step gain G of an estimator at its batch's own noise.

    Inner products are all in one metric, such as that of the Fisher information.

    Parameters
    ----------
    along : float
        ⟨t, s⟩ with t = ∇V_N and s = E ĝ.
    truth_square, mean_square : float
        ‖t‖² and ‖s‖².
    advantage_square : float
        E[A²], in squared reward units.
    rollouts : int
        Rollouts in a batch, B m.
    noise : array_like
        E‖S‖², the mean squared length of a rollout's score in the same metric. In that of the
        Fisher information it is the number of parameters: 2 where a policy has two; for a language
        model millions, and then E[A²] alone counts.

    Returns
    -------
    ndarray
        G in [0, 1], one for each noise (the last axis, unless noise is a number); 0 where E ĝ
        points away from the truth or ĝ is zero, nan where the truth is.

    Raises
    ------
    TypeError, ValueError
        If rollouts is not a count, or noise is negative.

    Notes
    -----
    A step along ĝ of length η changes V_N by η ⟨t, ĝ⟩ − (η²/2) c ‖ĝ‖², c a curvature. At the best η
    the expected gain is ⟨t, s⟩²/(2c E‖ĝ‖²); over that of the exact gradient,

    .. math::

        G = \frac{\langle t, s \rangle^2}{\|t\|^2 \, \mathrm{E}\|\hat g\|^2}, \quad
        \mathrm{E}\|\hat g\|^2 = \|s\|^2 + \frac{\mathrm{E}[A^2] \, \mathrm{E}\|S\|^2}{B m},

    1 for the exact gradient, and the same for ĝ of any length, which Adam and advantages of unit
    size discard. Without noise G is the squared cosine; under much, it is
    (B m/E‖S‖²) ⟨t, s⟩²/(‖t‖² E[A²]), proportional to the efficiency of `measure`. The noise term
    takes A and S as independent: so most of a long score is. Bottou, Curtis and Nocedal (2018),
    SIAM Review 60, section 4, for the expected progress of a noisy step.

    Examples
    --------
    >>> one_step_gain(1.0, 1.0, 1.0, 4.0, rollouts=1024, noise=[0.0, 256.0, 2304.0])
    array([1. , 0.5, 0.1])
    """
    rollouts = as_count("rollouts", rollouts)
    noise = as_reals("noise", noise)
    if not (noise >= 0.0).all():
        raise ValueError(f"noise is {noise}; give numbers that are at least 0")
    along, truth, mean, square = np.broadcast_arrays(
        along, truth_square, mean_square, advantage_square
    )
    length = mean[..., None] + square[..., None] * np.atleast_1d(noise) / rollouts
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.square(np.maximum(along, 0.0)[..., None]) / (truth[..., None] * length)
    gain = np.where((length <= 0.0) & (truth[..., None] > 0.0), 0.0, gain)
    return np.asarray(gain if noise.ndim else gain[..., 0])
