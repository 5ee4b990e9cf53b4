"""A law with an exactly Gaussian upper tail and nothing Gaussian below it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import special

from tea_stats._validation import as_real
from tea_stats.families.law import Array, Shape
from tea_stats.families.location_scale import LocationScale, Standard

# The bulk in units of its own: distance x ≥ 0 below the joint, density g with g(0) = 1 and mass 1.
# log g is piecewise linear: down to a valley, up to a second mode (the failures), down for ever.
# Then g as a function of G(x) = ∫_x^∞ g is piecewise linear too, with the slopes' negatives.
_SLOPES = np.array([-5.0, 4.375, -3.75])  # d log g/dx, from the far end to the joint
_G_KNOTS = np.array([0.0, 0.4, 0.8, 1.0])  # mass below each knot
_DENSITY_KNOTS = np.array([0.0, 2.0, 0.25, 1.0])  # g there: far end, mode, valley, joint
_X_VALLEY = math.log(1.0 / 0.25) / 3.75
_X_MODE = _X_VALLEY + math.log(2.0 / 0.25) / 4.375


@dataclass(frozen=True)
class GaussianTail(LocationScale):
    r"""Assumption 1 of the paper made exactly true: R = loc + scale · W, Gaussian at the top.

    W has the standard normal density φ above b = Φ⁻¹(1 − 2 alpha), so that more than the top alpha
    is Gaussian. Below b lies a bulk of mass q = 1 − 2 alpha with a second mode: its density at
    w = b − x · q/φ(b) is φ(b) g(x), where log g falls from 0 at slope −3.75 to the valley g = 1/4,
    rises at 4.375 to the mode g = 2, and falls at −5 for ever. These three pieces have 1/5, 2/5
    and 2/5 of the bulk. The density is continuous, positive on the whole line and has exponential
    moments; its log is piecewise linear below b, so that the score exists, has mean zero and
    finite Fisher information.

    Parameters
    ----------
    loc, scale : float
        Mean and standard deviation of the normal curve of which R has the tail, in reward units;
        scale > 0. They are not those of R.
    alpha : float
        Tail fraction in (0, 0.5), fixed (not a parameter of the score).

    Notes
    -----
    With w = (r − loc)/scale and x = (b − w) φ(b)/q, the density and the score in (loc, scale) are

    .. math::

        f(r) = \frac{1}{\text{scale}} \begin{cases}
        φ(w) & \text{if } w ≥ b \\
        φ(b) \, g(x) & \text{if } w < b,
        \end{cases}
        \quad S = \frac{1}{\text{scale}} \bigl(h(w), \; w h(w) − 1\bigr),

    where h(w) = w above b, and below it φ(b)/q times the slope of log g at x. The assumption is
    that of Li, Qian and Mou (2026), arXiv:2605.10716; the law below the tail is ours.

    Examples
    --------
    >>> from tea_stats import GaussianTail, Normal
    >>> law = GaussianTail()
    >>> [round(float(law.isf(p)), 6) == round(float(Normal().isf(p)), 6) for p in (0.01, 0.5, 0.6)]
    [True, True, False]
    """

    loc: float = 0.0
    scale: float = 1.0
    alpha: float = field(default=0.25, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alpha", as_real("alpha", self.alpha, above=0.0, below=0.5))

    @property
    def breaks(self) -> tuple[float, ...]:
        """Upper-tail probabilities of the joint, the valley and the mode."""
        return tuple(2.0 * self.alpha + self._bulk_mass * rest for rest in (0.0, 0.2, 0.6))

    @property
    def _bulk_mass(self) -> float:
        return 1.0 - 2.0 * self.alpha

    @cached_property
    def _joint(self) -> float:
        """Threshold b = Φ⁻¹(1 − 2 alpha)."""
        return -float(special.ndtri(2.0 * self.alpha))

    @cached_property
    def _rate(self) -> float:
        """φ(b)/q: x per unit of w."""
        density = math.exp(-0.5 * self._joint**2) / math.sqrt(2.0 * math.pi)
        return density / self._bulk_mass

    @property
    def standard(self) -> Standard:
        """The law of W."""
        functions = self._cdf_w, self._sf_w, self._ppf_w, self._isf_w, self._logpdf_w, self._slope_w
        return Standard(*functions)

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        # P(normal < b) = q: normals below b are redrawn from the bulk
        w = rng.standard_normal(size)
        low = w < self._joint
        w[low] = self._bulk_quantile(rng.random(np.count_nonzero(low)))
        w *= self.scale
        w += self.loc
        return w

    def _bulk_quantile(self, mass: Array) -> Array:
        """W at G(x) = mass, i.e. at u = q · mass."""
        density = np.interp(mass, _G_KNOTS, _DENSITY_KNOTS)
        slope, x_known, density_known = _piece(mass, _G_KNOTS[1:3])
        x = x_known + np.log(density / density_known) / slope
        return self._joint - x / self._rate

    def _distance(self, w: Array) -> Array:
        """Distance x ≥ 0 below the joint, in the bulk's unit."""
        return np.maximum(self._joint - w, 0.0) * self._rate

    def _log_density(self, w: Array) -> Array:
        """Log density of the bulk, log g(x)."""
        x = self._distance(w)
        slope, x_known, density_known = _piece(-x, np.array([-_X_MODE, -_X_VALLEY]))
        return slope * (x - x_known) + np.log(density_known)

    def _cdf_w(self, w: Array) -> Array:
        mass = self._mass(self._distance(w), self._log_density(w))
        return np.where(w < self._joint, self._bulk_mass * mass, special.ndtr(w))

    def _sf_w(self, w: Array) -> Array:
        x = self._distance(w)
        near = -np.expm1(-3.75 * x) / 3.75
        rest = np.where(x <= _X_VALLEY, near, 1.0 - self._mass(x, self._log_density(w)))
        below = 2.0 * self.alpha + self._bulk_mass * rest
        return np.where(w < self._joint, below, special.ndtr(-w))

    def _mass(self, x: Array, log_density: Array) -> Array:
        """G(x); within a piece it is linear in g(x)."""
        g = np.exp(log_density)
        near = np.where(x > _X_VALLEY, 0.4 + (2.0 - g) / 4.375, 0.8 + (g - 0.25) / 3.75)
        return np.where(x >= _X_MODE, g / 5.0, near)

    def _ppf_w(self, u: Array) -> Array:
        return np.where(
            u < self._bulk_mass, self._bulk_quantile(u / self._bulk_mass), special.ndtri(u)
        )

    def _isf_w(self, p: Array) -> Array:
        below = self._bulk_quantile((1.0 - p) / self._bulk_mass)
        return np.where(p > 2.0 * self.alpha, below, -special.ndtri(p))

    def _logpdf_w(self, w: Array) -> Array:
        height = -0.5 * np.maximum(w, self._joint) ** 2 - 0.5 * math.log(2.0 * math.pi)
        return height + self._log_density(w)

    def _slope_w(self, w: Array) -> Array:
        # dx/dw = −rate, so that −d log f/dw = rate · d log g/dx below the joint
        x = (self._joint - w) * self._rate
        near = np.where(x > _X_VALLEY, _SLOPES[1], _SLOPES[2])
        return np.where(x <= 0.0, w, self._rate * np.where(x > _X_MODE, _SLOPES[0], near))


def _piece(position: Array, inner: Array) -> tuple[Array, Array, Array]:
    """Return the slope of log g and a known point (x, g(x)) of the piece a position lies in.

    Positions run from the far end towards the joint; `inner` are those of mode and valley.
    """
    number = np.searchsorted(inner, position)
    return (
        _SLOPES[number],
        np.array([_X_MODE, _X_MODE, 0.0])[number],
        np.array([2.0, 2.0, 1.0])[number],
    )
