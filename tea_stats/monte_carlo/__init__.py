"""Estimators measured by simulation: bias, variance and error, each with its standard error.

from tea_stats import monte_carlo
monte_carlo.measure(law, ["tea", "max_at_k"], m=16, N=[128, 512])
"""

from tea_stats.monte_carlo.measurement import (
    Moments,
    Pass,
    Requests,
    advantage_response,
    as_counts,
    block_sizes,
    measure,
    passes,
    requests,
    simulate_block,
    summarize,
    tiles,
)

__all__ = [
    "Pass",
    "Moments",
    "Requests",
    "advantage_response",
    "as_counts",
    "block_sizes",
    "passes",
    "measure",
    "requests",
    "simulate_block",
    "summarize",
    "tiles",
]
