"""Affine: any law with a smooth density as a location-scale family."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from tea_stats.families.bounded import LARGEST, SMALLEST, Beta
from tea_stats.families.law import Array, ContinuousLaw, Shape
from tea_stats.families.location_scale import LocationScale, Standard
from tea_stats.families.mixture import NormalMixture
from tea_stats.families.skewed import Gamma, LogNormal, Weibull


def _beta_slope(law: Beta, r: Array) -> Array:
    # a quantile may round to 0 or 1; its weight is nothing
    r = np.clip(r, SMALLEST, LARGEST)
    return (law.b - 1.0) / (1.0 - r) - (law.a - 1.0) / r


def _mixture_slope(law: NormalMixture, r: Array) -> Array:
    z1, z2 = (r - law.loc1) / law.scale1, (r - law.loc2) / law.scale2
    odds = (
        math.log(law.weight / law.scale2 / (1.0 - law.weight) * law.scale1)
        + 0.5 * z1 * z1
        - 0.5 * z2 * z2
    )
    second = 1.0 / (1.0 + np.exp(-np.clip(odds, -700.0, 700.0)))
    return (1.0 - second) * z1 / law.scale1 + second * z2 / law.scale2


#: −d log f/dr, and the exponents that must exceed 2 for a finite Fisher information of the location
SLOPES: Mapping[type[ContinuousLaw], tuple[Callable[[Any, Array], Array], tuple[str, ...]]] = (
    MappingProxyType(
        {
            Gamma: (lambda law, r: 1.0 / law.scale - (law.shape - 1.0) / r, ("shape",)),
            Weibull: (
                lambda law, r: (law.shape * (r / law.scale) ** law.shape - law.shape + 1.0) / r,
                ("shape",),
            ),
            LogNormal: (
                lambda law, r: (1.0 + (np.log(r) - law.meanlog) / law.sdlog**2) / r,
                (),
            ),
            Beta: (_beta_slope, ("a", "b")),
            NormalMixture: (_mixture_slope, ()),
        }
    )
)


@dataclass(frozen=True)
class Affine(LocationScale):
    r"""Law of loc + scale · B with B of a fixed law, whose own parameters stay as they are.

    Parameters
    ----------
    base : Gamma, Weibull, LogNormal, Beta or NormalMixture
        Law of B. The exponents of its density at the ends of its support must exceed 2: otherwise
        the location has no finite Fisher information.
    loc, scale : float
        In reward units; scale > 0.

    Notes
    -----
    With w = (r − loc)/scale and f_B the density of B, the density and the score in (loc, scale) are

    .. math::

        f(r) = \frac{f_B(w)}{\text{scale}},
        \quad S = \frac{1}{\text{scale}} \bigl(h(w), \; w h(w) − 1\bigr),
        \quad h(w) = − \frac{\partial}{\partial w} \log f_B(w).

    Lehmann and Casella (1998), Theory of Point Estimation, section 2.5.

    Examples
    --------
    >>> from tea_stats import LogNormal, best_of_n
    >>> law = Affine(LogNormal(0.0, 0.5))
    >>> best_of_n.gradient(law, 1).round(3).tolist()  # loc, scale
    [1.0, 1.133]
    """

    base: ContinuousLaw
    loc: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.base) not in SLOPES:
            names = ", ".join(law.__name__ for law in SLOPES)
            raise TypeError(f"base is {self.base!r}; give a law out of {names}")
        for name in SLOPES[type(self.base)][1]:
            if not getattr(self.base, name) > 2.0:
                raise ValueError(
                    f"base is {self.base!r}: its {name} is at most 2, so that a shift has no "
                    f"finite Fisher information; give {name} > 2"
                )

    @property
    def moments_below(self) -> float:
        """As for the base."""
        return self.base.moments_below

    @property
    def breaks(self) -> tuple[float, ...]:
        """As for the base."""
        return self.base.breaks

    def _reward_edges(self) -> Array | None:
        edges = self.base._reward_edges()
        return None if edges is None else self.loc + self.scale * edges

    def _draw(self, size: Shape, rng: np.random.Generator) -> Array:
        return self.loc + self.scale * self.base._draw(size, rng)

    @property
    def standard(self) -> Standard:
        """The law of B."""
        base = self.base
        slope = partial(SLOPES[type(base)][0], base)
        return Standard(base._cdf, base._sf, base._ppf, base._isf, base._logpdf, slope)

    def _density_and_score(self, r: Array, u: Array, p: Array) -> tuple[Array, Sequence[Array]]:
        log_density, _ = self.base._density_and_score(self._w(r), u, p)
        return log_density - math.log(self.scale), self._score_columns(r)
