"""Prefix-TEA: the O(1/n) bias of TEA removed by combining prefixes of several sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tea_stats import _kernels, tails
from tea_stats._validation import as_count, as_flag, as_real, as_seed
from tea_stats.estimators.record import Array, Estimator, Mark, as_function

#: largest number of subsets that `orderings="all"` lists
MAX_SUBSETS = 20_000

SAME_BATCH = (1 / 4, 1 / 2, 3 / 4, 1.0)
CROSS_FITTED = (1 / 4, 3 / 8, 1 / 2, 5 / 8)


def prefix_weights(prefixes: Sequence[int], order: int) -> Array:
    """Return the least-norm ω with Σ ω_j = 1 and Σ ω_j n_j^{−l} = 0 for l = 1..order−1.

    Parameters
    ----------
    prefixes : sequence of int
        Prefix sizes n_1 < … < n_J.
    order : int
        Order p: the combination cancels bias terms in n⁻¹, …, n^{−(p−1)}; at most J.

    Returns
    -------
    ndarray, shape (J,)
        The weights.

    Examples
    --------
    >>> prefix_weights([8, 16], order=2)
    array([-1.,  2.])
    """
    sizes = np.asarray(prefixes, dtype=np.float64)
    # in units of the smallest prefix the rows are powers of numbers in (0, 1]
    constraints = (sizes[0] / sizes) ** np.arange(order)[:, None]
    target = np.zeros(order)
    target[0] = 1.0
    weights: Array = np.linalg.lstsq(constraints, target, rcond=None)[0]
    return weights


def default_prefixes(m: int, alpha: float, order: int, crossfit: bool) -> tuple[int, ...]:
    """Return the default prefix sizes: fractions of m, rounded to multiples of 1/α.

    The fractions are (¼, ½, ¾, 1), cross-fitted (¼, ⅜, ½, ⅝). A multiple of 1/α makes α n whole,
    so that the bias expands in powers of 1/n; prefixes with fewer than 2 tail rollouts are left
    out.

    Examples
    --------
    >>> default_prefixes(16, 0.25, 2, crossfit=False), default_prefixes(64, 0.25, 2, crossfit=True)
    ((8, 12, 16), (16, 24, 32, 40))
    """
    unit = round(1.0 / alpha) if math.isclose(1.0 / alpha, round(1.0 / alpha)) else 1
    largest = m - 1 if crossfit else m
    rounded = {round(part * m / unit) * unit for part in (CROSS_FITTED if crossfit else SAME_BATCH)}
    sizes = sorted(n for n in rounded if alpha * n > 2 - 1e-9 and n <= largest)
    if len(sizes) < order:
        raise ValueError(
            f"m is {m}: at alpha = {alpha:g} only {len(sizes)} default prefixes have 2 tail "
            f"rollouts, and order = {order} needs {order}; give a larger m or alpha, or `prefixes`"
        )
    return tuple(sizes)


def _checked_prefixes(
    prefixes: Sequence[int], m: int, order: int, crossfit: bool
) -> tuple[int, ...]:
    if isinstance(prefixes, str) or not isinstance(prefixes, Sequence | np.ndarray):
        raise TypeError(f"prefixes is {prefixes!r}; give a sequence of integers, or None")
    sizes = tuple(as_count("prefixes", n, at_least=2) for n in prefixes)
    largest = m - 1 if crossfit else m
    if len(sizes) < order or list(sizes) != sorted(set(sizes)) or sizes[-1] > largest:
        raise ValueError(
            f"prefixes is {sizes}; give at least order = {order} increasing sizes, "
            f"none above {largest} for m = {m} and crossfit = {crossfit}"
        )
    return sizes


def _ordered_members(
    m: int, sizes: tuple[int, ...], orderings: int, seed: int
) -> list[NDArray[np.bool_]]:
    """For each size, the prefixes of the input order and of `orderings − 1` random ones."""
    rng = np.random.default_rng(seed)
    ranks = [np.arange(m)] + [rng.permutation(m) for _ in range(orderings - 1)]
    return [np.array([rank < n for rank in ranks]) for n in sizes]


def _all_members(m: int, sizes: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    """For each size, every subset of that size: what averaging over all m! orderings amounts to."""
    total = sum(math.comb(m, n) for n in sizes)
    if total > MAX_SUBSETS:
        raise ValueError(
            f"orderings is 'all': prefixes {sizes} of m = {m} have {total} subsets, above "
            f"{MAX_SUBSETS}; give a number of random orderings"
        )
    listed = []
    for n in sizes:
        members = np.zeros((math.comb(m, n), m), dtype=np.bool_)
        for row, chosen in zip(members, combinations(range(m), n), strict=True):
            row[list(chosen)] = True
        listed.append(members)
    return listed


@lru_cache(maxsize=256)
def _subsets(
    m: int, sizes: tuple[int, ...], order: int, orderings: int | None, seed: int, crossfit: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Return T subsets as bits, their sizes, and the weight of each, sample-size factor included.

    The same-batch prefix n = m is one subset, whatever the ordering: equal subsets are merged.
    """
    listed = (
        _all_members(m, sizes) if orderings is None else _ordered_members(m, sizes, orderings, seed)
    )
    members, numbers, weights = [], [], []
    for n, omega, rows in zip(sizes, prefix_weights(sizes, order), listed, strict=True):
        unique, counts = np.unique(rows, axis=0, return_counts=True)
        # ĝ stays (1/m) Σ A_i S_i: each TEA averages over m − n_j (cross-fitted) or n_j rollouts
        evaluated = m - n if crossfit else n
        members.append(unique)
        numbers.append(np.full(len(unique), n))
        weights.append(omega * m / evaluated * counts / len(rows))
    return _as_bits(np.concatenate(members)), np.concatenate(numbers), np.concatenate(weights)


def _as_bits(members: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pack members[T, m] into words: subset t is bit t % 64 of row t // 64."""
    padded = np.pad(members, ((0, -len(members) % 64), (0, 0))).reshape(-1, 64, members.shape[1])
    bits = np.arange(64, dtype=np.uint64)[:, None]
    return np.bitwise_or.reduce(padded.astype(np.uint64) << bits, axis=1).view(np.int64)


class Constants(NamedTuple):
    """What the kernel needs of T subsets of the group.

    Attributes
    ----------
    masks : ndarray of int, shape (⌈T/64⌉, m)
        Subset t is bit t % 64 of row t // 64.
    sizes, tail_counts : ndarray of int, shape (T,)
        Rollouts in each subset, and in its tail.
    coefficients : ndarray, shape (T, 5)
        Those of TEA in groups of its size.
    weights : ndarray, shape (T,)
        Its weight in the sum, sample-size factor included.
    crossfit : bool
        Whether a subset's tail statistics are evaluated outside it.
    """

    masks: NDArray[np.int64]
    sizes: NDArray[np.int64]
    tail_counts: NDArray[np.int64]
    coefficients: Array
    weights: Array
    crossfit: bool


@dataclass(frozen=True, kw_only=True)
class PrefixTEA(Estimator):
    r"""Debiased TEA: a weighted sum of TEA on prefixes of the group, a generalised jackknife.

    With A^{(n)} the formula of `tea`, its threshold, mean and spread taken from the first n
    rollouts, and prefixes n_1 < … < n_J,

    .. math::

        A_i = Σ_j ω_j \frac{m}{n_j} 1\{i ≤ n_j\} A_i^{(n_j)},
        \quad \text{cross-fitted } \;
        A_i = Σ_j ω_j \frac{m}{m − n_j} 1\{i > n_j\} A_i^{(n_j)}.

    The weights have Σ ω_j = 1 and Σ ω_j n_j^{−l} = 0 for l < order, so that bias terms up to
    O(m^{−(order−1)}) cancel; of all such weights, the least-norm ones.

    Parameters
    ----------
    alpha : float
        Tail fraction in (0, 1].
    order : int
        Order of the bias that remains; 1 does not debias, 2 is the paper's choice.
    prefixes : sequence of int, optional
        Prefix sizes, at least `order` of them; default: see `default_prefixes`.
    crossfit : bool
        True: tail statistics from the prefix, advantages on the rollouts outside it (the form of
        the theory). False: TEA on each prefix itself, which small groups can afford.
    orderings : int or "all"
        Orderings of the group that are averaged, the input's own first and the others drawn once
        from `seed`; "all" averages over every ordering (every subset, where few). The expectation
        is the same for each choice, the variance falls.
    seed : int
        Seed of the random orderings.

    Notes
    -----
    Our reading of Prefix-TEA in arXiv:2605.10716 (Li, Qian and Mou 2026), whose full text was not
    at hand. Cross-fitted, a prefix with fewer than 4 tail rollouts has infinite variance: 1/σ̂
    lacks a second moment. Random orderings permute positions, not ranks (a fixed set of rank
    orderings would change the expectation); hence the advantages are permutation-equivariant in
    distribution, and exactly so with `orderings="all"`.

    Examples
    --------
    >>> import tea_stats
    >>> rewards = [0.3, 1.2, -0.4, 0.8, 2.1, 0.1, -1.0, 0.5]
    >>> tea_stats.prefix_tea(rewards, N=16, alpha=0.5, orderings="all").round(3)
    array([-0.014, -0.104,  0.   , -0.569,  6.394,  0.   ,  0.   , -0.073])
    """

    alpha: float = 0.25
    order: int = 2
    prefixes: Sequence[int] | None = None
    crossfit: bool = False
    orderings: int | str = 8
    seed: int = 0

    name = "prefix_tea"
    title = "Prefix-TEA"
    unbiased_for = "nothing at finite m; best-of-N to O(m^-order), under a Gaussian upper tail"
    objective = (
        r"nothing at finite $m$; best-of-$N$ to $O(m^{-\mathrm{order}})$, under a Gaussian upper "
        "tail"
    )
    reference = "Li, Qian and Mou (2026), arXiv:2605.10716; our reading"
    citations = ("li2026",)
    marks = (
        ({"order": 2, "crossfit": False}, Mark("#E69F00", "^", main=True)),
        ({"order": 2, "crossfit": True}, Mark("#D55E00", "v", main=True)),
        ({"order": 3, "crossfit": True}, Mark("#882255", "<")),
        ({"order": 3, "crossfit": False}, Mark("#F2C14E", ">")),
    )
    uses_N = True
    affine = True
    needs_order = True
    min_m = 12
    kernel = staticmethod(_kernels.prefix_tea)

    def prepare(self, m: int, N: int) -> Constants:
        """Return the subsets as bits, their sizes, tails, coefficients and weights."""
        alpha = as_real("alpha", self.alpha, above=0.0, at_most=1.0)
        order = as_count("order", self.order)
        crossfit = as_flag("crossfit", self.crossfit)
        seed = as_seed("seed", self.seed)
        if self.orderings != "all" and isinstance(self.orderings, str):
            raise ValueError(f"orderings is {self.orderings!r}; give an integer ≥ 1 or 'all'")
        count = None if self.orderings == "all" else as_count("orderings", self.orderings)
        prefixes = (
            default_prefixes(m, alpha, order, crossfit)
            if self.prefixes is None
            else _checked_prefixes(self.prefixes, m, order, crossfit)
        )
        masks, sizes, weights = _subsets(m, prefixes, order, count, seed, crossfit)
        tail_counts = {n: tails.tail_count(n, alpha) for n in prefixes}
        coefficients = {n: tails.influence_coefficients(k / n) for n, k in tail_counts.items()}
        of_size = sizes.tolist()
        return Constants(
            masks,
            sizes,
            np.array([tail_counts[n] for n in of_size]),
            np.array([coefficients[n] for n in of_size]),
            weights,
            crossfit,
        )

    def has_finite_variance(self, m: int) -> bool:
        """Return whether every cross-fitted prefix has 4 tail rollouts (see Notes)."""
        return not self.crossfit or bool(self.prepare(m, 2).tail_counts.min() >= 4)


prefix_tea = as_function(PrefixTEA)
