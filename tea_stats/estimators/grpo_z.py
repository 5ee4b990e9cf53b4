"""GRPO-Z: the z-score of each rollout among the others."""

from __future__ import annotations

from dataclasses import dataclass

from tea_stats import _kernels
from tea_stats.estimators.record import Estimator, Mark, as_function


@dataclass(frozen=True, kw_only=True)
class GRPOZ(Estimator):
    r"""GRPO-Z: the z-score with mean and standard deviation of the other rollouts.

    .. math::

        A_i = \frac{r_i − \bar r_{−i}}{s_{−i}}, \quad
        \bar r_{−i} = \frac{1}{m − 1} Σ_{j ≠ i} r_j, \quad
        s_{−i}^2 = \frac{1}{m − 2} Σ_{j ≠ i} (r_j − \bar r_{−i})^2

    Zero where the others are all equal: a single success among failures gets nothing.

    Notes
    -----
    As neither mean nor standard deviation depends on the rollout, it is unbiased for κ ∇V_1, with
    κ = E[1/s] over m − 1 rollouts, 0 in place of 1/s where s = 0: the gradient of the mean reward,
    in a unit that differs between prompts. For continuous rewards its variance is finite from
    m = 5. Our reading of the baseline of that name in arXiv:2605.10716 (Li, Qian and Mou 2026),
    whose full text was not at hand; the plain z-score is `grpo`.

    Examples
    --------
    >>> grpo_z([1, 2, 4, 9], N=16).round(3)
    array([-1.109, -0.66 ,  0.   ,  4.364])
    """

    name = "grpo_z"
    title = "GRPO-Z"
    unbiased_for = "V_1 times E[1/s], s the standard deviation of m - 1 rollouts"
    objective = r"$V_1$ times $\mathrm{E}[1/s]$, $s$ the standard deviation of $m-1$ rollouts"
    reference = "Li, Qian and Mou (2026), arXiv:2605.10716; our reading"
    citations = ("li2026",)
    marks = (({}, Mark("#AA3377", "h")),)
    scale_degree = 0
    min_m = 3
    kernel = staticmethod(_kernels.grpo_z)

    def prepare(self, m: int, N: int) -> tuple[()]:
        """Check that two rollouts are left when one goes; return no constants."""
        if m < 3:
            raise ValueError(
                f"m is {m}: the standard deviation of the other {m - 1} does not exist; give a "
                "larger m"
            )
        return ()

    def has_finite_variance(self, m: int) -> bool:
        """Return whether 1/s² has a mean: s, of m − 1 rollouts, is near 0 with density s^(m−3)."""
        return m >= 5


grpo_z = as_function(GRPOZ)
