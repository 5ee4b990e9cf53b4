"""Entropic utility of TTT-Discover: its β from a divergence, its baseline from the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tea_stats import _kernels
from tea_stats._validation import as_real
from tea_stats.estimators.record import Estimator, Mark, as_function


@dataclass(frozen=True, kw_only=True)
class Entropic(Estimator):
    r"""Adaptive entropic utility: e^{βr}, relative to its mean over the other rollouts.

    .. math::

        A_i = \frac{e^{β r_i}}{\frac{1}{m − 1} Σ_{j ≠ i} e^{β r_j}} − 1, \quad
        β > 0 \text{ from } Σ_j q_j \log(m q_j) = \text{kl}, \quad q_j ∝ e^{β r_j}.

    Each group has its own β, so that neither the unit nor the location of the rewards
    matters. With t rewards tied at the maximum the divergence stays below log(m/t); where that is
    at most kl, the limit β → ∞ counts: A = (m − t)/(t − 1) for these t and −1 for the others. All
    advantages are zero where all rewards are equal.

    Parameters
    ----------
    kl : float
        Divergence of the tilted group from the uniform one, in nats, 0 < kl < log m; log 2 is the
        paper's: as if half of the group counted.

    Notes
    -----
    Not unbiased at finite m: β depends on the rollout itself. At a fixed β it would estimate
    E[1/mean of m − 1 utilities] ∇E e^{βR}; as m grows it tends to the gradient of log E e^{βR}
    at the β that solves the same equation for the law. Yuksekgonul et al. (2026),
    arXiv:2601.16175, and their published code. That doubles β up to 1e6 per reward unit where kl
    is out of reach, and adds 1e-12 to the denominator; the limit in place of both is ours.

    Examples
    --------
    >>> entropic([0, 1, 2, 3], N=16).round(2)
    array([-0.97, -0.87, -0.34,  8.87])
    >>> entropic([0, 0, 1, 1], N=16)
    array([-1., -1.,  2.,  2.])
    """

    kl: float = math.log(2.0)

    name = "entropic"
    title = "entropic"
    unbiased_for = "nothing at finite m; log E exp(beta R) at the law's own beta as m grows"
    objective = (
        r"nothing at finite $m$; $\log\mathrm{E}\exp(\beta R)$ at the law's own $\beta$ as $m$ "
        "grows"
    )
    reference = "Yuksekgonul et al. (2026), arXiv:2601.16175"
    citations = ("yuksekgonul2026",)
    marks = (({}, Mark("#5D3A9B", "P")),)
    scale_degree = 0
    bounded = True
    min_m = 3
    kernel = staticmethod(_kernels.entropic)

    def prepare(self, m: int, N: int) -> tuple[float]:
        """Return the divergence, after checking that a group of m can reach it."""
        kl = as_real("kl", self.kl, above=0.0)
        if kl >= math.log(m):
            raise ValueError(
                f"m is {m}: the divergence of a group from uniform is below log m = "
                f"{math.log(m):.3g}, and kl is {kl:.3g}; give a larger m, or a smaller kl"
            )
        return (kl,)


entropic = as_function(Entropic)
