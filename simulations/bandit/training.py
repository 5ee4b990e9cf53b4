"""Softmax bandits trained for best-of-N, many runs at once: exact values, draws, gradient steps.

Arrays have one run per row. Rewards ascend, so that F_j, the probability of the first j responses,
is the distribution function at the j-th reward, ties included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tea_stats.estimators import Estimator
from tea_stats.families import Law

Array = NDArray[np.float64]
#: None is the exact gradient
Arm = Estimator | None

#: normal scores that the responses cover: enough for a best of 10⁶, even of a widened law
SCORES = (-5.0, 8.0)
#: relative precision with which a policy is put onto the bound of its divergence
ON_BOUND = 1e-3


# --- exact truth --------------------------------------------------------------------------------


def log_cdf(p: Array) -> Array:
    """Logarithm of F_j for j = 1..K−1, from the nearer end."""
    below = np.cumsum(p[:, :-1], axis=-1)
    above = np.cumsum(p[:, :0:-1], axis=-1)[:, ::-1]
    # log F to an absolute error of eps / F: F^N keeps one of eps
    return np.log1p(np.where(above < 0.5, -above, below - 1.0).clip(min=-1.0 + 2.0**-53))


def value(rewards: Array, p: Array, N: int) -> Array:
    """V_N = r_K − Σ_j F_j^N (r_{j+1} − r_j), exact.

    Parameters
    ----------
    rewards : ndarray, shape (K,)
        Rewards of the responses, ascending.
    p : ndarray, shape (runs, K)
        Their probabilities.
    N : int
        Deployment budget.

    Examples
    --------
    >>> value(np.array([0.0, 1.0]), np.array([[0.5, 0.5]]), N=2)
    array([0.75])
    """
    return rewards[-1] - np.exp(N * log_cdf(p)) @ np.diff(rewards)


def gradient(rewards: Array, p: Array, N: int) -> Array:
    """Exact gradient of V_N in the logits, shape (runs, K); arguments as in `value`.

    p_a ψ_N(r_a), with ψ_N(r_a) = Σ_{j<a} N F_j^{N−1} (r_{j+1} − r_j), centred under the policy.

    Examples
    --------
    >>> gradient(np.array([0.0, 1.0]), np.array([[0.5, 0.5]]), N=2)
    array([[-0.25,  0.25]])
    """
    influence = np.zeros_like(p)
    slopes = N * np.exp((N - 1) * log_cdf(p)) * np.diff(rewards)
    np.cumsum(slopes, axis=-1, out=influence[:, 1:])
    return p * (influence - np.sum(p * influence, axis=-1, keepdims=True))


# --- sampling -----------------------------------------------------------------------------------


def draw(p: Array, uniforms: Array) -> NDArray[np.intp]:
    """Turn uniforms of shape (runs, …) into responses, by inversion."""
    cumulative = np.cumsum(p, axis=-1)
    responses = np.empty(uniforms.shape, dtype=np.intp)
    for run, u in enumerate(uniforms):
        responses[run] = np.searchsorted(cumulative[run], u * cumulative[run, -1], side="right")
    return responses.clip(max=p.shape[-1] - 1)


def sampled_gradient(p: Array, responses: NDArray[np.intp], A: Array) -> Array:
    """ĝ in the logits: the mean over all rollouts of a run of A_i (1{y_i = a} − p_a)."""
    runs, K = p.shape
    A = A.reshape(runs, -1) / (A.size // runs)
    bins = responses.reshape(runs, -1) + K * np.arange(runs)[:, None]
    drawn = np.bincount(bins.ravel(), weights=A.ravel(), minlength=runs * K).reshape(runs, K)
    return drawn - p * A.sum(axis=-1, keepdims=True)


# --- policies -----------------------------------------------------------------------------------


class State(NamedTuple):
    """Policies of all runs: parameters (runs, d), length of the drift (runs, 1), p (runs, K)."""

    theta: Array
    drift: Array
    p: Array


@dataclass(frozen=True)
class Bandit:
    """A softmax policy over K responses, π ∝ initial · exp(features θ), and nuisance.

    Attributes
    ----------
    rewards : ndarray, shape (K,)
        Rewards, ascending.
    initial : ndarray, shape (K,)
        Probabilities at θ = 0.
    features : ndarray of shape (K, d), or None
        None is the tabular policy: one logit per response.
    nuisance : int
        Number of further parameters that move the mean of as many Normal aspects of a response
        which its reward does not depend on. No direction among them is special, so that their
        vector enters by its length alone, the drift.
    kl_limit : float
        KL(π‖π₀) is kept within this, in nats.
    """

    rewards: Array
    initial: Array
    features: Array | None
    nuisance: int
    kl_limit: float

    def start(self, runs: int) -> State:
        """Return the initial policy."""
        d = len(self.initial) if self.features is None else self.features.shape[1]
        return State(np.zeros((runs, d)), np.zeros((runs, 1)), np.tile(self.initial, (runs, 1)))

    def pull_back(self, gradient: Array) -> Array:
        """Turn a gradient in the logits (runs, K) into one in the parameters (runs, d)."""
        return gradient if self.features is None else gradient @ self.features

    def bounded(self, theta: Array, drift: Array) -> State:
        """Return the policies with these parameters, shortened where they leave the KL bound."""
        rise = theta if self.features is None else theta @ self.features.T
        p, kl, slope = self._tilt(rise, drift)
        outside = kl > self.kl_limit
        factor, low, high = np.ones_like(kl), np.zeros_like(kl), np.ones_like(kl)
        while True:
            gap = np.log(np.where(outside, kl / self.kl_limit, 1.0))
            off = np.abs(gap) > ON_BOUND
            if not off.any():
                return State(factor * theta, factor * drift, p)
            low, high = np.where(gap < 0.0, factor, low), np.where(gap > 0.0, factor, high)
            # Newton in log KL over log factor, whose slope is 2 for a small θ and 0 for a policy
            # that is all but deterministic; or bisection
            newton = factor * np.exp((-gap / slope.clip(min=0.1)).clip(-0.7, 0.7))
            inside = (low < newton) & (newton < high)
            factor = np.where(off, np.where(inside, newton, (low + high) / 2.0), factor)
            p, kl, slope = self._tilt(factor * rise, factor * drift)

    def _tilt(self, rise: Array, drift: Array) -> tuple[Array, Array, Array]:
        """Return p, KL(π‖π₀), and d log KL / d log factor, for logits log π₀ + rise."""
        top = rise.max(axis=-1, keepdims=True)
        p = self.initial * np.exp(rise - top)
        total = p.sum(axis=-1, keepdims=True)
        p /= total
        mean = np.sum(p * rise, axis=-1, keepdims=True)
        kl = mean - top - np.log(total) + 0.5 * drift**2
        variance = np.sum(p * (rise - mean) ** 2, axis=-1, keepdims=True) + drift**2
        return p, kl, variance / np.where(kl > 0.0, kl, 1.0)


def build(law: Law, K: int, *, tabular: bool, nuisance: int, kl_limit: float) -> Bandit:
    """Make the bandit of a law and a kind of policy; `simulations.bandit` describes them."""
    edges = np.linspace(*SCORES, K + 1)
    z = (edges[1:] + edges[:-1]) / 2.0
    upper, tail = z > 0.0, special.ndtr(-np.abs(z))
    rewards = np.where(upper, law.isf(tail), law.ppf(tail))
    # each cell's mass from its own side, or the far tail would be rounding
    initial = np.where(upper, -np.diff(special.ndtr(-edges)), np.diff(special.ndtr(edges)))
    initial /= initial.sum()
    if not np.isin(rewards, (0.0, 1.0)).all():
        rewards = rewards - initial @ rewards
        rewards /= np.sqrt(initial @ rewards**2)
    # tilting by these moves a Normal law's location and scale
    features = None if tabular else np.stack([z, (z**2 - 1.0) / np.sqrt(2.0)], axis=-1)
    return Bandit(rewards, initial, features, nuisance, kl_limit)


# --- training -----------------------------------------------------------------------------------


def estimate(bandit: Bandit, arm: Arm, p: Array, groups: Array, N: int) -> tuple[Array, Array]:
    """Return ĝ in the parameters, shape (runs, d), and the size of its nuisance part, (runs, 1).

    Given the advantages, each nuisance component of ĝ = (1/M) Σ A_i S_i is Normal with variance
    Σ A_i² / M²; the square root of that is the size. `groups` are uniforms, (runs, groups, m).
    """
    if arm is None:
        return bandit.pull_back(gradient(bandit.rewards, p, N)), np.zeros((len(p), 1))
    responses = draw(p, groups)
    rewards = bandit.rewards[responses]
    # each run is a policy of its own: estimators that pool use the groups of one run
    batches = rewards if arm.pools else [rewards]
    A = np.stack([arm.advantages(batch, N) for batch in batches])
    A = A.reshape(rewards.shape)
    size = np.sqrt(np.sum(A**2, axis=(1, 2)))[:, None] / (A.size // len(A))
    return bandit.pull_back(sampled_gradient(p, responses, A)), size * (bandit.nuisance > 0)


def nuisance_normals(bandit: Bandit, runs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw a vector of `nuisance` standard Normals: its component in a fixed direction, (runs, 1).

    And the squared length of the rest, chi-square with one degree of freedom less.
    """
    rest = max(0, bandit.nuisance - 1)
    return rng.standard_normal((runs, 1)), 2.0 * rng.standard_gamma(rest / 2.0, (runs, 1))


def train(
    bandit: Bandit,
    arm: Arm,
    shape: tuple[int, int, int],
    N: int,
    step_sizes: Array,
    steps: int,
    rng: np.random.Generator,
) -> Array:
    """Train `shape` = (runs, groups, m) with each step size; return V_N, (sizes, runs, steps + 1).

    All step sizes use the same random numbers, and so do arms with equal generators.
    """
    sizes, runs = len(step_sizes), shape[0]
    length = np.repeat(step_sizes, runs)[:, None]
    state = bandit.start(sizes * runs)
    values = [value(bandit.rewards, state.p, N)]
    for _ in range(steps):
        draws = rng.random(shape), *nuisance_normals(bandit, runs, rng)
        groups, along, across = (np.concatenate([part] * sizes) for part in draws)
        g, size = estimate(bandit, arm, state.p, groups, N)
        norm = np.sqrt(np.sum(g**2, axis=-1, keepdims=True) + size**2 * (along**2 + across))
        step = length / np.where(norm > 0.0, norm, 1.0)
        drift = drifted(state.drift, step * size, along, across)
        state = bandit.bounded(state.theta + step * g, drift)
        values.append(value(bandit.rewards, state.p, N))
    return np.stack(values, axis=-1).reshape(sizes, runs, steps + 1)


def drifted(drift: Array, push: Array, along: Array, across: Array) -> Array:
    """Return the length of a vector after adding `push` times a vector of standard Normals.

    `along` is that vector's component in the direction of the first, `across` the squared length
    of the rest.
    """
    return np.hypot(drift + push * along, push * np.sqrt(across))
