"""Linear advantages as the note `paper/linear_tea.tex` defines them, in rational arithmetic.

Maxima over subsets are listed, expectations are over every group. Nothing here comes from tea_stats
but the class of a law. The symbols are the note's: s slopes, w weights, a the weights of V̂.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from tea_stats.families import Discrete
from tests.rational import LAWS, RationalLaw, fractions

every_law = pytest.mark.parametrize("law", LAWS, ids=str)
#: arbitrary slopes and weights for groups of 4
SLOPES = fractions([2, -3, 5])
WEIGHTS = fractions(["3/2", -4, 3, "1/2"])


def equal(one, other):
    """Tell whether two arrays are equal, element by element."""
    return np.all(np.asarray(one) == np.asarray(other))


def named(law: RationalLaw) -> Discrete:
    """Return the law as one of tea_stats."""
    return Discrete.from_probabilities(law.rewards, [float(p) for p in law.probabilities])


# --- advantages of one group --------------------------------------------------------------------


def subsets_mean(rewards, size, inside=None, outside=None):
    """Return the mean maximum over the subsets that contain a rollout, or that do not."""
    chosen = [
        max(rewards[list(K)])
        for K in itertools.combinations(range(len(rewards)), size)
        if (inside is None or inside in K) and outside not in K
    ]
    return sum(chosen) / Fraction(len(chosen))


def best_of_k(rewards, k, baseline=None):
    """Return k (q_i − ρ⁻ⁱ), ρ of subsets of `baseline`; by default canonical, loo-1 for k = m."""
    m = len(rewards)
    size = min(k, m - 1) if baseline is None else baseline
    q = fractions([subsets_mean(rewards, k, inside=i) for i in range(m)])
    return k * (q - fractions([subsets_mean(rewards, size, outside=i) for i in range(m)]))


def gap_slopes(rewards, s, top=0):
    """Return the advantages of slopes and `top`, in the order of the rewards."""
    m = len(rewards)
    order = np.argsort(rewards, kind="stable")
    gaps = np.diff(rewards[order])
    computed = fractions(np.zeros(m, dtype=int))
    for rank, i in enumerate(order, start=1):
        for b in range(1, m):
            computed[i] += s[b - 1] * (int(rank > b) - Fraction(m - b, m)) * gaps[b - 1]
    computed[order[-1]] += m * top * gaps[-1]
    return computed


# --- coordinates --------------------------------------------------------------------------------


def slopes_of(w):
    """Return the slopes of weights w_1..w_m."""
    m = len(w)
    parts = [
        w[k - 1]
        * fractions([Fraction(m * comb(b - 1, k - 1), comb(m - 1, k)) for b in range(1, m)])
        for k in range(1, m)
    ]
    return sum(parts)


def weights_of(s):
    """Return the weights w_1..w_{m−1} of slopes."""
    m = len(s) + 1
    signed = [
        sum((-1) ** (k - b) * comb(k - 1, b - 1) * s[b - 1] for b in range(1, k + 1))
        for k in range(1, m)
    ]
    return fractions([Fraction(comb(m - 1, k), m) * x for k, x in enumerate(signed, start=1)])


def value_weights(s, top):
    """Return the coefficients of V̂ = Σ a_i r_(i)."""
    m = len(s) + 1
    padded = [0, *s, 0]
    numerators = [(m - i) * padded[i] + (i - 1) * padded[i - 1] for i in range(1, m + 1)]
    computed = fractions(numerators) / Fraction(m * m)
    computed[-1] += top
    return computed


def bernstein(s, u):
    """Return p(u) of slopes."""
    m = len(s) + 1
    basis = [comb(m - 2, b - 1) * u ** (b - 1) * (1 - u) ** (m - 1 - b) for b in range(1, m)]
    return sum(x * y for x, y in zip(s, basis, strict=True)) * (m - 1) / m


def powers(w, u):
    """Return p(u) of weights."""
    return sum(x * k * u ** (k - 1) for k, x in enumerate(w, start=1))


def primitive(w, u):
    """Return the antiderivative of `powers` that is 0 at 0."""
    return sum(x * u**k for k, x in enumerate(w, start=1))


# --- expectations -------------------------------------------------------------------------------


def influence(law, p, r):
    """Return ∫ (1{t<r} − 1 + F) p(F) dt."""
    return law.integral(lambda t, F: (int(t < r) - 1 + F) * p(F))


def mean_gradient(law, m, advantages):
    """Return E[(1/m) Σ A_i S_i]."""
    return law.mean(m, lambda r, S: advantages(r) @ S) / m


def response(law, m, advantages):
    """Return E[A_1 | R_1 = r] for each level r."""
    computed = {}
    for v in law.levels:
        chance = law.mean(1, lambda r, S, v=v: Fraction(int(r[0] == v)))
        computed[v] = law.mean(m, lambda r, S, v=v: advantages(r)[0] * int(r[0] == v)) / chance
    return computed


def gap_moments(law, m):
    """Return E[g_b g_c]."""

    def products(rewards, _):
        gaps = np.diff(np.sort(rewards))
        return np.multiply.outer(gaps, gaps)

    return law.mean(m, products)


def uniform_programme(m, k_min):
    """Return H and C of the uniform law: Dirichlet gaps, E R_(b:n) = b/(n + 1)."""
    H = fractions(np.zeros((m, m), dtype=int))
    for b, c in itertools.product(range(1, m), repeat=2):
        bridge = Fraction(min(b, c) * (m - max(b, c)), m * m)
        H[b - 1, c - 1] = bridge * (1 + int(b == c))
    for b in range(1, m):
        H[b - 1, -1] = H[-1, b - 1] = Fraction(b * (1 + int(b == m - 1)), m)
    H[-1, -1] = Fraction(2 * m)
    H = H / Fraction((m + 1) * (m + 2))
    location = [*[Fraction(1, m)] * (m - 1), 1]
    scale = [*(Fraction(b, m * m) for b in range(1, m)), Fraction(m, m + 1)]
    return H[k_min - 1 :, k_min - 1 :], fractions([location, scale])[:, k_min - 1 :]
