"""Recorded: a law whose rewards a grader rounds, clips, or replaces below a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from tea_stats._validation import as_real, as_reals
from tea_stats.families.law import POSITIVE, Array, ContinuousLaw, Law, Shape

#: a grid of recorded rewards has at most this many values
MOST_VALUES = 200_000
#: beyond quantiles of this probability no reward counts
NEGLIGIBLE = 1e-40


@dataclass(frozen=True)
class Recorded(Law):
    r"""Law of h(X), X of a continuous law and h what a grader does to a score.

    Parameters
    ----------
    base : ContinuousLaw
        Law of the score X before it is recorded.
    step : float, optional
        Scores are rounded to multiples of it.
    low, high : float, optional
        Scores outside are recorded as `low` and `high`: a floor and a ceiling.
    threshold, value : float, optional
        Scores below `threshold` are recorded as `value`, such as −1 for a parse error; `value` may
        not exceed what the threshold itself is recorded as.

    Notes
    -----
    h does not decrease, so that ranks are kept; ties are its jumps and its flat parts. An outcome
    is the score X itself, and its score function is that of the base: a policy moves X, and the
    grader sees h(X). As advantages depend on h(X) alone, this has the same E ĝ as
    E[S | h(X)] has. With f and F the density and the distribution function of X,

    .. math::

        P(R > r) = 1 − F(\sup \{x : h(x) ≤ r\}), \quad
        S = \frac{∂}{∂θ} \log f(x),

    .. math::

        ψ_N(h(x)) = N ∫_{−∞}^x F(t)^{N−1} \, dh(t) − \text{const}, \quad
        V_N = ∫ h \, dF^N,

    where dh has a mass at each jump, and ∇V_N = E[ψ_N(h(X)) S(X)]. This is the tobit model's way
    of clipping: Tobin (1958),
    Econometrica 26, 24–36.

    Examples
    --------
    >>> from tea_stats import Normal, best_of_n
    >>> grades = Recorded(Normal(5.0, 2.0), step=1.0, low=0.0, high=10.0)
    >>> grades.sample(5, np.random.default_rng(0)).tolist()
    [5.0, 5.0, 6.0, 5.0, 4.0]
    >>> round(best_of_n.value(grades, 128), 2)
    9.79
    """

    base: ContinuousLaw
    step: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.base, ContinuousLaw):
            raise TypeError(f"base is {self.base!r}; give a continuous law, such as Normal()")
        for name in ("step", "low", "high", "threshold", "value"):
            given = getattr(self, name)
            if given is not None:
                bounds = POSITIVE if name == "step" else {}
                object.__setattr__(self, name, as_real(name, given, **bounds))
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}; give low < high")
        if (self.threshold is None) != (self.value is None):
            raise ValueError("threshold and value go together; give both, or neither")
        if self.threshold is not None and self.value is not None:
            lowest = float(self._graded(np.asarray(self.threshold)))
            if self.value > lowest:
                raise ValueError(
                    f"value is {self.value} and the threshold is recorded as {lowest}; give a "
                    "value that is not above, so that better scores are not recorded as worse"
                )
        _ = self.jumps  # or ValueError

    # --- h --------------------------------------------------------------------------------------

    def _graded(self, x: Array) -> Array:
        """Return rounded and clipped scores."""
        if self.step is not None:
            x = np.floor(x / self.step + 0.5) * self.step
        return np.clip(x, -np.inf if self.low is None else self.low, self._ceiling)

    @property
    def _ceiling(self) -> float:
        return np.inf if self.high is None else self.high

    def record(self, x: Array) -> Array:
        """Return h(x)."""
        graded = np.asarray(self._graded(x))
        if self.threshold is None or self.value is None:
            return graded
        return np.where(x < self.threshold, self.value, graded)

    @cached_property
    def sloped(self) -> tuple[float, float]:
        """The interval on which h(x) = x; empty where scores are rounded."""
        if self.step is not None:
            return 0.0, 0.0
        starts = [x for x in (self.low, self.threshold) if x is not None]
        start = max(starts, default=-np.inf)
        return start, max(start, self._ceiling)

    @cached_property
    def jumps(self) -> tuple[Array, Array]:
        """Where h jumps, ascending, and by how much."""
        places, sizes = np.empty((2, 0))
        if self.step is not None:
            lowest, highest = (float(x) for x in self._graded(self._ends()))
            count = (highest - lowest) / self.step
            if not count <= MOST_VALUES:
                raise ValueError(
                    f"step is {self.step} and rewards range from {lowest:.3g} to {highest:.3g}; "
                    "give a larger step, or low and high"
                )
            first, last = np.floor(np.array([lowest, highest]) / self.step + 0.5)
            k = np.arange(first - 1.0, last + 2.0)
            places, sizes = (k[1:] - 0.5) * self.step, np.diff(self._graded(k * self.step))
        if self.threshold is not None:
            size = float(self._graded(np.asarray(self.threshold))) - float(self.value or 0.0)
            above = places > self.threshold
            places = np.append(self.threshold, places[above])
            sizes = np.append(size, sizes[above])
        return places[sizes > 0.0], sizes[sizes > 0.0]

    def _ends(self) -> Array:
        """Return the scores beyond which nothing counts."""
        return np.array([float(self.base.ppf(NEGLIGIBLE)), float(self.base.isf(NEGLIGIBLE))])

    # --- distribution: {h(X) ≤ r} = {X < end of the scores recorded as r} -----------------------

    def _end(self, r: Array) -> Array:
        """Return the largest x with h(x) ≤ r, −inf where there is none."""
        x = np.where(r >= self._ceiling, np.inf, r)
        if self.step is not None:
            # to the next multiple above r, less half a step
            above = np.floor(r / self.step + 1e-9) + 0.5
            x = np.where(r >= self._ceiling, np.inf, above * self.step)
        if self.low is not None:
            x = np.where(r < self.low, -np.inf, x)
        if self.threshold is not None:
            assert self.value is not None
            x = np.where(r < self.value, -np.inf, np.maximum(x, self.threshold))
        return x

    def _cdf(self, r: Array) -> Array:
        return self.base._cdf(self._end(r))

    def _sf(self, r: Array) -> Array:
        return self.base._sf(self._end(r))

    def _ppf(self, u: Array) -> Array:
        return self.record(self.base._ppf(u))

    def _isf(self, p: Array) -> Array:
        return self.record(self.base._isf(p))

    def _mass(self, r: Array) -> Array:
        """P(R = r)."""
        below = self._end(np.nextafter(r, -np.inf) if self.step is None else r - self.step / 4)
        end = self._end(r)
        upper = self.base._sf(below) - self.base._sf(end)
        lower = self.base._cdf(end) - self.base._cdf(below)
        return np.where(self.base._sf(below) < 0.5, upper, lower)

    def _logpdf(self, r: Array) -> Array:
        start, end = self.sloped
        inside = (start < r) & (r < end)
        return np.where(inside, self.base._logpdf(r), np.log(np.where(inside, 1.0, self._mass(r))))

    def score(self, r: ArrayLike) -> Array:
        """Score of the outcome x = r, where rewards are recorded as they are; nan elsewhere.

        Scores recorded alike differ in their score functions: `draw` has those of the outcomes.
        """
        r = as_reals("r", r)
        start, end = self.sloped
        inside = (start < r) & (r < end)
        return np.where(inside[..., None], self.base.score(r), np.nan)

    # --- draws: an outcome is its score X -------------------------------------------------------

    @property
    def parameters(self) -> tuple[str, ...]:
        """As for the base."""
        return self.base.parameters

    @property
    def moments_below(self) -> float:
        """As for the base; all of them where rewards have a floor and a ceiling."""
        floor = self.low is not None or self.value is not None
        return np.inf if floor and self.high is not None else self.base.moments_below

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return self.base._draw(size, rng)

    def _rewards_of(self, outcomes: Array) -> Array:
        return self.record(outcomes)

    def _scores_of(self, outcomes: Array) -> Array:
        return self.base._scores_of(outcomes)
