"""Quality of a step's gradient estimate: its cosine, and the parts of bias and variance in it."""

from __future__ import annotations

import numpy as np

from simulations.bandit.training import Arm, Array, Bandit, estimate

#: draws at a time
CHUNK = 64


def jackknife_se(left_out: Array) -> Array:
    """Return the standard error of a statistic from its values with one observation left out.

    Observations are along axis 0; nan where a value is infinite.
    """
    n = len(left_out)
    with np.errstate(invalid="ignore"):
        return np.sqrt((n - 1) * np.var(left_out, axis=0))


def quality(
    bandit: Bandit, arm: Arm, shape: tuple[int, int, int], N: int, rng: np.random.Generator
) -> dict[str, float]:
    """Measure the quality of ĝ at the initial policy from `shape` = (draws, groups, m) rollouts.

    With u the direction of ∇V_N,

        cosine      E⟨ĝ, u⟩ / √E‖ĝ‖²   its square is the gain of a tuned small step over that of
                                       the exact gradient's
        alignment   E⟨ĝ, u⟩ / ‖E ĝ‖    of the mean with the truth: below 1 by bias alone
        steadiness  ‖E ĝ‖ / √E‖ĝ‖²     below 1 by variance alone

    and cosine = alignment · steadiness.

    Returns
    -------
    dict
        The three, and under `<name>_se` their Monte Carlo standard errors; nan where every ĝ is 0,
        or where the estimate of ‖E ĝ‖² is negative. At an alignment of exactly 1 the error is of
        second order, and its standard error only a guide.
    """
    draws = shape[0]
    start = bandit.start(min(CHUNK, draws)).p
    truth = estimate(bandit, None, start[:1], rng.random((1, 1, 1)), N)[0][0]
    norm = np.linalg.norm(truth)
    g, square = [], []
    for first in range(0, draws, CHUNK):
        count = min(CHUNK, draws - first)
        part, size = estimate(bandit, arm, start[:count], rng.random((count, *shape[1:])), N)
        g.append(part)
        square.append(np.sum(part**2, axis=1) + bandit.nuisance * size[:, 0] ** 2)
    # per draw: along u, ‖ĝ‖² with and without nuisance (whose mean is 0), and ⟨ĝ, Σ ĝ⟩
    g, square = np.concatenate(g), np.concatenate(square)
    along, own, total = (
        g @ truth / (norm if norm > 0.0 else 1.0),
        np.sum(g**2, axis=1),
        g.sum(axis=0),
    )
    with_all = g @ total
    whole = _measures(draws, along.sum(), square.sum(), total @ total - own.sum())
    # without draw i: all pairs less those with i
    left_out = _measures(
        draws - 1,
        along.sum() - along,
        square.sum() - square,
        total @ total - own.sum() - 2.0 * (with_all - own),
    )
    measures: dict[str, float] = {}
    for name in whole:
        # jackknifed: without the part of the bias that falls as 1/draws
        measures[name] = float(draws * whole[name] - (draws - 1) * left_out[name].mean())
        measures[f"{name}_se"] = float(jackknife_se(left_out[name]))
    return measures


def _measures(n: int, along: Array, square: Array, pairs: Array) -> dict[str, Array]:
    """Return the three from sums over n draws; `pairs` is Σ_{i≠j} ⟨ĝ_i, ĝ_j⟩."""
    with np.errstate(invalid="ignore", divide="ignore"):
        # products of independent draws estimate ‖E ĝ‖² without bias
        length = np.sqrt(pairs / (n * (n - 1)) if n > 1 else np.nan * pairs)
        root = np.sqrt(square / n)
        return {
            "cosine": along / n / root,
            "alignment": along / n / length,
            "steadiness": length / root,
        }
