"""Other packages' predictions of best-of-N, each where it is installed (the extra `peers`).

Each function maps rewards of shape (P, m), the budgets and the level to an array of shape (3, K):
values, lower and upper ends, NaN for ends that the package does not give.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Peer(NamedTuple):
    """A package: the module it is imported as, whether for 0/1 rewards, and its prediction."""

    module: str
    binary: bool
    predict: Callable[[Array, Sequence[int], float], Array]


def saber(rewards: Array, budgets: Sequence[int], level: float) -> Array:
    """SABER: beta-binomial fit, asymptote anchored at the observed mean (its default)."""
    from saber import SABER

    model = SABER().fit(rewards.sum(axis=1).astype(int), rewards.shape[1])
    results = [model.predict(N=N, confidence=level) for N in budgets]
    return np.array([[r.asr, r.ci_lower, r.ci_upper] for r in results], dtype=float).T


def scorio(rewards: Array, budgets: Sequence[int], level: float) -> Array:
    """Scorio: a Dirichlet posterior for every problem on its own."""
    from scorio.eval.max_reward import max_at_k_ci

    right = rewards.astype(int)
    worth, bounds = np.array([0.0, 1.0]), (0.0, 1.0)
    results = [max_at_k_ci(right, N, worth, confidence=level, bounds=bounds) for N in budgets]
    return np.array([[mean, low, high] for mean, _, low, high in results], dtype=float).T


def passk_inference(rewards: Array, budgets: Sequence[int], level: float) -> Array:
    """Return passk-inference's kernel fit, beside a policy that solves nothing; no interval."""
    from passk_inference import fit_kernel, kernel_curve

    successes, m = rewards.sum(axis=1).astype(int), rewards.shape[1]
    fitted = fit_kernel(np.zeros_like(successes), m, successes, m, Lp=2)
    return _without_ends(kernel_curve(fitted, list(budgets)))


def pyextremes(rewards: Array, budgets: Sequence[int], level: float) -> Array:
    """Return the mean over prompts of E[best of N] under a Pareto tail of each; no interval.

    The quarter largest rewards of a prompt, as excesses over the next one, are fitted by maximum
    likelihood; the mean of the best of N is the integral of its quantiles.
    """
    import pandas as pd
    from pyextremes.models import get_model

    values = []
    for group in np.sort(rewards, axis=1):
        k = max(2, len(group) // 4)
        threshold = group[-k - 1]
        model = get_model(
            "MLE",
            extremes=pd.Series(group[-k:], index=pd.date_range("2000", periods=k, freq="D")),
            distribution="genpareto",
            distribution_kwargs={"floc": threshold},
        )
        values.append([_mean_best(model, k / len(group), threshold, N) for N in budgets])
    return _without_ends(np.mean(values, axis=0))


def _mean_best(model: Any, share: float, threshold: float, N: int) -> float:
    # the best of N lies at the upper tail probability 1 − e^{−x/N} with density e^{−x}
    x, weight = np.polynomial.laguerre.laggauss(40)
    above = -np.expm1(-x / N)
    tail = np.ravel(model.isf(np.minimum(above / share, 1.0)))
    return float(np.where(above >= share, threshold, tail) @ weight)


def _without_ends(values: Any) -> Array:
    line = np.asarray(values, dtype=float)
    return np.stack([line, np.full_like(line, np.nan), np.full_like(line, np.nan)])


PEERS: Mapping[str, Peer] = {
    "saber-risk": Peer("saber", True, saber),
    "scorio": Peer("scorio", True, scorio),
    "passk-inference": Peer("passk_inference", True, passk_inference),
    "pyextremes": Peer("pyextremes", False, pyextremes),
}


def installed(binary: bool) -> list[str]:
    """Return the peers for these rewards that can be imported."""
    return [
        name for name, peer in PEERS.items() if peer.binary == binary and find_spec(peer.module)
    ]


def predict(name: str, rewards: Array, budgets: Sequence[int], level: float) -> Array:
    """Return a peer's predictions, shape (3, K); NaN where it fails, as its user would see."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return PEERS[name].predict(rewards, budgets, level)
        except Exception:  # whatever another package raises
            return np.full((3, len(budgets)), np.nan)
