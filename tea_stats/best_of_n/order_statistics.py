"""Exact moments of order statistics: means, and second moments of the gaps between them.

Both are integrals over the unit interval against binomial weights, evaluated on one fixed set of
nodes. They serve the design of linear estimators: exactness rests on the means, efficiency on the
gaps' second moments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre
from scipy import special

from tea_stats._validation import as_count
from tea_stats.families.law import Array, ContinuousLaw

#: order of the Gauss–Legendre rule on each panel
ORDER = 16
#: up to this order, a law's part of the second moments is kept: 1.6 MB for each law
KEPT_ORDER = 8
#: up to as many draws, the binomial probabilities of second moments are kept: 8 MB in all
KEPT_DRAWS = 64
#: a law whose variance is missed by more than this share is refused
MISMATCH = 1e-3

#: panel edges in x = logit(u): a binomial weight of n ≤ 1024 draws is a bump no narrower than 0.06,
#: beyond ±9 the weights are pure exponentials
_CORE = np.arange(-9.0, 9.01, 0.5)
_FAR = np.array([10.0, 11.5, 13.5, 16.5, 21.0, 28.0, 40.0, 60.0, 90.0, 140.0])
_FARTHEST = np.array([220.0, 350.0])
#: for second moments; the means of a heavy tail reach further
_INNER_EDGES = np.concatenate([-_FAR[::-1], _CORE, _FAR])
_EDGES = np.concatenate([-_FARTHEST[::-1], _INNER_EDGES, _FARTHEST])


class Nodes(NamedTuple):
    """Edges of the panels, and u, p = 1 − u and the weights du at the points of all of them."""

    edges: Array
    u: Array
    p: Array
    du: Array


# What does not depend on the number of draws is kept: a batch with missing rollouts asks for many.


@lru_cache(maxsize=16)
def _nodes(breaks: tuple[float, ...], order: int, *, far: bool) -> Nodes:
    """Return the nodes for laws whose quantiles break there; `far` adds the farthest panels."""
    at = np.array(breaks)
    edges = np.union1d(_EDGES if far else _INNER_EDGES, np.log1p(-at) - np.log(at))
    points, weights = legendre.leggauss(order)
    half = 0.5 * np.diff(edges)
    x = (edges[:-1, None] + half[:, None] * (1.0 + points)).ravel()
    u, p = special.expit(x), special.expit(-x)
    return Nodes(edges, u, p, (half[:, None] * weights).ravel() * u * p)


def _quantile(law: ContinuousLaw, u: Array, p: Array) -> Array:
    """Return Q(u) from whichever of u and p = 1 − u is small."""
    low, quantile = u < 0.5, np.empty_like(u)
    quantile[low], quantile[~low] = law.ppf(u[low]), law.isf(p[~low])
    return quantile


@lru_cache(maxsize=64, typed=True)
def _far_quantile(law: ContinuousLaw) -> tuple[Nodes, Array]:
    """Return the nodes for means, and Q there."""
    nodes = _nodes(law.breaks, ORDER, far=True)
    return nodes, _quantile(law, nodes.u, nodes.p)


def _log_sparsity(law: ContinuousLaw, u: Array, p: Array) -> Array:
    """Return log Q'(u) = −log f(Q(u)), near the end of a support too."""
    with np.errstate(all="ignore"):  # the score beside it may overflow
        log_density, _ = law._density_and_score(_quantile(law, u, p), u, p)
    return -log_density


def _interpolated(values: Array, edges: Array, order: int, x: Array) -> Array:
    """Evaluate at x the function that has these values at the points of the panels."""
    points, weights = legendre.leggauss(order)
    to_legendre = legendre.legvander(points, order - 1) * weights[:, None]
    coefficients = values.reshape(-1, order) @ to_legendre * (np.arange(order) + 0.5)
    panel = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    half = 0.5 * np.diff(edges)
    local = np.clip((x - edges[panel]) / half[panel] - 1.0, -1.0, 1.0)
    # Legendre's recurrence, downwards (Clenshaw)
    above, current = np.zeros_like(x), np.zeros_like(x)
    for n in range(order - 1, -1, -1):
        term = coefficients[panel, n] + (2 * n + 1) / (n + 1) * local * current
        above, current = current, term - (n + 1) / (n + 2) * above
    return current


def _binomial(k: Array, n: Array | int, u: Array, p: Array) -> Array:
    """Binomial probabilities C(n, k) uᵏ pⁿ⁻ᵏ in log space."""
    log_choose = -special.betaln(k + 1.0, n - k + 1.0) - np.log(n + 1.0)
    return np.exp(log_choose + k * np.log(u) + (n - k) * np.log(p))


@lru_cache(maxsize=4)
def _ranks(breaks: tuple[float, ...], n: int) -> Array:
    """Binomial probabilities of 0 … n − 1 in n − 1 draws at the nodes for means."""
    nodes = _nodes(breaks, ORDER, far=True)
    return _binomial(np.arange(float(n))[:, None], n - 1, nodes.u, nodes.p)


def expectation(law: ContinuousLaw, function: Callable[[Array], Array]) -> float:
    """Return E f(R), for an f that is smooth in the logit of F(R).

    Examples
    --------
    >>> from tea_stats import Logistic
    >>> round(expectation(Logistic(), np.square), 6) == round(np.pi**2 / 3, 6)
    True
    """
    nodes, quantile = _far_quantile(law)
    return float(nodes.du @ function(quantile))


@lru_cache(maxsize=256, typed=True)
def means(law: ContinuousLaw, n: int) -> Array:
    """Return E R_(1:n) ≤ … ≤ E R_(n:n), the mean order statistics of n draws.

    Parameters
    ----------
    law : ContinuousLaw
        Law of one draw, with a finite mean.
    n : int
        Number of draws; the result is good to 1e-11 up to 256 and to 1e-9 up to 1000.

    Returns
    -------
    ndarray, shape (n,)
        Means in reward units, smallest first.

    Examples
    --------
    >>> from tea_stats import Normal
    >>> means(Normal(), 3).round(6) + 0.0
    array([-0.846284,  0.      ,  0.846284])
    """
    n = as_count("n", n)
    nodes, quantile = _far_quantile(law)
    # R_(b:n) has density n · Binomial(b − 1; n − 1, u) in u
    values: Array = n * (_ranks(law.breaks, n) @ (nodes.du * quantile))
    values.flags.writeable = False
    return values


def gradients(law: ContinuousLaw, n: int) -> Array | None:
    """Return ∂_θ E R_(b:n), the gradients of the mean order statistics of n draws.

    Parameters
    ----------
    law, n
        As for `means`.

    Returns
    -------
    ndarray of shape (d, n), or None
        In the order of `law.parameters`, in reward units per unit of each; None where ∂_θ Q has no
        closed form.

    Examples
    --------
    >>> from tea_stats import Normal
    >>> gradients(Normal(), 2).round(6)  # of loc and scale
    array([[ 1.     ,  1.     ],
           [-0.56419,  0.56419]])
    """
    n = as_count("n", n)
    nodes, quantile = _far_quantile(law)
    with np.errstate(all="ignore"):  # where a support ends within rounding error
        columns = law._quantile_gradient(quantile)
    if columns is None:
        return None
    finite = np.nan_to_num(np.stack(columns), nan=0.0, posinf=0.0, neginf=0.0)
    slopes: Array = n * (finite * nodes.du) @ _ranks(law.breaks, n).T
    return slopes


@lru_cache(maxsize=256, typed=True)
def gap_second_moments(law: ContinuousLaw, m: int, order: int = ORDER) -> Array:
    r"""Return E[gap_j gap_l] of the gaps gap_j = R_(j+1) − R_(j) of m draws.

    With P_n(k; u) the binomial probability, and for j ≤ l,

    .. math::

        E[\text{gap}_j \text{gap}_l] = (1 + 1\{j = l\})
        ∫ ∫ P_m(l; v) \, P_l(j; x) \, Q'(v) \, Q'(v x) \, v \, dx \, dv:

    the gaps j and l cover F⁻¹(vx) and F⁻¹(v) when exactly l draws lie below the second and j of
    these below the first.

    Parameters
    ----------
    law : ContinuousLaw
        Law of one draw, with a finite variance.
    m : int
        Number of draws, at least 2.
    order : int
        Points per panel; the time grows with its square.

    Returns
    -------
    ndarray, shape (m − 1, m − 1)
        Second moments in squared reward units.

    Raises
    ------
    TypeError, ValueError
        If m is not an integer, or below 2; if the law's variance is infinite, or its modes lie too
        far apart for the panels.

    Notes
    -----
    Good to 1e-12, relative, for smooth laws with light tails, to 1e-7 where the fourth moment is
    infinite, to 1e-4 where the quantile has a break. The sum that gives the law's variance is
    checked against it.

    Examples
    --------
    >>> from tea_stats import Normal
    >>> float(gap_second_moments(Normal(), 2)[0, 0].round(9))
    2.0
    """
    m = as_count("m", m, at_least=2)
    if not law.moments_below > 2.0:
        raise ValueError(f"law is {law!r} and its variance is infinite; give one with a finite one")
    _, u, p, _ = _nodes(law.breaks, order, far=False)
    weight = (_coarse_gap_weight if order <= KEPT_ORDER else _fine_gap_weight)(law, order)
    gaps = np.arange(1.0, m)
    over_v = _binomial(gaps[:, None], m, u, p) @ weight
    products = np.zeros((m - 1, m - 1))
    for last in range(1, m):
        if last <= KEPT_DRAWS:
            below = _kept_below(law.breaks, order, last)
        else:
            below = _with_one_more(below, u, p)
        products[:last, last - 1] = below @ over_v[last - 1]
    products = products + products.T
    _check_variance(law, products)
    products.flags.writeable = False
    return products


def _gap_weight(law: ContinuousLaw, order: int) -> Array:
    """Return Q'(v) Q'(v x) v dx dv, one row for each v and one column for each x."""
    edges, u, p, du = _nodes(law.breaks, order, far=False)
    log_sparsity = _log_sparsity(law, u, p)
    # log Q' is smooth in the logit, and interpolated at the products vx
    log_product = np.add.outer(np.log(u), np.log(u))
    x = log_product - np.log(p[:, None] + u[:, None] * p)
    at_product = np.exp(_interpolated(log_sparsity, edges, order, x))
    weight: Array = (du * u * np.exp(log_sparsity))[:, None] * du * at_product
    return weight


_coarse_gap_weight = lru_cache(maxsize=40, typed=True)(_gap_weight)
_fine_gap_weight = lru_cache(maxsize=4, typed=True)(_gap_weight)


def _below(breaks: tuple[float, ...], order: int, n: int) -> Array:
    """Binomial probabilities of 1 … n in n draws at the nodes for second moments."""
    _, u, p, _ = _nodes(breaks, order, far=False)
    return _binomial(np.arange(1.0, n + 1.0)[:, None], n, u, p)


_kept_below = lru_cache(maxsize=KEPT_DRAWS)(_below)


def _with_one_more(below: Array, u: Array, p: Array) -> Array:
    """Return `_below` of n + 1 draws from that of n: the last draw lies below, or it does not.

    All terms are positive, so that nothing cancels; it takes a tenth of the time of the logarithms.
    """
    more = np.empty((len(below) + 1, below.shape[1]))
    np.multiply(below, u, out=more[1:])
    more[0] = u * np.exp(len(below) * np.log(p))
    more[:-1] += p * below
    return more


def _check_variance(law: ContinuousLaw, gaps: Array) -> None:
    """Refuse a law whose variance the second moments of its gaps do not add up to."""
    m = len(gaps) + 1
    b = np.arange(1, m)
    bridge = np.minimum.outer(b, b) * (m - np.maximum.outer(b, b)) / m
    from_gaps = float((bridge * gaps).sum()) / (m - 1)
    mean = expectation(law, lambda r: r)
    exact = expectation(law, lambda r: (r - mean) ** 2)
    if not abs(from_gaps - exact) <= MISMATCH * exact:
        raise ValueError(
            f"law is {law!r}: its order statistics need a finer mesh than there is (variance "
            f"{from_gaps:g} instead of {exact:g}); give a law whose modes lie closer together"
        )
