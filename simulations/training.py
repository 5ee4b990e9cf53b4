"""Softmax bandits trained for best-of-N, many runs at once: exact values, draws, gradient steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tea_stats import advantages
from tea_stats.families import Law

Array = NDArray[np.float64]


def log_cdf(p: Array) -> Array:
    """Logarithm of F_j, the probability of the first j responses, precise at both ends."""
    below = np.cumsum(p[:, :-1], axis=-1)
    above = np.cumsum(p[:, :0:-1], axis=-1)[:, ::-1]
    tiny = np.finfo(np.float64).tiny
    return np.where(above < 0.5, np.log1p(-above.clip(max=0.5)), np.log(below.clip(min=tiny)))


def value(rewards: Array, p: Array, N: int) -> Array:
    """V_N = r_K − Σ_j F_j^N (r_{j+1} − r_j), exact, for one policy per row.

    Parameters
    ----------
    rewards : ndarray, shape (runs, K)
        Rewards of the responses, ascending in each row.
    p : ndarray, shape (runs, K)
        Probabilities of the same responses.
    N : int
        Deployment budget.

    Examples
    --------
    >>> value(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), N=2)
    array([0.75])
    """
    gaps = np.diff(rewards, axis=-1)
    return rewards[:, -1] - np.sum(gaps * np.exp(N * log_cdf(p)), axis=-1)


def gradient(rewards: Array, p: Array, N: int) -> Array:
    """Exact gradient of V_N in the logits of a softmax policy, arguments and shape as in `value`.

    p_a ψ_N(r_a), with ψ_N(r_a) = Σ_{j<a} N F_j^{N−1} (r_{j+1} − r_j), centred under the policy.

    Examples
    --------
    >>> gradient(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), N=2)
    array([[-0.25,  0.25]])
    """
    influence = np.zeros_like(p)
    slopes = N * np.exp((N - 1) * log_cdf(p)) * np.diff(rewards, axis=-1)
    np.cumsum(slopes, axis=-1, out=influence[:, 1:])
    return p * (influence - np.sum(p * influence, axis=-1, keepdims=True))


def draw(p: Array, uniforms: Array) -> NDArray[np.intp]:
    """Turn uniforms of shape (runs, …) into responses by inversion: equal uniforms, equal luck."""
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


@dataclass(frozen=True)
class Bandits:
    """Bandits side by side, one per run: rewards and initial logits (runs, K), features or None."""

    rewards: Array
    initial: Array
    features: Array | None  # (runs, K, d)

    @property
    def parameters(self) -> int:
        """Number of parameters of a policy: d, or K where it is tabular."""
        return (self.initial if self.features is None else self.features).shape[-1]

    def probabilities(self, theta: Array) -> Array:
        """Probabilities (runs, K) under the policies with parameters theta (runs, d)."""
        rise = theta if self.features is None else (self.features @ theta[:, :, None])[:, :, 0]
        return special.softmax(self.initial + rise, axis=-1)

    def pull_back(self, gradient: Array) -> Array:
        """Turn a gradient in the logits (runs, K) into one in the parameters (runs, d)."""
        return gradient if self.features is None else (gradient[:, None, :] @ self.features)[:, 0]


def build(
    law: Law,
    K: int,
    runs: int,
    rng: np.random.Generator,
    *,
    initial_sd: float,
    features: int,
    reward_share: float,
) -> Bandits:
    """Make the bandits of a law and a kind of policy; `simulations.bandit` describes them."""
    ranks = (np.arange(K) + 0.5) / K
    initial = initial_sd * rng.standard_normal((runs, K))
    p = special.softmax(initial, axis=-1)
    rewards = np.asarray(law.ppf(ranks)) - np.sum(p * law.ppf(ranks), axis=-1, keepdims=True)
    rewards /= np.sqrt(np.sum(p * rewards**2, axis=-1, keepdims=True))
    if features == 0:
        return Bandits(rewards, initial, None)
    # Hermite polynomials of the normal score: the directions that shift, widen and skew the rewards
    z = special.ndtri(ranks)
    smooth = np.stack([z, (z**2 - 1) / np.sqrt(2), (z**3 - 3 * z) / np.sqrt(6)]) / np.sqrt(3)
    mixing = rng.standard_normal((runs, features, 3))
    noise = rng.standard_normal((runs, K, features))
    signal = (mixing @ smooth).swapaxes(1, 2)
    columns = np.sqrt(reward_share) * signal + np.sqrt(1.0 - reward_share) * noise
    return Bandits(rewards, initial, columns)


def train(
    bandits: Bandits,
    estimator: tuple[str, Mapping[str, Any]] | None,
    m: int,
    groups: int,
    N: int,
    step_size: float,
    steps: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Train every run; return V_N, shape (runs, steps + 1), and the first ĝ's cosine with ∇V_N.

    `estimator` is (name, options), or None for the exact gradient. The rollouts of a step come
    from `rng` alone, so arms with equal generators turn equal uniforms into rollouts.
    """
    theta = np.zeros((len(bandits.rewards), bandits.parameters))
    p = bandits.probabilities(theta)
    values, cosine = [value(bandits.rewards, p, N)], np.empty(0)
    for t in range(steps):
        if estimator is None or t == 0:
            truth = ascent = unit(bandits.pull_back(gradient(bandits.rewards, p, N)))
        if estimator is not None:
            responses = draw(p, rng.random((len(theta), groups, m)))
            rewards = np.take_along_axis(bandits.rewards[:, None], responses, axis=-1)
            A = advantages(estimator[0], rewards, N, **estimator[1])
            ascent = unit(bandits.pull_back(sampled_gradient(p, responses, A)))
        if t == 0:
            cosine = np.sum(ascent * truth, axis=-1)
        theta = theta + step_size * ascent
        p = bandits.probabilities(theta)
        values.append(value(bandits.rewards, p, N))
    return np.stack(values, axis=1), cosine


def unit(direction: Array) -> Array:
    """Return each row over its Euclidean norm; a row of zeros stays."""
    norm = np.linalg.norm(direction, axis=-1, keepdims=True)
    return direction / np.where(norm > 0.0, norm, 1.0)
