r"""The note `paper/linear_tea.tex`: each numbered equation by a test named after its label, I.

\label{eq:gap-slopes} is checked by test_gap_slopes. Groups of discrete laws, with ties, are listed
in rational arithmetic, where == means equality; what the package computes is set beside it. The
second half of the note is checked in `test_note_linear_tea_design`.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import partial
from math import comb

import numpy as np
import pytest

from tea_stats import best_of_n, linear_tea, linear_tea_design, max_at_k
from tea_stats.estimators.max_at_k import tableau
from tests.linear_definitions import (
    SLOPES,
    WEIGHTS,
    bernstein,
    best_of_k,
    equal,
    every_law,
    gap_slopes,
    influence,
    mean_gradient,
    named,
    powers,
    primitive,
    response,
    slopes_of,
    subsets_mean,
    weights_of,
)
from tests.rational import COIN, fractions

# --- setting ------------------------------------------------------------------------------------


@every_law
@pytest.mark.parametrize("N", [1, 3, 5])
def test_target(law, N):
    listed = law.mean(N, lambda r, S: max(r))
    assert listed == law.value(lambda u: u**N) != law.value(lambda u: u ** (N + 1))
    assert best_of_n.value(named(law), N) == pytest.approx(float(listed), rel=1e-14)


@every_law
@pytest.mark.parametrize("N", [1, 3, 5])
def test_influence(law, N):
    def psi(r):
        return influence(law, lambda u: N * u ** (N - 1), r)

    listed = law.mean(N, lambda r, S: max(r) * S.sum(axis=0))
    assert equal(law.mean(1, lambda r, S: psi(r[0]) * S[0]), listed)
    assert law.mean(1, lambda r, S: psi(r[0])) == 0
    assert equal(law.best_of_gradient(N), listed)
    computed = best_of_n.advantage(named(law), N, np.array(law.levels, dtype=float))
    np.testing.assert_allclose(computed, [float(psi(v)) for v in law.levels], rtol=0, atol=1e-13)


# --- the best of k ------------------------------------------------------------------------------


@every_law
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_maxk_value(law, k):
    m = 4

    def estimate(rewards, _):
        listed = subsets_mean(rewards, k)
        weights = fractions([Fraction(comb(i - 1, k - 1), comb(m, k)) for i in range(1, m + 1)])
        assert weights @ np.sort(rewards) == listed
        return listed

    assert law.mean(m, estimate) == law.best_of(k)


@every_law
@pytest.mark.parametrize("k", [1, 2, 3])
def test_maxk_canonical(law, k):
    m = 4

    def advantages(rewards):
        computed = best_of_k(rewards, k)
        whole = subsets_mean(rewards, k)
        other = [subsets_mean(rewards, k, inside=i) - whole for i in range(m)]
        assert equal(computed, Fraction(m * k, m - k) * fractions(other))
        assert sum(computed) == 0
        code = max_at_k(rewards.astype(float), m, k=k)
        np.testing.assert_allclose(code, computed.astype(float), rtol=0, atol=1e-13)
        return computed

    assert equal(mean_gradient(law, m, advantages), law.best_of_gradient(k))


@every_law
@pytest.mark.parametrize("k", [2, 3, 4])
def test_maxk_loo(law, k):
    m = 4
    sums = set()

    def advantages(rewards):
        computed = best_of_k(rewards, k, baseline=k - 1)
        code = max_at_k(rewards.astype(float), m, k=k, form="loo-1")
        np.testing.assert_allclose(code, computed.astype(float), rtol=0, atol=1e-13)
        if k == m:
            second, best = np.sort(rewards)[-2:]
            assert equal(np.sort(computed), [0, 0, 0, m * (best - second)])
        sums.add(sum(computed))
        return computed

    assert equal(mean_gradient(law, m, advantages), law.best_of_gradient(k))
    assert sums != {0}


@every_law
def test_surrogate(law):
    def advantages(rewards):
        return sum(w * best_of_k(rewards, k) for k, w in enumerate(WEIGHTS, start=1))

    parts = [w * law.best_of_gradient(k) for k, w in enumerate(WEIGHTS, start=1)]
    assert equal(mean_gradient(law, 4, advantages), sum(parts))
    assert equal(law.gradient(partial(powers, WEIGHTS)), sum(parts))
    values = [w * law.best_of(k) for k, w in enumerate(WEIGHTS, start=1)]
    assert law.value(partial(primitive, WEIGHTS)) == sum(values)


# --- one slope per gap --------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 3, 5])
def test_gap_slopes(m):
    """The four properties leave m − 1 dimensions of m × m matrices, and these are the slopes'."""
    ascending = np.tri(m, m - 1, -1)  # r = r_(1) + the gaps below
    conditions = []
    for i in range(m):
        location = np.zeros((m, m))
        location[i] = 1.0
        conditions.append(location)  # row i on equal rewards
    for b in range(m - 1):
        conditions.append(np.outer(np.ones(m), ascending[:, b]))  # the group's sum over gap b
        for i in range(m - 1):
            if i != b:  # ranks i and i + 1 are tied, gap b is open
                tied = np.zeros((m, m))
                tied[i + 1], tied[i] = ascending[:, b], -ascending[:, b]
                conditions.append(tied)
    system = np.stack([c.ravel() for c in conditions])
    assert m * m - np.linalg.matrix_rank(system) == m - 1
    matrices = []
    for b in range(m - 1):
        unit = fractions(np.eye(m - 1, dtype=int)[b])
        # column j: the advantages' rise per unit of r_(j), on rewards 0, 2, 4, … that stay sorted
        base = fractions(np.arange(0, 2 * m, 2))
        columns = [
            gap_slopes(base + fractions(e), unit) - gap_slopes(base, unit) for e in np.eye(m)
        ]
        matrices.append(np.stack(columns, axis=1).astype(float).ravel())
    assert np.abs(system @ np.stack(matrices).T).max() < 1e-14
    assert np.linalg.matrix_rank(np.stack(matrices)) == m - 1


def test_gap_slopes_of_a_design_are_its_advantages():
    m = 6
    design = linear_tea_design(m, 32, k_min=1)
    rng = np.random.default_rng(0)
    for rewards in rng.integers(-5, 5, size=(20, m)):
        computed = gap_slopes(fractions(rewards), fractions(design.slopes), Fraction(design.top))
        code = linear_tea(rewards, 32, k_min=1)
        # among tied rewards the best's share is nought, whoever has it
        np.testing.assert_allclose(code, computed.astype(float), rtol=0, atol=1e-12 * 32)


@every_law
def test_hinge_integral(law):
    def compare(rewards, _):
        m = len(rewards)

        def slope(B):
            return SLOPES[B - 1] if 0 < B < m else Fraction(0)

        for i, advantage in enumerate(gap_slopes(rewards, SLOPES)):
            integral = Fraction(0)
            for t, end, _ in law.cells:
                B = sum(int(r <= t) for r in rewards)
                integral += (end - t) * slope(B) * (int(t < rewards[i]) - 1 + Fraction(B, m))
            assert integral == advantage
        return Fraction(1)

    assert law.mean(4, compare) == 1  # all groups were there


@pytest.mark.parametrize("m", [2, 4, 7])
def test_slopes_of_weights(m):
    rewards = fractions([3, 1, 1, 8, 0, 13, 4][:m])
    for k in range(1, m):
        unit = fractions([int(j == k) for j in range(1, m + 1)])
        assert equal(gap_slopes(rewards, slopes_of(unit)), best_of_k(rewards, k))
        code = tableau(m, k, "canonical")[2]
        np.testing.assert_allclose(code, slopes_of(unit).astype(float), rtol=1e-14)


@pytest.mark.parametrize("m", [2, 4, 9])
def test_weights_of_slopes(m):
    slopes = fractions(np.random.default_rng(1).integers(-9, 9, size=m - 1))
    assert equal(slopes_of([*weights_of(slopes), 0]), slopes)
    design = linear_tea_design(m, 32, k_min=1)
    computed = [*weights_of(fractions(design.slopes)), Fraction(design.top)]
    assert list(design.exact_weights().values()) == computed
    # the sizes of the map's entries add up to what the note says
    columns = [weights_of(fractions(e)) for e in np.eye(m - 1, dtype=int)]
    assert sum(abs(x) for x in np.ravel(columns)) == Fraction(3 ** (m - 1) - 1, 2 * m)


@pytest.mark.parametrize("k_min", [1, 2, 4, 7])
def test_k_min(k_min):
    values = fractions([0] * (k_min - 1) + list(range(2, 10 - k_min)))
    assert len(values) == 7
    from_slopes, from_weights = weights_of(values), slopes_of([*values, 0])
    for computed in (from_slopes, from_weights):
        assert equal(computed[: k_min - 1], 0)
        assert computed[k_min - 1] != 0


@pytest.mark.parametrize("m", [2, 4, 7])
def test_bernstein(m):
    weights = fractions(np.random.default_rng(2).integers(-9, 9, size=m - 1))
    # more points than either polynomial has coefficients
    for u in (Fraction(j, m) for j in range(m + 1)):
        assert bernstein(slopes_of([*weights, 0]), u) == powers(weights, u)


@every_law
def test_response(law):
    computed = response(law, 4, lambda rewards: gap_slopes(rewards, SLOPES))
    for r, listed in computed.items():
        assert listed == influence(law, partial(bernstein, SLOPES), r)
    assert len(set(computed.values())) > 1


@every_law
def test_unbiased(law):
    m = 4
    listed = mean_gradient(law, m, lambda rewards: gap_slopes(rewards, SLOPES))
    assert equal(listed, law.gradient(partial(bernstein, SLOPES)))
    fewer = law.mean(m - 1, lambda r, S: (SLOPES @ np.sort(r)) * S.sum(axis=0))
    assert equal(listed, fewer / m)


@pytest.mark.parametrize("m", [2, 3, 5])
def test_no_centred(m):
    rng = np.random.default_rng(3)
    table = {x: fractions(rng.integers(-9, 9, size=m)) for x in itertools.product((0, 1), repeat=m)}
    table = {x: A - sum(A) / Fraction(m) for x, A in table.items()}

    def gradient(theta):
        total = Fraction(0)
        for x, A in table.items():
            chance = theta ** sum(x) * (1 - theta) ** (m - sum(x))
            score = (fractions(x) - theta) / (theta * (1 - theta))
            total += chance * (A @ score) / m
        return total

    def stated(theta):
        return sum(
            theta ** (sum(x) - 1) * (1 - theta) ** (m - sum(x) - 1) * (fractions(x) @ A) / m
            for x, A in table.items()
            if 0 < sum(x) < m
        )

    points = [Fraction(j, m + 1) for j in range(1, m + 1)]
    assert all(gradient(theta) == stated(theta) for theta in points)
    # the (m − 1)-th difference of m points is zero for degree m − 2, and not for degree m − 1
    centred, best = map(gradient, points), (m * (1 - theta) ** (m - 1) for theta in points)
    signs = [(-1) ** j * comb(m - 1, j) for j in range(m)]
    assert sum(x * sign for x, sign in zip(centred, signs, strict=True)) == 0
    assert sum(x * sign for x, sign in zip(best, signs, strict=True)) != 0
    # in the coin's logit of success, dθ = θ(1 − θ)
    theta = COIN.probabilities[1]
    assert COIN.best_of_gradient(m)[1] == m * (1 - theta) ** (m - 1) * theta * (1 - theta)


@every_law
def test_top(law):
    m, top = 4, Fraction(2, 3)
    best = law.mean(m, lambda r, S: r.max() * S.sum(axis=0))

    def gained(rewards):
        return gap_slopes(rewards, SLOPES, top) - gap_slopes(rewards, SLOPES)

    for r, listed in response(law, m, gained).items():
        assert listed == top * law.integral(lambda t, F, r=r: int(t < r) * m * F ** (m - 1))
    assert equal(mean_gradient(law, m, gained), top * best)
    assert equal(law.gradient(lambda u: top * m * u ** (m - 1)), top * best)
    # it is max@m in the form loo-1
    assert equal(gained(fractions([5, 2, 9, 2])), top * best_of_k(fractions([5, 2, 9, 2]), m))
