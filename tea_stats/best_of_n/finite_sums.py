"""Best-of-N sums of a finite law, exact, ties included."""

from __future__ import annotations

import numpy as np

from tea_stats.families.finite_law import FiniteLaw
from tea_stats.families.law import Array


def value(law: FiniteLaw, N: int) -> float:
    """V_N = Σ_v v [F(v)^N − F(v⁻)^N]."""
    atoms = law.atoms
    # F(v)^N − F(v⁻)^N = F(v)^N (1 − (1 − share)^N), share = P(R = v)/F(v)
    share = np.minimum(atoms.mass * np.exp(-atoms.log_cdf), 1.0)
    with np.errstate(divide="ignore"):
        weight = -np.expm1(N * np.log1p(-share)) * np.exp(N * atoms.log_cdf)
    return float(atoms.reward @ weight)


def advantage(law: FiniteLaw, N: int, r: Array) -> Array:
    """ψ_N(r) for N ≥ 2, or at outcomes; its slope between them is N F^{N−1}."""
    atoms = law.atoms
    slope = N * np.exp((N - 1.0) * atoms.log_cdf)
    steps = slope[:-1] * np.diff(atoms.reward)
    at_atoms = np.concatenate([[0.0], np.cumsum(steps)]) - steps @ atoms.sf[:-1]
    atom = np.searchsorted(atoms.reward, r, side="right") - 1
    beyond = np.where(atom < 0, 0.0, r - atoms.reward[atom])  # flat below the lowest outcome
    atom = np.maximum(atom, 0)
    return np.asarray(at_atoms[atom] + slope[atom] * beyond)


def gradient(law: FiniteLaw, N: int) -> Array:
    """∇V_N = Σ_y p_y ψ_N(r_y) S_y."""
    weight = law.probabilities * advantage(law, N, law.rewards_sorted)
    return np.asarray(weight @ law.scores)


def fisher_information(law: FiniteLaw) -> Array:
    """E[S Sᵀ] = Σ_y p_y S_y S_yᵀ."""
    return np.asarray((law.scores.T * law.probabilities) @ law.scores)
