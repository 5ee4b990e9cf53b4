"""The gradient of the model behind a pool: signals and cosines without the pool's own noise.

The best-of-N gradient of a pool is exact for the pool, but a noisy estimate of the model's: a few
best rollouts decide it, and their scores are mostly noise. Estimators on the same pool share some
of that noise, so a cosine with it may be too small or too large. Here a pool is cut into random
halves, and only products of one half with the other are used: with t the unbiased max@N gradient
of a half and s the mean gradient of an estimator over its groups,

    s·t ≈ s₁·t₂,    ‖t‖² ≈ t₁·t₂,    ‖s‖² ≈ s₁·s₂,

each unbiased for the model's own, in the metric of the scores' second moment. With E‖ĝ‖² of one
group they give the normalised mean squared error of a batch of B groups,
(‖s‖² − 2 s·t + ‖t‖² + (E‖ĝ‖² − ‖s‖²)/B) / ‖t‖².
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from simulations.lm.pools.schema import Measure
from tea_stats import EmpiricalPool, best_of_n
from tea_stats.estimators import Estimator, lookup

Array = NDArray[np.float64]
#: random cuts of a pool, and orders of a half into groups
CUTS, ORDERS = 16, 4
RATIOS = ("cosine", "efficiency", "nmse", "scaled_nmse")


def products(plan: Measure, rewards: Array, scores: Array) -> pd.DataFrame:
    """Return, for every estimator, m and N, the three products of one pool, means over cuts.

    `rewards`, shape (M,), are in units of their standard deviation; `scores` have shape (M, d).

    Returns
    -------
    DataFrame
        Columns estimator, m, N, signal (s·t), truth (‖t‖²), size (‖s‖²), square (E‖ĝ‖² of one
        group), advantage_square (E[A²]).

    Raises
    ------
    ValueError
        If a half has fewer than N rollouts.
    """
    M = len(rewards) // 2 * 2
    if max(plan.N) > M // 2:
        raise ValueError(f"N is {max(plan.N)} and half a pool has {M // 2} rollouts; give N ≤ that")
    white = whitened(scores)
    rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(7,)))
    rows = []
    for _ in range(CUTS):
        halves = rng.permutation(len(rewards))[:M].reshape(2, -1)
        truths = {N: [truth(rewards[h], white[h], N) for h in halves] for N in plan.N}
        for m in plan.m:
            groups = [_groups(h, m, rng) for h in halves]
            for label, table in plan.estimators.items():
                for N in plan.N:
                    means = [mean_gradient(table.record(), rewards[g], white[g], N) for g in groups]
                    s, square, advantage_square = zip(*means, strict=True)
                    t = truths[N]
                    row = {"estimator": label, "m": m, "N": N, "truth": t[0] @ t[1]}
                    row["signal"] = (s[0] @ t[1] + s[1] @ t[0]) / 2
                    row["size"] = s[0] @ s[1]
                    row["square"] = sum(square) / 2
                    row["advantage_square"] = sum(advantage_square) / 2
                    rows.append(row)
    table = pd.DataFrame(rows)
    return table.groupby(["estimator", "m", "N"], sort=False, as_index=False).mean()


def whitened(scores: Array) -> Array:
    """Return scores in coordinates in which their second moment is the identity."""
    values, vectors = np.linalg.eigh(scores.T @ scores / len(scores))
    kept = values > 1e-10 * values[-1]
    return scores @ (vectors[:, kept] / np.sqrt(values[kept]))


def truth(rewards: Array, scores: Array, N: int) -> Array:
    """Return the unbiased max@N gradient of rollouts, all of them one group."""
    form = "canonical" if N < len(rewards) else "loo-1"
    A = lookup("max_at_k", {"k": N, "form": form}).advantages(rewards, N)
    return A @ scores / len(rewards)


def mean_gradient(
    estimator: Estimator, rewards: Array, scores: Array, N: int
) -> tuple[Array, float, float]:
    """Return the means over groups (groups, m) of ĝ, of ‖ĝ‖² and of A²."""
    A = estimator.advantages(rewards, N)
    gradients = np.einsum("gi,gid->gd", A, scores) / A.shape[1]
    squares = np.einsum("gd,gd->g", gradients, gradients)
    return gradients.mean(axis=0), float(squares.mean()), float(np.mean(A**2))


def noise_share(rewards: Array, scores: Array, N: int, cuts: int = CUTS, seed: int = 0) -> float:
    """Return the share of a pool's squared gradient that is the chance of the draw, from halves.

    The gradients t₁, t₂ of two halves have independent noise, so ⟨t₁, t₂⟩ is that of the model, and

        share = 1 − ⟨t₁, t₂⟩ / ‖t_pool‖²,

    averaged over random cuts; inner products are those of the parameters.

    Parameters
    ----------
    rewards : ndarray, shape (M,)
    scores : ndarray, shape (M, d)
    N : int
    cuts, seed : int
        Random cuts into halves, and the seed of their choice.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> r, nothing = rng.normal(size=(2, 4000))
    >>> share = [noise_share(r, x[:, None], 16) for x in (r, nothing)]
    >>> share[0] < 0.05, share[1] > 0.5
    (True, True)
    """
    rng, products = np.random.default_rng(seed), []
    for _ in range(cuts):
        cut = np.array_split(rng.permutation(len(rewards)), 2)
        one, two = (best_of_n.gradient(EmpiricalPool(rewards[h], scores[h]), N) for h in cut)
        products.append(float(one @ two))
    own = best_of_n.gradient(EmpiricalPool(rewards, scores), N)
    return 1.0 - float(np.mean(products)) / float(own @ own)


def dimensions(scores: Array, mass: Array | None = None) -> float:
    """Return the effective number of dimensions of scores, (tr Σ)²/tr Σ², Σ their second moment.

    Examples
    --------
    >>> dimensions(np.eye(3)), dimensions(np.eye(3), np.array([1.0, 0.0, 0.0]))
    (3.0, 1.0)
    """
    p = np.full(len(scores), 1.0 / len(scores)) if mass is None else mass
    moment = (scores * p[:, None]).T @ scores
    return float(np.trace(moment) ** 2 / np.sum(moment**2))


def expected_share(tail: ArrayLike, d: ArrayLike) -> Array:
    """Return the rule of thumb for `noise_share`: d/(d + M/N), tail = M/N.

    Some M/N rollouts decide V_N; their mean score estimates a direction among d, and the chance of
    it is d/(M/N) times as long, squared, as what it estimates.
    """
    return np.asarray(d) / (np.asarray(d) + np.asarray(tail))


def _groups(half: NDArray[np.intp], m: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return groups of m different rollouts, shape (groups, m): some orders of the half, cut up."""
    whole = len(half) // m * m
    return np.concatenate([rng.permutation(half)[:whole].reshape(-1, m) for _ in range(ORDERS)])


def cosines(products: pd.DataFrame, batch: int = 64) -> pd.DataFrame:
    """Return cosine, efficiency and error over all pools, with jackknife standard errors.

    `products` has the rows of the function above with the columns pool, reward and kind added; the
    mean of `batch` groups is the gradient of one training step.

    Returns
    -------
    DataFrame
        One row per reward, kind, estimator, m and N, each number with its `_se`; sums are over
        pools: cosine = Σ s·t / √(Σ ‖s‖² Σ ‖t‖²); efficiency = (Σ s·t)² / (Σ ‖t‖² Σ E[A²]); nmse as
        above, and scaled_nmse at the length of ĝ that makes it least, since a step size is tuned.
        nan where the products that should be squares are not positive.
    """
    keys = ["reward", "kind", "estimator", "m", "N"]
    columns = ["signal", "truth", "size", "square", "advantage_square"]
    rows = []
    for key, part in products.groupby(keys, sort=False):
        sums = part[columns].to_numpy()
        row = dict(zip(keys, key, strict=True)) | {"pools": len(sums)}
        without = np.array([_ratios(sums.sum(axis=0) - one, batch) for one in sums])
        spread = np.sqrt((len(sums) - 1) * np.var(without, axis=0))
        values = _ratios(sums.sum(axis=0), batch)
        for name, value, se in zip(RATIOS, values, spread, strict=True):
            row[name], row[f"{name}_se"] = value, se
        rows.append(row)
    return pd.DataFrame(rows)


def _ratios(sums: Array, batch: int) -> tuple[float, float, float, float]:
    signal, truth, size, square, advantage_square = sums
    if min(truth, size, advantage_square) <= 0.0:
        return (float("nan"),) * 4
    # E‖ĝ‖² of a batch
    length = size + (square - size) / batch
    return (
        signal / np.sqrt(truth * size),
        np.sign(signal) * signal**2 / (truth * advantage_square),
        (length - 2.0 * signal + truth) / truth,
        1.0 - max(signal, 0.0) ** 2 / (length * truth),
    )
