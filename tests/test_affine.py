"""Affine laws: scores by differentiation, exact truth that follows the base, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from tea_stats import best_of_n
from tea_stats.families import (
    Affine,
    Beta,
    Gamma,
    GenPareto,
    LogNormal,
    Normal,
    NormalMixture,
    Weibull,
)

BASES = [
    Gamma(3.0, 2.0),
    Weibull(2.5, 0.5),
    LogNormal(0.3, 0.5),
    Beta(3.0, 4.0),
    NormalMixture(0.1, 0.0, 1.0, 3.0, 0.5),
]
EACH = pytest.mark.parametrize("base", BASES, ids=str)


@EACH
def test_the_score_is_the_derivative_of_the_log_density(base):
    law = Affine(base, 0.5, 2.0)
    r = np.asarray(law.ppf(np.linspace(0.03, 0.97, 9)))
    h = 1e-5
    for column, name in enumerate(law.parameters):
        up = Affine(base, **{"loc": 0.5, "scale": 2.0, name: getattr(law, name) + h}).logpdf(r)
        down = Affine(base, **{"loc": 0.5, "scale": 2.0, name: getattr(law, name) - h}).logpdf(r)
        np.testing.assert_allclose(
            law.score(r)[:, column], (up - down) / (2 * h), rtol=1e-5, atol=1e-8
        )


@EACH
def test_the_score_has_mean_zero_and_the_variance_that_is_stated(base):
    law = Affine(base, 0.5, 2.0)
    rewards, scores = law.draw(200_000, np.random.default_rng(0))
    information = best_of_n.fisher_information(law)
    z = scores.mean(axis=1) / np.sqrt(np.diag(information) / 200_000)
    assert np.abs(z).max() < 5
    assert np.isfinite(rewards).all()
    # location and scale of R: E[R S] = (1, E B)
    moved = (rewards * scores).mean(axis=1)
    error = (rewards * scores).std(axis=1) / np.sqrt(200_000)
    assert (np.abs(moved - best_of_n.gradient(law, 1)) < 5 * error).all()


@EACH
def test_the_truth_follows_the_base(base):
    law = Affine(base, -1.0, 3.0)
    for N in (1, 16, 10**4):
        value = best_of_n.value(base, N)
        assert best_of_n.value(law, N) == pytest.approx(-1.0 + 3.0 * value, rel=1e-10, abs=1e-10)
        np.testing.assert_allclose(best_of_n.gradient(law, N), [1.0, value], rtol=1e-10)
        r = np.asarray(base.ppf([0.1, 0.9, 0.999]))
        np.testing.assert_allclose(
            best_of_n.advantage(law, N, -1.0 + 3.0 * r),
            3.0 * best_of_n.advantage(base, N, r),
            rtol=1e-8, atol=1e-8 * N,
        )  # fmt: skip
    assert law.key == repr(law)
    assert law.parameters == ("loc", "scale")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Normal(),), TypeError, "base is Normal.*; give a law out of Gamma, Weibull"),
        ((GenPareto(0.1),), TypeError, "base is GenPareto"),
        ((Gamma(2.0),), ValueError, "its shape is at most 2"),
        ((Beta(3.0, 1.5),), ValueError, "its b is at most 2"),
        ((LogNormal(), 0.0, -1.0), ValueError, "scale is -1.0"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=message):
        Affine(*arguments)
