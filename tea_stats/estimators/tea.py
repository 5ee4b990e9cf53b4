"""Tail-Extrapolated Advantage (TEA), direct plug-in form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

from scipy import special

from tea_stats import _kernels, tails
from tea_stats._validation import as_choice, as_count, as_flag
from tea_stats.estimators.record import Estimator, Mark, as_function

EXTRAPOLATIONS = ("expected_maximum", "quantile")


class Constants(NamedTuple):
    """What the kernel needs: the tail count k, and the coefficients of hinge and spread."""

    tail_count: int
    coefficients: tails.Coefficients


@dataclass(frozen=True, kw_only=True)
class TEA(Estimator):
    r"""Tail-Extrapolated Advantage: influence function of μ_α + c̃ σ_α at the group.

    With k = ⌈αm⌉ (at least 2), α' = k/m, r̂ the k-th largest reward, and μ̂, σ̂ the mean and
    standard deviation of the top k,

    .. math::

        A_i = \frac{1}{α'} 1\{r_i ≥ \hat r\} \Bigl[(r_i − \hat r) + \frac{\tilde c}{2 \hat σ}
        \bigl((r_i − \hat μ)^2 − (\hat r − \hat μ)^2\bigr)\Bigr],
        \quad \tilde c = \frac{c_N − λ}{κ},

    where c_N is the mean of the best of N standard normals, and λ and κ are mean and standard
    deviation of a standard normal's top α' (`tea_stats.tails`). All advantages are zero where the
    top k rewards are equal.

    Parameters
    ----------
    alpha : float
        Tail fraction in (0, 1]; 1 uses the whole group.
    calibrated : bool
        Replace the bracket's two coefficients, 1 and c̃, by the ones for which E ĝ = ∇V_N exactly
        on normal rewards at this m, N and alpha (ours, not the paper's). Off the normal law TEA
        stays biased, with a Gaussian upper tail too. E[A²] rises: sixfold at m = 16, N = 128,
        alpha = .25. Needs three rollouts in the tail.
    ddof : int
        σ̂ divides by k − ddof, ddof 0 or 1. With 1 the curvature, the bracket's second term, is
        √(1 − 1/k) times what it is with 0; at k = 4 that is 13 % less.
    extrapolation : {"expected_maximum", "quantile"}
        What stands for the best of N standard normals: its mean c_N, or the quantile
        Φ⁻¹(1 − 1/N), which is smaller (2.42 against 2.59 at N = 128, where it makes the curvature
        13 % less at alpha = .25). Needs N ≥ 2.

    Notes
    -----
    Biased at finite m: under a Gaussian tail the bias is O(√log N / m). With k = 2 (at
    alpha = .25, m ≤ 8) the curvature cancels, and TEA is m/2 times the leave-one-out maximum,
    whatever N is. The formula is our reading of the paper's direct form (arXiv:2605.10716, Li,
    Qian and Mou 2026), whose full text was not at hand. An earlier code of theirs has
    alpha = .20, ddof = 1 and the quantile. Calibration chooses both coefficients itself, and takes
    neither option.

    Examples
    --------
    >>> import tea_stats
    >>> tea_stats.tea([0.0, 1.0, 2.0, 4.0], N=16, alpha=0.5)
    array([0., 0., 0., 4.])
    """

    alpha: float = 0.25
    calibrated: bool = False
    ddof: int = 0
    extrapolation: str = "expected_maximum"

    name = "tea"
    title = "TEA"
    unbiased_for = (
        "nothing at finite m; best-of-N as m grows, under a Gaussian upper tail; "
        "calibrated: best-of-N on normal laws"
    )
    objective = (
        "nothing at finite $m$; best-of-$N$ as $m$ grows, under a Gaussian upper tail; "
        "calibrated: best-of-$N$ on normal laws"
    )
    reference = "Li, Qian and Mou (2026), arXiv:2605.10716; our reading"
    citations = ("li2026",)
    marks = (
        ({"alpha": 0.25}, Mark("#0072B2", "o", main=True)),
        ({"alpha": 0.5}, Mark("#56B4E9", "s", main=True)),
        ({"alpha": 1.0}, Mark("#0B3C5D", "D")),
        ({"alpha": 0.1}, Mark("#88CCEE", "p")),
    )
    uses_N = True
    affine = True
    kernel = staticmethod(_kernels.tea)

    def prepare(self, m: int, N: int) -> Constants:
        """Return the tail count and the coefficients, calibrated or those of the tail's law."""
        k = tails.tail_count(m, self.alpha)
        ddof = as_count("ddof", self.ddof, at_least=0)
        extrapolation = as_choice("extrapolation", self.extrapolation, EXTRAPOLATIONS)
        if ddof > 1:
            raise ValueError(f"ddof is {ddof}; give 0 or 1")
        if extrapolation == "quantile" and N == 1:
            raise ValueError(
                "extrapolation is 'quantile' and N is 1, where Φ⁻¹(1 − 1/N) is −∞; give N ≥ 2, or "
                "extrapolation 'expected_maximum'"
            )
        if as_flag("calibrated", self.calibrated):
            if ddof or extrapolation == "quantile":
                raise ValueError(
                    f"calibrated is True with ddof = {ddof} and extrapolation = "
                    f"{extrapolation!r}, but calibration chooses the coefficients itself; leave "
                    "both options at their defaults"
                )
            return Constants(k, tails.calibrated_coefficients(m, k))
        kappa, *weights = tails.influence_coefficients(k / m)
        # the kernel's σ̂ has ddof = 0, and occurs in κ σ̂ alone
        scaled = kappa * math.sqrt(k / (k - ddof)), *weights
        return Constants(k, cast(tails.Coefficients, scaled))

    def slope_constant(self, N: int) -> float:
        """Return c_N, or the quantile Φ⁻¹(1 − 1/N) in its place."""
        if self.extrapolation == "quantile":
            return -float(special.ndtri(1.0 / N))
        return super().slope_constant(N)


tea = as_function(TEA)
