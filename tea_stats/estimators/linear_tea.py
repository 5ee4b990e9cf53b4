"""Linear TEA: best-of-N extrapolated linearly, exactly unbiased for its surrogate at every m.

A centred advantage that is linear in the sorted rewards is one slope s_b per gap (see `_tableau`).
Its mean response to a rollout at F(r) = u has the derivative, in r,

    p(u) = (1/m) Σ_b s_b (m − 1) C(m−2, b−1) u^{b−1} (1 − u)^{m−1−b},

a polynomial in Bernstein form, where the exact best-of-N has N u^{N−1}. So ĝ is exactly unbiased
for ∇ ∫ Q(u) p(u) du, whatever the law; and that is ∇V_N on a location-scale law L when

    Σ_b s_b = m   and   Σ_b s_b E_L[R_(b : m−1)] = m c_N^L.

Among the slopes that satisfy this for every L in `tails` and vanish below gap `k_min`, the design
takes those of least E[A²] under one law. In terms of max@k, p is Σ_k w_k k u^{k−1}: the slopes are
the same estimator in a basis that stays well conditioned, where the w_k alternate and explode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tea_stats import _kernels, best_of_n, order_statistics
from tea_stats._validation import as_count
from tea_stats.estimators._estimator import Array, Estimator, group_advantages
from tea_stats.estimators._tableau import Tableau, centred, from_slopes
from tea_stats.families import ContinuousLaw, Gumbel, GumbelMin, Logistic, Normal, StudentT, Weibull

#: standard laws that `tails` and `design` may name
TAILS: Mapping[str, ContinuousLaw] = MappingProxyType(
    {
        "normal": Normal(),
        "logistic": Logistic(),
        "gumbel": Gumbel(),
        "gumbel_min": GumbelMin(),
        "exponential": Weibull(shape=1.0, scale=1.0),
        "student_t5": StudentT(df=5.0),
    }
)


@dataclass(frozen=True)
class LinearDesign:
    """A linear advantage for groups of m, extrapolated to N.

    Attributes
    ----------
    m, N, k_min : int
        Group size, deployment budget, smallest max@k used.
    slopes : ndarray, shape (m − 1,)
        B_b, the rise of the advantage per unit of gap b = 1..m−1 (centred part).
    top : float
        Weight of max@m in its `loo-1` form, which no centred advantage can express.
    variance : float
        E[A²] under the design law at scale 1.
    residuals : dict
        For each law of `tails`, Σ w_k c_k − c_N, relative to c_N.
    condition : float
        Condition number of the quadratic programme's matrix after unit-diagonal scaling.
    """

    m: int
    N: int
    k_min: int
    slopes: Array
    top: float
    variance: float
    residuals: Mapping[str, float]
    condition: float

    @property
    def tableau(self) -> Tableau:
        """What `_kernels.gap_linear` takes."""
        level, base, slopes = centred(self.slopes)
        slopes = slopes.copy()
        slopes[-1] += self.top * self.m
        return from_slopes(slopes, base=base, level=level)

    @property
    def matrix(self) -> Array:
        """The map from sorted rewards to their advantages, shape (m, m)."""
        _, base, slopes = self.tableau
        above = np.tri(self.m, self.m - 1, -1)
        difference = np.diff(np.eye(self.m), axis=0)
        product: Array = (base + above * slopes) @ difference
        return product

    @property
    def weights(self) -> dict[int, float]:
        """w_k of V_N ≈ Σ_k w_k V_k, k = k_min..m; they alternate and grow like 3^m.

        Computed in rational arithmetic from the slopes, since floating point would lose them.
        """
        return {k: float(w) for k, w in self.exact_weights().items()}

    def exact_weights(self) -> dict[int, Fraction]:
        """`weights` as exact fractions of the floating-point slopes."""
        m = self.m
        # s_b = Σ_k w_k m C(b−1, k−1)/C(m−1, k): binomial inversion gives w_k
        differences = [Fraction(float(s)) for s in self.slopes]
        found = {}
        for k in range(1, m):
            found[k] = differences[0] * math.comb(m - 1, k) / m
            differences = [b - a for a, b in zip(differences, differences[1:], strict=False)]
        found[m] = Fraction(self.top)
        return {k: w for k, w in found.items() if k >= self.k_min}


@lru_cache(maxsize=256)
def linear_tea_design(
    m: int,
    N: int,
    *,
    tails: tuple[str | ContinuousLaw, ...] = ("normal",),
    k_min: int | None = None,
    design: str | ContinuousLaw | None = None,
) -> LinearDesign:
    """Return the linear design of least variance that is exact on the laws of `tails`.

    Parameters
    ----------
    m : int
        Rollouts per group, at least 2.
    N : int
        Deployment budget of best-of-N.
    tails : tuple of str or ContinuousLaw
        Location-scale laws on which the extrapolation is exact: keys of `TAILS`, or laws.
    k_min : int, optional
        Smallest max@k used, 1 ≤ k_min < m: the slopes below gap k_min are zero, so only the upper
        tail matters. Default: ⌈m/4⌉, lowered where too few slopes would be left.
    design : str or ContinuousLaw, optional
        Law under which E[A²] is least; default: the first of `tails`.

    Returns
    -------
    LinearDesign
        Slopes, their variance under the design law, and how exact they are.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, or leaves fewer free slopes
        than constraints.

    Notes
    -----
    Minimises sᵀHs subject to Cs = d by one Cholesky factorisation of H. With the gap slopes as
    unknowns the condition number of H is about m²/2, for every N.

    Examples
    --------
    >>> d = linear_tea_design(16, 128, k_min=1)
    >>> round(d.variance, 2), f"{d.condition:.0f}"
    (5.34, '150')
    """
    m, N = as_count("m", m, at_least=2), as_count("N", N)
    laws = _named_laws(tails)
    design_law = _named_laws((tails[0] if design is None else design,))
    (law,) = design_law.values()
    # one constraint for the location and one for the scale of each law
    most = m - len(laws)
    k_min = min(math.ceil(m / 4), max(1, most)) if k_min is None else as_count("k_min", k_min)
    if k_min > most:
        raise ValueError(
            f"k_min is {k_min}: with m = {m} it leaves {max(0, m - k_min + 1)} free coefficients "
            f"for {1 + len(laws)} exactness conditions; give k_min ≤ {max(1, most)}, fewer tails, "
            "or a larger m"
        )
    quadratic = _second_moments(law, m)
    conditions = np.vstack([_expectations(standard, m) for standard in laws.values()])
    conditions = np.vstack([_location(m), conditions])
    targets = np.array([1.0, *(best_of_n.value(standard, N) for standard in laws.values())])
    free = np.arange(m) >= k_min - 1
    solution, condition = _least_variance(
        quadratic[np.ix_(free, free)], conditions[:, free], targets
    )
    coefficients = np.zeros(m)
    coefficients[free] = solution
    coefficients.flags.writeable = False
    reached = conditions @ coefficients
    residuals = {
        name: float((found - wanted) / max(1.0, abs(wanted)))
        for name, found, wanted in zip(laws, reached[1:], targets[1:], strict=True)
    }
    return LinearDesign(
        m=m,
        N=N,
        k_min=k_min,
        slopes=coefficients[:-1],
        top=float(coefficients[-1]),
        variance=float(coefficients @ quadratic @ coefficients),
        residuals=MappingProxyType(residuals),
        condition=condition,
    )


def _named_laws(tails: Any) -> dict[str, ContinuousLaw]:
    """Return the laws that `tails` names, by name."""
    if isinstance(tails, str) or not isinstance(tails, Sequence) or not tails:
        raise TypeError(f"tails is {tails!r}; give a tuple of names ({', '.join(TAILS)}) or laws")
    named = {}
    for entry in tails:
        if isinstance(entry, ContinuousLaw):
            named[repr(entry)] = entry
        elif entry in TAILS:
            named[entry] = TAILS[entry]
        else:
            raise ValueError(f"tails has {entry!r}; give laws, or names out of {', '.join(TAILS)}")
    return named


def _location(m: int) -> Array:
    """Return how each coefficient (m − 1 slopes, then `top`) moves with the location: Σ w_k."""
    return np.append(np.full(m - 1, 1.0 / m), 1.0)


def _expectations(law: ContinuousLaw, m: int) -> Array:
    """Return each coefficient's surrogate value ∫ Q p du under the law: Σ w_k c_k."""
    return np.append(order_statistics.means(law, m - 1) / m, order_statistics.means(law, m)[-1])


def _second_moments(law: ContinuousLaw, m: int) -> Array:
    """Return H with E[A²] = cᵀHc for the coefficients c = (slopes, top)."""
    gaps = order_statistics.gap_second_moments(law, m)
    b = np.arange(1, m)
    # centred indicators of "above gap b" covary over the group like a Brownian bridge
    bridge = np.minimum.outer(b, b) * (m - np.maximum.outer(b, b)) / m**2
    quadratic = np.empty((m, m))
    quadratic[:-1, :-1] = bridge * gaps
    # max@m: the best rollout has m times the top gap, the others nothing
    quadratic[-1, :-1] = quadratic[:-1, -1] = m * bridge[:, -1] * gaps[:, -1]
    quadratic[-1, -1] = m * gaps[-1, -1]
    return quadratic


def _least_variance(quadratic: Array, conditions: Array, targets: Array) -> tuple[Array, float]:
    """Minimise xᵀHx subject to Cx = d; return x and the condition number of scaled H."""
    scale = 1.0 / np.sqrt(np.diag(quadratic))
    scaled = quadratic * scale[:, None] * scale
    factor = np.linalg.cholesky(scaled)
    # in whitened coordinates the answer is the least-norm solution
    whitened = np.linalg.solve(factor, (conditions * scale).T)
    least = np.linalg.lstsq(whitened.T, targets, rcond=None)[0]
    return np.linalg.solve(factor.T, least) * scale, float(np.linalg.cond(scaled))


def prepare(
    m: int,
    N: int,
    *,
    tails: Sequence[str | ContinuousLaw],
    k_min: int | None,
    design: str | ContinuousLaw | None,
) -> Tableau:
    """Return the tableau of the design."""
    if not isinstance(tails, str) and isinstance(tails, Sequence):
        tails = tuple(tails)
    return linear_tea_design(m, N, tails=tails, k_min=k_min, design=design).tableau  # type: ignore[arg-type]


def linear_tea(
    rewards: ArrayLike,
    N: int,
    *,
    tails: Sequence[str | ContinuousLaw] = ("normal",),
    k_min: int | None = None,
    design: str | ContinuousLaw | None = None,
) -> Array:
    """Linear TEA: a fixed linear map of the sorted rewards, exactly unbiased for its surrogate.

    A_(i) = Σ_k w_k A_(i)^{max@k} estimates ∇ Σ_{k≤m} w_k V_k without bias for every reward law and
    every m. The weights make Σ w_k V_k = V_N on the location-scale laws of `tails`; elsewhere the
    only error is that of the extrapolation.

    Parameters
    ----------
    rewards : array_like, shape (..., m)
        Rewards of m ≥ 2 rollouts per group, any real dtype.
    N : int
        Deployment budget of best-of-N.
    tails, k_min, design
        See `linear_tea_design`.

    Returns
    -------
    ndarray, shape (..., m)
        Advantages in reward units, float64.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    Ours, beyond arXiv:2605.10716; see the module's docstring for the derivation. On the Normal law
    no unbiased advantage has E[A²] below (1 + c_N²/2) σ²; at m = 16 and k_min = 1 linear TEA
    reaches 82 % of that bound at N = 128.

    Examples
    --------
    >>> linear_tea([0.0, 1.0, 2.0, 4.0], N=16, k_min=1).round(3)
    array([-0.308, -2.924, -1.59 ,  8.974])
    """
    return group_advantages(
        rewards, N, prepare, _kernels.gap_linear, tails=tails, k_min=k_min, design=design
    )


LINEAR_TEA = Estimator(
    name="linear_tea",
    function=linear_tea,
    prepare=prepare,
    kernel=_kernels.gap_linear,
    unbiased_for="its surrogate sum w_k V_k; best-of-N on the laws of `tails`",
    reference="this project; builds on Li, Qian and Mou (2026), arXiv:2605.10716",
    uses_N=True,
)
