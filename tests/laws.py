"""One literal table of laws for every test that runs over all of them: label -> law.

Each family of `tea_stats.FAMILIES` is here with at least two settings of its parameters.
"""

from __future__ import annotations

import numpy as np

from tea_stats.families import (
    Beta,
    Discrete,
    EmpiricalPool,
    Gamma,
    GaussianTail,
    GenPareto,
    Gumbel,
    GumbelMin,
    Logistic,
    LogNormal,
    Normal,
    NormalMixture,
    SoftmaxBandit,
    StudentT,
    Weibull,
)

CONTINUOUS = {
    "normal": Normal(),
    "normal-shifted": Normal(-3.0, 0.5),
    "gaussian-tail": GaussianTail(),
    "gaussian-tail-.1": GaussianTail(2.0, 0.3, alpha=0.1),
    "gaussian-tail-.4": GaussianTail(-1.0, 2.0, alpha=0.4),
    "logistic": Logistic(),
    "logistic-shifted": Logistic(1.5, 0.2),
    "gumbel": Gumbel(),
    "gumbel-shifted": Gumbel(-2.0, 3.0),
    "gumbel-min": GumbelMin(),
    "gumbel-min-shifted": GumbelMin(4.0, 0.7),
    "student-t-5": StudentT(5.0),
    "student-t-1.5": StudentT(1.5, 1.0, 2.0),
    "student-t-60": StudentT(60.0, -1.0, 0.5),
    "gamma-2": Gamma(2.0),
    "gamma-.5": Gamma(0.5, 3.0),
    "gamma-30": Gamma(30.0, 0.1),
    "weibull-1.5": Weibull(1.5),
    "weibull-.7": Weibull(0.7, 2.0),
    "log-normal": LogNormal(),
    "log-normal-.4": LogNormal(1.0, 0.4),
    "gen-pareto-heavy": GenPareto(0.3),
    "gen-pareto-bounded": GenPareto(-0.3, 2.0),
    "gen-pareto-0": GenPareto(0.0, 0.5),
    "gen-pareto-near-0": GenPareto(1e-7),
    "beta-2-5": Beta(2.0, 5.0),
    "beta-.7-.6": Beta(0.7, 0.6),
    "beta-8-1.5": Beta(8.0, 1.5),
    "mixture-rare": NormalMixture(0.02, 0.0, 1.0, 4.0, 0.5),
    "mixture-scale": NormalMixture(0.1, 0.0, 1.0, 0.0, 3.0),
    "mixture-separated": NormalMixture(0.3, -5.0, 0.5, 5.0, 0.5),
}

_rng = np.random.default_rng(20260510)

FINITE = {
    "verifier": Discrete([0.0, 1.0], [0.0, -2.0]),
    "verifier-rare": Discrete.from_probabilities([0.0, 1.0], [0.999, 0.001]),
    "likert": Discrete([1.0, 2.0, 3.0, 4.0, 5.0], [0.3, 1.0, 0.7, 0.0, -2.0]),
    "discrete-ties": Discrete([1.0, 0.0, 1.0, -2.0], [0.1, 0.2, -0.4, 0.0]),
    "bandit": SoftmaxBandit(_rng.normal(size=12), _rng.normal(size=12)),
    "bandit-ties": SoftmaxBandit(_rng.integers(0, 4, size=10), _rng.normal(size=10)),
    "bandit-linear": SoftmaxBandit(
        _rng.normal(size=40), features=_rng.normal(size=(40, 3)), theta=[0.5, -0.2, 0.1]
    ),
    "pool": EmpiricalPool(_rng.gumbel(size=200), _rng.normal(size=(200, 2))),
    "pool-ties": EmpiricalPool(
        _rng.integers(0, 5, size=50), _rng.normal(size=(50, 3)), names=("a", "b", "c")
    ),
}

ALL = {**CONTINUOUS, **FINITE}
