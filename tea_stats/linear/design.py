r"""The design of linear advantages: best-of-N extrapolated from the best of k ≤ m rollouts.

A centred advantage that is linear in the sorted rewards is one slope s_b per gap (see
`linear.tableau`). Its mean response to a rollout at F(r) = u has, in r, the derivative

.. math::

    p(u) = \frac{1}{m} Σ_b s_b (m − 1) \binom{m − 2}{b − 1} u^{b−1} (1 − u)^{m−1−b},

a polynomial in Bernstein form, where the exact best-of-N has N u^{N−1}. So ĝ is exactly unbiased
for ∇ ∫ Q(u) p(u) du = (1/m) Σ_b s_b ∇E[R_(b : m−1)], whatever the law; and that is ∇V_N on every
member of a location-scale family L when

.. math::

    Σ_b s_b = m \quad \text{and} \quad Σ_b s_b E_L[R_{(b : m−1)}] = m V_N^L.

Among the slopes that satisfy this for each L in `tails` and vanish below gap `k_min`, the design
takes those of least E[A²] under one law. In terms of max@k, p is Σ_k w_k k u^{k−1}: the slopes are
the same estimator in a basis that stays well conditioned, where the w_k mostly alternate and grow
geometrically (`analysis.linear.tables` has the numbers). No centred advantage has max@m in it;
`top` is its weight, in the form `loo-1`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from tea_stats._validation import as_count
from tea_stats.best_of_n import exact, order_statistics
from tea_stats.families.law import Array, ContinuousLaw
from tea_stats.families.location_scale import Gumbel, GumbelMin, Logistic, Normal
from tea_stats.families.skewed import Weibull
from tea_stats.families.student_t import StudentT
from tea_stats.linear.tableau import Tableau, centred, from_slopes

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

#: what `tails` accepts
Tails = Sequence[str | ContinuousLaw]


@dataclass(frozen=True)
class LinearDesign:
    """A linear advantage for groups of m, extrapolated to N.

    Attributes
    ----------
    m, N, k_min : int
        Group size, deployment budget, smallest max@k used.
    slopes : ndarray, shape (m − 1,)
        Hinge coefficients s_b: the rise of the advantage per unit of gap b = 1..m−1, centred part.
    top : float
        Weight of max@m in its `loo-1` form, which no centred advantage can express.
    variance : float
        E[A²] under the design law, in its own units.
    residuals : mapping
        For each law of `tails`, Σ w_k V_k − V_N, divided by the size of V_N where that is above 1.
    condition : float
        Condition number of the quadratic programme's matrix, scaled to a unit diagonal.
    """

    m: int
    N: int
    k_min: int
    slopes: Array
    top: float
    variance: float
    residuals: Mapping[str, float]
    condition: float

    @cached_property
    def tableau(self) -> Tableau:
        """What `_kernels.gap_linear` takes."""
        return tableau(self.slopes, self.top)

    @property
    def matrix(self) -> Array:
        """The map from sorted rewards to their advantages, shape (m, m)."""
        _, base, slopes = self.tableau
        above = np.tri(self.m, self.m - 1, -1)
        difference = np.diff(np.eye(self.m), axis=0)
        product: Array = (base + above * slopes) @ difference
        return product

    @property
    def value_weights(self) -> Array:
        """Weights a of V̂_N = Σ_i a_i r_(i), unbiased for the surrogate, shape (m,).

        They are the response too: p(u) = Σ_i a_i m C(m−1, i−1) u^{i−1} (1 − u)^{m−i}.
        """
        b = np.arange(1, self.m)
        # the m − 1 rollouts that are left when one at random goes; rank b there is b or b + 1 here
        weights = np.zeros(self.m)
        weights[:-1] += (self.m - b) / self.m**2 * self.slopes
        weights[1:] += b / self.m**2 * self.slopes
        weights[-1] += self.top
        return weights

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
        weights = {}
        for k in range(1, m):
            weights[k] = differences[0] * math.comb(m - 1, k) / m
            differences = [b - a for a, b in zip(differences, differences[1:], strict=False)]
        weights[m] = Fraction(self.top)
        return {k: w for k, w in weights.items() if k >= self.k_min}


def tableau(slopes: Array, top: float) -> Tableau:
    """Return what `_kernels.gap_linear` takes, from the centred slopes and the weight of max@m."""
    level, base, rising = centred(slopes)
    rising = rising.copy()
    rising[-1] += top * (len(slopes) + 1)
    return from_slopes(rising, base=base, level=level)


@lru_cache(maxsize=256)
def _cached_design(
    m: int, N: int, tails: tuple[str | ContinuousLaw, ...], k_min: int | None, design: Any
) -> LinearDesign:
    m, N = as_count("m", m, at_least=2), as_count("N", N)
    laws = _named_laws("tails", tails)
    (law,) = _named_laws("design", (tails[0] if design is None else design,)).values()
    # one condition for the location and one for the scale of each law
    most = m - len(laws)
    k_min = max(1, min(m // 2, most)) if k_min is None else as_count("k_min", k_min)
    if k_min > most:
        raise ValueError(
            f"k_min is {k_min}: with m = {m} it leaves {max(0, m - k_min + 1)} free coefficients "
            f"for {1 + len(laws)} exactness conditions; give k_min ≤ {max(1, most)}, fewer tails, "
            "or a larger m"
        )
    quadratic = advantage_square(law, m)
    conditions = np.vstack([location(m), *(value(standard, m) for standard in laws.values())])
    targets = np.array([1.0, *(exact.value(standard, N) for standard in laws.values())])
    free = np.arange(m) >= k_min - 1
    solution, condition = _least_variance(
        quadratic[np.ix_(free, free)], conditions[:, free], targets
    )
    coefficients = np.zeros(m)
    coefficients[free] = solution
    coefficients.flags.writeable = False
    misses = (conditions @ coefficients - targets) / np.maximum(1.0, np.abs(targets))
    return LinearDesign(
        m=m,
        N=N,
        k_min=k_min,
        slopes=coefficients[:-1],
        top=float(coefficients[-1]),
        variance=float(coefficients @ quadratic @ coefficients),
        residuals=MappingProxyType(dict(zip(laws, misses[1:].tolist(), strict=True))),
        condition=condition,
    )


def linear_tea_design(
    m: int,
    N: int,
    *,
    tails: Tails = ("normal",),
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
    tails : sequence of str or ContinuousLaw
        Laws on whose location-scale families the extrapolation is exact: keys of `TAILS`, or laws.
    k_min : int, optional
        Smallest max@k used, 1 ≤ k_min ≤ m: the slopes below gap k_min are zero, so that only the
        upper tail matters. Default: m // 2, less where too few slopes would be left.
    design : str or ContinuousLaw, optional
        Law under which E[A²] is least; default: the first of `tails`.

    Returns
    -------
    LinearDesign
        Slopes, their variance under the design law, and how exact they are; cached.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range, or leaves fewer free slopes
        than conditions.

    Notes
    -----
    Minimises cᵀHc subject to Ac = d by one Cholesky factorisation of H. With the gap slopes as
    unknowns the condition number of H, scaled to a unit diagonal, is about m²/2, for every N.

    Examples
    --------
    >>> d = linear_tea_design(16, 128, k_min=1)
    >>> round(d.variance, 2), f"{d.condition:.0f}"
    (5.34, '150')
    """
    if isinstance(tails, str) or not isinstance(tails, Sequence) or not tails:
        raise TypeError(f"tails is {tails!r}; give a tuple of names ({', '.join(TAILS)}) or laws")
    return _cached_design(m, N, tuple(tails), k_min, design)


def _named_laws(argument: str, entries: Tails) -> dict[str, ContinuousLaw]:
    """Return laws by name, from names and laws."""
    named = {}
    for entry in entries:
        if isinstance(entry, ContinuousLaw):
            named[repr(entry)] = entry
        elif isinstance(entry, str) and entry in TAILS:
            named[entry] = TAILS[entry]
        else:
            raise ValueError(
                f"{argument} has {entry!r}; give laws, or names out of {', '.join(TAILS)}"
            )
    return named


# --- what a coefficient does; the coefficients are the m − 1 slopes, then `top` -------------------


def location(m: int) -> Array:
    """Return how the surrogate moves with the location, per unit of each coefficient: Σ w_k."""
    return np.append(np.full(m - 1, 1.0 / m), 1.0)


def value(law: ContinuousLaw, m: int) -> Array:
    """Return the surrogate ∫ Q p du under the law, per unit of each coefficient: Σ w_k V_k."""
    return np.append(order_statistics.means(law, m - 1) / m, order_statistics.means(law, m)[-1])


def gradient(law: ContinuousLaw, m: int) -> Array | None:
    """Return how the surrogate moves with each of the law's own parameters, shape (d, m).

    None where ∂_θ Q has no closed form.
    """
    fewer, all_of_them = (order_statistics.gradients(law, n) for n in (m - 1, m))
    if fewer is None or all_of_them is None:
        return None
    return np.hstack([fewer / m, all_of_them[:, -1:]])


def advantage_square(law: ContinuousLaw, m: int, order: int = order_statistics.ORDER) -> Array:
    """Return H with E[A²] = cᵀHc under the law."""
    gaps = order_statistics.gap_second_moments(law, m, order)
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
