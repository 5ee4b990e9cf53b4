"""Best-of-N sums of a finite law, exact, ties included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tea_stats.families import FiniteLaw
from tea_stats.families._law import Array


@dataclass(frozen=True)
class Atoms:
    """The distinct rewards of a finite law, ascending, each array of shape (K,).

    Attributes
    ----------
    reward, mass : ndarray
        v and P(R = v).
    log_cdf, sf : ndarray
        log F(v) and 1 − F(v), each summed from its nearer end: N may be 1e9.
    """

    reward: Array
    mass: Array
    log_cdf: Array
    sf: Array


@lru_cache(maxsize=64)
def atoms(law: FiniteLaw) -> Atoms:
    """Merge the tied outcomes of a law."""
    rewards = law.rewards_sorted
    first = np.flatnonzero(np.diff(rewards, prepend=-np.inf))
    mass = np.add.reduceat(law.probabilities, first)
    below, above = np.cumsum(mass), np.append(np.cumsum(mass[:0:-1])[::-1], 0.0)
    lower = below < 0.5
    log_cdf = np.where(lower, np.log(below), np.log1p(-np.where(lower, 0.0, above)))
    return Atoms(rewards[first], mass, log_cdf, above)


def value(law: FiniteLaw, N: int) -> float:
    """V_N = Σ_v v [F(v)^N − F(v⁻)^N]."""
    known = atoms(law)
    # F(v)^N − F(v⁻)^N = F(v)^N (1 − (1 − share)^N), share = P(R = v)/F(v)
    share = np.minimum(known.mass * np.exp(-known.log_cdf), 1.0)
    with np.errstate(divide="ignore"):
        weight = -np.expm1(N * np.log1p(-share)) * np.exp(N * known.log_cdf)
    return float(known.reward @ weight)


def advantage(law: FiniteLaw, N: int, r: Array) -> Array:
    """ψ_N(r), piecewise linear: its slope between outcomes is N F^{N−1}."""
    known = atoms(law)
    slope = N * np.exp((N - 1.0) * known.log_cdf)
    steps = slope[:-1] * np.diff(known.reward)
    at_atoms = np.concatenate([[0.0], np.cumsum(steps)]) - steps @ known.sf[:-1]
    atom = np.searchsorted(known.reward, r, side="right") - 1
    # below the lowest outcome F^{N−1} is 0, or 1 for N = 1
    slope = np.append(slope, 1.0 if N == 1 else 0.0)
    return np.asarray(
        at_atoms[np.maximum(atom, 0)] + slope[atom] * (r - known.reward[np.maximum(atom, 0)])
    )


def gradient(law: FiniteLaw, N: int) -> Array:
    """∇V_N = Σ_y p_y ψ_N(r_y) S_y."""
    weight = law.probabilities * advantage(law, N, law.rewards_sorted)
    return np.asarray(weight @ law.scores)


def fisher_information(law: FiniteLaw) -> Array:
    """E[S Sᵀ] = Σ_y p_y S_y S_yᵀ."""
    return np.asarray((law.scores.T * law.probabilities) @ law.scores)
