"""RLOO: REINFORCE with the leave-one-out mean as baseline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function
from tea_stats.linear.tableau import Tableau, centred


@dataclass(frozen=True, kw_only=True)
class RLOO(Estimator):
    r"""REINFORCE with the leave-one-out mean as baseline; the advantages sum to zero.

    .. math:: A_i = r_i − \frac{1}{m − 1} Σ_{j ≠ i} r_j

    Notes
    -----
    Unbiased for ∇V_1, the gradient of the mean reward; it is max@1 in canonical form.
    Kool, van Hoof and Welling (2019); Ahmadian et al. (2024), arXiv:2402.14740.

    Examples
    --------
    >>> rloo([1, 2, 6], N=16)
    array([-3. , -1.5,  4.5])
    """

    name = "rloo"
    title = "RLOO"
    unbiased_for = "V_1, the mean reward"
    objective = "$V_1$, the mean reward"
    reference = "Kool, van Hoof and Welling (2019); Ahmadian et al. (2024), arXiv:2402.14740"
    citations = ("kool2019", "ahmadian2024")
    marks = (({}, Mark("#000000", "X", main=True)),)
    kernel = staticmethod(_kernels.gap_linear)

    def prepare(self, m: int, N: int) -> Tableau:
        """Return the tableau of m/(m − 1) (r − mean)."""
        return tableau(m)


@lru_cache(maxsize=256)
def tableau(m: int) -> Tableau:
    """Return slope m/(m − 1) in every gap, centred."""
    return centred(np.full(m - 1, m / (m - 1)))


rloo = as_function(RLOO)
