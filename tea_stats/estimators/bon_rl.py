"""BoN-RL of Chow et al.: the policy gradient of an exponentially tilted best-of-N."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function
from tea_stats.linear.tableau import Tableau, centred


@dataclass(frozen=True, kw_only=True)
class BonRL(Estimator):
    r"""BoN-RL: ranks tilted exponentially, as much as the best of N tilts the policy.

    .. math::

        A_{(i)} − A_{(i−1)} = m c_{i−1} \, (r_{(i)} − r_{(i−1)}), \quad Σ_i A_i = 0, \quad
        c_j = \frac{e^{λ_N j/(m−1)}}{Σ_l e^{λ_N l/(m−1)}}, \; j = 1..m − 1

    The best of N is approximated by π(y) e^{λ_N Q(y)}, Q the share of rollouts that y beats; λ_N
    is such that it is as far from π as the best of N, in Kullback–Leibler divergence:

    .. math:: \frac{λ}{1 − e^{−λ}} − 1 − \log\frac{e^λ − 1}{λ} = \log N − 1 + \frac{1}{N}

    Notes
    -----
    Unbiased for ∇E[Σ_j c_j R_(j:m−1)], the value of the tilted policy on m − 1 rollouts; as m
    grows it tends to the gradient of E[R e^{λF(R)}]/E[e^{λF(R)}]. For N ≫ m, λ ≈ N + 1, all
    weight lies on the largest reward, and it is max@(m − 1): nothing is extrapolated. Our reading,
    from rewards alone and without a learnt baseline, of the method of Chow et al. (2025),
    arXiv:2412.15287, whose full text was not at hand: with y from the tilted policy, their
    (R − b)(S + λ_N E[S' 1{R' ≤ R}]), R' and S' of another response, has this gradient as its mean.

    Examples
    --------
    >>> bon_rl([0, 1, 2, 6], N=2).round(3)
    array([-3.317, -2.8  , -1.693,  7.81 ])
    """

    name = "bon_rl"
    title = "BoN-RL"
    unbiased_for = "its surrogate, order statistics of m - 1 rollouts weighted by exp(lambda_N F)"
    objective = r"its surrogate, order statistics of $m-1$ rollouts weighted by $e^{\lambda_NF}$"
    reference = "Chow et al. (2025), arXiv:2412.15287; our reading"
    citations = ("chow2025",)
    marks = (({}, Mark("#BBCC33", "X")),)
    uses_N = True
    kernel = staticmethod(_kernels.gap_linear)

    def prepare(self, m: int, N: int) -> Tableau:
        """Return the tableau of the tilted ranks."""
        return tableau(m, N)


@lru_cache(maxsize=256)
def tilt(N: int) -> float:
    """Return λ_N, at which e^{λF} and the best of N are equally far from the policy.

    Examples
    --------
    >>> round(tilt(2), 3), round(tilt(128), 1)
    (2.289, 129.0)
    """
    if N == 1:
        return 0.0
    goal = math.log(N) - 1.0 + 1.0 / N

    def excess(tilted: float) -> float:
        shrunk = -math.expm1(-tilted)
        return tilted / shrunk - 1.0 - tilted - math.log(shrunk / tilted) - goal

    # importing it takes longer than all of tea_stats, and nothing else here needs it
    from scipy import optimize

    return float(optimize.brentq(excess, 1e-3, 4.0 * N, xtol=1e-12, rtol=1e-14))


@lru_cache(maxsize=256)
def tableau(m: int, N: int) -> Tableau:
    """Return slopes m c_j, centred."""
    tilted = tilt(N) * np.arange(1, m) / max(1, m - 1)
    return centred(m * special.softmax(tilted) if m > 1 else [])


bon_rl = as_function(BonRL)
