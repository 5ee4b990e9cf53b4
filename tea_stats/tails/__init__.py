"""The upper tail of a group: its size, and the constants that extrapolate it to best-of-N."""

from tea_stats.tails.constants import (
    Coefficients,
    calibrated_coefficients,
    gaussian_tail_moments,
    influence_coefficients,
    normal_max_mean,
    tail_coefficient,
    tail_count,
)

__all__ = [
    "Coefficients",
    "calibrated_coefficients",
    "gaussian_tail_moments",
    "influence_coefficients",
    "normal_max_mean",
    "tail_coefficient",
    "tail_count",
]
