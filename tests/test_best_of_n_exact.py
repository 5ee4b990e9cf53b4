"""Value, gradient and advantage of every continuous law against mpmath at 40 digits.

The truth at 40 digits takes a minute, so it is kept in `mpmath_truth.json`; slow tests compute it
again. `python -m tests.test_best_of_n_exact` adds the laws that the file lacks, or computes those
that are named again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from tea_stats import best_of_n
from tea_stats.families import (
    Beta,
    Gamma,
    GaussianTail,
    GenPareto,
    Gumbel,
    Logistic,
    LogNormal,
    NormalMixture,
    StudentT,
    Weibull,
)
from tests.laws import CONTINUOUS
from tests.mpmath_truth import DIGITS, Truth

#: N -> relative error allowed
BUDGETS = {1: 1e-10, 2: 1e-10, 16: 1e-10, 1024: 1e-10, 10**6: 1e-10, 10**9: 1e-8}

#: corners of the parameters, besides those of the table
CORNERS = {
    "log-normal-2": LogNormal(0.0, 2.0),
    "weibull-.5": Weibull(0.5),
    "weibull-5": Weibull(5.0),
    "gen-pareto-.45": GenPareto(0.45),
    "gen-pareto-−.45": GenPareto(-0.45),
}

FAR_CORNERS = {
    "student-t-1.2": StudentT(1.2),
    "gamma-.05": Gamma(0.05),
    "gamma-1000": Gamma(1000.0, 0.01),
    "weibull-.1": Weibull(0.1),
    "weibull-50": Weibull(50.0),
    "log-normal-5": LogNormal(0.0, 5.0),
    "log-normal-.01": LogNormal(3.0, 0.01),
    "gen-pareto-.499": GenPareto(0.499),
    "gen-pareto-−.499": GenPareto(-0.499),
    "gen-pareto-1e-12": GenPareto(1e-12),
    "beta-.1-.1": Beta(0.1, 0.1),
    "beta-.01-3": Beta(0.01, 3.0),
    "beta-3-.01": Beta(3.0, 0.01),
    "beta-30-60": Beta(30.0, 60.0),
    "gaussian-tail-.001": GaussianTail(alpha=0.001),
    "gaussian-tail-.499": GaussianTail(alpha=0.499),
    "mixture-1e-9": NormalMixture(1e-9, 0.0, 1.0, 30.0, 0.1),
    "mixture-narrow": NormalMixture(0.5, 1.0, 1e-3, 0.0, 1.0),
    "mixture-far": NormalMixture(0.1, 1e6, 1.0, 1e6 + 3.0, 0.5),
}


ALL = {**CONTINUOUS, **CORNERS, **FAR_CORNERS}
FILE = Path(__file__).with_name("mpmath_truth.json")
STORED = json.loads(FILE.read_text())


def check(law, N, value, gradient, psi):
    """Compare a law with its truth: all three, each to max(1, its size)."""
    tolerance = BUDGETS[N]
    assert abs(best_of_n.value(law, N) - value) <= tolerance * max(1, abs(value)), N
    error = best_of_n.gradient(law, N) - np.array(gradient)
    norm = mpmath.norm(gradient)
    assert mpmath.norm(error.tolist()) <= tolerance * max(1, norm), N
    computed = best_of_n.advantage(law, N, [r for r, _ in psi])
    for a, (r, b) in zip(computed, psi, strict=True):
        assert abs(a - b) <= tolerance * max(1, abs(b)), (N, r)


@pytest.mark.parametrize("label", ALL)
def test_truth(label):
    for N in BUDGETS:
        value, gradient, *psi = STORED[label][str(N)]
        assert len(psi) > 5
        check(ALL[label], N, value, gradient, psi)


# --- the truth itself ---------------------------------------------------------------------------


def compute(law):
    """Return, for each N, V_N, ∇V_N and all pairs (r, ψ_N(r)) to compare."""
    truth = Truth(law)
    for N in BUDGETS:
        value, gradient, psi = truth.at(N)
        # further out, where no draw falls, SciPy's inverse of the beta law loses digits
        yield N, value, gradient, [(r, b) for r, b in psi if law.sf(r) > 1e-280]


def rounded(value, gradient, psi):
    """Return what is stored: doubles, and some eight of the pairs."""
    pairs = [(r, float(b)) for r, b in psi[:: max(1, len(psi) // 8)]]
    return [float(value), [float(g) for g in gradient], *pairs]


@pytest.mark.slow
@pytest.mark.parametrize("label", ALL)
def test_truth_at_40_digits(label):
    for N, value, gradient, psi in compute(ALL[label]):
        assert len(psi) > 10
        check(ALL[label], N, value, gradient, psi)
        stored = STORED[label][str(N)]
        for one, again in zip(stored[1:], rounded(value, gradient, psi)[1:], strict=True):
            assert one == pytest.approx(again, rel=1e-11)
        assert stored[0] == pytest.approx(float(value), rel=1e-13, abs=1e-13)


def closed_form(law, N):
    """V_N at 40 digits."""
    if isinstance(law, Gumbel):
        return law.loc + law.scale * (mp.euler + mp.log(N))
    if isinstance(law, Logistic):
        return law.loc + law.scale * mp.harmonic(N - 1)
    if law.shape == 0.0:
        return law.scale * mp.harmonic(N)
    shape = mpf(law.shape)
    log_factor = mp.loggamma(N + 1) + mp.loggamma(1 - shape) - mp.loggamma(N + 1 - shape)
    return law.scale * mp.expm1(log_factor) / shape


@pytest.mark.slow
@pytest.mark.parametrize(
    "law", [Gumbel(-2.0, 3.0), Logistic(), GenPareto(0.3), GenPareto(-0.3, 2.0), GenPareto(0.0)]
)
def test_mpmath_truth_agrees_with_closed_forms(law):
    truth = Truth(law)
    for N in BUDGETS:
        with mp.workdps(DIGITS):
            expected = closed_form(law, N)
            assert abs(truth.at(N)[0] - expected) < mpf(10) ** -15 * max(1, abs(expected))


@pytest.mark.slow
@pytest.mark.parametrize("law", [GenPareto(0.2, 2.0), Weibull(1.5), LogNormal(0.5, 0.7)])
def test_mpmath_gradient_is_the_difference_quotient_of_the_value(law):
    step = 2.0**-20  # θ ± step is a double; the quotient's own error is about step² = 1e-12
    at_law = Truth(law, 1.0, 24).at(64)
    for name, by_name in zip(law.parameters, at_law[1], strict=True):
        theta = getattr(law, name)
        high, low = (
            Truth(replace(law, **{name: theta + s}), 1.0, 24).at(64)[0] for s in (step, -step)
        )
        size = max(1, abs(by_name))
        assert abs((high - low) / (2 * step) - by_name) < 1e-10 * size
        computed = best_of_n.gradient(law, 64)[law.parameters.index(name)]
        assert abs(computed - by_name) < 1e-12 * size


@pytest.mark.parametrize("df", [1.0001, 1.01, 1.1, 2.0, 5.0, 1e6])
def test_two_draws_of_student_t(df):
    """V₂ is half of Gini's mean difference: at df = 1.0001 nearly all of it lies beyond 1e290."""
    nu, half = mpf(df), mpf("0.5")
    with mp.workdps(DIGITS):
        gini = 4 * mp.sqrt(nu) / (nu - 1) * mp.beta(half, nu - half) / mp.beta(half, nu / 2) ** 2
        assert best_of_n.value(StudentT(df), 2) == pytest.approx(float(gini / 2), rel=1e-12)


if __name__ == "__main__":
    kept = json.loads(FILE.read_text(encoding="utf-8"))
    again = sys.argv[1:] or [label for label in ALL if label not in kept]
    kept |= {x: {N: rounded(*rest) for N, *rest in compute(ALL[x])} for x in again}
    lines = [f"{json.dumps(label)}: {json.dumps(kept[label])}" for label in ALL]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
