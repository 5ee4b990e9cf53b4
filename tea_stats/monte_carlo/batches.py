"""Batches of prompts of many laws: what an estimator makes of each kind, and of all together.

A batch is a list of kinds: a law, and how many prompts of the batch have it. Every estimator sees
the same batches. Of each kind is kept, for some chunks of batches, the mean of a record,

    ĝ averaged over the kind's prompts (d numbers), its square in the Fisher metric and in the law's
    parameters, E[A²], E[A ψ_N(R)] / ‖ψ_N‖, and the share of groups without any gradient.

All results are functions of these (`tea_stats.monte_carlo.batch_summary`), and standard errors are
the jackknife's over the chunks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tea_stats import _kernels, best_of_n
from tea_stats._validation import as_count
from tea_stats.families import FiniteLaw, Law
from tea_stats.monte_carlo.passes import Pass, Requests, check_law, passes

Array = NDArray[np.float64]

#: batches are divided into as many chunks, whose scatter gives the standard errors
CHUNKS = 20
#: rewards drawn at a time
TILE = 65_536


@dataclass(frozen=True)
class Batch:
    """The prompts of a batch: kinds (law, prompts), in the order of the batch.

    Examples
    --------
    >>> from tea_stats import Normal
    >>> Batch(((Normal(), 3), (Normal(0.0, 1000.0), 1))).prompts
    4
    """

    kinds: tuple[tuple[Law, int], ...]

    def __post_init__(self) -> None:
        if not self.kinds:
            raise ValueError("kinds is empty; give pairs (law, prompts)")
        for law, prompts in self.kinds:
            check_law(law)
            as_count("prompts", prompts)

    @property
    def prompts(self) -> int:
        """Prompts in the batch, B."""
        return sum(prompts for _, prompts in self.kinds)

    @cached_property
    def stable_id(self) -> int:
        """A 32-bit integer made from the laws' keys, for random streams."""
        text = repr([(law.key, prompts) for law, prompts in self.kinds])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

    def excludes(self, one: Pass) -> bool:
        """Return whether an estimator is not defined for these rewards."""
        estimator = one.estimator
        if not (estimator.binary or estimator.most_values):
            return False
        laws = [law for law, _ in self.kinds]
        if not all(isinstance(law, FiniteLaw) for law in laws):
            return True
        values = np.unique(np.concatenate([law.atoms.reward for law in laws]))  # type: ignore[attr-defined]
        if estimator.binary:
            return not bool(np.isin(values, (0.0, 1.0)).all())
        return estimator.most_values is not None and len(values) > estimator.most_values


class Truth(NamedTuple):
    """The exact best-of-N gradient of one kind at one N.

    Attributes
    ----------
    frame : ndarray, shape (d, d)
        Takes gradients to an orthonormal frame of the Fisher metric, I^(−1/2).
    gradient : ndarray, shape (d,)
        ∇V_N in that frame.
    own : ndarray, shape (d,)
        ∇V_N in the law's own parameters.
    unit : float
        The longer of ∇V_N and ∇V_1 in the Fisher metric: what the kind's errors are measured in.
    psi : float
        Root of E ψ_N(R)².
    """

    frame: Array
    gradient: Array
    own: Array
    unit: float
    psi: float


@lru_cache(maxsize=4096)
def truth(law: Law, N: int) -> Truth:
    """Return the exact gradient of a law, in its parameters and in the Fisher metric."""
    values, vectors = np.linalg.eigh(best_of_n.fisher_information(law))
    # a direction without information is none: the logits of a softmax have one
    kept = values > 1e-12 * values[-1]
    frame = vectors[:, kept] / np.sqrt(values[kept]) @ vectors[:, kept].T
    own = best_of_n.gradient(law, N)
    gradient = frame @ own
    unit = max(
        float(np.linalg.norm(gradient)), float(np.linalg.norm(frame @ best_of_n.gradient(law, 1)))
    )
    return Truth(frame, gradient, own, unit, _psi_size(law, N))


def _psi_size(law: Law, N: int) -> float:
    """Root of E ψ_N(R)² on quantiles that are dense at the upper end."""
    if isinstance(law, FiniteLaw):
        atoms = law.atoms
        psi, mass = best_of_n.advantage(law, N, atoms.reward), atoms.mass
    else:
        x = np.linspace(-40.0, 40.0 + np.log(N), 6001)
        x = 0.5 * (x[1:] + x[:-1])
        p, u = 1.0 / (1.0 + np.exp(x)), 1.0 / (1.0 + np.exp(-x))
        psi = best_of_n.advantage(law, N, np.where(x < 0.0, law.ppf(u), law.isf(p)))
        mass = p * u
        mass /= mass.sum()
    return float(np.sqrt(psi**2 @ mass))


def simulate_chunk(
    batch: Batch,
    estimators: Requests,
    m: int,
    N: Sequence[int],
    batches: int,
    seed: int,
    chunk: int,
) -> Mapping[tuple[str, int], list[Array]]:
    """Simulate some batches; return each (estimator, N)'s mean record of every kind.

    A pure function of its arguments, to the bit; the stream is
    `SeedSequence(seed, spawn_key=(batch.stable_id, m, chunk))`.
    """
    listed = [one for one in passes(estimators, m, N) if not batch.excludes(one)]
    truths = {budget: [truth(law, budget) for law, _ in batch.kinds] for budget in N}
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(batch.stable_id, m, chunk)))
    ordered = any(one.estimator.needs_order for one in listed)
    sums: dict[tuple[str, int], list[Array]] = {}
    for count in _tiles(batches, batch.prompts * m):
        drawn = [law.draw_sorted(count * n, m, rng, ordered=ordered) for law, n in batch.kinds]
        rewards = _joined([r for r, _, _ in drawn], batch, count)
        order = (
            _joined([o for _, _, o in drawn if o is not None], batch, count) if ordered else None
        )
        psi = {
            N_: [
                _psi(law, N_, r, t)
                for (law, _), (r, _, _), t in zip(batch.kinds, drawn, truths[N_], strict=True)
            ]
            for N_ in truths
        }
        for one in listed:
            for budget, advantages in _advantages(one, rewards, order, batch.prompts):
                records = sums.setdefault((one.label, budget), [np.zeros(0)] * len(drawn))
                start = 0
                for k, ((_, n), (_, scores, _)) in enumerate(zip(batch.kinds, drawn, strict=True)):
                    own = advantages[:, start : start + n].reshape(count * n, m)
                    total = _record(own, scores, psi[budget][k], truths[budget][k], n)
                    records[k] = total if not records[k].size else records[k] + total
                    start += n
    return {key: [record / batches for record in records] for key, records in sums.items()}


def _tiles(batches: int, rewards: int) -> Iterator[int]:
    size = max(1, TILE // rewards)
    for start in range(0, batches, size):
        yield min(size, batches - start)


def _joined(parts: list[NDArray], batch: Batch, count: int) -> NDArray:  # type: ignore[type-arg]
    """Return groups of all kinds as batches, shape (count · B, m)."""
    shaped = [x.reshape(count, n, -1) for x, (_, n) in zip(parts, batch.kinds, strict=True)]
    joined = np.concatenate(shaped, axis=1)
    return np.ascontiguousarray(joined.reshape(count * batch.prompts, -1))


def _psi(law: Law, N: int, rewards: Array, exact: Truth) -> Array:
    """Return ψ_N of the rewards over its root mean square; zero where that is zero."""
    if not exact.psi > 0.0:
        return np.zeros((1, *rewards.shape))
    return best_of_n.advantage(law, N, rewards)[None] / exact.psi


def _advantages(
    one: Pass, rewards: Array, order: NDArray[np.intp] | None, prompts: int
) -> Iterator[tuple[int, Array]]:
    """Yield each N and its advantages, shape (batches, B, m)."""
    base, slope = one.prepared.batches(rewards, order, prompts)
    shape = (-1, prompts, rewards.shape[1])
    for budget in one.budgets:
        whole = (
            base + one.estimator.slope_constant(budget) * slope if one.estimator.affine else base
        )
        yield budget, whole.reshape(shape)


def _record(a: Array, scores: Array, psi: Array, exact: Truth, prompts: int) -> Array:
    """Return the sum over batches of a kind's record.

    Its entries: ĝ, ‖ĝ‖² in the Fisher metric and in the plain one, A², A ψ_N, and zero advantages.
    """
    groups, d = len(a), len(scores)
    a = np.ascontiguousarray(a)
    x, y = np.empty((groups, d + 2)), np.empty((groups, 3))
    zero = _kernels.contract(a, scores, x)
    _kernels.contract(a, np.ascontiguousarray(psi), y)
    g = x[:, :d].reshape(-1, prompts, d).mean(axis=1)
    squares = [((g @ exact.frame) ** 2).sum(), (g**2).sum()]
    means = [x[:, d].sum(), y[:, 0].sum(), zero]
    return np.concatenate([g.sum(axis=0), squares, np.array(means) / prompts])
