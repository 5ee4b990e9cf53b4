"""RS-GRPO: exponential utility, between the mean and the maximum."""

from __future__ import annotations

from dataclasses import dataclass

from tea_stats import _kernels
from tea_stats._validation import as_real
from tea_stats.estimators.record import Estimator, Mark, as_function


@dataclass(frozen=True, kw_only=True)
class RSGRPO(Estimator):
    r"""RS-GRPO: exponential utility, relative to its mean over the group.

    .. math:: A_i = \frac{1}{β} \Bigl(\frac{e^{β r_i}}{\frac{1}{m} Σ_j e^{β r_j}} − 1\Bigr)

    In reward units; the advantages sum to zero and lie within [−1, m − 1]/β.

    Parameters
    ----------
    beta : float
        Risk parameter, per reward unit: β > 0 seeks risk, β < 0 avoids it, β = 0 is the limit
        r_i − mean. The paper's code has 2 as default, for rewards between 0 and 1.

    Notes
    -----
    Not unbiased at finite m: the mean in the denominator contains the rollout itself. As m grows
    it tends to the gradient of (1/β) log E e^{βR}, which is not best-of-N for any β. Jiang et al.
    (2025), arXiv:2509.24261.

    Examples
    --------
    >>> rs_grpo([0, 1, 1], N=16, beta=2.0).round(4)
    array([-0.4049,  0.2025,  0.2025])
    """

    beta: float = 2.0

    name = "rs_grpo"
    title = "RS-GRPO"
    unbiased_for = "nothing at finite m; (1/beta) log E exp(beta R) as m grows"
    objective = r"nothing at finite $m$; $\frac1\beta\log\mathrm{E}\exp(\beta R)$ as $m$ grows"
    reference = "Jiang et al. (2025), arXiv:2509.24261"
    citations = ("jiang2025",)
    marks = (({}, Mark("#332288", "h")),)
    scale_degree = None
    bounded = True
    kernel = staticmethod(_kernels.rs_grpo)

    def prepare(self, m: int, N: int) -> tuple[float]:
        """Return the risk parameter."""
        return (as_real("beta", self.beta),)


rs_grpo = as_function(RSGRPO)
