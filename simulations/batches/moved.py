"""A law in another unit of reward, from another zero."""

from __future__ import annotations

from dataclasses import replace

from tea_stats.families import Affine, Discrete, Law, NormalMixture, Recorded
from tea_stats.families.affine import SLOPES
from tea_stats.families.location_scale import LocationScale


def moved(law: Law, scale: float, offset: float) -> Law:
    """Return the law of offset + scale · R, scale > 0.

    Examples
    --------
    >>> from tea_stats import Normal
    >>> moved(Normal(1.0, 2.0), 10.0, 3.0)
    Normal(loc=13.0, scale=20.0)
    """
    if not scale > 0.0:
        raise ValueError(f"scale is {scale}; give a number above 0")
    if scale == 1.0 and offset == 0.0:
        return law
    if isinstance(law, LocationScale):
        return replace(law, loc=offset + scale * law.loc, scale=scale * law.scale)
    if isinstance(law, NormalMixture):
        return replace(
            law,
            loc1=offset + scale * law.loc1,
            loc2=offset + scale * law.loc2,
            scale1=scale * law.scale1,
            scale2=scale * law.scale2,
        )
    if isinstance(law, Discrete):
        return Discrete(offset + scale * law.values, law.logits)
    if isinstance(law, Recorded) and (law.step is None or offset == 0.0):
        ends = {
            name: offset + scale * getattr(law, name)
            for name in ("low", "high", "threshold", "value")
            if getattr(law, name) is not None
        }
        if law.step is not None:
            ends["step"] = scale * law.step
        return replace(law, base=moved(law.base, scale, offset), **ends)
    if type(law) in SLOPES:
        return Affine(law, offset, scale)  # type: ignore[arg-type]
    raise ValueError(f"law is {law!r}, which has no unit to change; give scale 1 and offset 0")
